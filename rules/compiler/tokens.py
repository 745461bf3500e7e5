"""From text to tokens, forgiving what operators bring along from other languages.

A slip that has one obvious meaning (``=``, ``&&``, full-width brackets) is reported and read as meant, so
that one run shows all problems of an expression.
"""

# ruff: noqa: RUF001 - full-width signs come from Chinese keyboards; they are recognised here

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from fraudstream.rules.compiler.nodes import Problem

TokenKind = Literal["name", "word", "number", "duration", "text", "op", "end"]

WORDS = frozenset({"and", "or", "not", "in", "between", "is", "missing", "true", "false"})
"""Reserved words; they may still stand after a dot in a name."""
UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
HOUR_MS, DAY_MS = UNIT_MS["h"], UNIT_MS["d"]
MAX_DIGITS = 30
"""Longer numbers are never amounts or counts; keeps exact arithmetic on constants cheap."""
MAX_INT64 = 2**63 - 1

_SPACE = re.compile(r"[ \t\r\n]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_TAIL = re.compile(r"[A-Za-z0-9_.]*")
_UNITS = re.compile(r"(?:[0-9]+(?:ms|[smhdw]))+")
_PART = re.compile(r"([0-9]+)(ms|[smhdw])")
_OPS = ("==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "(", ")", "[", "]", ",", "%")
_MEANT = {
    "&&": ("and", "write `and`"),
    "||": ("or", "write `or`"),
    "<>": ("!=", "write `!=`"),
    "===": ("==", "write `==`"),
    "!": ("not", "write `not`"),
    "=": ("==", "use `==` to compare"),
    "&": ("and", "write `and`"),
    "|": ("or", "write `or`"),
    "（": ("(", "write `(`"),
    "）": (")", "write `)`"),
    "，": (",", "write `,`"),
    "【": ("[", "write `[`"),
    "】": ("]", "write `]`"),
    "≥": (">=", "write `>=`"),
    "≤": ("<=", "write `<=`"),
    "≠": ("!=", "write `!=`"),
    "＞": (">", "write `>`"),
    "＜": ("<", "write `<`"),
    "×": ("*", "write `*`"),
}
_WRONG = {
    "$": "write an amount as `100 CNY`",
    "€": "write an amount as `100 EUR`",
    "¥": "write an amount as `100 CNY`",
    "#": "comments stand in the YAML around the expression",
    "{": "lists are written with `[` and `]`",
    "}": "lists are written with `[` and `]`",
    ".": "names are written without spaces, numbers with a digit before the point",
    "^": "there are no powers in this language",
    ";": "a rule has one condition; join parts with `and` or `or`",
    ":": "there is no `:` in expressions",
    "'": "a text needs its closing quote",
    '"': "a text needs its closing quote",
    "“": 'texts are written with straight quotes, `"`',
    "”": 'texts are written with straight quotes, `"`',
}
_LIKE_WORDS = {"&&": "and", "AND": "and", "OR": "or", "NOT": "not", "IN": "in", "BETWEEN": "between",
               "IS": "is", "And": "and", "Or": "or", "Not": "not", "True": "true", "False": "false",
               "TRUE": "true", "FALSE": "false"}  # fmt: skip


class Token(NamedTuple):
    """A word, name, number, text or sign with its place."""

    kind: TokenKind
    text: str
    """Names, words and signs as meant; numbers as digits; texts without quotes."""
    begin: int
    end: int
    amount: int = 0
    """Milliseconds of a duration."""


def scan(text: str) -> tuple[list[Token], list[Problem]]:
    """Split ``text`` into tokens, the last of kind ``end``."""
    return _Scanner(text).run()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.tokens: list[Token] = []
        self.problems: list[Problem] = []

    def run(self) -> tuple[list[Token], list[Problem]]:
        text, size = self.text, len(self.text)
        while True:
            space = _SPACE.match(text, self.at)
            if space:
                self.at = space.end()
            if self.at >= size:
                break
            char = text[self.at]
            if "a" <= char <= "z" or "A" <= char <= "Z" or char == "_":
                self._name()
            elif "0" <= char <= "9":
                self._number()
            elif char in "\"'":
                self._quoted(char)
            else:
                self._sign(char)
        self.tokens.append(Token("end", "", size, size))
        return self.tokens, self.problems

    def _add(self, kind: TokenKind, text: str, end: int, amount: int = 0) -> None:
        self.tokens.append(Token(kind, text, self.at, end, amount))
        self.at = end

    def _problem(self, end: int, message: str, hint: str = "") -> None:
        self.problems.append(Problem(self.at, end, message, hint))

    def _name(self) -> None:
        match = _NAME.match(self.text, self.at)
        assert match
        name, end = match.group(), match.end()
        if name in _LIKE_WORDS:
            self._problem(end, f"unexpected `{name}`", f"write `{_LIKE_WORDS[name]}`")
            name = _LIKE_WORDS[name]
        self._add("word" if name in WORDS else "name", name, end)

    def _number(self) -> None:
        text = self.text
        match = _NUMBER.match(text, self.at)
        assert match
        digits, end = match.group(), match.end()
        tail = _TAIL.match(text, end)
        whole = text[self.at : tail.end()] if tail else digits
        if whole == digits:
            self._plain_number(digits, end)
            return
        end = self.at + len(whole)
        if _UNITS.fullmatch(whole):
            self._duration(whole, end)
            return
        self._problem(end, f"`{shorten(whole)}` is not a number", _number_hint(whole))
        self._add("number", "1", end)

    def _plain_number(self, digits: str, end: int) -> None:
        if len(digits) > MAX_DIGITS:
            self._problem(end, f"this number has more than {MAX_DIGITS} digits")
            digits = "1"
        elif len(digits) > 1 and digits[0] == "0" and digits[1] != ".":
            self._problem(end, f"`{digits}` begins with a zero", f'a code is written in quotes: `"{digits}"`')
            digits = "1"
        self._add("number", digits, end)

    def _duration(self, whole: str, end: int) -> None:
        total, last = 0, MAX_INT64
        for count, unit in _PART.findall(whole):
            if UNIT_MS[unit] >= last:
                self._problem(end, f"the units of `{shorten(whole)}` are not in order", "write `1h30m`")
                break
            last = UNIT_MS[unit]
            total += int(count) * last if len(count) <= MAX_DIGITS else MAX_INT64 + 1
        if total > MAX_INT64:
            self._problem(end, f"the duration `{shorten(whole)}` is too long")
            total = 1
        self._add("duration", whole, end, total)

    def _quoted(self, quote: str) -> None:
        text, size = self.text, len(self.text)
        at, parts = self.at + 1, []
        while at < size and text[at] not in (quote, "\n"):
            if text[at] == "\\":
                if at + 1 < size and text[at + 1] in "\\\"'":
                    at += 1
                else:
                    self.problems.append(
                        Problem(
                            at, min(at + 2, size), "unknown escape in a text", 'only `\\"` and `\\\\` exist'
                        )
                    )
            parts.append(text[at])
            at += 1
        if at >= size or text[at] != quote:
            self._problem(at, "this text has no end", "close it with a quote")
            self._add("text", "".join(parts), at)
            return
        self._add("text", "".join(parts), at + 1)

    def _sign(self, char: str) -> None:
        for length in (3, 2, 1):
            sign = self.text[self.at : self.at + length]
            if len(sign) < length:
                continue
            if sign in _OPS:
                self._add("op", sign, self.at + length)
                return
            if sign in _MEANT:
                meant, hint = _MEANT[sign]
                self._problem(self.at + length, f"unexpected `{sign}`", hint)
                self._add("word" if meant in WORDS else "op", meant, self.at + length)
                return
        shown = char if char.isprintable() else f"U+{ord(char):04X}"
        self._problem(self.at + 1, f"unexpected `{shown}`", _WRONG.get(char, ""))
        self.at += 1


def _number_hint(whole: str) -> str:
    if re.fullmatch(r"[0-9.]+(ms|[smhdw])", whole):
        return "durations are whole: write `1h30m`, not `1.5h`"
    if re.fullmatch(r"[0-9.]+[A-Za-z]{3}", whole):
        return f"write `{whole[:-3]} {whole[-3:].upper()}`"
    if re.fullmatch(r"[0-9.]+[eE][0-9]+", whole) or "_" in whole:
        return "write all digits: `1000000`"
    if re.fullmatch(r"[0-9.]+[kKmM]", whole):
        return "write all digits: `1000000`"
    return "durations are `10m`, `1h30m`; amounts `100 CNY`"


def shorten(text: str, limit: int = 40) -> str:
    """Return ``text`` cut for a message."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
