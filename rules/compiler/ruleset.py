"""``rulesets/*.yaml``: rules, checked one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fraudstream.rules.bundle import Action, Limit, Mode, Schema, Segment, Severity, Slot, Suppression
from fraudstream.rules.compiler import grammar
from fraudstream.rules.compiler import shape as shapes
from fraudstream.rules.compiler.brakes import read_limit, read_suppression
from fraudstream.rules.compiler.build import join
from fraudstream.rules.compiler.canary import Canary, read_canary
from fraudstream.rules.compiler.cases import Case, read_cases
from fraudstream.rules.compiler.decision_table import Rows, read_table
from fraudstream.rules.compiler.exceptions import read_bands, read_exceptions
from fraudstream.rules.compiler.expressions import checked, note
from fraudstream.rules.compiler.lists import instant
from fraudstream.rules.compiler.nodes import names
from fraudstream.rules.compiler.params import Param, plain_name, read_params
from fraudstream.rules.compiler.parts import Condition, Outcome, Parts, outcome
from fraudstream.rules.compiler.reader import Findings, ScalarNode, SequenceNode
from fraudstream.rules.compiler.schema import event_types
from fraudstream.rules.compiler.segments import guards, variants
from fraudstream.rules.compiler.sequences import SEQUENCE_NAME, DeclaredSequence, read_last_step
from fraudstream.rules.compiler.shape import Section
from fraudstream.rules.compiler.source import quoted
from fraudstream.rules.compiler.suggest import suggest
from fraudstream.rules.compiler.text import compile_text
from fraudstream.rules.compiler.types import Checked, Scope, Term, gate, names_read
from fraudstream.rules.compiler.typologies import LANGUAGE, zone_name
from fraudstream.rules.compiler.vocabulary import (
    ACTIONS,
    DEFAULTS,
    EFFECTIVE,
    MODE,
    OVERRIDES,
    RULE,
    SEVERITIES,
    STATES,
)

RULES_MAX = 20_000
CONDITIONS_MAX = 64
RESERVED_IDS = ("typology.", "model.")
"""Reasons of typologies and model bands have codes with these prefixes."""


@dataclass(frozen=True, slots=True)
class Context:
    """What all rules of a directory share."""

    schema: Schema
    scope: Scope
    """Zone is the policy's; rule sets may have their own."""
    typologies: tuple[str, ...]
    language: str
    segment: Slot | None = None
    """What ``policy.segment`` names."""
    sequences: Mapping[int, DeclaredSequence] = field(default_factory=dict)
    """By the identity of a rule's node in the file."""


@dataclass(frozen=True, slots=True)
class DeclaredRule:
    """A rule as written and checked."""

    id: str
    place: ScalarNode
    section: Section
    title: str
    severity: Severity
    mode: Mode
    action: Action
    never_override: bool
    score: int
    """With bands: the highest."""
    priority: int
    typology: str
    on: tuple[str, ...]
    owner: str
    zone: str
    from_ms: int | None
    until_ms: int | None
    was: tuple[str, ...]
    scope: Scope
    """With the rule's params and conditions."""
    params: Mapping[str, Param] = field(default_factory=dict)
    parts: Parts = field(default_factory=Parts)
    variants: Mapping[str, Parts] = field(default_factory=dict)
    """By segment, where params differ."""
    limit: Limit | None = None
    suppress: Suppression | None = None
    gate: Checked | None = None
    canary: Canary | None = None
    outcome: Outcome | None = None
    """None where an error left nothing to run."""
    reason: Mapping[str, tuple[Segment, ...]] = field(default_factory=dict)
    reads: tuple[Slot, ...] = ()
    cases: tuple[Case, ...] = ()

    @property
    def conditions(self) -> Mapping[str, Condition]:
        """Return the named conditions, in the order written."""
        return self.parts.conditions

    @property
    def when(self) -> Condition | None:
        """Return the condition of a match."""
        return self.parts.when

    @property
    def full(self) -> Checked | None:
        """Return the whole condition: gate, ``when``, exceptions."""
        return None if self.outcome is None else self.outcome.full

    @property
    def evaluated(self) -> bool:
        """Return whether the rule runs on live traffic."""
        return self.mode in (Mode.LIVE, Mode.CANARY, Mode.SHADOW)

    @property
    def share(self) -> tuple[int, str]:
        """Return how many keys of ten thousand it acts on, and which."""
        return (10_000, "") if self.canary is None else (self.canary.parts, self.canary.slot.name)

    @property
    def acts(self) -> tuple[tuple[Checked, int], ...]:
        """Return disjoint outputs on which the rule acts, with points; empty: wherever it holds."""
        found = self.outcome
        if found is None or self.canary is None:
            return () if found is None else found.effects
        chosen = self.canary.term
        pieces = found.effects or ((found.full, self.score),)
        return tuple((Checked("", None, join("and", [piece.term, chosen])), score) for piece, score in pieces)


def read_rules(
    sections: Mapping[str, Section], context: Context, findings: Findings
) -> tuple[DeclaredRule, ...]:
    """Return the rules of all files in the order of files and lines."""
    rules: list[DeclaredRule] = []
    for section in sections.values():
        defaults = section.section("defaults", DEFAULTS)
        owner = "" if defaults is None else defaults.text("owner")
        zone = context.scope.zone
        if defaults is not None:
            zone = zone_name(defaults.scalar("timezone"), zone, findings)
        for node in section.items("rules"):
            inner = Section.open(node, RULE, findings)
            if inner is None:
                continue
            if len(rules) >= RULES_MAX:
                findings.error(inner.source, f"more than {RULES_MAX:,} rules", "remove retired rules")
                return tuple(rules)
            found = _read_rule(inner, context, owner, zone, findings)
            if found is not None:
                rules.append(found)
    _check_ids(rules, findings)
    return tuple(rules)


def _read_rule(
    section: Section, context: Context, owner: str, zone: str, findings: Findings
) -> DeclaredRule | None:
    place = section.scalar("id")
    name = section.name("id")
    if place is None:
        return None
    if name.startswith(RESERVED_IDS):
        prefix = name.split(".", 1)[0] + "."
        findings.error(place, f"the id {quoted(name)} begins with `{prefix}`, which is reserved", "rename it")
    scope = replace(context.scope, zone=zone)
    effective = section.section("effective", EFFECTIVE)
    from_ms = None if effective is None else instant(effective.scalar("from"), zone, findings)
    until_ms = None if effective is None else instant(effective.scalar("until"), zone, findings)
    if effective is not None and from_ms is not None and until_ms is not None and from_ms >= until_ms:
        message = "`effective` is empty: `until` is not after `from`"
        findings.error(effective.key("until"), message, "`until` itself is not included")
    mode = section.section("mode", MODE)
    params = read_params(section, scope, context.segment, findings)
    scope = replace(scope, params={key: item.value for key, item in params.items()})
    segments = variants(params, scope, section, findings)
    sequence = context.sequences.get(id(section.source))
    parts, scope = _read_parts(section, scope, sequence, findings)
    others = {
        name: _read_variant(name, section, inner, sequence, findings) for name, inner in segments.items()
    }
    action = Action[section.choice("action", ACTIONS, "none").upper()]
    never_override = section.choice("override", OVERRIDES, "allowed") == "never"
    on = event_types(section, context.schema, findings)
    rule = DeclaredRule(
        id=name,
        place=place,
        section=section,
        title=section.text("title"),
        severity=Severity[section.choice("severity", SEVERITIES, "low").upper()],
        mode=Mode("live" if mode is None else mode.choice("state", STATES, "live")),
        canary=None if mode is None else read_canary(mode, scope, context.schema, findings),
        action=action,
        never_override=never_override,
        score=_score(section, parts),
        priority=section.integer("priority", -1_000_000, 1_000_000, 0),
        typology=_typology(section, context, findings),
        on=on,
        owner=section.text("owner", owner),
        zone=zone,
        from_ms=from_ms,
        until_ms=until_ms,
        was=tuple(
            node.text for node in section.words("was") if shapes.name(node, "an item of `was`", findings)
        ),
        scope=scope,
        params=params,
        parts=parts,
        variants={} if None in others.values() else {n: p for n, p in others.items() if p is not None},
        limit=read_limit(section, action, never_override, findings),
        suppress=read_suppression(section, action, scope, context.schema, findings),
        reason=_read_reason(section, action, params, scope, context, findings),
        cases=read_cases(section, on, (from_ms, until_ms), scope, context.schema, findings),
    )
    if rule.never_override and action is not Action.BLOCK:
        hint = "set `action: block` or remove it"
        findings.error(
            section.key("override"), "`override: never` protects a block, this rule does not block", hint
        )
    return _with_program(rule, context)


def _with_program(rule: DeclaredRule, context: Context) -> DeclaredRule:
    door = gate(rule.scope, rule.on, rule.from_ms, rule.until_ms)
    segments = {name: value for item in rule.params.values() for name, value in item.segments.items()}
    marks: Mapping[str, Term] = {}
    if context.segment is not None:
        marks = guards({name: segments[name] for name in rule.variants}, context.segment, rule.scope)
    found = outcome(
        rule.scope, door, rule.parts, [(marks[name], item) for name, item in rule.variants.items()]
    )
    if found is None:
        return rule
    used = [part for part in rule.parts if part.label not in rule.conditions]
    slots = {slot.name: slot for part in used for slot in names_read(part.checked)}
    if rule.suppress is not None:
        slots.update((slot.name, slot) for slot in rule.suppress.by)
    if rule.canary is not None:
        slots[rule.canary.slot.name] = rule.canary.slot
    if marks and context.segment is not None:
        slots[context.segment.name] = context.segment
    for pieces in rule.reason.values():
        slots.update((piece.slot.name, piece.slot) for piece in pieces if piece.slot is not None)
    reads = tuple(slots[name] for name in sorted(slots) if name in context.scope.slots)
    return replace(rule, gate=door, outcome=found, reads=reads)


def _score(section: Section, parts: Parts) -> int:
    if isinstance(section.node("score"), SequenceNode):
        return max((band.score for band in parts.bands), default=0)
    return section.integer("score", 0, 100, 0)


def _typology(section: Section, context: Context, findings: Findings) -> str:
    node = section.scalar("typology")
    if node is None:
        return ""
    if node.text not in context.typologies and "Typologies" not in findings.broken_groups:
        hint = suggest(node.text, context.typologies) or "declare it in typologies.yaml"
        findings.error(node, f"unknown typology {quoted(node.text)}", hint)
        return ""
    return node.text


def _read_parts(
    section: Section, scope: Scope, sequence: DeclaredSequence | None, findings: Findings
) -> tuple[Parts, Scope]:
    """Return a rule's conditions, and the scope with the named ones."""
    if sequence is not None:
        scope = replace(scope, slots={**scope.slots, SEQUENCE_NAME: sequence.slot})
    conditions = _read_conditions(section, scope, findings)
    scope = replace(scope, conditions={key: item.checked for key, item in conditions.items()})
    rows: Rows = ()
    if section.has("when"):
        when = _read_when(section, conditions, scope, findings)
    elif section.has("sequence"):
        when, rows = read_last_step(sequence, scope, findings)
    else:
        when, rows = read_table(section, scope, findings)
    parts = Parts(
        conditions,
        when,
        rows,
        read_exceptions(section, scope, findings),
        read_bands(section, scope, findings),
    )
    return parts, scope


def _read_variant(
    name: str, section: Section, scope: Scope, sequence: DeclaredSequence | None, findings: Findings
) -> Parts | None:
    """Check a rule's conditions with the params of a segment; None after errors."""
    own = Findings()
    own.broken, own.broken_prefixes, own.broken_groups = (
        findings.broken,
        findings.broken_prefixes,
        findings.broken_groups,
    )
    parts, _ = _read_parts(section, scope, sequence, own)
    known = {(item.span, item.message) for item in findings.items}
    for item in own.items:
        if (item.span, item.message) not in known:
            findings.error(item.span, f"in segment {quoted(name)}: {item.message}", item.hint)
    return None if own.failed else parts


def _read_conditions(section: Section, scope: Scope, findings: Findings) -> dict[str, Condition]:
    """Check named conditions in an order where each stands behind those that it names."""
    waiting: dict[str, tuple[ScalarNode, ScalarNode, set[str]]] = {}
    entries = section.table("conditions")
    if len(entries) > CONDITIONS_MAX:
        message = f"{len(entries)} conditions, at most {CONDITIONS_MAX} are allowed"
        findings.error(section.key("conditions"), message)
    for key, node in entries[:CONDITIONS_MAX]:
        text = shapes.scalar(node, f"`{key.text}`", findings)
        if not plain_name(key, "a condition", findings) or text is None:
            continue
        if key.text in scope.slots:
            findings.error(
                key, f"the condition {quoted(key.text)} is already a field or feature", "rename it"
            )
            continue
        tree, _ = grammar.parse(text.text)
        waiting[key.text] = (key, text, set() if tree is None else {item.name for item in names(tree)})
    done: dict[str, Condition] = {}
    failed = {f"params.{key.text}" for key, _ in section.table("params")} - {
        f"params.{name}" for name in scope.params
    }
    while waiting:
        ready = [name for name, (_, _, uses) in waiting.items() if not uses & waiting.keys()]
        if not ready:
            for key, _, uses in waiting.values():
                if key.text in uses or uses & waiting.keys():
                    findings.error(
                        key, f"the condition {quoted(key.text)} depends on itself", "break the circle"
                    )
            break
        for name in ready:
            key, text, uses = waiting.pop(name)
            if uses & failed:
                failed.add(name)
                continue
            inner = replace(scope, conditions={key: item.checked for key, item in done.items()})
            found = checked(text, inner, findings)
            if found is None:
                failed.add(name)
            else:
                done[name] = Condition(found, text, key, name)
    order = [key.text for key, _ in entries]
    return {name: done[name] for name in order if name in done}


def _read_when(
    section: Section, conditions: Mapping[str, Condition], scope: Scope, findings: Findings
) -> Condition | None:
    node = section.scalar("when")
    if node is None:
        return None
    declared = section.declared("conditions") | {f"params.{name}" for name in section.declared("params")}
    sound = conditions.keys() | {f"params.{name}" for name in scope.params}
    tree, problems = grammar.parse(node.text)
    if tree is not None and any(item.name in declared - sound for item in names(tree)):
        return None  # the error is in the part that it names
    if tree is None:
        note(problems, node, findings)
        return None
    found = checked(node, scope, findings)
    key = section.source.entries["when"][0]
    return None if found is None else Condition(found, node, key, "when")


def _read_reason(
    section: Section,
    action: Action,
    params: Mapping[str, Param],
    scope: Scope,
    context: Context,
    findings: Findings,
) -> dict[str, tuple[Segment, ...]]:
    entries = section.table("reason")
    out: dict[str, tuple[Segment, ...]] = {}
    for key, node in entries:
        text = shapes.scalar(node, f"`{key.text}`", findings)
        if LANGUAGE.fullmatch(key.text) is None:
            findings.error(key, f"{quoted(key.text)} is not a language code", "e.g. `en`, `zh`")
        if text is None or shapes.plain_text(text, f"`{key.text}`", findings) is None:
            continue
        _check_segmented(text, params, findings)
        pieces, problems = compile_text(text.text.rstrip().replace("\n", " "), scope)
        note(problems, text, findings)
        if not problems:
            out[key.text] = pieces
    if not entries:
        if action is not Action.NONE:
            message = f"a rule with action `{action.name.lower()}` needs `reason`"
            findings.error(section.source, message, f'e.g. `reason: {{{context.language}: "..."}}`')
        return out
    if not any(key.text == context.language for key, _ in entries):
        message = f"`reason` has no text in the policy's language `{context.language}`"
        findings.error(section.key("reason"), message, "add it")
    _check_placeholders(entries[0][0].text, out, section, findings)
    return out


def _check_segmented(text: ScalarNode, params: Mapping[str, Param], findings: Findings) -> None:
    for name in (name for name, item in params.items() if item.by_segment):
        at = text.text.find(f"{{params.{name}")
        if at >= 0:
            message = f"`params.{name}` differs by segment, a text can not show it"
            findings.error(
                text.part(at, at + len(name) + 8), message, "show the value that it is compared with"
            )


def _check_placeholders(
    first: str, reason: Mapping[str, tuple[Segment, ...]], section: Section, findings: Findings
) -> None:
    """Refuse a translation that shows other values than the first text."""
    if first not in reason:
        return
    expected = {piece.slot.name for piece in reason[first] if piece.slot is not None}
    for key, _ in section.table("reason"):
        given = {piece.slot.name for piece in reason.get(key.text, ()) if piece.slot is not None}
        for name in sorted(expected - given) if key.text in reason else ():
            findings.error(key, f"the text in `{key.text}` lacks `{{{name}}}`, which `{first}` has", "add it")
        for name in sorted(given - expected):
            findings.error(
                key, f"the text in `{key.text}` has `{{{name}}}`, which `{first}` lacks", "remove it"
            )


def _check_ids(rules: list[DeclaredRule], findings: Findings) -> None:
    """Refuse an id that two rules have or had."""
    owners: dict[str, DeclaredRule] = {}
    for rule in (item for item in rules if item.id):
        first = owners.setdefault(rule.id, rule)
        if first is not rule:
            place = first.place.span
            message = f"a second rule with the id {quoted(rule.id)}"
            findings.error(rule.place, message, f"the first is at {place.file}:{place.line}")
    former: dict[str, DeclaredRule] = {}
    for rule in rules:
        for node in rule.section.words("was"):
            other = owners.get(node.text) or former.get(node.text)
            if other is not None:
                place = other.place.span
                message = f"the former id {quoted(node.text)} is an id of another rule"
                findings.error(node, message, f"ids are never used again, see {place.file}:{place.line}")
            former[node.text] = rule
