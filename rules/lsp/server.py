"""The server: the editor's questions in, answers of :mod:`fraudstream.rules.lsp.directory` out."""

from __future__ import annotations

import asyncio
from pathlib import Path

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer
from pygls.uris import from_fs_path, to_fs_path

from fraudstream.rules.compiler.reader import Findings, MappingNode, read
from fraudstream.rules.compiler.source import Diagnostic, Span
from fraudstream.rules.lsp.directory import Known, RulesDirectory, place_of

PAUSE_S = 0.15
"""Between a key and a look: nobody wants an error for half a word."""
SOURCE = "fraudstream"
_KINDS = {
    "field": lsp.CompletionItemKind.Field,
    "feature": lsp.CompletionItemKind.Property,
    "reference": lsp.CompletionItemKind.Reference,
    "model": lsp.CompletionItemKind.Value,
    "list": lsp.CompletionItemKind.EnumMember,
    "typology": lsp.CompletionItemKind.Class,
    "param": lsp.CompletionItemKind.Variable,
    "condition": lsp.CompletionItemKind.Variable,
    "function": lsp.CompletionItemKind.Function,
}
COMPLETIONS_MAX = 500


class RulesServer(LanguageServer):
    """A language server with the directories that the editor has files of."""

    def __init__(self, version: str) -> None:
        super().__init__("fraudstream-rules", version)
        self.directories: dict[Path, RulesDirectory] = {}
        self._looks: dict[Path, asyncio.Task[None]] = {}
        self._told: dict[Path, set[str]] = {}

    def place(self, uri: str) -> tuple[RulesDirectory, str] | None:
        """Return the directory of a document and its path in there; None: it is no rule file."""
        path = to_fs_path(uri)
        found = None if path is None else place_of(Path(path))
        if found is None:
            return None
        root, name = found
        return self.directories.setdefault(root, RulesDirectory(root)), name

    def look(self, directory: RulesDirectory) -> None:
        """Check a directory soon, once for any number of keys."""
        before = self._looks.get(directory.root)
        if before is not None:
            before.cancel()
        self._looks[directory.root] = asyncio.create_task(self._look(directory))

    async def _look(self, directory: RulesDirectory) -> None:
        await asyncio.sleep(PAUSE_S)
        found = await asyncio.to_thread(directory.check)
        for path in found.keys() | self._told.get(directory.root, set()):
            uri = from_fs_path(str(directory.root / path))
            assert uri is not None
            diagnostics = [self._diagnostic(directory, item) for item in found.get(path, [])]
            self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, diagnostics))
        self._told[directory.root] = set(found)

    def _diagnostic(self, directory: RulesDirectory, item: Diagnostic) -> lsp.Diagnostic:
        error = item.level == "error"
        severity = lsp.DiagnosticSeverity.Error if error else lsp.DiagnosticSeverity.Warning
        return lsp.Diagnostic(
            self.range(directory, item.span), item.text, severity, code=item.code or None, source=SOURCE
        )

    def range(self, directory: RulesDirectory, span: Span) -> lsp.Range:
        """Return a place in the units that the editor counts in."""
        begin = lsp.Position(span.line - 1, span.column - 1)
        end = lsp.Position(span.line - 1, span.column - 1 + span.length)
        lines = directory.text(span.file).split("\n")
        return self.workspace.position_codec.range_to_client_units(lines, lsp.Range(begin, end))

    def cursor(self, directory: RulesDirectory, path: str, position: lsp.Position) -> lsp.Position:
        """Return a position in characters."""
        lines = directory.text(path).split("\n")
        found = self.workspace.position_codec.position_from_client_units(lines, position)
        return lsp.Position(found.line, found.character)

    def location(self, directory: RulesDirectory, name: str, known: Known) -> lsp.Location | None:
        """Return where a name is declared."""
        span = known.place or _field_span(directory, name)
        if span is None:
            return None
        uri = from_fs_path(str(directory.root / span.file))
        assert uri is not None
        return lsp.Location(uri, self.range(directory, span))


def _field_span(directory: RulesDirectory, name: str) -> Span | None:
    root = read("schema.yaml", directory.text("schema.yaml").encode("utf-8", "replace"), Findings())
    entry = None if root is None else root.entries.get("fields")
    if entry is None or not isinstance(entry[1], MappingNode) or name not in entry[1].entries:
        return None
    return entry[1].entries[name][0].span


def create_server(version: str) -> RulesServer:
    """Return a server; ``start_io`` runs it over standard input and output."""
    server = RulesServer(version)

    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    async def did_open(ls: RulesServer, params: lsp.DidOpenTextDocumentParams) -> None:
        _changed(ls, params.text_document.uri)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    async def did_change(ls: RulesServer, params: lsp.DidChangeTextDocumentParams) -> None:
        _changed(ls, params.text_document.uri)

    @server.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
    async def did_save(ls: RulesServer, params: lsp.DidSaveTextDocumentParams) -> None:
        _changed(ls, params.text_document.uri)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    async def did_close(ls: RulesServer, params: lsp.DidCloseTextDocumentParams) -> None:
        if (place := ls.place(params.text_document.uri)) is not None:
            place[0].open.pop(place[1], None)
            ls.look(place[0])

    @server.feature(lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    async def did_change_files(ls: RulesServer, params: lsp.DidChangeWatchedFilesParams) -> None:
        for change in params.changes:
            if (place := ls.place(change.uri)) is not None:
                ls.look(place[0])

    @server.feature(lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=["."]))
    async def completion(ls: RulesServer, params: lsp.CompletionParams) -> lsp.CompletionList | None:
        if (place := ls.place(params.text_document.uri)) is None:
            return None
        directory, path = place
        await _ready(directory)
        at = ls.cursor(directory, path, params.position)
        word, found = directory.complete(path, at.line, at.character)
        span = Span(path, at.line + 1, word.begin + 1, word.end - word.begin)
        items = [_item(ls.range(directory, span), known) for known in found[:COMPLETIONS_MAX]]
        return lsp.CompletionList(is_incomplete=len(found) > COMPLETIONS_MAX, items=items)

    @server.feature(lsp.TEXT_DOCUMENT_HOVER)
    async def hover(ls: RulesServer, params: lsp.HoverParams) -> lsp.Hover | None:
        if (place := ls.place(params.text_document.uri)) is None:
            return None
        directory, path = place
        await _ready(directory)
        at = ls.cursor(directory, path, params.position)
        if (found := directory.known_at(path, at.line, at.character)) is None:
            return None
        word, known = found
        span = Span(path, at.line + 1, word.begin + 1, len(word.text))
        content = lsp.MarkupContent(lsp.MarkupKind.Markdown, f"**{known.name}**\n\n{known.text}")
        return lsp.Hover(content, ls.range(directory, span))

    @server.feature(lsp.TEXT_DOCUMENT_DEFINITION)
    async def definition(ls: RulesServer, params: lsp.DefinitionParams) -> lsp.Location | None:
        if (place := ls.place(params.text_document.uri)) is None:
            return None
        directory, path = place
        await _ready(directory)
        at = ls.cursor(directory, path, params.position)
        found = directory.known_at(path, at.line, at.character)
        return None if found is None else ls.location(directory, found[0].text, found[1])

    return server


def _changed(ls: RulesServer, uri: str) -> None:
    if (place := ls.place(uri)) is not None:
        directory, path = place
        directory.open[path] = ls.workspace.get_text_document(uri).source
        ls.look(directory)


async def _ready(directory: RulesDirectory) -> None:
    """Wait for a first look, so that the first question has an answer."""
    if directory.compiled is None:
        await asyncio.to_thread(directory.check)


def _item(place: lsp.Range, known: Known) -> lsp.CompletionItem:
    return lsp.CompletionItem(
        known.name,
        kind=_KINDS[known.kind],
        detail=known.title,
        documentation=lsp.MarkupContent(lsp.MarkupKind.Markdown, known.text),
        text_edit=lsp.TextEdit(place, known.name),
        filter_text=known.name,
    )
