"""Step 7, encode: decided columns to canonical decision JSON."""

from __future__ import annotations

from fraudstream.stream.outcome import Decision, Outcome, Versions
from fraudstream.stream.wire.encode_fast import Encoder
from fraudstream.stream.wire.encode_reference import MAX_DECISION_BYTES, encode_by_row, flag_list
from fraudstream.stream.wire.types import I32, Batch, Encoded, Slice

__all__ = ["MAX_DECISION_BYTES", "Encoder", "encode", "flag_list"]


def encode(
    source: Slice,
    batch: Batch,
    outcome: Outcome,
    versions: Versions,
    rows: I32 | None = None,
    *,
    malformed: Decision = Decision.ALERT,
    fast: bool = True,
) -> Encoded:
    """Write the decisions of slice rows ``rows`` (None: all) in that order, unreadable records included.

    ``batch`` and ``outcome`` are of the whole slice. Duplicates have no reasons and no models. A record
    that could not be read is an alert, for somebody to look at; in shadow mode ``malformed`` is `PASS`.
    Without ``fast`` the reference encoder writes every decision; the bytes are the same.
    """
    if not fast:
        return encode_by_row(source, batch, outcome, versions, rows, malformed=malformed)
    encoder = Encoder(batch.schema, source.partition, versions)
    return encoder.encode(source, batch, outcome, rows, malformed=malformed)
