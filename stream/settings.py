"""Settings: connections, paths and resources, from ``FRAUDSTREAM_*`` variables or a TOML file.

Nothing here changes a byte of a decision; what does is in the rules bundle or in ``core.CORE``, and
is journaled. A variable wins over the file that ``FRAUDSTREAM_CONFIG`` names, the file over the
default. An unknown name is an error: a setting with a typing error must not be a silent default.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from fraudstream.rules.compiler.suggest import suggest
from fraudstream.stream.errors import Refusal
from fraudstream.stream.settings_checks import across

PREFIX = "FRAUDSTREAM_"
CONFIG_VARIABLE = "FRAUDSTREAM_CONFIG"
OTHER_VARIABLES = {
    CONFIG_VARIABLE: "path of a TOML file with settings by their lower-case names",
    "FRAUDSTREAM_FAILPOINT": "tests only: `name:nth`, stop the worker dead when the named point is reached "
    "the nth time",
    "FRAUDSTREAM_FAILPOINT_LOG": "tests only: file to which a fired failpoint writes its name",
}
"""Known variables that are no settings."""


class SettingsError(Refusal):
    """Settings that cannot be used; the message lists every problem, not the first alone."""


class Meta(NamedTuple):
    """What is declared about a setting beside its type and default."""

    doc: str
    group: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    """Regular expression that the whole text has to match."""
    expected: str = ""
    """The pattern in words."""


def setting(default: Any, group: str, doc: str, **rules: Any) -> Any:
    """Declare a setting; ``rules`` are the further members of ``Meta``."""
    return field(default=default, metadata={"setting": Meta(doc, group, **rules)})


_SERVERS = {
    "pattern": r"[^\s,:]+:\d{1,5}(,[^\s,:]+:\d{1,5})*",
    "expected": "`host:port`, several separated by commas",
}
_TOPIC = {"pattern": r"[A-Za-z0-9._-]{1,249}", "expected": "a topic name: letters, digits, `.`, `_`, `-`"}
_NAME = {"pattern": r"[A-Za-z0-9._-]{1,200}", "expected": "letters, digits, `.`, `_`, `-`"}


class TopicNames(NamedTuple):
    """Full names of the topics, prefix included."""

    input: str
    decisions: str
    alerts: str
    dead_letters: str
    journal: str
    control: str
    labels: str
    features: str

    @property
    def needed(self) -> tuple[str, ...]:
        """Return those without which a worker does not start."""
        return self[:6]


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its default; make one with :func:`load_settings`."""

    broker: str = setting("127.0.0.1:9092", "Kafka", "Bootstrap servers of the Kafka cluster.", **_SERVERS)
    topic_prefix: str = setting(
        "fraud.",
        "Topics",
        "Put before every topic name; may be empty.",
        pattern=r"[A-Za-z0-9._-]{0,100}",
        expected="letters, digits, `.`, `_`, `-`",
    )
    topic_input: str = setting(
        "transactions", "Topics", "Transactions from core banking; exactly one input topic per app.", **_TOPIC
    )
    topic_decisions: str = setting(
        "decisions", "Topics", "One decision per input record, on the same partition number.", **_TOPIC
    )
    topic_alerts: str = setting(
        "alerts", "Topics", "Blocked and alerted transactions with the evidence.", **_TOPIC
    )
    topic_dead_letters: str = setting(
        "dead-letters", "Topics", "Raw bytes of records that could not be read.", **_TOPIC
    )
    topic_journal: str = setting(
        "journal", "Topics", "Who owns a partition and what is in force from which offset.", **_TOPIC
    )
    topic_control: str = setting("control", "Topics", "Content of bundles and models by hash.", **_TOPIC)
    topic_labels: str = setting(
        "labels", "Topics", "What became of transactions: `trainer` makes events of them.", **_TOPIC
    )
    topic_features: str = setting(
        "features", "Topics", "What models may read of each transaction, where it is published.", **_TOPIC
    )
    publish_features: str = setting(
        "off",
        "Topics",
        "`on`: the worker publishes the values of every transaction on the features topic, from which "
        "`trainer` learns, and computes the features that nothing in force reads, too. No decision waits "
        "for it, but a snapshot does.",
        choices=("off", "on"),
    )
    app_id: str = setting(
        "fraudstream",
        "Kafka",
        "Consumer group and name of the app; two apps on the same topics are not possible.",
        **_NAME,
    )
    group_instance_id: str = setting(
        "",
        "Kafka",
        "Static member name in the group: a worker that comes back within the session timeout gets its "
        "partitions back without a rebalance. Empty: none. Must differ between workers.",
        pattern=r"[A-Za-z0-9._-]{0,200}",
        expected="letters, digits, `.`, `_`, `-`",
    )
    session_timeout_ms: int = setting(
        10_000,
        "Kafka",
        "A worker that did not reach the broker for this long has lost its partitions; it is also the "
        "length of the lease without which nothing is processed. The broker's "
        "`group.min.session.timeout.ms` is the lower limit.",
        unit="ms",
        low=1_000,
        high=300_000,
    )
    heartbeat_interval_ms: int = setting(
        1_000,
        "Kafka",
        "Time between two heartbeats; at most a third of the session timeout.",
        unit="ms",
        low=100,
        high=100_000,
    )
    request_timeout_ms: int = setting(
        30_000,
        "Kafka",
        "A request or a send that took longer has failed; the worker then starts again.",
        unit="ms",
        low=1_000,
        high=300_000,
    )
    start: str = setting(
        "",
        "Kafka",
        "Where decisions begin when an app starts for the first time on a topic that has records: "
        "`earliest`, `latest` or an RFC 3339 time. What lies before is replayed for state only. Empty: "
        "the first start on such a topic is refused.",
        pattern=r"|earliest|latest|\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)",
        expected="`earliest`, `latest` or an RFC 3339 time with offset",
    )
    security_protocol: str = setting(
        "PLAINTEXT",
        "Security",
        "`SSL`: TLS, with a client certificate where `FRAUDSTREAM_SSL_CERTIFICATE_FILE` names one. "
        "`SASL_SSL`: SCRAM over TLS. `PLAINTEXT`: neither, for a broker on the same machine. TLS means 1.2 "
        "or newer with the broker's certificate and host name checked; that cannot be switched off.",
        choices=("PLAINTEXT", "SSL", "SASL_SSL"),
    )
    ssl_ca_file: str = setting("", "Security", "PEM file of who signs brokers. Empty: those of the system.")
    ssl_certificate_file: str = setting("", "Security", "PEM file of the client's certificate and its chain.")
    ssl_key_file: str = setting("", "Security", "PEM file of the client certificate's key.")
    ssl_key_password_file: str = setting(
        "", "Security", "File whose one line is the password of the key. Empty: the key has none."
    )
    sasl_mechanism: str = setting(
        "SCRAM-SHA-512",
        "Security",
        "How the password is proven; it never crosses the network.",
        choices=("SCRAM-SHA-512", "SCRAM-SHA-256"),
    )
    sasl_username: str = setting("", "Security", "SCRAM user.", pattern=r"\S*", expected="a name, or empty")
    sasl_password_file: str = setting(
        "",
        "Security",
        "File whose one line is the SCRAM user's password. There is no setting for the password itself: the "
        "environment of a process is seen by too many.",
    )
    pseudonym_key_file: str = setting(
        "",
        "Security",
        "File whose one line, of 16 characters and more, is the key of the pseudonyms that stand for "
        "personal values in alerts: the same value has the same pseudonym in all alerts of all workers "
        "with this key. Empty: only the last four characters are shown.",
    )
    rules_dir: Path = setting(  # noqa: RUF009 - a Path never changes
        Path("rules"), "Paths", "Directory of the rules; watched while the worker runs."
    )
    model_path: str = setting("", "Paths", "File of the champion model. Empty: the shipped model.")
    state_dir: Path = setting(  # noqa: RUF009
        Path(".fraudstream/state"),
        "Paths",
        "Directory of the snapshots, one subdirectory per app and partition, and of compiled rules.",
    )
    snapshot_interval_s: int = setting(
        300,
        "Snapshots",
        "Time between two snapshots of a partition. After a crash at most this much is replayed.",
        unit="s",
        low=1,
        high=86_400,
    )
    snapshot_records: int = setting(
        5_000_000,
        "Snapshots",
        "A snapshot is also taken after this many records.",
        unit="records",
        low=1,
        high=1_000_000_000,
    )
    snapshots_kept: int = setting(
        3, "Snapshots", "Snapshots kept per partition; older ones are removed.", unit="files", low=2, high=100
    )
    slice_records_max: int = setting(
        4_000,
        "Work in flight",
        "Most records of a partition that are processed in one piece. Larger is cheaper per record, smaller "
        "answers the first of a burst sooner; the decisions are the same bytes.",
        unit="records",
        low=1,
        high=100_000,
    )
    slices_in_flight: int = setting(
        4,
        "Work in flight",
        "Most pieces of a partition whose decisions are not yet acknowledged.",
        unit="slices",
        low=1,
        high=4,
    )
    fetch_bytes_max: int = setting(
        1_048_576,
        "Work in flight",
        "Most bytes fetched from a partition at once.",
        unit="bytes",
        low=65_536,
        high=104_857_600,
    )
    fetch_wait_ms_max: int = setting(
        500,
        "Work in flight",
        "How long the broker may hold a fetch while there is nothing to send; no decision waits for it.",
        unit="ms",
        low=1,
        high=30_000,
    )
    deadline_ms: int = setting(
        50,
        "Work in flight",
        "From the timestamp of the input record to its decision. A later decision carries the record header "
        "`overdue`.",
        unit="ms",
        low=1,
        high=600_000,
    )
    reload_interval_ms: int = setting(
        500,
        "Reload",
        "How often the rules directory is looked at.",
        unit="ms",
        low=50,
        high=3_600_000,
    )
    metrics_host: str = setting(
        "127.0.0.1",
        "Web",
        "Address on which the status page, `/metrics`, `/livez` and `/readyz` are served, without "
        "authentication. Another "
        "than loopback only inside a network that may see them.",
        pattern=r"\S+",
        expected="a host name or address",
    )
    metrics_port: int = setting(
        9464,
        "Web",
        "Port of the status page, `/metrics`, `/livez` and `/readyz`; 0: any free one.",
        unit="port",
        low=0,
        high=65_535,
    )
    log_level: str = setting(
        "info", "Log", "Least level that is logged.", choices=("debug", "info", "warning", "error")
    )
    log_format: str = setting(
        "console",
        "Log",
        "`json`: one object a line, for a log store. `console`: for people.",
        choices=("console", "json"),
    )

    @property
    def topics(self) -> TopicNames:
        """Return the full names of the topics."""
        return TopicNames(
            *(self.topic_prefix + getattr(self, f"topic_{name}") for name in TopicNames._fields)
        )

    @property
    def start_time_ms(self) -> int | None:
        """Return ``start`` as milliseconds since the epoch, None if it is no time."""
        if self.start in {"", "earliest", "latest"}:
            return None
        return int(datetime.fromisoformat(self.start.upper()).timestamp() * 1000)


def describe() -> dict[str, tuple[type, Any, Meta]]:
    """Return every setting: name -> (type, default, what is declared about it), in order."""
    kinds = {"str": str, "int": int, "float": float, "bool": bool, "Path": Path}
    return {
        item.name: (kinds[str(item.type)], item.default, item.metadata["setting"])
        for item in fields(Settings)
    }


def load_settings(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings.

    Args:
        environ: The environment; None: that of this process.
        overrides: Settings given by the caller, by their field names; they win over everything.

    Raises:
        SettingsError: Unknown names or unusable values, all of them listed.
    """
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    given: dict[str, tuple[str, Any]] = {}
    if path := environ.get(CONFIG_VARIABLE):
        given.update(_from_file(Path(path), problems))
    given.update(_from_environment(environ, problems))
    given.update({name: (f"argument `{name}`", value) for name, value in overrides.items()})
    known = describe()
    values: dict[str, Any] = {}
    for name, (origin, raw) in given.items():
        kind, _, meta = known[name]
        try:
            values[name] = _convert(raw, kind, meta)
        except ValueError as error:
            problems.append(f"{origin}: {error}")
    settings = Settings(**values)
    problems += across(settings)
    if problems:
        raise SettingsError(
            "\n  ".join([f"{len(problems)} unusable settings:", *problems]) if problems[1:] else problems[0]
        )
    return settings


def _from_file(path: Path, problems: list[str]) -> dict[str, tuple[str, Any]]:
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        problems.append(f"`{CONFIG_VARIABLE}` names `{path}`, which cannot be read: {error.strerror}")
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"`{path}` is not TOML: {error}")
        return {}
    known = describe()
    found = {}
    for name, value in content.items():
        if name in known:
            found[name] = (f"`{name}` in `{path}`", value)
        else:
            problems.append(f"unknown setting `{name}` in `{path}`; {suggest(name, known)}".rstrip("; "))
    return found


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, tuple[str, Any]]:
    known = {PREFIX + name.upper(): name for name in describe()}
    found = {}
    for variable, value in environ.items():
        if variable in known:
            found[known[variable]] = (f"`{variable}`", value)
        elif variable.startswith(PREFIX) and variable not in OTHER_VARIABLES:
            hint = suggest(variable, [*known, *OTHER_VARIABLES])
            if f"{variable}_FILE" in known:
                hint = f"secrets come from files: `{variable}_FILE` names one"
            problems.append(f"unknown setting `{variable}`; {hint}".rstrip("; "))
    return found


def _convert(raw: Any, kind: type, meta: Meta) -> Any:
    """Return the value of a setting.

    Raises:
        ValueError: It is of the wrong kind or out of range; says what was expected.
    """
    if kind is Path:
        if not isinstance(raw, str | Path) or not str(raw):
            raise ValueError(f"a path was expected, was `{raw}`")
        return Path(raw).expanduser()
    if kind is int:
        return _whole(raw, meta)
    if not isinstance(raw, str):
        raise ValueError(f"a text was expected, was `{raw}`")  # noqa: TRY004 - reported, never seen as an exception
    if meta.choices and raw not in meta.choices:
        raise ValueError(f"one of {', '.join(f'`{c}`' for c in meta.choices)} was expected, was `{raw}`")
    if meta.pattern and not re.fullmatch(meta.pattern, raw):
        raise ValueError(f"{meta.expected} was expected, was `{raw}`")
    return raw


def _whole(raw: Any, meta: Meta) -> int:
    text = raw.replace("_", "") if isinstance(raw, str) else raw
    if isinstance(text, bool) or not re.fullmatch(r"[+-]?\d{1,18}", str(text)):
        raise ValueError(f"a whole number of {meta.unit} was expected, was `{raw}`")
    value = int(text)
    if (meta.low is not None and value < meta.low) or (meta.high is not None and value > meta.high):
        raise ValueError(f"{meta.low} to {meta.high} {meta.unit} was expected, was `{raw}`")
    return value
