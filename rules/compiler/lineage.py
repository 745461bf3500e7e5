"""Which features exist, who reads them, and which of them share a history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fraudstream.rules.bundle import Bundle, Feature, Mode, Source
from fraudstream.rules.compiler.declared import Declared
from fraudstream.rules.compiler.explain import describe_feature
from fraudstream.rules.compiler.ruleset import DeclaredRule

History = tuple[tuple[str, ...], str, tuple[str, ...]]
"""What features share one pass over a key's events by: key, filter ("": none) and fields."""


@dataclass(frozen=True, slots=True)
class Use:
    """A rule that reads a feature."""

    rule: str
    mode: Mode
    through: tuple[str, ...]
    """Where: names of conditions, ``when``, ``reason``."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One feature of the catalogue."""

    feature: Feature
    words: str
    """What it is, in plain language."""
    where: str
    """Text of its filter, empty if there is none."""
    family: bool
    """Whether it comes from a family."""
    uses: tuple[Use, ...]
    """By rules, drafts and retired ones included."""
    models: tuple[str, ...]
    shares: tuple[str, ...]
    """Other features over the same key, filter and fields: what they need is kept and read once."""

    @property
    def alive(self) -> bool:
        """Return whether something that runs on live traffic reads it."""
        return bool(self.models) or any(
            use.mode in (Mode.LIVE, Mode.CANARY, Mode.SHADOW) for use in self.uses
        )


def catalogue(declared: Declared, models: Mapping[str, Iterable[str]]) -> tuple[Entry, ...]:
    """Return every declared feature in the order of the file.

    Args:
        declared: what a rules directory says, without errors.
        models: model -> names of the fields and features that it reads.
    """
    uses: dict[str, list[Use]] = defaultdict(list)
    for rule in declared.rules:
        for name, through in _places(declared, rule).items():
            uses[name].append(Use(rule.id, rule.mode, through))
    inputs = {model: frozenset(names) for model, names in models.items()}
    histories: dict[History, list[str]] = defaultdict(list)
    features = declared.features.feature_set.features
    filters = declared.features.feature_set.filters
    for feature in features:
        histories[history_of(feature, filters)].append(feature.name)
    entries = []
    for feature in features:
        names = {feature.name, *(slot.name for slot in feature.outputs)}
        found: dict[str, Use] = {}
        for name in sorted(names):
            for use in uses[name]:
                before = found.get(use.rule, Use(use.rule, use.mode, ()))
                found[use.rule] = Use(
                    use.rule, use.mode, tuple(dict.fromkeys((*before.through, *use.through)))
                )
        shared = histories[history_of(feature, filters)]
        entries.append(
            Entry(
                feature=feature,
                words=describe_feature(declared, feature),
                where="" if feature.where is None else filters[feature.where],
                family=feature.name in declared.features.families,
                uses=tuple(found.values()),
                models=tuple(model for model, read in inputs.items() if read & names),
                shares=tuple(name for name in shared if name != feature.name),
            )
        )
    return tuple(entries)


def history_of(feature: Feature, filters: tuple[str, ...]) -> History:
    """Return key, filter and fields of a feature."""
    return feature.key, "" if feature.where is None else filters[feature.where], feature.of


def features_read(bundle: Bundle, models: Iterable[Iterable[str]] = ()) -> frozenset[str]:
    """Return the names of the features that decisions can depend on: those of evaluated rules and models."""
    names = {slot.name for rule in bundle.rules for slot in rule.reads if slot.source is Source.FEATURE}
    names.update(name for inputs in models for name in inputs)
    return frozenset(
        feature.name
        for feature in bundle.features.features
        if feature.name in names or any(slot.name in names for slot in feature.outputs)
    )


def _places(declared: Declared, rule: DeclaredRule) -> dict[str, tuple[str, ...]]:
    """Return name -> where the rule reads it."""
    found: dict[str, list[str]] = defaultdict(list)
    for item in declared.expressions.get(rule.id, ()):
        for name in item.names:
            found[name.name].append(item.condition.label)
    for pieces in rule.reason.values():
        for piece in pieces:
            if piece.slot is not None:
                found[piece.slot.name].append("reason")
    return {name: tuple(dict.fromkeys(labels)) for name, labels in found.items()}
