# ruff: noqa: E501 (one change a line)
"""`rules diff`: what changed between two directories, in words."""

from __future__ import annotations

import pytest
from support.sample_rules import changed, sample_files

from fraudstream.rules import compile_sources
from fraudstream.rules.compiler.difference import semantic, textual

CARD, PAYMENT = "rulesets/card.yaml", "rulesets/payment.yaml"
SMALL = "rule card.testing.small_auths: "


def words(after: dict[str, bytes]) -> list[str]:
    """Return what changed from the sample."""
    return semantic(compile_sources(sample_files()), compile_sources(after))


@pytest.mark.parametrize(
    ("path", "old", "new", "expected"),
    [
        (CARD, "{n: {value: 4,", "{n: {value: 3,", [SMALL + "threshold n 4 -> 3"]),
        (CARD, "score: 60\n  priority", "score: 40\n  priority", [SMALL + "score 60 -> 40"]),
        (CARD, "when: burst and card.declines_10m >= 2", "when: burst and card.declines_10m >= 1", [SMALL + "condition when `burst and card.declines_10m >= 2` -> `burst and card.declines_10m >= 1`"]),
        (CARD, "until: 2026-12-31}", "until: 2027-12-31}", [SMALL + "effective from 2026-01-01 00:00 (Asia/Shanghai) until 2026-12-31 00:00 (Asia/Shanghai) -> from 2026-01-01 00:00 (Asia/Shanghai) until 2027-12-31 00:00 (Asia/Shanghai)"]),
        (PAYMENT, "mode: {state: draft}", "mode: {state: shadow}", ["rule pay.draft: mode draft -> shadow"]),
        (PAYMENT, "mode: {state: shadow}", "mode: {state: draft}", ["rule pay.shadow_model: mode shadow -> draft"]),
        (PAYMENT, "- id: pay.draft", "- id: pay.drawn\n  was: pay.draft", ["rule pay.draft: renamed to pay.drawn"]),
        (PAYMENT, "- id: pay.draft", "- id: pay.drawn", ["rule pay.draft: removed", "rule pay.drawn: added (draft, action none)"]),
        ("lists.yaml", "items: [NO, KP, IR]", "items: [NO, KP, SY]", ["list risky: added SY", "list risky: removed IR", "list risky: version sha256:b7fec6829a20 -> sha256:17b6e0ca9583"]),
        ("lists.yaml", 'USD: "7.1034"', 'USD: "7.2"', ["rate of USD: changed"]),
        ("typologies.yaml", "combine: sum, alert_at: 40", "combine: noisy_or, alert_at: 50", ["typology mule sum, alert at 40 -> noisy_or, alert at 50"]),
        ("rulesets/card.yaml", "apiVersion", "# only a comment\napiVersion", []),
    ],
)  # fmt: skip
def test_each_change_in_words(path: str, old: str, new: str, expected: list[str]) -> None:
    """Thresholds, scores, conditions, life, names, lists, rates, typologies; comments are no change."""
    after = changed(path, old, new)
    assert compile_sources(after).bundle is not None
    assert words(after) == expected


def test_a_feature_changes_in_words() -> None:
    """The window is told, not its hash."""
    (line,) = words(
        changed("features.yaml", "{agg: since_last, key: account.id}", "{agg: since_last, key: device.id}")
    )
    assert (
        line
        == "feature account.idle time since the last event with the same account.id -> time since the last event with the same device.id"
    )


def test_the_text_is_a_unified_diff() -> None:
    """Files by path, lines with signs; nothing for equal files."""
    lines = textual(sample_files(), changed("lists.yaml", "KP", "SY"))
    assert lines[:2] == ["--- a/lists.yaml", "+++ b/lists.yaml"]
    assert [line[0] for line in lines if "risky" in line] == ["-", "+"]
    assert textual(sample_files(), sample_files()) == []
