"""Settings come from variables or a file, and a wrong one never passes in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraudstream.stream.errors import Exit
from fraudstream.stream.settings import (
    OTHER_VARIABLES,
    Settings,
    SettingsError,
    describe,
    load_settings,
)


def test_an_empty_environment_gives_the_defaults() -> None:
    """Without variables every setting has its declared default."""
    assert load_settings({"PATH": "/bin"}) == Settings()


def test_every_default_is_a_value_that_its_own_rule_accepts() -> None:
    """A default outside its range would be refused as soon as somebody wrote it down."""
    variables = {f"FRAUDSTREAM_{name.upper()}": str(default) for name, (_, default, _) in describe().items()}
    assert load_settings(variables) == Settings()


def test_a_variable_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    """The order is: argument, variable, file, default."""
    file = tmp_path / "fraudstream.toml"
    file.write_text('app_id = "from-file"\nsession_timeout_ms = 6_000\nbroker = "f:1"\n')
    environ = {"FRAUDSTREAM_CONFIG": str(file), "FRAUDSTREAM_APP_ID": "from-env", "FRAUDSTREAM_BROKER": "e:1"}
    settings = load_settings(environ, broker="a:1")
    assert (settings.app_id, settings.session_timeout_ms, settings.broker) == ("from-env", 6000, "a:1")


def test_an_unknown_variable_is_an_error_with_a_suggestion() -> None:
    """A typing error is named together with the nearest known name."""
    with pytest.raises(SettingsError, match=r"`FRAUDSTREAM_BROKR`.*did you mean `FRAUDSTREAM_BROKER`"):
        load_settings({"FRAUDSTREAM_BROKR": "x:1"})


def test_an_unknown_name_in_the_file_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    """The file is as strict as the environment."""
    file = tmp_path / "f.toml"
    file.write_text("snapshot_interval = 3\n")
    with pytest.raises(SettingsError, match="did you mean `snapshot_interval_s`"):
        load_settings({"FRAUDSTREAM_CONFIG": str(file)})


def test_variables_of_failpoints_and_of_the_file_are_known() -> None:
    """Known variables that are no settings pass."""
    environ = dict.fromkeys(OTHER_VARIABLES, "")
    assert load_settings(environ) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("BROKER", "localhost", "`host:port`"),
        ("BROKER", "a:1, b:2", "`host:port`"),
        ("METRICS_PORT", "65536", "0 to 65535 port"),
        ("METRICS_PORT", "many", "whole number"),
        ("METRICS_PORT", "1.5", "whole number"),
        ("SESSION_TIMEOUT_MS", "-1", "1000 to 300000 ms"),
        ("START", "yesterday", "RFC 3339"),
        ("START", "2026-02-30T00:00:00Z", "a time of the calendar"),
        ("START", "2026-02-03T00:00:00", "RFC 3339"),
        ("LOG_LEVEL", "loud", "`debug`"),
        ("RULES_DIR", "", "a path"),
        ("TOPIC_INPUT", "a b", "a topic name"),
        ("TOPIC_INPUT", "decisions", "two topics have the name `fraud.decisions`"),
        ("HEARTBEAT_INTERVAL_MS", "9000", "more than a third"),
    ],
)
def test_an_unusable_value_is_refused_with_what_was_expected(name: str, value: str, expected: str) -> None:
    """Each rule of a setting, and each rule between settings, has a message."""
    with pytest.raises(SettingsError) as caught:
        load_settings({f"FRAUDSTREAM_{name}": value})
    assert expected in str(caught.value)
    assert caught.value.exit_code == Exit.REFUSED


def test_all_problems_are_listed_at_once() -> None:
    """Who corrects one setting does not meet the next only at the next start."""
    with pytest.raises(SettingsError) as caught:
        load_settings({"FRAUDSTREAM_X": "1", "FRAUDSTREAM_METRICS_PORT": "-1", "FRAUDSTREAM_LOG_LEVEL": ""})
    assert str(caught.value).count("\n") == 3


def test_a_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    """The file that FRAUDSTREAM_CONFIG names must be there and be TOML."""
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings({"FRAUDSTREAM_CONFIG": str(tmp_path / "none.toml")})
    (tmp_path / "broken.toml").write_text("a = ")
    with pytest.raises(SettingsError, match="is not TOML"):
        load_settings({"FRAUDSTREAM_CONFIG": str(tmp_path / "broken.toml")})


def test_topics_have_the_prefix() -> None:
    """Full names are prefix plus name."""
    topics = load_settings({"FRAUDSTREAM_TOPIC_PREFIX": "b-", "FRAUDSTREAM_TOPIC_INPUT": "in"}).topics
    assert topics.input == "b-in"
    assert topics.dead_letters == "b-dead-letters"


def test_start_is_read_as_a_time() -> None:
    """An RFC 3339 start is given in milliseconds since the epoch."""
    settings = load_settings({"FRAUDSTREAM_START": "2026-11-24t02:40:11.123+08:00"})
    assert settings.start_time_ms == 1795459211123
    assert load_settings({"FRAUDSTREAM_START": "latest"}).start_time_ms is None


def test_every_setting_says_what_it_is() -> None:
    """Name, unit and text of each setting agree: `_ms` is in ms, sentences end."""
    for name, (kind, _, meta) in describe().items():
        assert meta.doc.endswith("."), name
        if kind is int:
            assert meta.unit, name
            assert meta.low is not None, name
            assert meta.high is not None, name
        for suffix, unit in (("_ms", "ms"), ("_s", "s")):
            if name.endswith(suffix):
                assert meta.unit == unit, name
