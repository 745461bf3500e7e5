"""Which rights a client needs on the cluster, and what the broker says when one is missing.

Before it works the worker asks the broker for the operations that it is allowed on each resource, so that a
missing right ends it with one line that names all of them, not in the middle of a batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from fraudstream.stream.errors import NotPermitted
from fraudstream.stream.settings import Settings

LOOK = ("Describe", "DescribeConfigs")
"""Every command compares the topics with what the guarantees need."""


class Resource(NamedTuple):
    """What an access rule is about."""

    kind: str
    """`topic` or `group`."""
    name: str

    def __str__(self) -> str:
        """Return it as in a sentence."""
        return f"{self.kind} `{self.name}`"


Rights = Mapping[Resource, Collection[str]]
"""Resource -> operations, by the names that `kafka-acls.sh` takes."""


def worker_rights(settings: Settings) -> dict[Resource, tuple[str, ...]]:
    """Return what the worker needs, and nothing more."""
    names = settings.topics
    topics: dict[str, tuple[str, ...]] = {
        names.input: ("Read",),
        names.decisions: ("Read", "Write"),
        names.alerts: ("Write",),
        names.dead_letters: ("Write",),
        names.journal: ("Read", "Write"),
        names.control: ("Read", "Write"),
    }
    if settings.publish_features == "on":
        topics[names.features] = ("Write",)
    rights: dict[Resource, tuple[str, ...]] = {
        Resource("topic", name): (*LOOK, *operations) for name, operations in topics.items()
    }
    rights[Resource("group", settings.app_id)] = ("Describe", "Read")
    return rights


def trainer_rights(settings: Settings, *, learns: bool) -> dict[Resource, tuple[str, ...]]:
    """Return what the trainer needs, and nothing more."""
    names = settings.topics
    topics: dict[str, tuple[str, ...]] = {
        names.input: ("Write",),
        names.dead_letters: ("Write",),
        names.labels: ("Read",),
        **({names.features: ("Read",)} if learns else {}),
    }
    rights: dict[Resource, tuple[str, ...]] = {
        Resource("topic", name): (*LOOK, *operations) for name, operations in topics.items()
    }
    for kind in ("feedback", "trainer") if learns else ("feedback",):
        rights[Resource("group", f"{settings.app_id}-{kind}")] = ("Describe", "Read")
    return rights


def look_rights(names: Iterable[str]) -> dict[Resource, tuple[str, ...]]:
    """Return what `topics check` needs."""
    return {Resource("topic", name): LOOK for name in names}


def missing(needed: Rights, allowed: Rights) -> list[tuple[Resource, str]]:
    """Return the rights that are needed and not there; a resource that ``allowed`` lacks is not judged."""
    return [
        (resource, operation)
        for resource, operations in needed.items()
        if resource in allowed
        for operation in operations
        if operation not in allowed[resource]
    ]


def refusal(client: str, servers: str, lacking: Iterable[tuple[Resource, str]]) -> NotPermitted:
    """Return the error for missing rights: one line, with the command that grants the first."""
    lacking = list(lacking)
    resource, operation = lacking[0]
    operations: dict[Resource, list[str]] = {}
    for about, name in lacking:
        operations.setdefault(about, []).append(name)
    named = "; ".join(f"{', '.join(names)} on {about}" for about, names in operations.items())
    principal = client.strip("`") if client.startswith("`User:") else "User:..."
    return NotPermitted(
        f"{client} is not permitted at {servers}: {named}. Grant each, the first with: kafka-acls.sh "
        f"--bootstrap-server {servers} --add --allow-principal {principal} --operation {operation} "
        f"--{resource.kind} {resource.name}"
    )
