"""What a change widens: where more is blocked or let through than before, and two people have to agree.

Wider is a new or stronger block or pass, and a looser threshold of one; so is what can lead to them: points
and ends of typologies that block, model bands, the keys of those who sign. A condition counts as looser
unless it provably matches only where the one before did.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from fraudstream.rules.bundle import Action, ModelBand, Slot, Source, Type, Typology
from fraudstream.rules.compiler.compile import Compiled
from fraudstream.rules.compiler.declared import Declared
from fraudstream.rules.compiler.logic import Atom, Region, atom_of, ranges_of
from fraudstream.rules.compiler.ruleset import DeclaredRule
from fraudstream.rules.compiler.terms import Constant, ListDecl, Term, every

STEPS_MAX = 20_000
"""Comparisons of one proof; a rule that needs more counts as looser."""
DEPTH_MAX = 150
"""Conditions may use conditions; what is nested deeper counts as looser."""
_OPPOSITE = {"<": ">=", ">=": "<", ">": "<=", "<=": ">", "is": "is not", "is not": "is"}


def widened(before: Compiled, after: Compiled) -> list[str]:
    """Return what a change widens, one line each; none: it needs no second pair of eyes.

    Raises:
        ValueError: one of the two did not compile.
    """
    if before.bundle is None or after.bundle is None or before.declared is None or after.declared is None:
        raise ValueError("only directories without errors can be compared by what they mean")
    a, b = before.declared, after.declared
    return [*_rules(a, b), *_typologies(a, b), *_policy(a, b)]


def _rules(a: Declared, b: Declared) -> Iterator[str]:
    old = {rule.id: rule for rule in a.rules}
    proof = Proof(definitions(a), definitions(b), ranges_of(b))
    blocking = {item.id for item in b.typologies.typologies if item.block_at is not None}
    for rule in b.rules:
        if not _acts(rule):
            continue
        decides = rule.action in (Action.BLOCK, Action.PASS)
        scores = rule.typology in blocking and rule.score > 0
        if not decides and not scores:
            continue
        word = "passes" if rule.action is Action.PASS else "blocks"
        word = word if decides else f"gives points to `{rule.typology}`, which blocks"
        was = next((old[name] for name in (rule.id, *rule.was) if name in old), None)
        if was is None or not _acts(was):
            yield f"rule {rule.id}: newly {word}"
        else:
            for change in _rule(was, rule, proof, decides=decides, scores=scores):
                yield f"rule {rule.id}: {change}"


def _acts(rule: DeclaredRule) -> bool:
    return bool(rule.evaluated and rule.mode.value != "shadow" and rule.full is not None)


def _rule(a: DeclaredRule, b: DeclaredRule, proof: Proof, *, decides: bool, scores: bool) -> Iterator[str]:
    if decides and a.action is not b.action:
        yield f"action {a.action.name.lower()} -> {b.action.name.lower()}"
    if b.never_override and not a.never_override:
        yield "no pass overrides it any more"
    if b.share != a.share and not (
        a.canary is None or (a.share[1] == b.share[1] and b.share[0] < a.share[0])
    ):
        yield f"acts on {b.share[0] / 100:g} % of keys instead of {a.share[0] / 100:g} %"
    if scores and (
        a.typology != b.typology or _points(b) > _points(a) or bool(b.parts.bands) != bool(a.parts.bands)
    ):
        yield f"more points for `{b.typology}`"
    if decides and a.limit is not None and a.limit != b.limit:
        # Another limit counts anew: a rule that had reached the one before acts again.
        yield "another limit" if b.limit is not None else "no limit any more"
    assert a.full is not None
    assert b.full is not None
    if not proof.implies(b.full.term, a.full.term):
        yield "matches where it did not before"
    elif scores and b.parts.bands and not _same_bands(a, b, proof):
        yield f"other score bands for `{b.typology}`"


def _points(rule: DeclaredRule) -> int:
    return max((band.score for band in rule.parts.bands), default=rule.score)


def _same_bands(a: DeclaredRule, b: DeclaredRule, proof: Proof) -> bool:
    old, new = ([(item.condition.checked.term, item.score) for item in rule.parts.bands] for rule in (a, b))
    return len(old) == len(new) and all(
        x[1] >= y[1] and proof.same(x[0], y[0]) for x, y in zip(old, new, strict=True)
    )


def _typologies(a: Declared, b: Declared) -> Iterator[str]:
    old = {item.id: item for item in a.typologies.typologies}
    for item in b.typologies.typologies:
        was = old.get(item.id)
        if item.block_at is None:
            continue
        if was is None or was.block_at is None:
            if _used(b, item):
                yield f"typology {item.id}: newly blocks at {item.block_at}"
        elif item.block_at < was.block_at:
            yield f"typology {item.id}: blocks at {item.block_at} instead of {was.block_at}"
        elif item.combine != was.combine:
            yield f"typology {item.id}: combine {was.combine} -> {item.combine}"


def _used(declared: Declared, typology: Typology) -> bool:
    return any(rule.typology == typology.id and _acts(rule) for rule in declared.rules)


def _policy(a: Declared, b: Declared) -> Iterator[str]:
    old, new = (_block_at(side.policy.model_bands) for side in (a, b))
    if new < old:
        was = "" if math.isinf(old) else f" instead of {old / 1_000_000:g}"
        yield f"policy: the model blocks from {new / 1_000_000:g}{was}"
    if a.policy.signers != b.policy.signers:
        yield "policy: other signers"


def _block_at(bands: tuple[ModelBand, ...]) -> float:
    return min((band.at_micro for band in bands if band.action is Action.BLOCK), default=math.inf)


class Proof:
    """Proves that one condition is true only where another is; what it can not prove it denies."""

    def __init__(
        self, before: Mapping[str, str], after: Mapping[str, str], ranges: Mapping[str, Region]
    ) -> None:
        """Prepare proofs.

        Args:
            before: what each name is in the directory before; names that differ are different values.
            after: the same of the directory after.
            ranges: bounds of names by their declaration.
        """
        self._definitions = (before, after)
        self._numbers: dict[object, int] = {}
        self._known: dict[int, tuple[Term, int]] = {}
        self._ranges = ranges
        self._steps = 0
        self._depth = 0

    def implies(self, new: Term, old: Term) -> bool:
        """Return whether ``new`` (of the directory after) is provably true only where ``old`` is."""
        self._steps = 0
        self._number(old, 0)
        self._number(new, 1)
        return self._implies(new, True, old, True)

    def same(self, old: Term, new: Term) -> bool:
        """Return whether the two mean the same, comparison by comparison."""
        return self._number(old, 0) == self._number(new, 1)

    def _implies(self, new: Term, new_holds: bool, old: Term, old_holds: bool) -> bool:
        self._steps += 1
        if self._steps > STEPS_MAX or self._depth >= DEPTH_MAX:
            return False
        self._depth += 1
        try:
            return self._step(new, new_holds, old, old_holds)
        finally:
            self._depth -= 1

    def _step(self, new: Term, new_holds: bool, old: Term, old_holds: bool) -> bool:
        if new_holds and _is_definite(new):
            return self._implies(new.args[0], True, old, old_holds)
        if old_holds and _is_definite(old):
            return self._implies(new, new_holds, old.args[0], True)
        if new.op == "not":
            return self._implies(new.args[0], not new_holds, old, old_holds)
        if old.op == "not":
            return self._implies(new, new_holds, old.args[0], not old_holds)
        if new_holds == old_holds and self._of(new) == self._of(old):
            return True
        if old.constant is not None and bool(old.constant.value) == old_holds:
            return True
        if new.constant is not None and bool(new.constant.value) != new_holds:
            return True
        if old.op == ("and" if old_holds else "or"):
            return all(self._implies(new, new_holds, part, old_holds) for part in old.args)
        if new.op == ("or" if new_holds else "and"):
            return all(self._implies(part, new_holds, old, old_holds) for part in new.args)
        if old.op in ("and", "or") and any(
            self._implies(new, new_holds, part, old_holds) for part in old.args
        ):
            return True
        if new.op in ("and", "or"):
            if any(self._implies(part, new_holds, old, old_holds) for part in new.args):
                return True
            return self._cut([(part, new_holds) for part in new.args], old, old_holds)
        if new.op == "in_list" and old.op == "in_list" and new_holds == old_holds:
            return self._list(new, old, holds=new_holds)
        return self._cut([(new, new_holds)], old, old_holds)

    def _list(self, new: Term, old: Term, *, holds: bool) -> bool:
        """Judge lists by their items: fewer match less."""
        if self._of(new.args[0]) != self._of(old.args[0]):
            return False
        few, many = (new, old) if holds else (old, new)
        assert isinstance(few.data, ListDecl)
        assert isinstance(many.data, ListDecl)
        ends = {item.value: item.until_ms for item in many.data.items}
        return all(
            item.value in ends and (ends[item.value] or math.inf) >= (item.until_ms or math.inf)
            for item in few.data.items
        )

    def _cut(self, parts: list[tuple[Term, bool]], old: Term, old_holds: bool) -> bool:
        """Judge comparisons with constants by what they leave of a value."""
        wanted = atom_of(old)
        if wanted is None:
            return False
        wanted = wanted if old_holds else _opposite(wanted)
        number = self._of(wanted.term)
        region, found = self._start(wanted.term), False
        for term, holds in _flat(parts):
            atom = atom_of(term)
            if atom is not None and self._of(atom.term) == number:
                region.cut(atom if holds else _opposite(atom))
                found = True
        region.cut(_opposite(wanted))
        return found and region.empty(whole=wanted.term.kind.repr == "i" and not wanted.term.kind.values)

    def _start(self, term: Term) -> Region:
        known = self._ranges.get(term.slot.name) if term.slot is not None else None
        return Region() if known is None else Region(known.low, known.low_open, known.high, known.high_open)

    def _of(self, term: Term) -> int:
        return self._known[id(term)][1]

    def _number(self, root: Term, side: int) -> int:
        for term in every([root]):
            if id(term) in self._known:
                continue
            args = tuple(self._of(arg) for arg in term.args)
            if term.op in ("and", "or"):
                args = tuple(sorted(set(args)))
            content = (term.op, term.kind.type, term.kind.repr, self._content(term.data, side), args)
            self._known[id(term)] = (term, self._numbers.setdefault(content, len(self._numbers)))
        return self._of(root)

    def _content(self, data: object, side: int) -> object:
        """Return what a term's data means; a name means what its directory declares it to be."""
        if isinstance(data, Slot):
            return data.name, self._definitions[side].get(data.name, "")
        if isinstance(data, ListDecl):
            return data.name, data.type, frozenset(data.items)
        if isinstance(data, Constant):
            return data.kind.type, data.kind.repr, data.value, data.currency
        if isinstance(data, tuple):
            return tuple(self._content(item, side) for item in data)
        return repr(data)


def _is_definite(term: Term) -> bool:
    """Return whether a condition is another with unknown turned into false: true on the same rows."""
    if term.op != "coalesce" or term.kind.type is not Type.BOOL:
        return False
    other = term.args[1].constant
    return other is not None and not other.value


def _flat(parts: list[tuple[Term, bool]]) -> Iterator[tuple[Term, bool]]:
    pending = list(reversed(parts))
    while pending:
        term, holds = pending.pop()
        if holds and _is_definite(term):
            pending.append((term.args[0], True))
        elif term.op == "not":
            pending.append((term.args[0], not holds))
        elif term.op == ("and" if holds else "or"):
            pending.extend((arg, holds) for arg in reversed(term.args))
        else:
            yield term, holds


def _opposite(atom: Atom) -> Atom:
    return Atom(atom.term, _OPPOSITE[atom.op], atom.values)


def definitions(declared: Declared) -> Mapping[str, str]:
    """Return what each readable name is, by its name; columns are left out, they move."""
    found: dict[str, str] = {}
    for slot in declared.slots.values():
        found[slot.name] = repr((slot.type.value, slot.repr, slot.values, slot.decimals))
        if slot.source is Source.FIELD:
            found[slot.name] += declared.schema.hash
    for feature in declared.features.feature_set.features:
        for output in feature.outputs:
            found[output.name] = found.get(output.name, "") + feature.hash
    for name, shape in declared.reference.shapes.items():
        found[name] = found.get(name, "") + shape
    return found
