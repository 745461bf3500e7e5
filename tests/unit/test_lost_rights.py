"""What aiokafka raises when a right is missing becomes the error that ends the worker with 77."""

from __future__ import annotations

import pytest
from aiokafka import errors

from fraudstream.stream.errors import Exit
from fraudstream.stream.lost_rights import as_not_permitted


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.TopicAuthorizationFailedError("fraud.alerts"), "Write on topic `fraud.alerts`"),
        (errors.TopicAuthorizationFailedError({"fraud.journal"}), "Write on topic `fraud.journal`"),
        (errors.GroupAuthorizationFailedError("scorer"), "Read on group `scorer`"),
        (errors.ClusterAuthorizationFailedError(), "IdempotentWrite on the cluster"),
        (errors.AuthenticationFailedError("no"), "does not accept this client"),
    ],
)
def test_refusals_of_the_broker_are_told_with_their_resource(error: Exception, words: str) -> None:
    """One line each, exit code 77."""
    told = as_not_permitted(error)
    assert told is not None
    assert told.exit_code is Exit.NOT_PERMITTED
    assert words in str(told)
    assert "\n" not in str(told)


@pytest.mark.parametrize(
    "error", [errors.KafkaTimeoutError(), errors.NotLeaderForPartitionError(), OSError("x")]
)
def test_other_errors_are_left_as_they_are(error: Exception) -> None:
    """They end in a restart, which may help."""
    assert as_not_permitted(error) is None
