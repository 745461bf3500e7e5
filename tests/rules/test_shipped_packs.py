"""Every shipped rule keeps what the packs promise; failure texts begin with the rule's id."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from support.schemas import default_schema
from support.worker import ROOT

from fraudstream.models.file import load_model
from fraudstream.models.model import Model
from fraudstream.rules.bundle import Action, Mode
from fraudstream.rules.compiler.casefile import run_tests
from fraudstream.rules.compiler.compile import Compiled, compile_sources, read_directory
from fraudstream.rules.compiler.ruleset import DeclaredRule
from fraudstream.stream.rule_tests import make_history_runner
from fraudstream.stream.shipped import shipped_model

PACKS = ("rules", "rules/packs/account_only")
FLOOR = 20
"""A pack below this is no pack for a retail bank."""


def champion() -> Model:
    """Load the shipped model."""
    content = shipped_model()
    assert content is not None
    return load_model(content)


@pytest.fixture(scope="module", params=PACKS)
def pack(request: pytest.FixtureRequest) -> Compiled:
    """Compile one shipped pack."""
    return compile_sources(read_directory(ROOT / request.param))


def every(pack: Compiled, holds: Callable[[DeclaredRule], bool], wanted: str) -> None:
    """Fail with the ids of the rules for which something does not hold."""
    assert len(pack.rules) >= FLOOR
    assert not [f"{rule.id}: {wanted}" for rule in pack.rules if not holds(rule)]


def test_a_pack_compiles_without_any_finding(pack: Compiled) -> None:
    """No errors and no warnings."""
    assert [(item.span, item.message) for item in pack.diagnostics] == []
    assert pack.bundle is not None


def test_all_embedded_tests_pass_through_the_production_core(pack: Compiled) -> None:
    """Both kinds of tests run, none is skipped."""
    assert pack.bundle is not None
    results = run_tests(pack, make_history_runner(pack.bundle, champion()))
    assert len(results) == pack.tests > 0
    assert {item.kind for item in results} == {"given", "event"}
    assert not [f"{item.rule}: {item.name}: {item.problems}" for item in results if item.status != "passed"]


def test_every_rule_has_an_owner(pack: Compiled) -> None:
    """Somebody is called when it goes wrong."""
    every(pack, lambda rule: "@" in rule.owner, "has no owner")


def test_every_rule_that_acts_speaks_english_and_chinese(pack: Compiled) -> None:
    """Reasons are read by analysts of both languages."""
    every(pack, lambda rule: rule.action is Action.NONE or {"en", "zh"} <= set(rule.reason), "lacks en or zh")


def test_every_rule_is_live_or_in_shadow(pack: Compiled) -> None:
    """Nothing is shipped half done; a rule in shadow shows operators what that is."""
    every(pack, lambda rule: rule.mode in {Mode.LIVE, Mode.SHADOW}, "is neither live nor in shadow")


def test_every_rule_has_a_matching_and_another_test(pack: Compiled) -> None:
    """A rule is shown to fire and to keep still."""
    every(pack, lambda rule: len(rule.cases) >= 2, "has fewer than two tests")


def test_the_account_only_pack_runs_on_several_partitions() -> None:
    """Each feature's key has the account, and no model decides."""
    bundle = compile_sources(read_directory(ROOT / PACKS[1])).bundle
    assert bundle is not None
    assert bundle.features.non_local(bundle.schema.partition_key) == ()
    assert bundle.policy.model_bands == ()
    shipped = compile_sources(read_directory(ROOT / PACKS[0])).bundle
    assert shipped is not None
    assert shipped.features.non_local(shipped.schema.partition_key) != ()


def test_the_tests_default_schema_is_the_shipped_one() -> None:
    """What the wire's tests call the default schema is what operators get."""
    bundle = compile_sources(read_directory(ROOT / "rules")).bundle
    assert bundle is not None
    mine, shipped = default_schema(), bundle.schema
    assert [dataclasses.replace(field) for field in mine.fields] == list(shipped.fields)
    assert (mine.base_currency, mine.partition_key) == (shipped.base_currency, shipped.partition_key)
