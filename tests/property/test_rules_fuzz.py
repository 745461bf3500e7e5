"""Reader, grammar and compiler on made-up input for as long as one wants: `make fuzz FUZZ_MINUTES=60`.

Nothing may come out but findings that can be shown, or a bundle. A failing example is shrunk and printed by
Hypothesis; it belongs into the tests that run always.
"""

# ruff: noqa: E501 (tables of pieces)
from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.sample_rules import sample_files

from fraudstream.rules import compile_archive, compile_sources, render_all
from fraudstream.rules.compiler.formatter import FormatError, format_text
from fraudstream.rules.compiler.functions import FUNCTIONS
from fraudstream.rules.compiler.grammar import parse
from fraudstream.rules.compiler.nodes import walk
from fraudstream.rules.compiler.reader import Findings, MappingNode, ScalarNode, SequenceNode, read
from fraudstream.rules.compiler.switch_off import switched_off

MINUTES = float(os.environ.get("FUZZ_MINUTES", "2"))
FILES = sample_files()
EXAMPLES = 500
"""Of a round; each begins with a new seed."""
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
pytestmark = [pytest.mark.long, pytest.mark.timeout(int(MINUTES * 60) + 900)]

YAML_PIECES = [
    "a", "a: ", "- ", "? ", ": ", "{", "}", "[", "]", ", ", "'", '"', "|", ">", "|2-", ">+", "#", " #", "&a ", "*a",
    "<<: ", "!!str ", "!", "%YAML 1.2", "---", "...", "\n", "\n  ", "\n    ", "\t", "\r\n", "\r", "\u2028", "\x85",
    "\ufeff", "\x00", "\x1b[31m", "\u202e", "null", "~", "\\n", "\\x41", "\\u12", "''", "é", "🦊", "0742", "NO", "1e9",
]  # fmt: skip
WORDS = [
    *FUNCTIONS, "and", "or", "not", "in", "is", "missing", "between", "true", "false", "txn.amount", "card.id",
    "account.opened", "txn.country", "lists.risky", "params.n", "model.score", "(", ")", "[", "]", ",", "+", "-", "*",
    "/", "==", "!=", "<", "<=", ">", ">=", "=", "&&", "!", ".", "..", "1", "0", "007", "1.5", "1.", ".5", "1e5", "50%",
    "10m", "1h30m", "1h1h", "100 CNY", "CNY", '"CN"', "'x'", '"', "'", "\\", "#", "@", "$", "`", "ü", "\u202e", "\n",
    "9" * 30, "x" * 200, "__class__", "txn.amount.__class__", "9**9",
]  # fmt: skip


def joined(pieces: list[str]) -> bytes:
    """Return pieces as a file."""
    return "".join(pieces).encode("utf-8", "surrogatepass")


@FUZZ
@given(st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(YAML_PIECES), max_size=60).map(joined)))
def fuzz_reader(data: bytes) -> None:
    """What is read is what libyaml says, scalars at their own places; else there are findings."""
    findings = Findings()
    root = read("x.yaml", data, findings)
    text = render_all(findings.items, {"x.yaml": data})
    assert all(char.isprintable() or char in "\n\t" for char in text)
    assert root is not None or findings.failed
    if root is None or findings.failed:
        return
    text = data.decode("utf-8-sig")
    try:
        expected = yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError:
        # A few texts that libyaml reads are refused by PyYAML's own scanner.
        expected = yaml.load(text, Loader=yaml.CBaseLoader)
    assert _plain(root) == expected


@FUZZ
@given(st.lists(st.sampled_from(WORDS), max_size=60), st.sampled_from([" ", ""]))
def fuzz_grammar(words: list[str], glue: str) -> None:
    """A tree whose nodes lie within the text, or problems that do; never both or neither."""
    text = glue.join(words)
    node, problems = parse(text)
    assert (node is None) == bool(problems)
    for item in problems:
        assert 0 <= item.begin <= len(text)
        assert item.begin <= item.end <= len(text) + 1
        assert item.message
    for part in walk(node) if node is not None else ():
        assert 0 <= part.begin < part.end <= len(text)


@FUZZ
@given(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=40).map(" ".join),
    st.sampled_from(["when", "where"]),
)
def fuzz_expression(text: str, place: str) -> None:
    """Any expression in a rule or a feature: findings, or a bundle whose archive compiles again."""
    quoted = "'" + text.replace("'", "''").replace("\n", " ") + "'"
    files = dict(FILES)
    if place == "when":
        files["rulesets/payment.yaml"] = files["rulesets/payment.yaml"].replace(
            b"merchant.mcc in lists.charity_mcc", quoted.encode()
        )
    else:
        files["features.yaml"] = files["features.yaml"].replace(
            b"'txn.status == \"declined\"'", quoted.encode()
        )
    _checked(files)


@FUZZ
@given(st.sampled_from(sorted(FILES)), st.data())
def fuzz_files(path: str, data: st.DataObject) -> None:
    """Pieces of YAML and of the language anywhere in a good file."""
    text = FILES[path].decode()
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(text)))
        end = min(len(text), begin + data.draw(st.integers(0, 30)))
        text = text[:begin] + data.draw(st.sampled_from(YAML_PIECES + WORDS)) + text[end:]
    files = FILES | {path: text.encode("utf-8", "surrogatepass")}
    _checked(files)
    try:
        laid_out = format_text(path, files[path])
    except FormatError:
        return
    assert format_text(path, laid_out.encode()) == laid_out


def _checked(files: dict[str, bytes]) -> None:
    compiled = compile_sources(files)
    assert (compiled.bundle is None) == bool(compiled.errors)
    text = render_all(compiled.diagnostics, files)
    assert all(char.isprintable() or char in "\n\t" for char in text)
    if compiled.bundle is not None:
        assert compile_archive(compiled.bundle.archive).hash == compiled.bundle.hash
        off = compile_sources(switched_off(files, compiled.rules[0].id))
        assert off.bundle is not None, off.errors


def _plain(node: object) -> object:
    if isinstance(node, MappingNode):
        return {key: _plain(value) for key, (_, value) in node.entries.items()}
    if isinstance(node, SequenceNode):
        return [_plain(item) for item in node.items]
    assert isinstance(node, ScalarNode)
    return node.text


@pytest.mark.parametrize("fuzz", [fuzz_reader, fuzz_grammar, fuzz_expression, fuzz_files])
def test_nothing_crashes(fuzz: Callable[[], None]) -> None:
    """A quarter of the time for each; new examples every round."""
    end_s, rounds = time.monotonic() + MINUTES * 60 / 4, 0
    while time.monotonic() < end_s:
        rounds += 1
        fuzz()
    print(f"{fuzz.__name__}: {rounds * EXAMPLES:,} examples")  # noqa: T201 - the test's own report
