"""What changed between two rules directories: the text, and what it means in words.

The semantic layer looks at declarations, so that a comment, a new order or another layout is no change: a
threshold `4 -> 3` is one, and so is a rule that went from shadow to live.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from fraudstream.rules.bundle import Segment, Typology
from fraudstream.rules.compiler.brakes import limit_words
from fraudstream.rules.compiler.compile import Compiled
from fraudstream.rules.compiler.declared import Declared
from fraudstream.rules.compiler.explain import describe_feature, interval_words
from fraudstream.rules.compiler.list_files import version_of_list
from fraudstream.rules.compiler.lists import DeclaredLists
from fraudstream.rules.compiler.ruleset import DeclaredRule
from fraudstream.rules.compiler.shape import duration_text

ITEMS_SHOWN = 10
"""Of a list; a sanctions list changes by thousands."""


def textual(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[str]:
    """Return a unified diff of all files."""
    lines: list[str] = []
    for path in sorted(before.keys() | after.keys()):
        old, new = (files.get(path, b"").decode("utf-8", "replace").splitlines() for files in (before, after))
        lines += difflib.unified_diff(old, new, f"a/{path}", f"b/{path}", lineterm="")
    return lines


def semantic(before: Compiled, after: Compiled) -> list[str]:
    """Return what changed in words, one line each.

    Raises:
        ValueError: one of the two did not compile.
    """
    if before.bundle is None or after.bundle is None or before.declared is None or after.declared is None:
        raise ValueError("only directories without errors can be compared by what they mean")
    a, b = before.declared, after.declared
    lines = [*_rules(a, b), *_features(a, b), *_lists(a.lists, b.lists), *_typologies(a, b)]
    if a.policy != b.policy:
        lines.append("policy: changed")
    if a.schema.hash != b.schema.hash:
        lines.append("schema: changed; workers need a restart")
    return lines


def _rules(a: Declared, b: Declared) -> Iterator[str]:
    old = {rule.id: rule for rule in a.rules}
    names = {former.text: rule.id for rule in b.rules for former in rule.section.words("was")}
    matched: set[str] = set()
    new = {rule.id: rule for rule in b.rules}
    for name, rule in old.items():
        now = new.get(name) or new.get(names.get(name, ""))
        if now is None:
            yield f"rule {name}: removed"
            continue
        matched.add(now.id)
        if now.id != name:
            yield f"rule {name}: renamed to {now.id}"
        for change in _rule(rule, now):
            yield f"rule {now.id}: {change}"
    for name, rule in new.items():
        if name not in matched:
            yield f"rule {name}: added ({rule.mode.value}, action {rule.action.name.lower()})"


def _rule(a: DeclaredRule, b: DeclaredRule) -> Iterator[str]:
    """Yield the changes of one rule."""
    plain = (
        ("mode", a.mode.value, b.mode.value),
        ("action", a.action.name.lower(), b.action.name.lower()),
        ("override", *("never" if rule.never_override else "allowed" for rule in (a, b))),
        ("severity", a.severity.name.lower(), b.severity.name.lower()),
        ("score", *(_score(rule) for rule in (a, b))),
        ("priority", str(a.priority), str(b.priority)),
        ("typology", a.typology or "none", b.typology or "none"),
        ("owner", a.owner or "nobody", b.owner or "nobody"),
        ("title", a.title, b.title),
        ("on", ", ".join(sorted(a.on)), ", ".join(sorted(b.on))),
        ("zone", a.zone, b.zone),
        ("effective", *(_effective(rule) for rule in (a, b))),
        ("canary", *(_share(rule) for rule in (a, b))),
        ("limits", *(_limit(rule) for rule in (a, b))),
        ("suppress", *(_suppress(rule) for rule in (a, b))),
    )
    for name, old, new in plain:
        if old != new:
            yield f"{name} {old} -> {new}"
    yield from _changes("threshold", _params(a), _params(b))
    yield from _changes("condition", _conditions(a), _conditions(b))
    yield from _changes("exception", _exceptions(a), _exceptions(b))
    yield from _changes("reason", _reasons(a), _reasons(b))
    if len(a.cases) != len(b.cases):
        yield f"tests {len(a.cases)} -> {len(b.cases)}"


def _changes(what: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name in dict.fromkeys((*old, *new)):
        if name not in new:
            yield f"{what} {name} removed (was {old[name]})"
        elif name not in old:
            yield f"{what} {name} added: {new[name]}"
        elif old[name] != new[name]:
            yield f"{what} {name} {old[name]} -> {new[name]}"


def _params(rule: DeclaredRule) -> dict[str, str]:
    out: dict[str, str] = {}
    for name, item in rule.params.items():
        out[name] = item.text
        out |= {f"{name} in segment {segment}": text for segment, text in item.texts.items()}
    return out


def _conditions(rule: DeclaredRule) -> dict[str, str]:
    out = {name: f"`{_one_line(part.checked.text)}`" for name, part in rule.conditions.items()}
    if rule.parts.rows:
        for number, row in enumerate(rule.parts.rows, 1):
            out[f"row {number}"] = f"`{' and '.join(_one_line(cell.checked.text) for cell in row)}`"
    elif rule.when is not None:
        out["when"] = f"`{_one_line(rule.when.checked.text)}`"
    return out


def _exceptions(rule: DeclaredRule) -> dict[str, str]:
    return {
        f"`{_one_line(item.condition.checked.text)}`": f"until {item.until.text}, owner {item.owner}"
        for item in rule.parts.exceptions
    }


def _reasons(rule: DeclaredRule) -> dict[str, str]:
    return {language: f"`{''.join(map(_piece, pieces))}`" for language, pieces in rule.reason.items()}


def _piece(piece: Segment) -> str:
    if piece.slot is None:
        return piece.literal
    return f"{{{piece.slot.name}{':' + piece.format if piece.format else ''}}}"


def _score(rule: DeclaredRule) -> str:
    bands = [f"{item.score} where `{_one_line(item.condition.checked.text)}`" for item in rule.parts.bands]
    return ", ".join(bands) if bands else str(rule.score)


def _effective(rule: DeclaredRule) -> str:
    return interval_words(rule).strip() or "always"


def _share(rule: DeclaredRule) -> str:
    parts, key = rule.share
    return "everything" if rule.canary is None else f"{parts / 100:g} % of {key}"


def _limit(rule: DeclaredRule) -> str:
    found = rule.limit
    return "none" if found is None else limit_words(found) + (f", reset {found.reset}" if found.reset else "")


def _suppress(rule: DeclaredRule) -> str:
    found = rule.suppress
    if found is None:
        return "none"
    return f"{duration_text(found.for_ms)} by {', '.join(slot.name for slot in found.by)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _features(a: Declared, b: Declared) -> Iterator[str]:
    old, new = (
        {item.name: describe_feature(side, item) for item in side.features.feature_set.features}
        for side in (a, b)
    )
    for change in _changes("", old, new):
        yield f"feature{change}"


def _lists(a: DeclaredLists, b: DeclaredLists) -> Iterator[str]:
    for name in dict.fromkeys((*a.lists, *b.lists)):
        if name not in b.lists:
            yield f"list {name}: removed"
        elif name not in a.lists:
            yield f"list {name}: added with {len(b.lists[name].items):,} items"
        else:
            old, new = ({item.value: item.until_ms for item in side.lists[name].items} for side in (a, b))
            yield from _items(name, "added", [value for value in new if value not in old])
            yield from _items(name, "removed", [value for value in old if value not in new])
            yield from _items(name, "with another end", [v for v in new if v in old and old[v] != new[v]])
            versions = [version_of_list(side.lists[name]).version[:19] for side in (a, b)]
            if versions[0] != versions[1]:
                yield f"list {name}: version {versions[0]} -> {versions[1]}"
    for code in sorted(a.rates.items.keys() | b.rates.items.keys()):
        if a.rates.items.get(code) != b.rates.items.get(code):
            yield f"rate of {code}: changed"


def _items(name: str, what: str, values: list[float | str]) -> Iterator[str]:
    if values:
        shown = ", ".join(map(str, values[:ITEMS_SHOWN]))
        more = f" and {len(values) - ITEMS_SHOWN:,} more" if len(values) > ITEMS_SHOWN else ""
        yield f"list {name}: {what} {shown}{more}"


def _typologies(a: Declared, b: Declared) -> Iterator[str]:
    old, new = ({item.id: _typology(item) for item in side.typologies.typologies} for side in (a, b))
    for change in _changes("", old, new):
        yield f"typology{change}"


def _typology(item: Typology) -> str:
    ends = [("alert at", item.alert_at), ("block at", item.block_at)]
    return ", ".join([item.combine, *(f"{word} {value}" for word, value in ends if value is not None)])
