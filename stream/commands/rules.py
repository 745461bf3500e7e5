"""`fraudstream rules`: what risk operators do with a rules directory."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree as ET

from fraudstream.models.model import Model
from fraudstream.rules.compiler.casefile import HistoryOutcome, TestResult, run_tests
from fraudstream.rules.compiler.compile import Compiled, compile_sources
from fraudstream.rules.compiler.coverage import Covered, coverage, with_terms
from fraudstream.rules.compiler.difference import semantic, textual
from fraudstream.rules.compiler.documents import LIST_FILE, kind_of_file
from fraudstream.rules.compiler.explain import explain
from fraudstream.rules.compiler.formatter import FormatError, format_text
from fraudstream.rules.compiler.jsonschema import document_schema, json_schema
from fraudstream.rules.compiler.source import Diagnostic, Span, render_all
from fraudstream.rules.compiler.vocabulary import DOCUMENTS
from fraudstream.stream.commands import backtest, why
from fraudstream.stream.commands.bundle_arguments import EXAMPLES as BUNDLE_EXAMPLES
from fraudstream.stream.commands.bundle_arguments import add_actions
from fraudstream.stream.commands.findings import FORMATS
from fraudstream.stream.enrichment.directory import TableFiles
from fraudstream.stream.errors import BadUse, Exit, NothingToCheck
from fraudstream.stream.rule_event import event_lines
from fraudstream.stream.rule_tests import make_history_runner
from fraudstream.stream.scoring import undeclared_inputs
from fraudstream.stream.shipped import default_rules, named_model, read_rules

SUMMARY = "check, test and explain a rules directory, and put it in force"

_EXAMPLES = """examples:
  fraudstream rules lint rules/
  fraudstream rules test rules/ --junit tests.xml
  fraudstream rules fmt rules/ --check
  fraudstream rules explain card.testing.small_auths
  fraudstream rules diff main/rules rules --on log.jsonl
  fraudstream rules backtest rules/ --input log.jsonl --labels labels.jsonl --base main/rules --html a.html
  fraudstream rules why 0:18231 --input log.jsonl
  fraudstream rules schema > fraudstream.schema.json
  fraudstream rules lsp --stdio"""
_EXAMPLES += BUNDLE_EXAMPLES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of all actions."""
    parser.epilog = _EXAMPLES
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, does: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        found = actions.add_parser(
            name,
            help=text,
            description=text,
            epilog=f"example: {next(line.strip() for line in _EXAMPLES.splitlines() if f' {name} ' in line)}",
            allow_abbrev=False,
        )
        found.set_defaults(does=does)
        return found

    lint = action("lint", _lint, "find every error and warning in the files")
    _add_directory(lint)
    lint.add_argument("--format", choices=("text", *FORMATS), default="text")
    lint.add_argument("--strict", action="store_true", help="warnings end with exit code 1 too")
    test = action("test", _test, "run the tests that stand beside the rules")
    _add_directory(test)
    test.add_argument("--rule", metavar="ID", help="only this rule's tests")
    test.add_argument("--junit", type=Path, metavar="F", help="write a JUnit report")
    test.add_argument(
        "--coverage", action="store_true", help="list the terms that no test saw true, or false"
    )
    test.add_argument("--verbose", action="store_true", help="list the tests that passed too")
    layout = action("fmt", _fmt, "write the files in canonical layout; comments stay")
    layout.add_argument("directory", nargs="?", type=Path, metavar="DIR", help="default: rules/")
    layout.add_argument("--check", action="store_true", help="change nothing; end with 1 if a file would")
    words = action("explain", _explain, "put a rule into words, with the features it reads")
    words.add_argument("id", metavar="ID", help="the rule")
    words.add_argument(
        "event", nargs="?", type=Path, metavar="EVENT.json", help="what it makes of this record"
    )
    words.add_argument(
        "--given", action="append", default=[], metavar="NAME=VALUE", help="a feature's value, as in tests"
    )
    words.add_argument("--rules", dest="directory", type=Path, metavar="DIR", help="default: rules/")
    changes = action("diff", _diff, "tell what changed between two rules directories")
    changes.add_argument("before", type=Path, metavar="A", help="rules directory as it was")
    changes.add_argument("after", type=Path, metavar="B", help="rules directory as it is")
    changes.add_argument("--text", action="store_true", help="the changed lines too")
    backtest.add_log_arguments(changes, "--on", required=False)
    changes.add_argument("--labels", type=Path, metavar="F", help="with --on: labels of the log")
    backtest.add_arguments(action("backtest", backtest.run, backtest.HELP))
    why.add_arguments(action("why", why.run, why.SUMMARY))
    schema = action("schema", _schema, "print the JSON Schema of the files, for editors")
    schema.add_argument("--kind", choices=sorted(DOCUMENTS), help="of one kind of file only")
    lsp = action("lsp", _lsp, "answer an editor: errors, completion, hover, go to definition")
    lsp.add_argument("--stdio", action="store_true", help="over standard input and output (the only way)")
    add_actions(action)


def run(args: argparse.Namespace) -> int:
    """Do one action."""
    does: Callable[[argparse.Namespace], int] = args.does
    return does(args)


def _add_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", nargs="?", type=Path, metavar="DIR", help="default: rules/")
    parser.add_argument("--model", metavar="F", help="model file, or none (default: the shipped model)")


class _Directory:
    """A rules directory, compiled."""

    def __init__(self, directory: Path | None, model: Model | None) -> None:
        self.path = directory or default_rules()
        self.files = read_rules(self.path)
        inputs = [] if model is None else list(model.reads)
        self.compiled: Compiled = compile_sources(self.files, inputs, time.time_ns() // 1_000_000)

    @property
    def prefix(self) -> str:
        """Return what stands before file names in messages."""
        return f"{self.path}/"

    def print_errors(self) -> bool:
        """Print the errors, if there are any, to standard error."""
        errors = self.compiled.errors
        if errors:
            print(render_all(errors, self.files, self.prefix), file=sys.stderr)
        return bool(errors)


def _lint(args: argparse.Namespace) -> int:
    model = named_model(args.model)
    found = _Directory(args.directory, model)
    findings = (*found.compiled.diagnostics, *_misfits(found.compiled, model))
    warnings = len(findings) - len(found.compiled.errors)
    if args.format != "text":
        print(FORMATS[args.format](findings, found.prefix))
    else:
        if findings:
            print(render_all(findings, found.files, found.prefix), end="\n\n")
        print(_summary(found, warnings))
    return Exit.FINDINGS if found.compiled.errors or (args.strict and warnings) else Exit.OK


def _misfits(compiled: Compiled, model: Model | None) -> list[Diagnostic]:
    """Return inputs that are declared, but not as the model reads them."""
    bundle = compiled.bundle
    if bundle is None or model is None or any(name not in bundle.slots for name in model.reads):
        return []
    hint = "`model.score` is always missing with these rules"
    return [
        Diagnostic(
            "warning", f"the model does not fit: {text}", Span("schema.yaml", 1, 1), hint, "model-misfit"
        )
        for text in undeclared_inputs(model, bundle)
    ]


def _summary(found: _Directory, warnings: int) -> str:
    compiled = found.compiled
    errors = len(compiled.errors)
    text = f"{_count(errors, 'error')}, {_count(warnings, 'warning')} in {_count(len(found.files), 'file')}"
    if compiled.bundle is None:
        return text
    live = len(compiled.bundle.rules)
    features = _count(len(compiled.bundle.features.features), "feature")
    return f"{text}: {_count(live, 'rule')} in force, {features}, bundle {compiled.bundle.hash}"


def _test(args: argparse.Namespace) -> int:
    model = named_model(args.model)
    found = _Directory(args.directory, model)
    if found.print_errors():
        return Exit.FINDINGS
    bundle = found.compiled.bundle
    assert bundle is not None
    loaded = TableFiles(found.path).load(bundle, model)
    if loaded.problems:
        print("\n".join(loaded.problems.values()), file=sys.stderr)
        return Exit.FINDINGS
    compiled, terms = with_terms(found.compiled) if args.coverage else (found.compiled, ())
    assert compiled.bundle is not None
    runner = make_history_runner(compiled.bundle, model, loaded.contents)
    events: dict[int, HistoryOutcome] = {}

    def recording(records: Sequence[tuple[int, bytes]]) -> HistoryOutcome:
        events[id(records)] = runner(records)
        return events[id(records)]

    results = run_tests(compiled, recording)
    if args.rule is not None:
        results = [result for result in results if result.rule == args.rule]
        if not results:
            raise NothingToCheck(f"no tests of a rule `{args.rule}` in {found.path}")
    if not results:
        raise NothingToCheck(f"no tests in {found.path}; every live rule needs one that matches and one not")
    for result in results:
        if result.status == "failed" or args.verbose:
            _print_result(result, found.prefix)
    failed = sum(result.status == "failed" for result in results)
    skipped = sum(result.status == "skipped" for result in results)
    rules = len({result.rule for result in results})
    tail = f", {skipped} skipped" if skipped else ""
    passed = len(results) - failed - skipped
    print(
        f"{_count(len(results), 'test')} of {_count(rules, 'rule')}: {passed} passed, {failed} failed{tail}"
    )
    if args.coverage:
        _print_coverage(coverage(compiled, terms, events), args.rule, found.prefix)
    if args.junit is not None:
        _write_junit(args.junit, results, found.prefix)
    return Exit.FINDINGS if failed else Exit.OK


def _print_coverage(found: Sequence[Covered], rule: str | None, prefix: str) -> None:
    """Print the terms that tests saw with one outcome only, and the share that they saw."""
    found = [item for item in found if rule in (None, item.term.rule)]
    for item in found:
        if item.outcomes < 2:
            seen = (
                "neither true nor false" if not item.outcomes else "not true" if item.false else "not false"
            )
            span = item.term.span
            print(f"{prefix}{span.file}:{span.line}:{span.column}: `{item.term.text}` was {seen} in any test")
    outcomes, wanted = sum(item.outcomes for item in found), 2 * len(found)
    share = 100 * outcomes / wanted if wanted else 100.0
    print(
        f"coverage of {_count(len(found), 'term')}: {outcomes:,} of {wanted:,} outcomes seen ({share:.1f} %)"
    )


def _print_result(result: TestResult, prefix: str) -> None:
    span = result.span
    print(f"{prefix}{span.file}:{span.line}: {result.status}: `{result.rule}`, test `{result.name}`")
    for problem in result.problems:
        print(f"    {problem}")


def _write_junit(path: Path, results: Sequence[TestResult], prefix: str) -> None:
    suites = ET.Element("testsuites")
    for rule in dict.fromkeys(result.rule for result in results):
        mine = [result for result in results if result.rule == rule]
        failures = sum(result.status == "failed" for result in mine)
        skipped = sum(result.status == "skipped" for result in mine)
        suite = ET.SubElement(
            suites, "testsuite", name=rule, tests=str(len(mine)), failures=str(failures), skipped=str(skipped)
        )
        for result in mine:
            case = ET.SubElement(
                suite,
                "testcase",
                classname=rule,
                name=_for_xml(result.name),
                file=prefix + result.span.file,
                line=str(result.span.line),
            )
            if result.status != "passed":
                kind = "failure" if result.status == "failed" else "skipped"
                ET.SubElement(case, kind, message=_for_xml("; ".join(result.problems)))
    ET.ElementTree(suites).write(path, encoding="utf-8", xml_declaration=True)


def _for_xml(text: str) -> str:
    """Replace what XML 1.0 cannot hold."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def _fmt(args: argparse.Namespace) -> int:
    path = args.directory or default_rules()
    files = {name: data for name, data in read_rules(path).items() if kind_of_file(name) != LIST_FILE}
    if not files:
        raise NothingToCheck(f"no rule files in {path}")
    changed, refused = 0, 0
    for name, data in files.items():
        try:
            text = format_text(f"{path}/{name}", data)
        except FormatError as problem:
            print(problem, file=sys.stderr)
            refused += 1
            continue
        if text.encode() == data:
            continue
        changed += 1
        print(f"{path}/{name}")
        if not args.check:
            (path / name).write_text(text, encoding="utf-8", newline="\n")
    print(f"{_count(changed, 'file')} of {len(files):,} {'would change' if args.check else 'changed'}")
    return Exit.FINDINGS if refused or (args.check and changed) else Exit.OK


def _explain(args: argparse.Namespace) -> int:
    found = _Directory(args.directory, None)
    if found.print_errors():
        return Exit.FINDINGS
    try:
        print(explain(found.compiled, args.id))
    except KeyError as problem:
        raise BadUse(str(problem.args[0])) from None
    if args.event is not None:
        print()
        print("\n".join(event_lines(found.compiled, args.id, args.event.read_bytes(), args.given)))
    elif args.given:
        raise BadUse("`--given` needs an event: `fraudstream rules explain ID EVENT.json --given NAME=VALUE`")
    return Exit.OK


def _diff(args: argparse.Namespace) -> int:
    before, after = _Directory(args.before, None), _Directory(args.after, None)
    broken = [side.print_errors() for side in (before, after)]
    if args.text:
        print("\n".join([*textual(before.files, after.files), ""]))
    if any(broken):
        return Exit.FINDINGS
    lines = semantic(before.compiled, after.compiled)
    print("\n".join(lines or ["nothing changed in what the rules mean"]))
    return Exit.OK if args.input is None else backtest.behaviour(args)


def _schema(args: argparse.Namespace) -> int:
    schema = json_schema() if args.kind is None else document_schema(args.kind)
    print(json.dumps(schema, indent=2))
    return Exit.OK


def _lsp(_: argparse.Namespace) -> int:
    # Imported here: the protocol's types take as long to load as all the rest.
    from fraudstream.rules.lsp.server import create_server  # noqa: PLC0415

    create_server(version("fraudstream")).start_io()
    return Exit.OK


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
