"""Rights that are taken away while the worker runs, as aiokafka tells of them."""

from __future__ import annotations

from collections.abc import Iterable

from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from fraudstream.stream.errors import NotPermitted


def as_not_permitted(error: BaseException) -> NotPermitted | None:
    """Return the error that ends the worker when a right was taken away while it runs, else None."""
    if not isinstance(error, KafkaError):
        return None
    about = ", ".join(f"`{name}`" for name in _names(error))
    if isinstance(error, TopicAuthorizationFailedError):
        return NotPermitted(f"the broker took away Read or Write on topic {about}; see its access rules")
    if isinstance(error, GroupAuthorizationFailedError):
        return NotPermitted(f"the broker does not permit Read on group {about}; see its access rules")
    if isinstance(error, ClusterAuthorizationFailedError | TransactionalIdAuthorizationFailed):
        return NotPermitted(
            "the broker does not permit IdempotentWrite on the cluster; a principal with Write on a topic "
            "has it with Kafka 3 and newer"
        )
    if isinstance(error, AuthenticationFailedError):
        return NotPermitted(f"the broker does not accept this client's name and password: {error}")
    return None


def _names(error: KafkaError) -> list[str]:
    """Return the topics or groups that an error of aiokafka names."""
    found: list[str] = []
    for item in error.args:
        found += [item] if isinstance(item, str) else map(str, item) if isinstance(item, Iterable) else []
    return sorted(found)
