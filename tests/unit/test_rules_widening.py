# ruff: noqa: E501 (one change a line)
"""Which changes need a second pair of eyes: what blocks or lets through more than before."""

from __future__ import annotations

import base64

import pytest
from support.sample_rules import changed, sample_files

from fraudstream.rules import compile_sources
from fraudstream.rules.compiler.switch_off import switched_off
from fraudstream.rules.compiler.typologies import KEY_PREFIX
from fraudstream.rules.compiler.widening import widened

CARD, PAYMENT = "rulesets/card.yaml", "rulesets/payment.yaml"
SMALL, FAR, CHARITY = "rule card.testing.small_auths: ", "rule card.far_away: ", "rule pay.charity: "
LOOSER = "matches where it did not before"


def keys(*seeds: int) -> list[str]:
    """Return public keys as `policy.signers` has them."""
    return [base64.b64encode(KEY_PREFIX + bytes([seed]) * 32).decode() for seed in seeds]


def wider(after: dict[str, bytes], before: dict[str, bytes] | None = None) -> list[str]:
    """Return what a change of the sample widens."""
    was, now = compile_sources(before or sample_files()), compile_sources(after)
    assert now.bundle is not None, now.errors
    return widened(was, now)


@pytest.mark.parametrize(
    ("path", "old", "new", "expected"),
    [
        (CARD, "{n: {value: 4,", "{n: {value: 3,", [SMALL + LOOSER]),
        (CARD, "{n: {value: 4,", "{n: {value: 5,", []),
        (CARD, "when: burst and card.declines_10m >= 2", "when: burst and card.declines_10m >= 1", [SMALL + LOOSER]),
        (CARD, "when: burst and card.declines_10m >= 2", "when: burst and card.declines_10m >= 2 and txn.amount > 5", []),
        (CARD, "when: burst and card.declines_10m >= 2", "when: burst and card.declines_10m > 1", []),
        (CARD, "when: burst and card.declines_10m >= 2", "when: burst or card.declines_10m >= 2", [SMALL + LOOSER]),
        (CARD, "when: burst and card.declines_10m >= 2", "when: (burst and card.declines_10m >= 3) or (burst and card.declines_10m between 4 and 9)", []),
        (CARD, "when: burst and card.declines_10m >= 2", "when: not (card.declines_10m < 2 or not burst)", []),
        (CARD, "on: [card_auth]\n", "on: [card_auth, payment]\n", [SMALL + LOOSER]),
        (CARD, "on: [card_auth, payment]", "on: [card_auth]", []),
        (CARD, "until: 2026-12-31}", "until: 2027-12-31}", [SMALL + LOOSER]),
        (CARD, "until: 2026-12-31}", "until: 2026-10-31}", []),
        (CARD, "  score: 60\n  priority", "  score: 70\n  priority", [SMALL + "more points for `card_testing`"]),
        (CARD, "  score: 60\n  priority", "  score: 50\n  priority", []),
        (CARD, "  action: alert", "  action: block", [FAR + "action alert -> block"]),
        (CARD, "  action: block\n  score", "  action: alert\n  score", []),
        (CARD, "  action: block\n  score", "  action: block\n  override: never\n  score", [SMALL + "no pass overrides it any more"]),
        (CARD, "> 500", "> 5", []),
        (PAYMENT, "in lists.charity_mcc", "not in lists.charity_mcc", [CHARITY + LOOSER]),
        (PAYMENT, "- id: pay.charity", "- id: pay.given\n  was: pay.charity", []),
        (PAYMENT, "- id: pay.charity", "- id: pay.given", ["rule pay.given: newly passes"]),
        (PAYMENT, "mode: {state: shadow}\n  tests:", "mode: {state: live}\n  action: block\n  reason: {en: a, zh: b}\n  tests:\n  - {name: unsure, given: {model.score: 0.1, account.velocity_count_out_24h: 2, device.trusted: true}, expect: {match: false}}", ["rule pay.shadow_model: newly blocks"]),
        (PAYMENT, "mode: {state: draft}", "mode: {state: shadow}", []),
        ("lists.yaml", 'items: ["8398", 0742,', 'items: ["8398", 0742, "8661", "5411",', None),
        ("lists.yaml", '["8398", 0742, {value: "8661", until: 2027-01-31}]', '["8398", 0742, {value: "8661", until: 2027-02-28}]', [CHARITY + LOOSER]),
        ("lists.yaml", '["8398", 0742, {value: "8661", until: 2027-01-31}]', '["8398", 0742]', []),
        ("lists.yaml", "items: [NO, KP, IR]", "items: [NO, KP]", []),
        ("typologies.yaml", "block_at: 60", "block_at: 55", ["typology card_testing: blocks at 55 instead of 60"]),
        ("typologies.yaml", "block_at: 60", "block_at: 65", []),
        ("typologies.yaml", "combine: max, alert_at: 50", "combine: sum, alert_at: 50", ["typology card_testing: combine max -> sum"]),
        ("typologies.yaml", "combine: sum, alert_at: 40", "combine: sum, alert_at: 40, block_at: 90", ["rule pay.large_for_account: gives points to `mule`, which blocks", "typology mule: newly blocks at 90"]),
        ("typologies.yaml", "{at: 0.97, action: block}", "{at: 0.95, action: block}", ["policy: the model blocks from 0.95 instead of 0.97"]),
        ("typologies.yaml", "{at: 0.97, action: block}", "{at: 0.98, action: block}", []),
        ("features.yaml", "card.declines_10m:     {agg: count, key: card.id, window: 10m,", "card.declines_10m:     {agg: count, key: card.id, window: 20m,", [SMALL + LOOSER]),
        ("features.yaml", "  account.idle: ", "  account.alone: {agg: count, key: account.id, window: 3h}\n  account.idle: ", []),
    ],
)  # fmt: skip
def test_each_change(path: str, old: str, new: str, expected: list[str] | None) -> None:
    """Thresholds, conditions, event types, dates, lists, typologies, model; narrower ones need nobody."""
    if expected is None:
        new = new.replace('"8661", ', "")
        expected = [CHARITY + LOOSER]
    found = wider(changed(path, old, new))
    if expected and "mule" in expected[0]:
        assert expected[1] in found
    else:
        assert found == expected


def test_signers_are_read_and_others_are_wider() -> None:
    """Two keys as OpenSSL writes them; who changes who signs needs those before."""
    first, second, third = keys(1, 2, 3)
    policy = "policy:\n  signers: {ana: " + first + ", bo: " + second + "}"
    before = changed("typologies.yaml", "policy:", policy)
    compiled = compile_sources(before)
    assert compiled.bundle is not None
    assert compiled.bundle.policy.signers == {"ana": bytes([1]) * 32, "bo": bytes([2]) * 32}
    after = changed("typologies.yaml", "policy:", policy.replace(second, third))
    assert wider(after, before) == ["policy: other signers"]
    assert wider(sample_files(), before) == ["policy: other signers"]


@pytest.mark.parametrize(
    ("signers", "words"),
    [
        ("{ana: nonsense, bo: x}", "not an Ed25519 public key"),
        (f"{{ana: {keys(1)[0]}}}", "one signer alone"),
        (f"{{ana: {keys(1)[0]}, bo: {keys(1)[0]}}}", "another signer's too"),
    ],
)
def test_signers_that_cannot_agree_are_errors(signers: str, words: str) -> None:
    """A typo in a key would lock everybody out, or let one person be two."""
    compiled = compile_sources(changed("typologies.yaml", "policy:", f"policy:\n  signers: {signers}"))
    assert any(words in item.message for item in compiled.errors), compiled.errors


@pytest.mark.parametrize(
    "rule", ["card.testing.small_auths", "card.far_away", "pay.charity", "pay.shadow_model"]
)
def test_a_rule_is_switched_off_and_nothing_else(rule: str) -> None:
    """Its mode becomes draft, whatever it was; no other rule, feature or list changes."""
    files = sample_files()
    off = switched_off(files, rule)
    before, after = compile_sources(files), compile_sources(off)
    assert after.bundle is not None, after.errors
    modes = {item.id: item.mode.value for item in after.rules}
    assert modes.pop(rule) == "draft"
    was = {item.id: item.mode.value for item in before.rules}
    del was[rule]
    assert modes == was
    assert [path for path in files if files[path] != off[path]] == [
        CARD if rule.startswith("card") else PAYMENT
    ]
    assert widened(before, after) == []


def test_rules_in_other_layouts_are_switched_off() -> None:
    """A flow mapping, a block `mode` with a comment behind, an id that is not the first key."""
    flow = "- {id: pay.flow, title: t, owner: a@b.c, severity: low, on: payment, when: txn.amount > 5, tests: [{name: a, given: {txn.amount: 6}, expect: {match: true}}, {name: b, given: {txn.amount: 5}, expect: {match: false}}]}\n"
    block = "- title: second\n  mode:\n    state: shadow  # for now\n  # the id\n  id: pay.block\n  owner: a@b.c\n  severity: low\n  on: payment\n  when: txn.amount > 7\n"
    files = sample_files()
    files[PAYMENT] = files[PAYMENT].replace(b"rules:\n", ("rules:\n" + flow + block).encode())
    assert compile_sources(files).bundle is not None, compile_sources(files).errors
    for rule in ("pay.flow", "pay.block"):
        after = compile_sources(switched_off(files, rule))
        assert after.bundle is not None, after.errors
        assert {item.id: item.mode.value for item in after.rules}[rule] == "draft"
    with pytest.raises(KeyError):
        switched_off(files, "pay.nobody")
