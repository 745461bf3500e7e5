"""A rule in words: what it looks at, when it matches, what follows, and what its tests show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from fraudstream.rules.bundle import Action, Agg, Feature, Mode, Segment, Slot, Source, Type, Typology
from fraudstream.rules.compiler.brakes import limit_words
from fraudstream.rules.compiler.compile import Compiled
from fraudstream.rules.compiler.declared import Declared
from fraudstream.rules.compiler.describe import describe
from fraudstream.rules.compiler.parts import Condition
from fraudstream.rules.compiler.ruleset import DeclaredRule
from fraudstream.rules.compiler.shape import duration_text
from fraudstream.rules.compiler.suggest import suggest
from fraudstream.rules.compiler.zones import load_zone

_ACTIONS = {
    Action.NONE: "It then asks for nothing",
    Action.PASS: "It then passes the event, unless a rule with `override: never` blocks it",
    Action.ALERT: "It then alerts",
    Action.BLOCK: "It then blocks",
}
_MODES = {
    Mode.DRAFT: "a draft: checked, never evaluated",
    Mode.SHADOW: "in shadow: evaluated and counted, without effect",
    Mode.CANARY: "a canary",
    Mode.LIVE: "live",
    Mode.RETIRED: "retired: never evaluated",
}
_AGGREGATES = {
    Agg.COUNT: "number of events",
    Agg.SUM: "sum of {}",
    Agg.MEAN: "mean of {}",
    Agg.STD: "standard deviation of {}",
    Agg.MIN: "lowest {}",
    Agg.MAX: "highest {}",
    Agg.DISTINCT: "number of different {}",
    Agg.FIRST: "{} of the first event",
    Agg.LAST: "{} of the last event",
    Agg.SINCE_FIRST: "time since the first event",
    Agg.SINCE_LAST: "time since the last event",
    Agg.EWMA: "moving average of {}",
    Agg.SEQUENCE: "whether these steps came in order: {}, for events",
}


def explain(compiled: Compiled, rule_id: str) -> str:
    """Return a rule in words.

    Raises:
        KeyError: no such rule; the message has a suggestion.
    """
    declared = compiled.declared
    rule = next((item for item in compiled.rules if item.id == rule_id), None)
    if declared is None or rule is None:
        hint = suggest(rule_id, [item.id for item in compiled.rules])
        raise KeyError(f"no rule `{rule_id}`" + (f"; {hint}" if hint else ""))
    return "\n".join(_lines(declared, rule))


def describe_feature(declared: Declared, feature: Feature, output: int | None = None) -> str:
    """Return what a feature is, in words; ``output`` picks one of several."""
    of = ", ".join(feature.of) if output is None else feature.of[output]
    if feature.agg is Agg.SEQUENCE:
        of = ", then ".join(_filter(declared, step) for step in feature.steps)
    text = _AGGREGATES[feature.agg].format(of)
    text += f" with the same {' and '.join(feature.key)}"
    if feature.window_ms is not None:
        text += f" in the last {duration_text(feature.window_ms)}"
    if feature.resolution_ms:
        text += f" (and up to {duration_text(feature.resolution_ms)} more)"
    if feature.half_life_ms:
        text += f", in which an event weighs half after {duration_text(feature.half_life_ms)}"
    if feature.where is not None:
        text += f", where {_filter(declared, feature.where)}"
    if feature.unless is not None:
        text += f", with nothing after the first of them where {_filter(declared, feature.unless)}"
    if (
        feature.agg is not Agg.SEQUENCE
        and feature.exclude_current
        and feature.agg not in (Agg.SINCE_FIRST, Agg.SINCE_LAST)
    ):
        text += ", without the event itself"
    if feature.min_count:
        text += f", missing below {feature.min_count} events"
    if feature.max_distinct:
        text += f", at most {feature.max_distinct}"
    return text


def _filter(declared: Declared, where: int) -> str:
    tree = declared.features.filters[where].node
    return "" if tree is None else describe(tree, declared.features.scope)


def _lines(declared: Declared, rule: DeclaredRule) -> Iterator[str]:
    place = rule.place.span
    yield f"{rule.id}: {rule.title}"
    who = f"owner {rule.owner or 'nobody'}; severity {rule.severity.name.lower()}"
    mode = _MODES[rule.mode]
    if rule.canary is not None:
        mode += f": acts on {rule.canary.parts / 100:g} % of {rule.canary.slot.name}, counts on the rest"
    yield f"{place.file}:{place.line}; {who}; {mode}"
    yield ""
    yield f"On {' or '.join(rule.on)} events{interval_words(rule)} it matches when"
    for part in rule.conditions.values():
        if part.checked.node is not None:
            yield f"  {part.key.text} means: {describe(part.checked.node, rule.scope)}"
    if rule.when is not None and rule.when.checked.node is not None:
        yield f"  {describe(rule.when.checked.node, rule.scope)}"
    for number, row in enumerate(rule.parts.rows):
        yield f"  {'or ' if number else ''}{', and '.join(_words(rule, cell) for cell in row)}"
    for name, param in rule.params.items():
        if param.texts:
            other = ", ".join(f"{text} in segment {segment}" for segment, text in param.texts.items())
            yield f"  params.{name} is {param.text}, but {other}"
    yield from _exceptions(rule)
    yield from _consequence(declared, rule)
    if rule.limit is not None:
        limit = limit_words(rule.limit)
        yield f"Above {limit} it alerts instead of blocking, until `limits.reset` is raised."
    if rule.suppress is not None:
        keys = " and ".join(slot.name for slot in rule.suppress.by)
        length = duration_text(rule.suppress.for_ms)
        yield f"An alert stands for those that follow with the same {keys} within {length}."
    for language, pieces in rule.reason.items():
        yield f"Reason ({language}): {_template(pieces)}"
    if rule.reads:
        yield ""
        yield "It reads"
        width = max(len(slot.name) for slot in rule.reads)
        for slot in rule.reads:
            yield f"  {slot.name:<{width}}  {_origin(declared, slot)}"
    yield ""
    yield _tests(rule)


def interval_words(rule: DeclaredRule) -> str:
    """Return when a rule is in force, with a space before it; empty: always."""
    text = "" if rule.from_ms is None else f" from {_time(rule.from_ms, rule.zone)}"
    return text if rule.until_ms is None else f"{text} until {_time(rule.until_ms, rule.zone)}"


def _time(time_ms: int, zone: str) -> str:
    local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        milliseconds=time_ms + load_zone(zone).offset_at(time_ms)
    )
    return f"{local:%Y-%m-%d %H:%M} ({zone})"


def _consequence(declared: Declared, rule: DeclaredRule) -> Iterator[str]:
    text = _ACTIONS[rule.action]
    if rule.action is Action.BLOCK:
        text += ", and no pass rule may undo it" if rule.never_override else " (a pass rule may undo it)"
    typology = next((item for item in declared.typologies.typologies if item.id == rule.typology), None)
    if rule.score or rule.parts.bands:
        target = (
            f"the typology {_typology(typology)}"
            if typology is not None
            else "the decision's score by itself"
        )
        points = "points by bands" if rule.parts.bands else f"{rule.score} points"
        text += f" and gives {points} to {target}"
    if not rule.parts.bands:
        yield f"{text}."
        return
    yield f"{text}; the first that holds counts:"
    for band in rule.parts.bands:
        yield f"  {band.score} points where {_words(rule, band.condition)}"
    yield "  0 points otherwise"


def _exceptions(rule: DeclaredRule) -> Iterator[str]:
    if rule.parts.exceptions:
        yield "It does not match where"
    for item in rule.parts.exceptions:
        words = _words(rule, item.condition)
        yield f"  {words} (until {_time(item.until_ms, rule.zone)}, owner {item.owner})"


def _words(rule: DeclaredRule, condition: Condition) -> str:
    node = condition.checked.node
    return condition.checked.text if node is None else describe(node, rule.scope)


def _typology(typology: Typology) -> str:
    kind = {
        "max": "the highest score counts",
        "sum": "scores are added",
        "noisy_or": "scores count as independent probabilities",
    }[typology.combine]
    limits = [f"alert at {typology.alert_at}"] if typology.alert_at is not None else []
    limits += [f"block at {typology.block_at}"] if typology.block_at is not None else []
    return f"{typology.id} ({', '.join([kind, *limits])})"


def _template(pieces: tuple[Segment, ...]) -> str:
    out = ""
    for piece in pieces:
        if piece.slot is None:
            out += piece.literal
        else:
            out += f"{{{piece.slot.name}{':' + piece.format if piece.format else ''}}}"
    return out


def _origin(declared: Declared, slot: Slot) -> str:
    """Return where a value comes from."""
    if slot.source is Source.MODEL:
        return "probability of fraud by the champion model"
    if slot.name in declared.reference.slots:
        return _table_column(declared, slot)
    if slot.source is Source.FIELD:
        field = declared.schema.field(slot.name)
        if field.const is not None:
            return f"always {field.const}"
        paths = f"{field.path_text}, {'.'.join(field.path2)}" if field.path2 else field.path_text
        converted = field.currency is not None and field.convert
        return f"{field.type.value} in {paths}" + (
            f", in {declared.schema.base_currency}" if converted else ""
        )
    feature = next(item for item in declared.features.feature_set.features if slot in item.outputs)
    output = feature.outputs.index(slot) if len(feature.outputs) > 1 else None
    return describe_feature(declared, feature, output)


def _table_column(declared: Declared, slot: Slot) -> str:
    table = next(item for item in declared.reference.tables if slot in item.slots)
    source = f"topic {table.topic}" if table.topic else table.file
    if slot == table.found:
        return f"whether {source} has a row for {table.key}"
    if slot == table.stale:
        return f"whether {source} is older than its `stale_after` at the event's time"
    money = f" in {declared.schema.base_currency}" if slot.type is Type.MONEY else ""
    return f"{slot.type.value}{money} of {source} by {table.key}"


def _tests(rule: DeclaredRule) -> str:
    if not rule.cases:
        return "It has no tests."
    expected = Counter(case.expect.match for case in rule.cases)
    words = (("true", "matching"), ("false", "not matching"), ("unknown", "unknown"))
    parts = [f"{expected[key]} {word}" for key, word in words if expected[key]]
    events = sum(case.given is None for case in rule.cases)
    return f"Tests: {len(rule.cases)} ({', '.join(parts)}; {events} with events)."
