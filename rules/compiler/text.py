"""Reason texts: templates with a fixed set of formats, never ``str.format``.

``{name}`` prints a value by its type, ``{name:format}`` by a format, ``{{`` and ``}}`` print braces.

=========== ======================== =======================================================================
format      for                      prints
=========== ======================== =======================================================================
(none)      number, integer          at most six decimals, no trailing zeros: ``3``, ``0.25``
(none)      money                    as ``:money``
(none)      duration                 as ``:duration``
(none)      time                     RFC 3339 in the zone, whole seconds: ``2026-01-15T12:00:00+08:00``
(none)      date                     ``2026-01-15``
(none)      bool, enum, country,     ``true`` or ``false``; the text
            category, id of a field
``money``   money                    major units, thousands separated: ``1,250.00``
``pct``     number                   ``37.5%``, at most one decimal
``.0f``     number, integer, money   that many decimals; money in major units
to ``.6f``
``date``    time, date               calendar date in the zone: ``2026-01-15``
``duration`` duration                the two largest units, cut: ``1h30m``, ``3d4h``, ``45s``
=========== ======================== =======================================================================

A missing value prints an en dash. Binary64 values are rounded half to even on their binary value, amounts in
minor units by their digits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from fraudstream.rules.bundle import Segment, Slot, Source, Type
from fraudstream.rules.compiler.nodes import Problem
from fraudstream.rules.compiler.suggest import suggest
from fraudstream.rules.compiler.terms import Constant, Scope, phrase
from fraudstream.rules.compiler.tokens import shorten
from fraudstream.rules.compiler.zones import load_zone

Reader = Callable[[Slot], int | float | str | None]
"""Value of a slot: words as numbers, texts of ids and categories as text, None where missing."""

MISSING = "–"  # noqa: RUF001 - the en dash of the contract
MAX_TEMPLATE = 1_000
"""Characters of a reason text; a decision has at most 16 KiB for all of its reasons."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_DECIMALS = tuple(f".{digits}f" for digits in range(7))
_COUNTABLE = (Type.NUMBER, Type.INTEGER, Type.MONEY)
FORMATS: dict[str, tuple[Type, ...]] = {
    "money": (Type.MONEY,),
    "pct": (Type.NUMBER,),
    "date": (Type.TIME, Type.DATE),
    "duration": (Type.DURATION,),
    **dict.fromkeys(_DECIMALS, _COUNTABLE),
}
_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
_EPOCH = date(1970, 1, 1).toordinal()


class _Piece(NamedTuple):
    """``text`` literally, or a placeholder when ``begin`` is not -1."""

    text: str
    begin: int
    end: int


def compile_text(template: str, scope: Scope) -> tuple[tuple[Segment, ...], tuple[Problem, ...]]:
    """Compile a reason text; placeholders are names of fields, features, models and params.

    Returns:
        The pieces and no problems, or nothing and all problems found.
    """
    if len(template) > MAX_TEMPLATE:
        return (), (Problem(0, 1, f"the text has {len(template)} characters, {MAX_TEMPLATE} are allowed"),)
    pieces, problems = _split(template)
    segments: list[Segment] = []
    for piece in pieces:
        if piece.begin < 0:
            segments.append(Segment(piece.text))
            continue
        found = _placeholder(piece, scope)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            segments.append(found)
    if problems:
        return (), tuple(sorted(problems))
    return _merged(segments), ()


def _split(template: str) -> tuple[list[_Piece], list[Problem]]:
    pieces: list[_Piece] = []
    problems: list[Problem] = []
    at, size = 0, len(template)
    while at < size:
        char = template[at]
        if template[at : at + 2] in ("{{", "}}"):
            pieces.append(_Piece(char, -1, -1))
            at += 2
        elif char == "{":
            end = template.find("}", at)
            if end < 0 or "{" in template[at + 1 : end]:
                problems.append(
                    Problem(at, at + 1, "this `{` is never closed", "a brace itself is written `{{`")
                )
                break
            pieces.append(_Piece(template[at + 1 : end], at, end + 1))
            at = end + 1
        elif char == "}":
            problems.append(
                Problem(at, at + 1, "this `}` was never opened", "a brace itself is written `}}`")
            )
            at += 1
        else:
            end = next((i for i in range(at, size) if template[i] in "{}"), size)
            pieces.append(_Piece(template[at:end], -1, -1))
            at = end
    return pieces, problems


def _placeholder(piece: _Piece, scope: Scope) -> Segment | Problem:
    def problem(message: str, hint: str = "") -> Problem:
        return Problem(piece.begin, piece.end, message, hint)

    name, colon, wanted = piece.text.partition(":")
    if not _NAME.fullmatch(name):
        hint = "declare a feature or a condition for what is calculated"
        return problem(f"a placeholder is a name, not `{shorten(name)}`", hint if name.strip() else "")
    if colon and wanted not in FORMATS:
        known = suggest(wanted, FORMATS) or "formats are `money`, `pct`, `.0f` to `.6f`, `date`, `duration`"
        return problem(f"unknown format `{shorten(wanted)}`", known)
    param = scope.params.get(name.removeprefix("params.")) if name.startswith("params.") else None
    if param is not None:
        return _constant(param, wanted, scope) or problem(*_misfit(name, param.kind.type, wanted))
    slot = scope.slots.get(name)
    if slot is None:
        if name in scope.conditions:
            return problem(f"`{name}` is a condition", "print the values that it compares")
        return problem(f"unknown name `{shorten(name)}`", suggest(name, [*scope.slots, *_params(scope)]))
    if slot.type is Type.GEO:
        return problem(f"`{name}` is a place, which can not be printed")
    if name in scope.currencies:
        return problem(f"`{name}` keeps the currency sent and can not be printed", "print a converted amount")
    if slot.type.is_text and slot.source is not Source.FIELD:
        hint = "print a field of the event"
        return problem(f"`{name}` keeps no text, only what is needed to compare it", hint)
    if wanted and slot.type not in FORMATS[wanted]:
        return problem(*_misfit(name, slot.type, wanted))
    return Segment("", slot, wanted)


def _params(scope: Scope) -> list[str]:
    return [f"params.{name}" for name in scope.params]


def _misfit(name: str, kind: Type, wanted: str) -> tuple[str, str]:
    for_types = " or ".join(dict.fromkeys(phrase(item) for item in FORMATS[wanted]))
    return f"`:{wanted}` prints {for_types}, `{name}` is {phrase(kind)}", ""


def _constant(param: Constant, wanted: str, scope: Scope) -> Segment | None:
    """Print a parameter when rules are loaded; a bare number prints as an amount with ``:money``."""
    value, kind = param.value, param.kind
    decimals = scope.decimals(scope.base_currency) or 0
    if wanted == "money" and kind.type in (Type.NUMBER, Type.INTEGER) and param.exact is not None:
        return Segment(_money(round(param.exact * 10**decimals), decimals, decimals, grouped=True))
    if isinstance(value, tuple) or (wanted and kind.type not in FORMATS[wanted]):
        return None
    slot = Slot("", kind.type, kind.repr, Source.FIELD, 0, kind.values)
    return Segment(_print(value, slot, wanted, scope.zone, decimals))


def _merged(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    merged: list[Segment] = []
    for segment in segments:
        if segment.slot is None and merged and merged[-1].slot is None:
            merged[-1] = Segment(merged[-1].literal + segment.literal)
        else:
            merged.append(segment)
    return tuple(merged)


def render(segments: Sequence[Segment], read: Reader, zone: str, decimals: int) -> str:
    """Return the text for one row; a missing value is an en dash.

    Args:
        segments: From ``compile_text``.
        read: Value of a slot.
        zone: Of times and their dates.
        decimals: Of the base currency.
    """
    parts: list[str] = []
    for segment in segments:
        if segment.slot is None:
            parts.append(segment.literal)
        else:
            value = read(segment.slot)
            shown = MISSING if value is None else _print(value, segment.slot, segment.format, zone, decimals)
            parts.append(shown)
    return "".join(parts)


def _print(value: float | str, slot: Slot, wanted: str, zone: str, decimals: int) -> str:
    if isinstance(value, str):
        return value
    kind = slot.type
    if wanted == "pct":
        return _plain(value * 100, 1) + "%"
    if wanted in _DECIMALS:
        digits = int(wanted[1])
        if kind is Type.MONEY:
            return _money(value, decimals, digits, grouped=False)
        return _without_minus_zero(f"{value:.{digits}f}")
    if kind is Type.MONEY:
        return _money(value, decimals, decimals, grouped=True)
    if kind is Type.DURATION:
        return _duration(int(value))
    if kind is Type.DATE:
        return _date(int(value))
    if kind is Type.TIME:
        return _time(int(value), zone, wanted)
    if kind is Type.BOOL:
        return "true" if value else "false"
    if kind is Type.ENUM:
        return slot.values[int(value)]
    if kind is Type.COUNTRY:
        return chr(int(value) >> 8) + chr(int(value) & 0xFF)
    return str(value) if isinstance(value, int) else _plain(value, 6)


def _without_minus_zero(text: str) -> str:
    return text[1:] if text.startswith("-") and not text.strip("-0.,") else text


def _plain(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return _without_minus_zero(text)


def _money(minor: float, decimals: int, digits: int, *, grouped: bool) -> str:
    """Print minor units with ``digits`` decimals of the major unit; whole minor units exactly."""
    separator = "," if grouped else ""
    if isinstance(minor, int) and digits >= decimals:
        sign, amount = ("-" if minor < 0 else ""), abs(minor)
        whole, part = divmod(amount, 10**decimals)
        tail = f"{part:0{decimals}d}" if decimals else ""
        tail += "0" * (digits - decimals)
        return f"{sign}{whole:{separator}d}{'.' if tail else ''}{tail}"
    if isinstance(minor, int):
        # Half to even on the digits.
        return _money(_halved(minor, 10 ** (decimals - digits)), digits, digits, grouped=grouped)
    return _without_minus_zero(f"{minor / 10**decimals:{separator}.{digits}f}")


def _halved(value: int, unit: int) -> int:
    quotient, rest = divmod(value, unit)
    return quotient + (1 if 2 * rest > unit or (2 * rest == unit and quotient % 2) else 0)


def _duration(milliseconds: int) -> str:
    sign, left = ("-" if milliseconds < 0 else ""), abs(milliseconds)
    for i, (unit, size) in enumerate(_UNITS):
        if left < size:
            continue
        text = f"{sign}{left // size}{unit}"
        if i + 1 < len(_UNITS) - 1:  # no milliseconds after seconds
            smaller, size_smaller = _UNITS[i + 1]
            rest = left % size // size_smaller
            text += f"{rest}{smaller}" if rest else ""
        return text
    return "0s"


def _date(days: int) -> str:
    try:
        return date.fromordinal(days + _EPOCH).isoformat()
    except (ValueError, OverflowError):
        return MISSING


def _time(time_ms: int, zone: str, wanted: str) -> str:
    offset = load_zone(zone).offset_at(time_ms)
    if wanted == "date":
        return _date((time_ms + offset) // 86_400_000)
    try:
        local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms + offset)
    except OverflowError:
        return MISSING
    minutes = abs(offset) // 60_000
    east = f"{'-' if offset < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"
    return f"{local:%Y-%m-%dT%H:%M:%S}{east}"
