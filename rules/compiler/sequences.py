"""``sequence`` of a rule: earlier events of a key in order, the last step is the event itself.

What the earlier steps ask is compiled to a feature, ``sequence.<rule>``: its state is the key's history, like
that of every window. The rule reads it under the name ``sequence``, and adds what the last step asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fraudstream.rules.bundle import Schema, Slot
from fraudstream.rules.compiler import build
from fraudstream.rules.compiler import shape as shapes
from fraudstream.rules.compiler.expressions import checked
from fraudstream.rules.compiler.parts import Condition
from fraudstream.rules.compiler.reader import Findings, MappingNode, ScalarNode, SequenceNode
from fraudstream.rules.compiler.schema import event_types
from fraudstream.rules.compiler.shape import Section
from fraudstream.rules.compiler.source import quoted
from fraudstream.rules.compiler.types import Checked, Scope, check
from fraudstream.rules.compiler.vocabulary import SEQUENCE, STEP, UNLESS
from fraudstream.rules.compiler.zones import load_zone

SEQUENCE_NAME = "sequence"
"""What a rule calls its own sequence in expressions and tests."""
STEPS_MAX = 8


@dataclass(frozen=True, slots=True)
class DeclaredSequence:
    """A sequence as written and checked."""

    slot: Slot
    place: ScalarNode
    """The key ``sequence``."""
    last: Section
    """The step that the event itself is."""


@dataclass(frozen=True, slots=True)
class Step:
    """An earlier step, or ``unless``: an expression over an event's own fields."""

    text: str
    place: ScalarNode


@dataclass(frozen=True, slots=True)
class WrittenSequence:
    """A ``sequence`` with its parts in the file, before names are resolved."""

    rule: str
    node: MappingNode
    """The rule."""
    place: ScalarNode
    section: Section
    zone: str
    steps: tuple[Step, ...]
    unless: Step | None
    last: Section


def written_sequences(
    sets: Mapping[str, Section], schema: Schema, scope: Scope, findings: Findings
) -> list[WrittenSequence]:
    """Return the sequences of all rule sets; those with errors in their shape are left out.

    The rules are read in full later: only here are errors inside of ``sequence`` told.
    """
    found: list[WrittenSequence] = []
    for section in sets.values():
        zone = _zone(section.source, scope.zone)
        for node in _items(section.source, "rules"):
            entry = node.entries.get("sequence") if isinstance(node, MappingNode) else None
            name = _text(node, "id") if isinstance(node, MappingNode) else ""
            if entry is None or not isinstance(node, MappingNode) or shapes.NAME.fullmatch(name) is None:
                continue
            inner = Section.open(entry[1], SEQUENCE, findings)
            one = None if inner is None else _written(name, node, inner, zone, schema, findings)
            if one is not None:
                found.append(one)
    return found


def _written(
    name: str, node: MappingNode, section: Section, zone: str, schema: Schema, findings: Findings
) -> WrittenSequence | None:
    before = len(findings.items)
    steps = [Section.open(item, STEP, findings) for item in section.items("steps")]
    place = node.entries["sequence"][0]
    if section.node("steps") is not None and not 2 <= len(steps) <= STEPS_MAX:
        message = f"a sequence has 2 to {STEPS_MAX} steps, this one has {len(steps)}"
        findings.error(section.key("steps"), message, "the last one is the event itself")
    names: set[str] = set()
    for inner in steps:
        label = "" if inner is None else inner.name("as")
        if inner is not None and label in names:
            findings.error(inner.key("as"), f"a second step with the name {quoted(label)}", "rename one")
        names |= {label} - {""}
    own = _rule_types(node)
    for inner in steps[-1:]:
        if inner is not None and inner.has("on") and set(event_types(inner, schema, findings)) != set(own):
            hint = "remove it: the last step is the event itself, on which the rule runs"
            findings.error(inner.key("on"), "the last step has other event types than the rule", hint)
    earlier = [_step(inner, schema, own, findings) for inner in steps[:-1] if inner is not None]
    unless = section.section("unless", UNLESS)
    if unless is not None and not unless.source.entries:
        findings.error(unless.source, "`unless` was empty", "give `on`, `when` or both")
    ends = None if unless is None else _step(unless, schema, (), findings)
    last = steps[-1] if steps else None
    if len(findings.items) > before or last is None:
        return None
    return WrittenSequence(name, node, place, section, zone, tuple(earlier), ends, last)


def _step(section: Section, schema: Schema, types: tuple[str, ...], findings: Findings) -> Step:
    """Return event types and condition of a step as one expression."""
    types = event_types(section, schema, findings) if section.has("on") else types
    node = section.scalar("when")
    listed = ", ".join(f'"{name}"' for name in types)
    on = f"{schema.event_type} in [{listed}]" if types else ""
    if node is None:
        place = section.key("on") if section.has("on") else section.source
        assert isinstance(place, ScalarNode | MappingNode)
        return Step(on, ScalarNode(place.lines, place.begin, place.end, on, ""))
    return Step(f"{on} and ({node.text})" if on else node.text, node)


def read_last_step(
    sequence: DeclaredSequence | None, scope: Scope, findings: Findings
) -> tuple[Condition | None, tuple[tuple[Condition, ...], ...]]:
    """Return a rule's condition, and its two parts: the earlier steps and what the last one asks."""
    if sequence is None:
        return None, ()
    found, _ = check(SEQUENCE_NAME, scope)
    assert found is not None
    cells = [Condition(found, sequence.place, sequence.place, SEQUENCE_NAME)]
    node = sequence.last.scalar("when")
    if node is not None:
        asked = checked(node, scope, findings)
        if asked is None:
            return None, ()
        cells.append(Condition(asked, node, sequence.last.source.entries["when"][0], SEQUENCE_NAME))
    term = build.join("and", [cell.checked.term for cell in cells])
    whole = Condition(Checked("", None, term), sequence.place, sequence.place, SEQUENCE_NAME)
    return whole, (tuple(cells),)


def _items(node: MappingNode, key: str) -> list[object]:
    entry = node.entries.get(key)
    return list(entry[1].items) if entry is not None and isinstance(entry[1], SequenceNode) else []


def _text(node: MappingNode, key: str) -> str:
    entry = node.entries.get(key)
    return entry[1].text if entry is not None and isinstance(entry[1], ScalarNode) else ""


def _rule_types(node: MappingNode) -> tuple[str, ...]:
    listed = [item.text for item in _items(node, "on") if isinstance(item, ScalarNode)]
    one = _text(node, "on")
    return tuple(dict.fromkeys(listed or ([one] if one else [])))


def _zone(node: MappingNode, default: str) -> str:
    entry = node.entries.get("defaults")
    name = _text(entry[1], "timezone") if entry is not None and isinstance(entry[1], MappingNode) else ""
    if not name:
        return default
    try:
        load_zone(name)
    except (KeyError, ValueError, OSError):
        return default
    return name
