"""Errors that end a command, each with the exit code that a supervisor or a script may act on.

A message says what was wrong, where, what was expected and what to do; it is printed as
``fraudstream: <message>`` without a traceback.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class Exit(IntEnum):
    """Exit codes of `fraudstream`."""

    OK = 0
    FINDINGS = 1
    """The check ran and found something."""
    BAD_USE = 2
    """Arguments that make no sense."""
    NOTHING = 3
    """There was nothing to check."""
    CANNOT_CHECK = 4
    """The check could not be made."""
    INTERNAL = 70
    """A defect of fraudstream itself; a traceback was printed."""
    RESTART = 75
    """Start me again: the state in memory was given up, the log has everything."""
    NOT_PERMITTED = 77
    """The broker refused authentication or authorisation."""
    REFUSED = 78
    """Refuses to run until somebody acts on the message."""
    INTERRUPTED = 130
    """Ctrl-C."""
    BROKEN_PIPE = 141
    """The reader of the output went away."""


class FraudstreamError(Exception):
    """Base of the errors that end a command; ``exit_code`` is its process's exit code."""

    exit_code: ClassVar[Exit] = Exit.INTERNAL


class BadUse(FraudstreamError):  # noqa: N818 - named for what the caller did
    """Arguments that make no sense."""

    exit_code = Exit.BAD_USE


class NothingToCheck(FraudstreamError):  # noqa: N818
    """A check that would pass because there is nothing in it."""

    exit_code = Exit.NOTHING


class CannotCheck(FraudstreamError):  # noqa: N818
    """A check that lacks something it needs: a broker, retained records, a known version."""

    exit_code = Exit.CANNOT_CHECK


class RestartMe(FraudstreamError):  # noqa: N818
    """State in memory can no longer be trusted; a restart recovers it from the log."""

    exit_code = Exit.RESTART


class NotDelivered(RestartMe):
    """The broker did not deliver records in time; whoever can do without them may go on."""


class NotPermitted(FraudstreamError):  # noqa: N818
    """The broker refused authentication or authorisation, or could not be trusted."""

    exit_code = Exit.NOT_PERMITTED


class Refusal(FraudstreamError):  # noqa: N818
    """Running on would break a guarantee; the message says what to do."""

    exit_code = Exit.REFUSED
