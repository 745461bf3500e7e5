"""Why a record cannot be read: the codes, in the order in which they are judged."""

from __future__ import annotations

REJECTION_CODES: tuple[str, ...] = (
    "too_large",
    "empty",
    "bad_utf8",
    "bad_json",
    "not_object",
    "duplicate_member",
    "missing_field",
    "null_field",
    "wrong_type",
    "bad_id",
    "bad_time",
    "time_out_of_range",
    "bad_amount",
    "negative_amount",
    "amount_precision",
    "amount_too_large",
    "unknown_currency",
)
"""A record gets the first that applies to any of its fields; among fields the schema's order decides."""

RANK: dict[str, int] = {code: rank for rank, code in enumerate(REJECTION_CODES)}


class Unreadable(Exception):  # noqa: N818
    """A record, or the value of one field, breaks the contract; ``code`` is one of `REJECTION_CODES`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
