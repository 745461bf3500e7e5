"""`fraudstream rules lsp` as an editor sees it: a real client, a process of its own, the protocol between."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient
from support.sample_rules import sample_files

pytestmark = pytest.mark.timeout(120)
WAIT_S = 60.0
CARD = "rulesets/card.yaml"


class Editor:
    """A client with a directory on disk and documents that it has open."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.client = LanguageClient("tests", "0")
        self.shown: dict[str, list[lsp.Diagnostic]] = {}
        self.texts: dict[str, str] = {}
        self._versions = 0
        self._news = asyncio.Event()

        @self.client.feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def publish(params: lsp.PublishDiagnosticsParams) -> None:
            path = Path(params.uri.removeprefix("file://")).relative_to(root).as_posix()
            self.shown[path] = list(params.diagnostics)
            self._news.set()

    async def start(self, encoding: lsp.PositionEncodingKind) -> None:
        """Start the server and shake hands."""
        await self.client.start_io(sys.executable, "-m", "fraudstream.stream.cli", "rules", "lsp", "--stdio")
        general = lsp.GeneralClientCapabilities(position_encodings=[encoding])
        answer = await self.client.initialize_async(
            lsp.InitializeParams(
                capabilities=lsp.ClientCapabilities(general=general), root_uri=self.root.as_uri()
            )
        )
        assert answer.capabilities.hover_provider
        assert answer.capabilities.definition_provider
        assert answer.capabilities.completion_provider
        self.client.initialized(lsp.InitializedParams())

    async def stop(self) -> None:
        """Shut down as the protocol wants it."""
        await self.client.shutdown_async(None)
        self.client.exit(None)
        await self.client.stop()

    def uri(self, path: str) -> str:
        """Return a document's address."""
        return (self.root / path).as_uri()

    def open(self, path: str, text: str | None = None) -> None:
        """Open a document, with other content than the disk's if it is given."""
        self.texts[path] = (self.root / path).read_text() if text is None else text
        self._news.clear()
        item = lsp.TextDocumentItem(self.uri(path), "yaml", 0, self.texts[path])
        self.client.text_document_did_open(lsp.DidOpenTextDocumentParams(item))

    def type(self, path: str, old: str, new: str) -> None:
        """Replace a text, as one incremental change."""
        text = self.texts[path]
        assert text.count(old) == 1
        begin = text.index(old)
        change = lsp.TextDocumentContentChangePartial(
            lsp.Range(position(text, begin), position(text, begin + len(old))), new
        )
        self.texts[path] = text.replace(old, new)
        self._versions += 1
        self._news.clear()
        document = lsp.VersionedTextDocumentIdentifier(self._versions, self.uri(path))
        self.client.text_document_did_change(lsp.DidChangeTextDocumentParams(document, [change]))

    def at(self, path: str, marked: str) -> lsp.Position:
        """Return the position of ``|`` in a text that occurs once in a document."""
        before, _, after = marked.partition("|")
        assert self.texts[path].count(before + after) == 1
        return position(self.texts[path], self.texts[path].index(before + after) + len(before))

    async def sees(
        self, path: str, condition: Callable[[list[lsp.Diagnostic]], bool]
    ) -> list[lsp.Diagnostic]:
        """Wait until the diagnostics of a document are as expected."""
        async with asyncio.timeout(WAIT_S):
            while path not in self.shown or not condition(self.shown[path]):
                await self._news.wait()
                self._news.clear()
        return self.shown[path]

    async def hover(self, path: str, marked: str) -> str:
        """Return the text shown at a place, empty without any."""
        found = await self.client.text_document_hover_async(
            lsp.HoverParams(lsp.TextDocumentIdentifier(self.uri(path)), self.at(path, marked))
        )
        if found is None:
            return ""
        assert isinstance(found.contents, lsp.MarkupContent)
        return found.contents.value

    async def completions(self, path: str, marked: str) -> dict[str, lsp.CompletionItem]:
        """Return what is offered at a place, by label."""
        found = await self.client.text_document_completion_async(
            lsp.CompletionParams(lsp.TextDocumentIdentifier(self.uri(path)), self.at(path, marked))
        )
        assert isinstance(found, lsp.CompletionList)
        return {item.label: item for item in found.items}

    async def definition(self, path: str, marked: str) -> tuple[str, str]:
        """Return the file and the text of the declaration of a name."""
        found = await self.client.text_document_definition_async(
            lsp.DefinitionParams(lsp.TextDocumentIdentifier(self.uri(path)), self.at(path, marked))
        )
        assert isinstance(found, lsp.Location)
        file = Path(found.uri.removeprefix("file://"))
        assert found.range.start.line == found.range.end.line
        path, place = file.relative_to(self.root).as_posix(), found.range
        text = self.texts.get(path) or sample_files()[path].decode()
        return path, text.split("\n")[place.start.line][place.start.character : place.end.character]


def position(text: str, offset: int) -> lsp.Position:
    """Return a position in UTF-16 units, as the protocol has them without an agreement."""
    before = text[:offset]
    line = before.rsplit("\n", 1)[-1]
    return lsp.Position(before.count("\n"), len(line.encode("utf-16-le")) // 2)


@pytest.fixture
async def editor(tmp_path: Path) -> AsyncIterator[Editor]:
    """An editor on the sample directory."""
    for path, data in sample_files().items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    found = Editor(tmp_path)
    await found.start(lsp.PositionEncodingKind.Utf16)
    yield found
    await found.stop()


async def test_errors_appear_while_typing_and_go_away(editor: Editor) -> None:
    """With the compiler's own text at the compiler's own place, in the file that has it."""
    editor.open(CARD)
    assert await editor.sees(CARD, lambda _: True) == []
    editor.type(CARD, "burst and card.declines_10m >= 2", "burst and card.declnes_10m >= 2")
    (found,) = await editor.sees(
        CARD, lambda items: any(i.severity == lsp.DiagnosticSeverity.Error for i in items)
    )
    assert found.message == "unknown name `card.declnes_10m`; did you mean `card.declines_10m`?"
    begin = position(editor.texts[CARD], editor.texts[CARD].index("card.declnes"))
    assert (found.range.start, found.range.end.character - begin.character) == (
        begin,
        len("card.declnes_10m"),
    )
    editor.type(CARD, "card.declnes_10m", "card.declines_10m")
    assert await editor.sees(CARD, lambda items: not items) == []
    # A change of one file shows what it breaks in another.
    editor.open("features.yaml")
    editor.type("features.yaml", "card.declines_10m: ", "card.refusals_10m: ")
    found = (await editor.sees(CARD, bool))[0]
    assert "unknown name `card.declines_10m`" in found.message
    editor.type("features.yaml", "card.refusals_10m: ", "card.declines_10m: ")
    assert await editor.sees(CARD, lambda items: not items) == []


async def test_a_list_file_has_its_errors_at_its_lines(editor: Editor) -> None:
    """Open in the editor or only on the disk; hover tells where the items are."""
    (editor.root / "lists").mkdir()
    (editor.root / "lists/risky.csv").write_text("NO\nkp\nIR\n")
    editor.open("lists.yaml")
    editor.type("lists.yaml", "items: [NO, KP, IR]", "file: lists/risky.csv")
    (found,) = await editor.sees("lists/risky.csv", bool)
    assert found.message.startswith('`"kp"` is not a country')
    assert found.range.start == lsp.Position(1, 0)
    editor.open("lists/risky.csv", "NO\nKP\nIR\n")
    assert await editor.sees("lists/risky.csv", lambda items: not items) == []
    editor.open(CARD)
    assert "3 items in `lists/risky.csv`: NO, KP, IR" in await editor.hover(CARD, "not in lists.ri|sky")


async def test_columns_behind_wide_characters_are_counted_as_the_editor_counts(editor: Editor) -> None:
    """A pictograph is two UTF-16 units; the mark stands under the name, not beside it."""
    editor.open(CARD)
    editor.type(
        CARD, "when: burst and card.declines_10m >= 2", 'when: lower(merchant.mcc) == "🦊🦊" and brst'
    )
    (found,) = await editor.sees(CARD, lambda items: any("`brst`" in item.message for item in items))
    text = editor.texts[CARD]
    assert found.range.start == position(text, text.index("brst"))


async def test_a_name_shows_what_it_is_and_where_it_was_declared(editor: Editor) -> None:
    """Features with their definition, fields, lists, params, conditions, functions, typologies."""
    editor.open(CARD)
    editor.open("rulesets/payment.yaml")
    shown = await editor.hover(CARD, "burst and card.decl|ines_10m >= 2")
    assert "number of events with the same card.id in the last 10m" in shown
    before = sample_files()["features.yaml"].decode().split("card.declines_10m:")[0]
    assert f"features.yaml:{before.count(chr(10)) + 1}`" in shown
    assert "card.declines_10m:     {agg: count" in shown
    assert "member `mcc` of the event" in await editor.hover(
        "rulesets/payment.yaml", "when: merchant.m|cc in"
    )
    assert "3 items: 8398, 0742, 8661" in await editor.hover("rulesets/payment.yaml", "in lists.charity|_mcc")
    assert "{value: 4, min: 2, max: 20}" in await editor.hover(CARD, "card.small_auths_10m >= params.|n}")
    assert "great-circle distance" in await editor.hover(CARD, "dist|ance_km(")
    assert "alert at 50, block at 60" in await editor.hover(CARD, "typology: card_|testing")
    assert await editor.hover(CARD, "severity: hi|gh") == ""
    assert await editor.definition(CARD, "burst and card.decl|ines_10m >= 2") == (
        "features.yaml",
        "card.declines_10m",
    )
    assert await editor.definition("rulesets/payment.yaml", "when: merchant.m|cc in") == (
        "schema.yaml",
        "merchant.mcc",
    )
    assert await editor.definition("rulesets/payment.yaml", "in lists.charity|_mcc") == (
        "lists.yaml",
        "charity_mcc",
    )
    assert await editor.definition(CARD, "when: bu|rst and") == (CARD, "burst")
    assert await editor.definition(CARD, "typology: card_|testing") == ("typologies.yaml", "card_testing")
    family = await editor.definition("rulesets/payment.yaml", "and account.velocity_count_|out_24h >= 1")
    assert family == ("features.yaml", "account.velocity")
    assert await editor.definition(
        "rulesets/profile.yaml".replace("profile", "payment"), "params.times * account.amount_|mean_7d"
    ) == ("features.yaml", "account.amount_mean_7d")


async def test_names_are_completed_also_on_a_line_that_is_not_finished(editor: Editor) -> None:
    """By their beginning first, then by what they contain; of this rule's params, not another's."""
    editor.open(CARD)
    editor.type(CARD, "when: burst and card.declines_10m >= 2", "when: burst and card.")
    found = await editor.completions(CARD, "burst and card.|\n")
    assert {"card.id", "card.declines_10m", "card.small_auths_10m"} <= found.keys()
    assert "txn.amount" not in found
    assert "number of events" in str(found["card.declines_10m"].documentation)
    edit = found["card.declines_10m"].text_edit
    assert isinstance(edit, lsp.TextEdit)
    assert editor.at(CARD, "burst and |card.\n") == edit.range.start
    editor.type(CARD, "when: burst and card.", "when: burst and par")
    assert {"params.n"} == {
        name for name in await editor.completions(CARD, "burst and par|\n") if name.startswith("params")
    }
    editor.type(CARD, "when: burst and par", "when: burst and dist")
    assert "distance_km" in await editor.completions(CARD, "burst and dist|\n")
    editor.type(CARD, "typology: card_testing", "typology: ")
    assert set(await editor.completions(CARD, "typology: |\n")) == {"card_testing", "mule"}


async def test_files_of_no_rules_directory_are_left_alone(editor: Editor) -> None:
    """No diagnostics, no answers, no error of the protocol."""
    (editor.root / "notes.yaml").write_text("a: [")
    editor.open("notes.yaml")
    editor.open(CARD)
    await editor.sees(CARD, lambda _: True)
    assert "notes.yaml" not in editor.shown
    assert await editor.hover("notes.yaml", "a|: [") == ""
