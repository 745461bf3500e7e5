"""YAML with positions: what is kept, where it points, and what is refused quickly."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sample_rules import sample_files

from fraudstream.rules import compile_sources
from fraudstream.rules.compiler.reader import (
    DEPTH_MAX,
    FILE_BYTES_MAX,
    Findings,
    MappingNode,
    ScalarNode,
    read,
)

REFUSED_WITHIN_S = 2.0
"""The contract's bound; the refusals below take milliseconds."""


def scalar(text: str, key: str = "a") -> ScalarNode:
    """Return the scalar at a key of a small file."""
    findings = Findings()
    root = read("x.yaml", text.encode(), findings)
    assert root is not None, findings.items
    node = root.entries[key][1]
    assert isinstance(node, ScalarNode)
    return node


@pytest.mark.parametrize("text", ["0742", "NO", "on", "1:30", "1_000", ".nan", "0x10", "2026-01-31", "1e3"])
def test_scalars_keep_their_text(text: str) -> None:
    """Nothing is turned into a number, a boolean or a date by YAML."""
    assert scalar(f"a: {text}\n").text == text


@pytest.mark.parametrize(
    "source",
    [
        "a: one txn.x two\n",
        "a: 'one txn.x ''two'' '\n",
        'a: "one txn.x \\"two\\" \\u4e2d\\n z"\n',
        'a: "one\n  txn.x\n\n  two\\\n  three"\n',
        "a: |\n  one txn.x\n    two\n\n  three\n",
        "a: |2-\n    one txn.x\n  two\n",
        "a: >\n  one\n  txn.x two\n\n  three\n   more\n",
        "a: one\n  txn.x\n  two\n",
        "a: é中文 txn.x\r\nb: 1\r\n",
        "# comment\n\na:   one txn.x   # comment\n",
        "{a: one txn.x, b: 2}\n",
    ],
)
def test_every_character_points_at_its_source(source: str) -> None:
    """Each character of a text, in every style, is found where it stands in the file."""
    node = scalar(source)
    for at, char in enumerate(node.text):
        span = node.part(at, at + 1)
        line = node.lines.line(span.line)
        assert line is not None
        shown = line[span.column - 1] if span.column <= len(line) else " "
        assert char.isspace() or shown in (char, "\\", "'"), (char, span, line)


@given(st.text(st.sampled_from("ab \n'\"\\#中.:-é"), max_size=40))
@settings(max_examples=300, deadline=None)
def test_positions_of_random_texts(text: str) -> None:
    """Single and double quoted texts of any content map back character by character."""
    single = "a: '" + text.replace("'", "''").replace("\n", " ") + "'\n"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    double = f'a: "{escaped}"\n'
    for source in (single, double):
        node = scalar(source)
        for at, char in enumerate(node.text):
            span = node.part(at, at + 1)
            line = node.lines.line(span.line)
            assert line is not None
            if not char.isspace():
                assert line[span.column - 1] in (char, "\\", "'")


def test_positions_at_both_ends() -> None:
    """The end of a text is the place behind it; offsets beyond are clipped."""
    node = scalar("a: abc\n")
    assert (node.part(0, 3).column, node.part(0, 3).length) == (4, 3)
    assert node.part(3, 3).column == 7
    assert node.part(99, 120).line == 1


HOSTILE = {
    "aliases": "a: &a [x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b]\n",
    "merge": "a: &a {x: 1}\nb: {<<: [*a,*a,*a,*a]}\n",
    "deep flow": "a: " + "[" * 100_000,
    "deep maps": "a: " + "{a: " * 100_000,
    "deep blocks": "".join(" " * at + "a:\n" for at in range(800)),
    "deep dashes": "- " * 100_000,
    "too many values": "a: [" + "x," * 300_000 + "]\n",
    "too large": "a: " + "x" * (FILE_BYTES_MAX + 1),
    "nul": "a: \x00\n",
    "line separator": "a: x\u2028b: y\n",
    "bare carriage return": "a: x\rb: y\n",
    "tag": "a: !!python/object/apply:os.system ['true']\n",
    "directive": "%TAG ! tag:x,2026:\n---\na: 1\n",
    "complex key": "? {a: b}\n: c\n",
    "unclosed": 'a: "' + "x" * 100_000,
    "comments only": "# x\n" * 10_000,
    "empty": "",
    "scalar": "hello\n",
    "list": "- a\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_is_refused_quickly(name: str) -> None:
    """Bombs, deep nesting and what hides from a reader give one error with a position, at once."""
    findings = Findings()
    began = time.process_time()
    assert read("x.yaml", HOSTILE[name].encode(), findings) is None
    assert time.process_time() - began < REFUSED_WITHIN_S
    assert len(findings.items) == 1
    assert findings.items[0].span.line >= 1


def test_not_utf8_names_the_place() -> None:
    """A byte that is no UTF-8 is reported at its line and column."""
    findings = Findings()
    assert read("x.yaml", "a: é\nb: ".encode() + b"\xff\n", findings) is None
    assert (findings.items[0].span.line, findings.items[0].span.column) == (2, 4)


def test_depth_is_counted_in_containers() -> None:
    """The deepest nesting that is allowed is read, one more is not."""
    assert read("x.yaml", ("a: " + "[" * (DEPTH_MAX - 1) + "]" * (DEPTH_MAX - 1)).encode(), Findings())
    findings = Findings()
    assert read("x.yaml", ("a: " + "[" * DEPTH_MAX + "]" * DEPTH_MAX).encode(), findings) is None


def test_a_key_twice_keeps_the_first() -> None:
    """The second value of a key is an error, and reading goes on."""
    findings = Findings()
    root = read("x.yaml", b"a: 1\na: 2\nb: 3\n", findings)
    assert isinstance(root, MappingNode)
    first, third = root.entries["a"][1], root.entries["b"][1]
    assert isinstance(first, ScalarNode)
    assert isinstance(third, ScalarNode)
    assert (first.text, third.text) == ("1", "3")
    assert len(findings.items) == 1


def test_a_byte_order_mark_is_no_text() -> None:
    """Editors that write a BOM do not break a file, and columns do not shift."""
    findings = Findings()
    root = read("x.yaml", b"\xef\xbb\xbfa: 1\n", findings)
    assert root is not None
    assert root.entries["a"][0].span.column == 1


EXPRESSIONS = {
    "long chain": " and ".join(["txn.amount > 1"] * 200_000),
    "brackets": "(" * 100_000 + "1" + ")" * 100_000,
    "nots": "not " * 50_000 + "device.trusted",
    "long list": "txn.country in [" + ",".join(['"CN"'] * 100_000) + "]",
    "long number": "txn.amount > " + "9" * 50_000,
    "names": "x." * 20_000 + "x",
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_hostile_expressions_are_refused_quickly(name: str) -> None:
    """A rule with a bomb in its condition is refused within the bound."""
    files = sample_files()
    text = files["rulesets/payment.yaml"].decode().replace("merchant.mcc in lists.charity_mcc", "'EXPR'")
    files["rulesets/payment.yaml"] = text.replace("EXPR", EXPRESSIONS[name].replace("'", "''")).encode()
    began = time.process_time()
    compiled = compile_sources(files)
    assert time.process_time() - began < REFUSED_WITHIN_S
    assert compiled.bundle is None
    assert all(len(item.text) < 1_000 for item in compiled.diagnostics)
