"""A real broker with TLS, SCRAM, client certificates and access rules, and the files that clients need."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import ipaddress
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fraudstream.stream.cluster import quiet
from fraudstream.stream.localkafka import LocalKafka
from fraudstream.stream.permissions import Rights

SCRAM = "SASL"
MUTUAL = "MUTUAL"
PASSWORD = "correct horse battery staple"
MECHANISMS = {"SCRAM-SHA-256": ScramMechanism.SCRAM_SHA_256, "SCRAM-SHA-512": ScramMechanism.SCRAM_SHA_512}
LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class Authority:
    """A certificate authority in a directory; everything it writes is PEM."""

    def __init__(self, home: Path, name: str = "test authority") -> None:
        self._home = home
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        own = x509.BasicConstraints(ca=True, path_length=0)
        self._certificate = self._sign(self._name, self._key, [(own, True)])
        self.file = self._write(f"{name.replace(' ', '-')}.pem", _pem(self._certificate))

    def issue(
        self, name: str, *, hosts: Iterable[str] = (), days: int = 1, password: str = ""
    ) -> tuple[Path, Path]:
        """Return the files of a new certificate and its PKCS#8 key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [
            x509.IPAddress(ipaddress.ip_address(h)) if h[0].isdigit() else x509.DNSName(h) for h in hosts
        ]
        extensions: list[tuple[Any, bool]] = [(x509.SubjectAlternativeName(names), False)] if names else []
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key, extensions, days)
        sealed: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password:
            sealed = serialization.BestAvailableEncryption(password.encode())
        raw = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed)
        return self._write(f"{name}.pem", _pem(certificate)), self._write(f"{name}.key", raw)

    def _sign(
        self, subject: x509.Name, key: Any, extensions: Iterable[tuple[Any, bool]], days: int = 1
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=2))
            .not_valid_after(now + dt.timedelta(days=days))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name: str, content: bytes) -> Path:
        path = self._home / name
        path.write_bytes(content)
        return path


class SecuredKafka:
    """A broker whose plain listener is the administrator's and whose others are for clients."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.authority = Authority(home)
        certificate, key = self.authority.issue("broker", hosts=["127.0.0.1"])
        chain = home / "broker-chain.pem"
        chain.write_bytes(key.read_bytes() + certificate.read_bytes())
        prefix = f"listener.name.{SCRAM.lower()}"
        self.kafka = LocalKafka(
            {
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(chain),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.authority.file),
                "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
                f"listener.name.{MUTUAL.lower()}.ssl.client.auth": "required",
                f"{prefix}.sasl.enabled.mechanisms": ",".join(MECHANISMS),
                **{f"{prefix}.{name.lower()}.sasl.jaas.config": LOGIN for name in MECHANISMS},
            },
            listeners={SCRAM: "SASL_SSL", MUTUAL: "SSL"},
        )

    @functools.cached_property
    def admin(self) -> AdminClient:
        """Return the administrator."""
        return AdminClient(quiet(self.kafka.bootstrap))

    def add_user(self, name: str, mechanism: str = "SCRAM-SHA-512") -> dict[str, str]:
        """Make a SCRAM user and return the settings with which it connects."""
        info = ScramCredentialInfo(MECHANISMS[mechanism], 4_096)
        change = UserScramCredentialUpsertion(name, info, PASSWORD.encode())
        for future in self.admin.alter_user_scram_credentials([change]).values():
            future.result()
        secret = self.home / f"{name}.password"
        secret.write_text(PASSWORD + "\n")
        return {
            "FRAUDSTREAM_BROKER": self.kafka.address(SCRAM),
            "FRAUDSTREAM_SECURITY_PROTOCOL": "SASL_SSL",
            "FRAUDSTREAM_SSL_CA_FILE": str(self.authority.file),
            "FRAUDSTREAM_SASL_MECHANISM": mechanism,
            "FRAUDSTREAM_SASL_USERNAME": name,
            "FRAUDSTREAM_SASL_PASSWORD_FILE": str(secret),
        }

    def add_certificate(self, name: str, password: str = "") -> dict[str, str]:
        """Issue a client certificate and return the settings with which it connects."""
        certificate, key = self.authority.issue(name, password=password)
        settings = {
            "FRAUDSTREAM_BROKER": self.kafka.address(MUTUAL),
            "FRAUDSTREAM_SECURITY_PROTOCOL": "SSL",
            "FRAUDSTREAM_SSL_CA_FILE": str(self.authority.file),
            "FRAUDSTREAM_SSL_CERTIFICATE_FILE": str(certificate),
            "FRAUDSTREAM_SSL_KEY_FILE": str(key),
        }
        if password:
            secret = self.home / f"{name}.key-password"
            secret.write_text(password + "\n")
            settings["FRAUDSTREAM_SSL_KEY_PASSWORD_FILE"] = str(secret)
        return settings

    def grant(self, principal: str, rights: Rights) -> None:
        """Let a principal do these things."""
        rules = [_rule(principal, *right) for right in _flat(rights)]
        for future in self.admin.create_acls(rules).values():
            future.result()

    def revoke(self, principal: str, rights: Rights) -> None:
        """Take rights away."""
        rules = [_rule(principal, *right, AclBindingFilter) for right in _flat(rights)]
        for future in self.admin.delete_acls(rules).values():
            assert len(future.result()) == 1


@contextlib.contextmanager
def secured_kafka(home: Path) -> Iterator[SecuredKafka]:
    """Run a secured broker."""
    secured = SecuredKafka(home)
    with secured.kafka:
        yield secured


def _flat(rights: Rights) -> Iterator[tuple[str, str, str]]:
    return ((r.kind, r.name, operation) for r, operations in rights.items() for operation in operations)


def _rule(principal: str, kind: str, name: str, operation: str, make: Callable[..., Any] = AclBinding) -> Any:
    named = {item.name.title().replace("_", ""): item for item in AclOperation}
    return make(
        ResourceType[kind.upper()],
        name,
        ResourcePatternType.LITERAL,
        f"User:{principal}",
        "*",
        named[operation],
        AclPermissionType.ALLOW,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
