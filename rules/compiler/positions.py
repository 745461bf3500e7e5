"""Where the characters of a YAML text stand in its file, whatever quotes, folding and escapes did to it."""

from __future__ import annotations

_SPACE = " \t\r\n"


def positions(text: str, place: tuple[int, int], value: str, style: str) -> list[int]:
    """Return for each character of a scalar's value, and its end, where it stands in the file.

    Args:
        text: the file.
        place: first character of the scalar and the one behind it, quotes and block header included.
        value: what YAML makes of it.
        style: empty (plain), ``'``, ``"``, ``|`` or ``>``.

    Folding, indentation and escapes change white space and single characters only, so runs of white
    space on both sides are paired with each other and everything else one by one.
    """
    source = _units(text, place, style)
    out: list[int] = []
    at = 0
    index = 0
    while index < len(value):
        if value[index] in _SPACE:
            begin = index
            while index < len(value) and value[index] in _SPACE:
                index += 1
            where = source[at][0] if at < len(source) else place[1]
            while at < len(source) and source[at][1]:
                at += 1
            out.extend([where] * (index - begin))
            continue
        while at < len(source) and source[at][1]:
            at += 1
        out.append(source[at][0] if at < len(source) else place[1])
        at += 1
        index += 1
    last = out[-1] + 1 if out else place[0]
    out.append(last)
    return out


def _units(text: str, place: tuple[int, int], style: str) -> list[tuple[int, bool]]:
    """Return (position, is white space) of each unit of a scalar's source between its quotes."""
    at, end = place
    out: list[tuple[int, bool]] = []
    if style in ("|", ">"):
        at = text.find("\n", at) + 1 or end
    elif style in ("'", '"'):
        at, end = at + 1, end - 1
    while at < end:
        char = text[at]
        size = 1
        space = char in _SPACE
        if style == "'" and char == "'":
            size = 2
        elif style == '"' and char == "\\":
            size, space = _escape(text, at)
        out.append((at, space))
        at += size
    return out


def _escape(text: str, at: int) -> tuple[int, bool]:
    """Return (length in the file, is white space) of an escape in a double-quoted text."""
    kind = text[at + 1 : at + 2]
    size = {"x": 4, "u": 6, "U": 10}.get(kind, 2)
    if size > 2:
        code = int(text[at + 2 : at + size], 16)
        return size, code < 128 and chr(code) in _SPACE
    if kind == "\r":
        return 3, True
    return size, kind in "nrt \n\t"
