"""From a rules directory to a bundle: the one road for start-up, reload, commands and tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fraudstream.rules.bundle import Bundle, Effect, ListVersion, Rule
from fraudstream.rules.compiler.canonical import canonical_json
from fraudstream.rules.compiler.checks import run_checks
from fraudstream.rules.compiler.collection import without_collection
from fraudstream.rules.compiler.declared import Declared, expressions_of
from fraudstream.rules.compiler.documents import (
    LIST_FILE,
    LIST_FILES,
    RULE_SETS,
    kind_of_file,
    open_documents,
)
from fraudstream.rules.compiler.expressions import scope_of
from fraudstream.rules.compiler.features import read_features
from fraudstream.rules.compiler.list_files import LIST_BYTES_MAX, list_files, version_of_list
from fraudstream.rules.compiler.lists import read_lists
from fraudstream.rules.compiler.program import compile_outputs
from fraudstream.rules.compiler.reader import FILE_BYTES_MAX, Findings
from fraudstream.rules.compiler.reference import read_reference, reference_of
from fraudstream.rules.compiler.ruleset import Context, DeclaredRule, read_rules
from fraudstream.rules.compiler.schema import read_schema
from fraudstream.rules.compiler.segments import segment_slot
from fraudstream.rules.compiler.slots import MODEL_SLOTS, field_slots
from fraudstream.rules.compiler.source import Diagnostic, Span, render_all, sorted_diagnostics
from fraudstream.rules.compiler.types import Checked
from fraudstream.rules.compiler.typologies import policy_segment, read_policy, read_typologies

ARCHIVE_FORMAT = 1
TOTAL_BYTES_MAX = 16 << 20
FILES_MAX = 1_000


class BundleError(ValueError):
    """Rule files that do not compile; the message holds all errors."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """Result of one run over all files."""

    bundle: Bundle | None
    """None if there is any error."""
    diagnostics: tuple[Diagnostic, ...]
    """Errors and warnings, by file and line."""
    declared: Declared | None = None
    """What the files say, for tests, explanations and checks; None if schema.yaml could not be read."""

    @property
    def rules(self) -> tuple[DeclaredRule, ...]:
        """Return the rules as written, drafts and retired ones included, with their tests (``cases``)."""
        return () if self.declared is None else self.declared.rules

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """Return the findings that keep the bundle from running."""
        return tuple(item for item in self.diagnostics if item.level == "error")

    @property
    def tests(self) -> int:
        """Return the number of embedded tests."""
        return sum(len(rule.cases) for rule in self.rules)


def read_directory(path: Path) -> dict[str, bytes]:
    """Return the files of a rules directory that make a bundle, by POSIX path relative to it.

    Packs below it and engineers' code are no part of it. A file beyond the size limit is read up to one
    byte more, so that compiling refuses it without reading gigabytes.

    Raises:
        OSError: the directory or a file can not be read.
    """
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is not a directory; expected schema.yaml and rulesets/ in it")
    found = [*path.glob("*.yaml"), *(path / RULE_SETS).glob("*.yaml"), *(path / LIST_FILES).glob("*")]
    files: dict[str, bytes] = {}
    for file in sorted(found):
        name = file.relative_to(path).as_posix()
        kind = kind_of_file(name)
        if kind is not None and file.is_file():
            with file.open("rb") as stream:
                files[name] = stream.read((LIST_BYTES_MAX if kind == LIST_FILE else FILE_BYTES_MAX) + 1)
    return files


def compile_sources(
    files: Mapping[str, bytes], model_inputs: Iterable[str] | None = None, now_ms: int | None = None
) -> Compiled:
    """Compile rule files; every error of every file is found in one run.

    Args:
        files: content by path, as ``read_directory`` gives it.
        model_inputs: fields and features that the model in force reads, empty without a model; for warnings
            about unused and undeclared features. None: not known.
        now_ms: the clock, for warnings about exceptions that are over; changes nothing else.
    """
    with without_collection():
        return _compile(files, model_inputs, now_ms)


def _compile(files: Mapping[str, bytes], model_inputs: Iterable[str] | None, now_ms: int | None) -> Compiled:
    findings = Findings()
    if not _fits(files, findings):
        return Compiled(None, sorted_diagnostics(findings.items))
    sections = open_documents(files, findings)
    if "schema.yaml" not in files:
        hint = (
            "a rules directory has schema.yaml, reference.yaml, features.yaml, lists.yaml, typologies.yaml, "
            "rulesets/*.yaml"
        )
        findings.error(Span("schema.yaml", 1, 1), "the file is missing", hint)
    if "schema.yaml" not in sections or findings.exhausted:
        return Compiled(None, sorted_diagnostics(findings.items))
    typology_file = sections.get("typologies.yaml")
    policy = read_policy(typology_file, findings)
    typologies = read_typologies(typology_file, findings)
    schema = read_schema(sections["schema.yaml"], findings)
    if schema is None:
        return Compiled(None, sorted_diagnostics(findings.items))
    fields = field_slots(schema)
    reference = read_reference(sections.get("reference.yaml"), schema, files, findings)
    sets = {path: section for path, section in sections.items() if path.startswith(RULE_SETS)}
    features = read_features(sections.get("features.yaml"), schema, policy.zone, findings, reference, sets)
    slots = fields | dict(reference.slots) | dict(features.slots) | {slot.name: slot for slot in MODEL_SLOTS}
    scope = scope_of(schema, slots, policy.zone)
    lists = read_lists(sections.get("lists.yaml"), scope, findings, list_files(files))
    scope = replace(scope, lists=lists.lists)
    segment = segment_slot(policy_segment(typology_file), scope, findings)
    known = tuple(item.id for item in typologies.typologies)
    context = Context(schema, scope, known, policy.language, segment, features.sequences)
    rules = read_rules(sets, context, findings)
    inputs = None if model_inputs is None else frozenset(model_inputs)
    complete = len(files) == len(sections) + len(list_files(files))
    declared = Declared(
        schema,
        features,
        lists,
        typologies,
        policy,
        rules,
        expressions_of(rules),
        slots,
        inputs,
        complete,
        reference,
        now_ms,
    )
    run_checks(declared, findings)
    bundle = None if findings.failed else build_bundle(declared, make_archive(files))
    return Compiled(bundle, sorted_diagnostics(findings.items), declared)


def read_list_versions(files: Mapping[str, bytes]) -> tuple[ListVersion, ...]:
    """Return the versions of the lists of a bundle's files without compiling its rules."""
    findings = Findings()
    wanted = {"schema.yaml", "lists.yaml", "typologies.yaml"}
    sections = open_documents({path: data for path, data in files.items() if path in wanted}, findings)
    schema = read_schema(sections["schema.yaml"], findings) if "schema.yaml" in sections else None
    if schema is None:
        return ()
    zone = read_policy(sections.get("typologies.yaml"), findings).zone
    scope = scope_of(schema, field_slots(schema), zone)
    lists = read_lists(sections.get("lists.yaml"), scope, findings, list_files(files))
    return tuple(map(version_of_list, lists.lists.values()))


def compile_archive(archive: bytes) -> Bundle:
    """Compile the archive of a bundle; the result has the archive's hash.

    Raises:
        BundleError: no archive, not in canonical form, or files that do not compile.
    """
    files = archive_files(archive)
    compiled = compile_sources(files)
    if compiled.bundle is None:
        raise BundleError(render_all(compiled.errors, files))
    if compiled.bundle.archive != archive:
        raise BundleError("the archive is not in canonical form; make it with `rules bundle`")
    return compiled.bundle


def make_archive(files: Mapping[str, bytes]) -> bytes:
    """Return rule files in canonical form.

    Raises:
        UnicodeDecodeError: a file is not UTF-8.
    """
    texts = {path: data.decode() for path, data in files.items()}
    return canonical_json({"files": texts, "format": ARCHIVE_FORMAT})


def archive_files(archive: bytes) -> dict[str, bytes]:
    """Return the files of an archive.

    Raises:
        BundleError: not an archive of this format.
    """
    if len(archive) > 2 * TOTAL_BYTES_MAX:
        raise BundleError(f"the archive was {len(archive):,} bytes, at most {2 * TOTAL_BYTES_MAX:,} are read")
    try:
        content = json.loads(archive)
        if content["format"] != ARCHIVE_FORMAT:
            raise BundleError(f"the archive has format {content['format']!r}, expected {ARCHIVE_FORMAT}")
        return {path: text.encode() for path, text in sorted(content["files"].items())}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"not a bundle archive: {type(error).__name__}") from None


def archive_hash(archive: bytes) -> str:
    """Return the hash that names a bundle."""
    return "sha256:" + hashlib.sha256(archive).hexdigest()


def _fits(files: Mapping[str, bytes], findings: Findings) -> bool:
    total = sum(map(len, files.values()))
    if total > TOTAL_BYTES_MAX:
        message = (
            f"the rule files were {total:,} bytes together, at most {TOTAL_BYTES_MAX:,} (16 MiB) are read"
        )
        findings.error(Span(min(files), 1, 1), message, "remove retired rules or split the directory")
    if len(files) > FILES_MAX:
        findings.error(Span(min(files), 1, 1), f"{len(files):,} files, at most {FILES_MAX:,} are read")
    return not findings.failed


def build_bundle(declared: Declared, archive: bytes, extra: Sequence[Checked] = ()) -> Bundle:
    """Put a bundle together from declarations without errors.

    ``extra``: further outputs, the last ones of the program.
    """
    evaluated = sorted((rule for rule in declared.rules if rule.evaluated), key=lambda rule: rule.id)
    gates: dict[tuple[object, ...], int] = {}
    outputs: list[Checked] = [rule.full for rule in evaluated if rule.full is not None]
    rules: list[Rule] = []
    index_of = {item.id: index for index, item in enumerate(declared.typologies.typologies)}
    for index, rule in enumerate(evaluated):
        assert rule.gate is not None
        door = (tuple(sorted(rule.on)), rule.from_ms, rule.until_ms)
        if door not in gates:
            gates[door] = len(outputs)
            outputs.append(rule.gate)
        rules.append(_built(rule, index, gates[door], index_of))
    for index, rule in enumerate(evaluated):
        rules[index] = _with_effects(rules[index], rule, outputs)
    outputs += extra
    features = declared.features.feature_set
    program = compile_outputs(outputs)
    filtered = () if features.filter_program is None else features.filter_program.slots
    read = [*program.slots, *filtered, *(slot for rule in rules for slot in rule.reads)]
    return Bundle(
        hash=archive_hash(archive),
        archive=archive,
        schema=declared.schema,
        features=features,
        rules=tuple(rules),
        program=program,
        typologies=declared.typologies.typologies,
        policy=declared.policy,
        rates=declared.lists.rates,
        lists=tuple(map(version_of_list, declared.lists.lists.values())),
        slots=dict(declared.slots),
        reference=reference_of(declared.reference, read),
    )


def _with_effects(rule: Rule, declared: DeclaredRule, outputs: list[Checked]) -> Rule:
    """Append a rule's further outputs, for exceptions, score bands and canaries."""
    found = declared.outcome
    assert found is not None
    before = -1
    if found.before is not None:
        before = len(outputs)
        outputs.append(found.before)
    split = tuple(Effect(len(outputs) + at, score) for at, (_, score) in enumerate(declared.acts))
    outputs += [output for output, _ in declared.acts]
    return replace(rule, before=before, split=split)


def _built(rule: DeclaredRule, index: int, gate: int, typologies: Mapping[str, int]) -> Rule:
    return Rule(
        id=rule.id,
        title=rule.title,
        index=index,
        gate=gate,
        severity=rule.severity,
        mode=rule.mode,
        action=rule.action,
        never_override=rule.never_override,
        score=rule.score,
        priority=rule.priority,
        typology=typologies.get(rule.typology, -1),
        owner=rule.owner,
        zone=rule.zone,
        reason=rule.reason,
        reads=rule.reads,
        limit=rule.limit,
        suppress=rule.suppress,
    )
