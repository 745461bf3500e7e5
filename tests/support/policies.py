"""Bundles with nothing but rules, typologies and a policy, for tests of deciding."""

from __future__ import annotations

from collections.abc import Sequence

from fraudstream.rules.bundle import (
    Action,
    Bundle,
    FeatureSet,
    Mode,
    ModelBand,
    Policy,
    Rates,
    Rule,
    Schema,
    Severity,
    TimeSettings,
    Typology,
)


def make_rule(index: int, gate: int, **changes: object) -> Rule:
    """Return a live rule `r<index>` that asks for nothing, changed as told."""
    values: dict[str, object] = {
        "id": f"r{index:03d}",
        "title": "a rule",
        "index": index,
        "gate": gate,
        "severity": Severity.LOW,
        "mode": Mode.LIVE,
        "action": Action.NONE,
        "never_override": False,
        "score": 0,
        "priority": 0,
        "typology": -1,
        "owner": "o@bank.example",
        "zone": "UTC",
        "reason": {},
        "reads": (),
    }
    values.update(changes)
    return Rule(**values)  # type: ignore[arg-type]


def make_policy_bundle(
    rules: Sequence[Rule], typologies: Sequence[Typology] = (), bands: Sequence[tuple[int, Action]] = ()
) -> Bundle:
    """Return a bundle that can only be decided with: it has no program."""
    return Bundle(
        hash="sha256:0",
        archive=b"",
        schema=Schema("CNY", "account.id", (), 0),
        features=FeatureSet(TimeSettings(), (), 0),
        rules=tuple(rules),
        program=None,  # type: ignore[arg-type]
        typologies=tuple(typologies),
        policy=Policy(model_bands=tuple(ModelBand(at, action) for at, action in bands)),
        rates=Rates(),
        slots={},
    )
