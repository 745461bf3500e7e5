"""How clients check who the broker is and prove who they are: TLS, SCRAM, client certificates.

One set of settings for both client libraries. Secrets are read from files when a client is made, so a
restart takes up a rotated password or certificate; no setting carries a secret itself.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from fraudstream.stream.errors import Refusal
from fraudstream.stream.settings import PREFIX, Settings

SECRET_BYTES_MAX = 4_096
"""A longer file is not the password that somebody meant to name."""


def aiokafka_options(settings: Settings) -> dict[str, Any]:
    """Return the options of an aiokafka client.

    Raises:
        Refusal: A file cannot be read or used; names the setting.
    """
    if settings.security_protocol == "PLAINTEXT":
        return {"security_protocol": "PLAINTEXT"}
    options: dict[str, Any] = {
        "security_protocol": settings.security_protocol,
        "ssl_context": _ssl_context(settings),
    }
    if settings.security_protocol == "SASL_SSL":
        options |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.sasl_username,
            "sasl_plain_password": secret("sasl_password_file", settings.sasl_password_file),
        }
    return options


def librdkafka_options(settings: Settings) -> dict[str, str]:
    """Return the options of a confluent-kafka client.

    Raises:
        Refusal: A file cannot be read or used; names the setting.
    """
    if settings.security_protocol == "PLAINTEXT":
        return {}
    _ssl_context(settings)  # librdkafka names neither the setting nor the file that it cannot use
    options = {
        "security.protocol": settings.security_protocol,
        "ssl.ca.location": settings.ssl_ca_file or "probe",
        "ssl.endpoint.identification.algorithm": "https",
    }
    if settings.ssl_certificate_file:
        options["ssl.certificate.location"] = settings.ssl_certificate_file
        options["ssl.key.location"] = settings.ssl_key_file
    if settings.ssl_key_password_file:
        options["ssl.key.password"] = secret("ssl_key_password_file", settings.ssl_key_password_file)
    if settings.security_protocol == "SASL_SSL":
        options |= {
            "sasl.mechanism": settings.sasl_mechanism,
            "sasl.username": settings.sasl_username,
            "sasl.password": secret("sasl_password_file", settings.sasl_password_file),
        }
    return options


def who(settings: Settings) -> str:
    """Return the name under which the broker knows this client, for messages."""
    if settings.security_protocol == "SASL_SSL":
        return f"`User:{settings.sasl_username}`"
    if settings.ssl_certificate_file:
        return f"the owner of the certificate `{settings.ssl_certificate_file}`"
    return "`User:ANONYMOUS`"


def is_open(settings: Settings) -> bool:
    """Return whether transactions would cross a network unencrypted."""
    hosts = {server.rsplit(":", 1)[0].strip("[]") for server in settings.broker.split(",")}
    local = all(host in {"localhost", "::1"} or host.startswith("127.") for host in hosts)
    return settings.security_protocol == "PLAINTEXT" and not local


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    """Return a context that wants TLS 1.2, a trusted certificate and the right host name."""
    _check("ssl_ca_file", settings.ssl_ca_file)
    try:
        context = ssl.create_default_context(cafile=settings.ssl_ca_file or None)
    except ssl.SSLError as error:
        raise _unusable("ssl_ca_file", settings.ssl_ca_file, "PEM certificates", error) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.ssl_certificate_file:
        _check("ssl_certificate_file", settings.ssl_certificate_file)
        _check("ssl_key_file", settings.ssl_key_file)
        password = ""
        if settings.ssl_key_password_file:
            password = secret("ssl_key_password_file", settings.ssl_key_password_file)
        try:
            # With a function OpenSSL never asks on the terminal for a password that is not given.
            context.load_cert_chain(settings.ssl_certificate_file, settings.ssl_key_file, lambda: password)
        except (ssl.SSLError, ValueError) as error:
            what = (
                "a PEM certificate whose key `ssl_key_file` has, with the password of `ssl_key_password_file`"
            )
            raise _unusable("ssl_certificate_file", settings.ssl_certificate_file, what, error) from error
    return context


def _check(name: str, path: str) -> None:
    if not path:
        return
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise Refusal(
            f"`{PREFIX}{name.upper()}` names `{path}`, which cannot be read: {error.strerror}"
        ) from error


def secret(name: str, path: str, what: str = "password") -> str:
    """Return the first line of a file; the rest has to be empty."""
    _check(name, path)
    with Path(path).open("rb") as stream:
        raw = stream.read(SECRET_BYTES_MAX + 1)
    try:
        lines = raw.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        lines = []
    if len(raw) > SECRET_BYTES_MAX or len(lines) != 1 or not lines[0]:
        raise Refusal(
            f"`{PREFIX}{name.upper()}` names `{path}`, which holds no {what}: one line of UTF-8 was "
            f"expected, at most {SECRET_BYTES_MAX} bytes"
        )
    return lines[0]


def _unusable(name: str, path: str, expected: str, error: Exception) -> Refusal:
    reason = getattr(error, "reason", None) or str(error)
    return Refusal(f"`{PREFIX}{name.upper()}` names `{path}`, which is not {expected} ({reason})")
