"""Checks over all files: what no single file shows, and what is allowed but probably meant otherwise.

One function per check, all of them in :data:`CHECKS`. Those of conditions' meaning are in ``logic.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

from fraudstream.rules.bundle import Action, Agg, Mode, Source, Type
from fraudstream.rules.compiler.bands import check_bands
from fraudstream.rules.compiler.declared import Declared, Expression
from fraudstream.rules.compiler.logic import check_duplicates, check_tables, check_truth
from fraudstream.rules.compiler.nodes import (
    Arithmetic,
    Between,
    Call,
    Compare,
    Membership,
    Name,
    Node,
    Number,
    names,
)
from fraudstream.rules.compiler.reader import Findings, ScalarNode
from fraudstream.rules.compiler.ruleset import DeclaredRule
from fraudstream.rules.compiler.source import Span, quoted
from fraudstream.rules.compiler.suggest import suggest
from fraudstream.rules.compiler.terms import Scope
from fraudstream.rules.compiler.thresholds import check_bait, check_state_budget

PERCENT_MISUSE = 50
"""A quotient of 50 is 5,000 %: whoever writes that beside `ratio` usually means 50 %."""
SHOWN_MAX = 5
"""Names in one message; a foreign bank lacks dozens of the shipped model's."""
_INEXACT_CALLS = frozenset({
    "ratio", "distance_km", "speed_kmh",
    "seconds_between", "minutes_between", "hours_between", "days_between",
})  # fmt: skip
_ACTING = (Mode.LIVE, Mode.CANARY)
_BASELINES = (Agg.MEAN, Agg.STD, Agg.MIN, Agg.MAX)


def run_checks(declared: Declared, findings: Findings) -> None:
    """Run every check; errors and warnings go to ``findings``."""
    for check in CHECKS:
        check(declared, findings)


def check_owner(declared: Declared, findings: Findings) -> None:
    """Warn about rules for which nobody answers."""
    for rule in declared.rules:
        if not rule.owner and rule.mode is not Mode.RETIRED:
            hint = "give `owner` here or in `defaults`"
            findings.warning(rule.place, "no-owner", f"the rule `{rule.id}` has no owner", hint)


def check_tests(declared: Declared, findings: Findings) -> None:
    """Refuse a live rule that no test shows matching and not matching."""
    for rule in declared.rules:
        nodes = rule.section.items("tests")
        if rule.mode not in _ACTING or len(rule.cases) < len(nodes):
            continue
        matches = [case.expect.match for case in rule.cases]
        absent = [
            word
            for word, seen in (
                ("a matching", "true" in matches),
                ("a non-matching", "false" in matches or "unknown" in matches),
            )
            if not seen
        ]
        if absent:
            message = f"the {rule.mode.value} rule `{rule.id}` needs {' and '.join(absent)} test"
            findings.error(rule.place, message, "add it to `tests`, or set `mode: {state: draft}`")


def check_effect(declared: Declared, findings: Findings) -> None:
    """Warn about live rules that change nothing."""
    for rule in declared.rules:
        if rule.mode in _ACTING and rule.action is Action.NONE and not rule.score:
            hint = "give a score or an action, or set `mode: {state: shadow}`"
            findings.warning(
                rule.place, "no-effect", f"the rule `{rule.id}` has no action and no score", hint
            )


def check_exceptions(declared: Declared, findings: Findings) -> None:
    """Warn about exceptions that are over, and refuse none: they only stop to count."""
    for rule in declared.rules:
        for item in rule.parts.exceptions:
            if rule.from_ms is not None and item.until_ms <= rule.from_ms:
                message = "the exception ends before the rule is in force"
            elif declared.now_ms is not None and item.until_ms <= declared.now_ms:
                message = f"the exception has expired: its end was {quoted(item.until.text)}"
            else:
                continue
            hint = f"remove it, or ask {item.owner}" if item.owner else "remove it"
            findings.warning(item.until, "expired-exception", message, hint)


def check_unused_lists(declared: Declared, findings: Findings) -> None:
    """Warn about lists that no rule reads."""
    used = {name.name.removeprefix("lists.") for item in _expressions(declared) for name in item.names}
    for name in declared.lists.lists if declared.complete and not findings.failed else ():
        if name not in used:
            place = declared.lists.places[name]
            findings.warning(place, "unused-list", f"no rule reads the list `{name}`", "remove it")


def check_unused_features(declared: Declared, findings: Findings) -> None:
    """Warn about features that nothing reads, and about families of which nothing is read.

    A family is meant to be wider than what is read today.
    """
    if findings.failed or not declared.complete:
        return
    used = {slot.name for rule in declared.rules for slot in rule.reads} | (
        declared.model_inputs or frozenset()
    )
    families: dict[str, tuple[ScalarNode, bool]] = {}
    for feature in declared.features.feature_set.features:
        place = declared.features.places[feature.name]
        is_read = not used.isdisjoint({slot.name for slot in feature.outputs})
        if feature.name in declared.features.families:
            families[place.text] = place, is_read or families.get(place.text, (place, False))[1]
        elif not is_read:
            findings.warning(
                place, "unused-feature", f"no rule reads the feature `{feature.name}`", "remove it"
            )
    for name, (place, is_read) in families.items():
        if not is_read:
            message = f"no rule reads any feature of the family `{name}`"
            findings.warning(place, "unused-feature", message, "remove it")


def check_unused_tables(declared: Declared, findings: Findings) -> None:
    """Warn about reference tables that nothing reads: their sources are loaded for nothing."""
    if findings.failed or not declared.complete:
        return
    program = declared.features.feature_set.filter_program
    used = {slot.name for rule in declared.rules for slot in rule.reads}
    used |= set() if program is None else {slot.name for slot in program.slots}
    used |= declared.model_inputs or frozenset()
    for table in declared.reference.tables:
        if not used & {slot.name for slot in table.slots}:
            place = declared.reference.places[table.name]
            message = f"nothing reads the reference table `{table.name}`"
            findings.warning(place, "unused-table", message, "remove it")


def check_unused_parts(declared: Declared, findings: Findings) -> None:
    """Warn about params and conditions that their rule does not read."""
    for rule in declared.rules:
        used = {name.name for item in declared.expressions[rule.id] for name in item.names}
        used |= {f"params.{name}" for name in rule.params if _in_reason(rule, f"params.{name}")}
        if rule.when is None:
            continue
        for name, param in rule.params.items():
            if f"params.{name}" not in used:
                findings.warning(
                    param.place, "unused-param", f"the rule does not read `params.{name}`", "remove it"
                )
        for name, condition in rule.conditions.items():
            if name not in used:
                message = f"the rule does not read the condition `{name}`"
                findings.warning(condition.key, "unused-condition", message, "use it or remove it")


def check_unused_typologies(declared: Declared, findings: Findings) -> None:
    """Warn about typologies without rules."""
    used = {rule.typology for rule in declared.rules}
    for name, place in declared.typologies.places.items():
        if declared.complete and not findings.failed and name not in used:
            findings.warning(
                place, "unused-typology", f"no rule belongs to the typology `{name}`", "remove it"
            )


def check_percent(declared: Declared, findings: Findings) -> None:
    """Warn where a quotient is compared with a number that looks like a percentage."""
    for item in _expressions(declared):
        for node in item.nodes:
            sides = _sides(node)
            if not any(isinstance(side, Call) and side.function == "ratio" for side in sides):
                continue
            for side in sides:
                value = _number(side, item.rule.scope)
                if value is not None and value >= PERCENT_MISUSE:
                    message = f"a ratio of {float(value):g} means {float(value) * 100:,.0f} %"
                    findings.warning(
                        item.span(side), "percentage", message, f"did you mean `{float(value):g}%`?"
                    )


def check_exact_equality(declared: Declared, findings: Findings) -> None:
    """Warn where computed numbers are compared for equality."""
    for item in _expressions(declared):
        for node in item.nodes:
            if isinstance(node, Compare) and node.op in ("==", "!="):
                for side in (node.left, node.right):
                    if _inexact(side, item.rule.scope):
                        message = f"`{node.op}` on a computed number is true only for the last bit"
                        hint = "use `between`, or `round` it first"
                        findings.warning(item.span(node), "exact-equality", message, hint)
                        break


def check_baseline(declared: Declared, findings: Findings) -> None:
    """Warn where an event's own value is compared with a mean that contains it."""
    features = {
        feature.name: feature
        for feature in declared.features.feature_set.features
        if feature.agg in _BASELINES and not feature.exclude_current
    }
    for item in _expressions(declared):
        for node in item.nodes:
            if not isinstance(node, Compare | Between) and not _is_quotient(node):
                continue
            used = {name.name for name in names(node)}
            for name in sorted(used & features.keys()):
                feature = features[name]
                if feature.of[0] in used:
                    message = (
                        f"`{name}` contains the event's own `{feature.of[0]}`, with which it is compared"
                    )
                    hint = "declare the feature with `current: exclude`"
                    findings.warning(item.span(node), "baseline", message, hint)


def check_model(declared: Declared, findings: Findings) -> None:
    """Warn about rules and a model that do not fit each other."""
    if declared.model_inputs is None:
        return
    if not declared.model_inputs:
        for item in _expressions(declared):
            for name in item.names:
                slot = declared.slots.get(name.name)
                if slot is not None and slot.source is Source.MODEL:
                    message = f"`{name.name}` is always missing: there is no model"
                    findings.warning(item.span(name), "no-model", message, "remove it or give a model")
    absent = sorted(declared.model_inputs - declared.slots.keys())
    if not absent:
        return
    shown = ", ".join(f"`{name}`" for name in absent[:SHOWN_MAX])
    more = f" and {len(absent) - SHOWN_MAX} more" if len(absent) > SHOWN_MAX else ""
    message = f"the model reads {shown}{more}, which nothing declares: its score is missing on every event"
    hint = (suggest(absent[0], declared.slots) if len(absent) == 1 else "") or "declare them, or use no model"
    findings.warning(Span("features.yaml", 1, 1), "model-input", message, hint)


def check_given(declared: Declared, findings: Findings) -> None:
    """Warn about tests that set what their rule does not look at."""
    shared = {declared.schema.event_type, declared.schema.event_time}
    for rule in declared.rules:
        used = {slot.name for slot in rule.reads} | shared
        for case in rule.cases if rule.when is not None else ():
            for slot, _ in case.given or ():
                if slot.name not in used:
                    message = f"the test sets `{slot.name}`, which the rule does not read"
                    findings.warning(
                        case.place, "unread-given", message, suggest(slot.name, used) or "remove it"
                    )


CHECKS: tuple[Callable[[Declared, Findings], None], ...] = (
    check_owner,
    check_tests,
    check_effect,
    check_exceptions,
    check_bands,
    check_unused_lists,
    check_unused_features,
    check_unused_tables,
    check_unused_parts,
    check_unused_typologies,
    check_truth,
    check_tables,
    check_duplicates,
    check_percent,
    check_exact_equality,
    check_baseline,
    check_model,
    check_given,
    check_bait,
    check_state_budget,
)
"""In the order in which they run."""


def _expressions(declared: Declared) -> Iterator[Expression]:
    for items in declared.expressions.values():
        yield from items


def _in_reason(rule: DeclaredRule, name: str) -> bool:
    texts = [node.text for _, node in rule.section.table("reason") if isinstance(node, ScalarNode)]
    return any("{" + name in text for text in texts)


def _sides(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Compare):
        return node.left, node.right
    if isinstance(node, Between):
        return node.value, node.low, node.high
    return (node.value, node.items) if isinstance(node, Membership) else ()


def _number(node: Node, scope: Scope) -> Fraction | None:
    """Return the value of a bare number or of a param that is one."""
    if isinstance(node, Number):
        return None if node.percent else Fraction(node.digits)
    if isinstance(node, Name) and node.name.startswith("params."):
        value = scope.params.get(node.name.removeprefix("params."))
        if value is not None and value.kind.type in (Type.NUMBER, Type.INTEGER):
            return value.exact
    return None


def _inexact(node: Node, scope: Scope) -> bool:
    """Return whether a value comes out of binary64 arithmetic."""
    if isinstance(node, Call):
        return node.function in _INEXACT_CALLS
    if isinstance(node, Arithmetic):
        return node.op in "*/" or _inexact(node.left, scope) or _inexact(node.right, scope)
    if isinstance(node, Name):
        slot = scope.slots.get(node.name)
        return (
            slot is not None
            and slot.source is not Source.FIELD
            and slot.repr == "f"
            and slot.type is not Type.GEO
        )
    return False


def _is_quotient(node: Node) -> bool:
    return (isinstance(node, Call) and node.function == "ratio") or (
        isinstance(node, Arithmetic) and node.op == "/"
    )
