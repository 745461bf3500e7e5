"""The JSON grammar of the wire: what is a record at all."""

from __future__ import annotations

import orjson
import pytest
from support.schemas import default_schema
from support.wire import Raw, record, rejection

from fraudstream.stream.wire.codes import Unreadable
from fraudstream.stream.wire.tokens import MAX_BYTES, FloatText, IntText, parse


def verdict(raw: bytes) -> str:
    """Return the code of one JSON text, "" if it is fine."""
    try:
        parse(raw)
    except Unreadable as fault:
        return fault.code
    return ""


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "{", "}", "[1,]", '{"a":1,}', '{"a"}', "{a:1}", "{'a':1}", '{"a":1}{"b":2}', '{"a":1} x',
        "nul", "NaN", "Infinity", "-Infinity", '{"a":NaN}', '{"a":[Infinity]}', "01", "-01", "1.", ".5", "+1",
        "-", "1e", "1e+", "0x1", "1_0", "\ufeff{}", "{}\x00", "{}\x0b", "\u00a0{}", "\x0c{}", '"\t"',
        '"\n"', '"\x1f"', '"\\x"', '"\\u12"', '"\\u00g0"', '"a', '"\\', '"\\"', "// c\n{}", "{}/**/", "[1 2]",
        "[[]", "[}", '{"a":1]', "\u0661", '"\\ud800"', '"\\udc00"', '"\\udc00\\ud800"', '"\\ud83d\\u0041"',
        '"\\ud83dx\\ude00"', '{"\\uDBFF":1}', '[{"a":["\\uDFFF"]}]', '"\\ud83d\\ud83d\\ude00"', '"\\u-123"',
        '"\\u 123"', '"\\u0x41"',
    ],
)  # fmt: skip
def test_what_is_not_exactly_one_json_value_is_bad_json(text: str) -> None:
    """Nothing but one RFC 8259 value with JSON white space around it is accepted."""
    assert verdict(text.encode()) == "bad_json"


@pytest.mark.parametrize(
    "text",
    [
        "{}", " \t\r\n{} \t\r\n", "[]", "null", "true", "-0", "1e400", "-1E-400", "0.0", '"\x7f"', '"\u2028"',
        '"\\u0000"', '"\\/\\b\\f\\n\\r\\t\\"\\\\"', '"\\ud83d\\ude00"', '"\\uD83D\\uDE00"', '"\\\\ud800"',
        '"\ufeff"', '"\U0010ffff"', '{"":1}', '{"a":1,"a":2}', "9" * 5000, "-" + "9" * 5000, '"\\u0041"',
    ],
)  # fmt: skip
def test_valid_json_of_any_kind_parses(text: str) -> None:
    """Valid values pass the grammar, whatever later checks say about them."""
    assert verdict(text.encode()) == ""


def test_numbers_keep_their_text() -> None:
    """Integers and other numbers stay apart and lose no digit."""
    token = parse(b"[0,-0,10.10,1e2,1E+2,-5]")
    assert token == ["0", "-0", "10.10", "1e2", "1E+2", "-5"]
    assert [type(item) for item in token] == [IntText, IntText, FloatText, FloatText, FloatText, IntText]


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
def test_depth_of_sixteen_is_the_limit(opening: str) -> None:
    """The root is depth 1; 16 passes and 17 does not, whatever the brackets."""
    closing = {"[": "]", "{": "}"}
    levels = 2 if opening.startswith("[{") else 1

    def nested(depth: int) -> bytes:
        text = opening * (depth // levels) + ("[" if depth % levels else "")
        text += "" if text.endswith("[") else "1"
        tail = "".join(closing[char] for char in reversed(text) if char in closing)
        return (text + tail).encode()

    assert verdict(nested(16)) == ""
    assert verdict(nested(17)) == "bad_json"
    assert verdict(nested(5000)) == "bad_json"


def test_brackets_in_strings_and_siblings_are_no_depth() -> None:
    """Only nesting counts: many flat objects, and brackets inside strings, are fine."""
    assert verdict(b"[" + b",".join([b"{}", b"[]", b"[[]]"] * 500) + b"]") == ""
    assert verdict(b'["' + b"[{" * 100 + b'"]') == ""
    assert verdict(b'["\\"' + b"[" * 100 + b'\\\\",[]]') == ""
    assert verdict(b'["\\\\",' + b"[" * 20 + b"]" * 20 + b"]") == "bad_json"


@pytest.mark.parametrize(
    "piece",
    ['"' + '\\"' * 32_000, "[" * 65_000, "[]," * 21_000, '"' * 65_001, '{"a":' * 13_000, '"' + "\\" * 65_001],
)
def test_hostile_texts_end_soon(piece: str) -> None:
    """Texts made to defeat scanners are refused, in one pass each (the test's time limit would tell)."""
    assert verdict(piece.encode()) == "bad_json"


@pytest.mark.parametrize(
    ("inside", "good"),
    [
        (b"\x7f", True), (b"\x80", False), (b"\xbf", False), (b"\xc0\x80", False), (b"\xc1\xbf", False),
        (b"\xc2\x80", True), (b"\xdf\xbf", True), (b"\xc2", False), (b"\xc2\x7f", False),
        (b"\xc2\xc0", False), (b"\xe0\x9f\xbf", False), (b"\xe0\xa0\x80", True), (b"\xed\x9f\xbf", True),
        (b"\xed\xa0\x80", False), (b"\xed\xbf\xbf", False), (b"\xee\x80\x80", True),
        (b"\xef\xbf\xbf", True), (b"\xe4\xb8", False), (b"\xf0\x8f\xbf\xbf", False),
        (b"\xf0\x90\x80\x80", True), (b"\xf4\x8f\xbf\xbf", True), (b"\xf4\x90\x80\x80", False),
        (b"\xf5\x80\x80\x80", False), (b"\xf0\x9f\x98", False), (b"\xfe", False), (b"\xff", False),
        (b"\xed\xa0\xbd\xed\xb8\x80", False), (b"\xef\xbb\xbf", True),
    ],
)  # fmt: skip
def test_utf8_borders(inside: bytes, good: bool) -> None:
    """Overlong forms, surrogates and values beyond U+10FFFF are bad_utf8, also in unread members."""
    raw = record(unread=Raw('"@"')).replace(b"@", inside)
    assert rejection(default_schema(), raw) == (("", "") if good else ("bad_utf8", ""))


def test_size_limit_is_in_bytes() -> None:
    """64 KiB pass, one byte more is too_large, also when it is not UTF-8."""
    bare = record(unread="")
    full = record(unread="x" * (65_536 - len(bare)))
    assert len(full) == 65_536 == MAX_BYTES
    assert rejection(default_schema(), full) == ("", "")
    assert rejection(default_schema(), full + b" ") == ("too_large", "")
    assert rejection(default_schema(), b"\xff" * 65_537) == ("too_large", "")


@pytest.mark.parametrize("raw", [None, b""])
def test_null_and_zero_bytes_are_empty(raw: bytes | None) -> None:
    """A tombstone and an empty value are one code."""
    assert rejection(default_schema(), raw) == ("empty", "")


@pytest.mark.parametrize("text", ["null", "[]", "1", '"x"', "true", " [{}] "])
def test_values_that_are_no_object(text: str) -> None:
    """Valid JSON of another kind is not_object."""
    assert rejection(default_schema(), text.encode()) == ("not_object", "")


def test_grammar_equals_orjson_on_single_byte_changes() -> None:
    """An independent parser accepts the same texts (it refuses 1e400 and allows depth 1,024)."""
    base = b'{"a":[-1.5e+3,true,null,"\\u00e9\\n\xc3\xa9"],"b":{"c":"","d":false}}'
    for at in range(len(base)):
        for byte in range(256):
            raw = base[:at] + bytes([byte]) + base[at + 1 :]
            try:
                orjson.loads(raw)
                valid = True
            except orjson.JSONDecodeError:
                valid = False
            assert (verdict(raw) == "") is valid, raw
