"""``lists.yaml``: typed lists with expiry, and exchange rates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from fraudstream.rules.bundle import Rates, Type
from fraudstream.rules.compiler.expressions import note
from fraudstream.rules.compiler.list_files import ITEMS_MAX, ListFiles
from fraudstream.rules.compiler.reader import Findings, MappingNode, Node, ScalarNode, SequenceNode
from fraudstream.rules.compiler.schema import KEYWORDS
from fraudstream.rules.compiler.shape import NAME_HINT, Section, kind_of, scalar
from fraudstream.rules.compiler.source import quoted
from fraudstream.rules.compiler.suggest import suggest
from fraudstream.rules.compiler.types import ListDecl, ListItem, Scope, list_value
from fraudstream.rules.compiler.vocabulary import ITEM, LIST, LIST_TYPES
from fraudstream.rules.compiler.zones import parse_instant
from fraudstream.rules.iso4217 import DECIMALS

RATES = "rates"
"""Name of the list by which amounts are converted to the base currency."""
_WORD = re.compile(r"[a-z_][a-zA-Z0-9_]*")
_RATE = re.compile(r"(0|[1-9][0-9]{0,8})(?:\.([0-9]{1,9}))?")


@dataclass(frozen=True, slots=True)
class DeclaredLists:
    """Lists by name, and where they were declared."""

    lists: Mapping[str, ListDecl] = field(default_factory=dict)
    rates: Rates = field(default_factory=Rates)
    places: Mapping[str, ScalarNode] = field(default_factory=dict)


def read_lists(
    section: Section | None,
    scope: Scope,
    findings: Findings,
    list_files: Mapping[str, bytes] = MappingProxyType({}),
) -> DeclaredLists:
    """Return the lists; ``scope`` gives the base currency and the zone of bare dates.

    ``list_files``: content of files with items, by path.
    """
    files = ListFiles(list_files, scope, findings)
    if section is None:
        files.check_unread()
        return DeclaredLists()
    lists: dict[str, ListDecl] = {}
    places: dict[str, ScalarNode] = {}
    rates = Rates()
    for key, node in section.table("lists"):
        if _WORD.fullmatch(key.text) is None or key.text in KEYWORDS:
            findings.error(key, f"the name of a list {quoted(key.text)} is not one word", NAME_HINT)
            continue
        inner = Section.open(node, LIST, findings)
        if inner is None:
            findings.broken.add(f"lists.{key.text}")
            continue
        kind = inner.choice("type", LIST_TYPES, "")
        places[key.text] = key
        if kind == "money_rate" and inner.has("file"):
            findings.error(
                inner.key("file"), "exchange rates are no list of items", "give `items: {USD: 7.10}`"
            )
        elif kind == "money_rate":
            rates = _read_rates(key, inner, scope, findings)
        elif kind and inner.has("file"):
            lists[key.text] = files.read(key.text, Type(kind), inner)
        elif kind:
            lists[key.text] = _read_list(key.text, Type(kind), inner, scope, findings)
        else:
            findings.broken.add(f"lists.{key.text}")
        if key.text == RATES and kind != "money_rate":
            findings.error(inner.key("type"), f"`{RATES}` converts amounts, its type is `money_rate`")
    files.check_unread()
    return DeclaredLists(lists, rates, places)


def _read_list(name: str, kind: Type, section: Section, scope: Scope, findings: Findings) -> ListDecl:
    node = section.node("items")
    items: list[ListItem] = []
    seen: dict[object, int] = {}
    if node is not None and not isinstance(node, SequenceNode):
        findings.error(node, f"`items` was {kind_of(node)}, expected a list", "write `- ` items or […]")
    elif node is not None:
        if len(node.items) > ITEMS_MAX:
            findings.error(node, f"{len(node.items):,} items, at most {ITEMS_MAX:,} are allowed")
            return ListDecl(name, kind, ())
        for entry in node.items:
            found = _read_item(entry, kind, scope, findings)
            if found is None:
                continue
            text, item = found
            if item.value in seen:
                first = seen[item.value]
                findings.error(
                    text, f"{quoted(text.text)} is in the list twice", f"the first is on line {first}"
                )
                continue
            seen[item.value] = text.span.line
            items.append(item)
    return ListDecl(name, kind, tuple(items))


def _read_item(
    node: Node, kind: Type, scope: Scope, findings: Findings
) -> tuple[ScalarNode, ListItem] | None:
    until: int | None = None
    if isinstance(node, MappingNode):
        section = Section(node, ITEM, findings)
        text = section.scalar("value")
        until = instant(section.scalar("until"), scope.zone, findings)
    else:
        text = scalar(node, "an item", findings)
    if text is None:
        return None
    value, problems = list_value(text.text, kind, scope)
    note(problems, text, findings)
    return None if value is None else (text, ListItem(value, until))


def instant(node: ScalarNode | None, zone: str, findings: Findings) -> int | None:
    """Return a time, or a bare date at 00:00 in ``zone``, as milliseconds since the epoch."""
    if node is None:
        return None
    found, problems = parse_instant(node.text, zone)
    note(problems, node, findings)
    return found


def _read_rates(key: ScalarNode, section: Section, scope: Scope, findings: Findings) -> Rates:
    if key.text != RATES:
        findings.error(
            key, f"the list of type `money_rate` is named {quoted(key.text)}", f"name it `{RATES}`"
        )
    items: dict[str, tuple[int, int]] = {}
    for code, node in section.table("items"):
        if code.text not in DECIMALS:
            hint = suggest(code.text, DECIMALS)
            findings.error(code, f"{quoted(code.text)} is not a currency of ISO 4217", hint)
        elif code.text == scope.base_currency:
            findings.error(code, f"`{code.text}` is the base currency, its rate is 1", "remove it")
        text = scalar(node, f"the rate of {quoted(code.text)}", findings)
        if text is None:
            continue
        match = _RATE.fullmatch(text.text)
        whole, part = (match[1], match[2] or "") if match is not None else ("0", "")
        if int(whole + part) == 0:
            expected = "expected a decimal above 0, at most 9 digits on both sides of the point"
            findings.error(text, f"the rate was {quoted(text.text)}, {expected}", 'e.g. `"7.1034"`')
            continue
        items[code.text] = (int(whole + part), len(part))
    return Rates(items)
