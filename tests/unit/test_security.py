"""Security settings: what contradicts, what files have to be, and that no secret is shown."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from support.secured import Authority

from fraudstream.stream.errors import Refusal
from fraudstream.stream.permissions import Resource, missing, refusal, worker_rights
from fraudstream.stream.security import aiokafka_options, is_open, librdkafka_options, who
from fraudstream.stream.settings import Settings, SettingsError, load_settings

SECRET = "hunter2-hunter2"


def scram(home: Path, **changes: str) -> dict[str, str]:
    """Return an environment for SCRAM over TLS whose files exist."""
    (home / "password").write_text(SECRET + "\n")
    return {
        "FRAUDSTREAM_SECURITY_PROTOCOL": "SASL_SSL",
        "FRAUDSTREAM_SASL_USERNAME": "worker",
        "FRAUDSTREAM_SASL_PASSWORD_FILE": str(home / "password"),
        **{f"FRAUDSTREAM_{name.upper()}": value for name, value in changes.items()},
    }


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        (
            {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_PASSWORD_FILE": "p"},
            "`sasl_username` is missing: `security_protocol` is `SASL_SSL`",
        ),
        (
            {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_USERNAME": "u"},
            "`sasl_password_file` is missing: `security_protocol` is `SASL_SSL`",
        ),
        ({"SSL_CA_FILE": "ca.pem"}, "`ssl_ca_file` has no effect: `security_protocol` is `PLAINTEXT`"),
        (
            {"SECURITY_PROTOCOL": "SSL", "SASL_USERNAME": "u"},
            "`sasl_username` has no effect: `security_protocol` is `SSL`",
        ),
        (
            {"SECURITY_PROTOCOL": "SSL", "SSL_CERTIFICATE_FILE": "c.pem"},
            "`ssl_certificate_file` and `ssl_key_file` are given together or not at all",
        ),
        (
            {"SECURITY_PROTOCOL": "SSL", "SSL_KEY_PASSWORD_FILE": "p"},
            "`ssl_key_password_file` has no effect without `ssl_key_file`",
        ),
        (
            {"SECURITY_PROTOCOL": "SASL"},
            "`FRAUDSTREAM_SECURITY_PROTOCOL`: one of `PLAINTEXT`, `SSL`, `SASL_SSL` was expected, was `SASL`",
        ),
    ],
)
def test_settings_that_contradict_are_refused(environment: dict[str, str], problem: str) -> None:
    """A setting without effect is somebody's mistake about what protects them."""
    with pytest.raises(SettingsError) as raised:
        load_settings({f"FRAUDSTREAM_{name}": value for name, value in environment.items()})
    assert str(raised.value) == problem


def test_a_password_in_the_environment_is_refused_and_not_repeated() -> None:
    """Secrets come from files alone; the message has the name and not the value."""
    with pytest.raises(SettingsError) as raised:
        load_settings({"FRAUDSTREAM_SASL_PASSWORD": SECRET})
    assert "unknown setting `FRAUDSTREAM_SASL_PASSWORD`" in str(raised.value)
    assert "FRAUDSTREAM_SASL_PASSWORD_FILE" in str(raised.value)
    assert SECRET not in str(raised.value)


def test_both_clients_get_the_same_connection(tmp_path: Path) -> None:
    """What aiokafka and librdkafka are told, from one set of settings."""
    settings = load_settings(scram(tmp_path, ssl_ca_file=str(Authority(tmp_path).file)))
    ours, theirs = aiokafka_options(settings), librdkafka_options(settings)
    context = ours.pop("ssl_context")
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert ours == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "worker",
        "sasl_plain_password": SECRET,
    }
    assert theirs == {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": settings.ssl_ca_file,
        "ssl.endpoint.identification.algorithm": "https",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "worker",
        "sasl.password": SECRET,
    }
    assert who(settings) == "`User:worker`"
    assert SECRET not in repr(settings)


def test_a_plain_connection_is_open_unless_it_stays_on_the_machine() -> None:
    """The worker warns about the first."""
    assert is_open(load_settings({"FRAUDSTREAM_BROKER": "kafka.bank.example:9092"}))
    assert is_open(load_settings({"FRAUDSTREAM_BROKER": "127.0.0.1:9092,10.0.0.7:9092"}))
    assert not is_open(load_settings({"FRAUDSTREAM_BROKER": "127.0.0.1:9092,localhost:9093"}))
    assert aiokafka_options(Settings()) == {"security_protocol": "PLAINTEXT"}
    assert librdkafka_options(Settings()) == {}


@pytest.mark.parametrize("content", [b"", b"\n", b"one\ntwo\n", b"\xff\xfe", b"x" * 5_000])
def test_a_file_that_holds_no_password_is_refused_without_being_shown(tmp_path: Path, content: bytes) -> None:
    """Empty, several lines, no text, or far too long."""
    environment = scram(tmp_path)
    (tmp_path / "password").write_bytes(content)
    settings = load_settings(environment)
    for options in (aiokafka_options, librdkafka_options):
        with pytest.raises(Refusal, match="which holds no password: one line of UTF-8") as raised:
            options(settings)
        assert "FRAUDSTREAM_SASL_PASSWORD_FILE" in str(raised.value)
        assert "two" not in str(raised.value)


def test_files_that_cannot_be_used_are_named_with_their_setting(tmp_path: Path) -> None:
    """Missing, not PEM, and a key that is another certificate's or sealed with another password."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("one", password=SECRET)
    other, _ = authority.issue("two")
    (tmp_path / "wrong").write_text("wrong\n")
    (tmp_path / "right").write_text(SECRET)
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")

    def refused(**settings: object) -> str:
        with pytest.raises(Refusal) as raised:
            aiokafka_options(
                load_settings({}, security_protocol="SSL", **{k: str(v) for k, v in settings.items()})
            )
        return str(raised.value)

    missing_file = refused(ssl_ca_file=tmp_path / "absent.pem")
    assert missing_file == (
        f"`FRAUDSTREAM_SSL_CA_FILE` names `{tmp_path}/absent.pem`, which cannot be read: {os.strerror(2)}"
    )
    assert "which is not PEM certificates" in refused(ssl_ca_file=nonsense)
    pair = {"ssl_certificate_file": certificate, "ssl_key_file": key}
    assert "with the password of `ssl_key_password_file`" in refused(**pair)
    assert "FRAUDSTREAM_SSL_CERTIFICATE_FILE" in refused(**pair, ssl_key_password_file=tmp_path / "wrong")
    assert "FRAUDSTREAM_SSL_CERTIFICATE_FILE" in refused(
        ssl_certificate_file=other, ssl_key_file=key, ssl_key_password_file=tmp_path / "right"
    )
    options = aiokafka_options(
        load_settings(
            {},
            security_protocol="SSL",
            ssl_key_password_file=str(tmp_path / "right"),
            **{name: str(path) for name, path in pair.items()},
        )
    )
    assert options["security_protocol"] == "SSL"


def test_missing_rights_are_one_line_with_the_command_that_grants_the_first() -> None:
    """What exists and lacks nothing is not named; what does not exist is not judged."""
    rights = worker_rights(Settings(app_id="scorer"))
    assert len(rights) == 7
    allowed = {resource: set(names) for resource, names in rights.items()}
    assert missing(rights, allowed) == []
    journal, group = Resource("topic", "fraud.journal"), Resource("group", "scorer")
    allowed[journal] -= {"Read", "Write"}
    allowed[group] = set()
    del allowed[Resource("topic", "fraud.alerts")]
    lacking = missing(rights, allowed)
    assert str(refusal("`User:w`", "kafka:9092", lacking)) == (
        "`User:w` is not permitted at kafka:9092: Read, Write on topic `fraud.journal`; Describe, Read on "
        "group `scorer`. Grant each, the first with: kafka-acls.sh --bootstrap-server kafka:9092 --add "
        "--allow-principal User:w --operation Read --topic fraud.journal"
    )
