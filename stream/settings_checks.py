"""Checks that concern more than one setting: what contradicts, and what would have no effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fraudstream.stream.settings import Settings


def across(settings: Settings) -> list[str]:
    """Return problems between settings."""
    problems = []
    if settings.heartbeat_interval_ms * 3 > settings.session_timeout_ms:
        problems.append(
            f"`heartbeat_interval_ms` {settings.heartbeat_interval_ms} is more than a third of "
            f"`session_timeout_ms` {settings.session_timeout_ms}; one lost heartbeat would lose partitions"
        )
    problems += _security(settings)
    names = settings.topics
    for at, name in enumerate(names):
        if name in names[:at]:
            problems.append(f"two topics have the name `{name}`; each needs its own")
    try:
        _ = settings.start_time_ms
    except ValueError:
        problems.append(f"`start`: a time of the calendar was expected, was `{settings.start}`")
    return problems


def _security(settings: Settings) -> list[str]:
    """Return problems between the settings of a secure connection; one without effect is a problem too."""
    protocol = settings.security_protocol
    problems = [
        f"`{name}` is missing: `security_protocol` is `SASL_SSL`"
        for name in ("sasl_username", "sasl_password_file")
        if protocol == "SASL_SSL" and not getattr(settings, name)
    ]
    ssl_names = ("ssl_ca_file", "ssl_certificate_file", "ssl_key_file", "ssl_key_password_file")
    idle: dict[str, tuple[str, ...]] = {"PLAINTEXT": (*ssl_names, "sasl_username", "sasl_password_file")}
    idle["SSL"] = ("sasl_username", "sasl_password_file")
    problems += [
        f"`{name}` has no effect: `security_protocol` is `{protocol}`"
        for name in idle.get(protocol, ())
        if getattr(settings, name)
    ]
    if bool(settings.ssl_certificate_file) != bool(settings.ssl_key_file):
        problems.append("`ssl_certificate_file` and `ssl_key_file` are given together or not at all")
    if settings.ssl_key_password_file and not settings.ssl_key_file:
        problems.append("`ssl_key_password_file` has no effect without `ssl_key_file`")
    return problems
