"""The reference encoder: what every decision has to look like, and the maker of the rare ones.

Member order is fixed, there are no spaces, UTF-8 stands raw; strings escape only the quote, the
backslash and control characters. The same decision is the same bytes, on any worker, for ever.
"""

from __future__ import annotations

import json
from typing import Final

import numpy as np

from fraudstream.stream.outcome import FLAG_NAMES, Decision, Flag, Outcome, Versions
from fraudstream.stream.wire.types import I32, Batch, Encoded, Rejected, Slice

MAX_DECISION_BYTES: Final = 16_384
"""Largest decision record; consumers may reserve this much."""

escape = json.JSONEncoder(ensure_ascii=False).encode
DECISIONS: Final = tuple(decision.name.lower() for decision in sorted(Decision))
_DUPLICATE: Final = int(Flag.DUPLICATE)


def flag_list(flags: int) -> str:
    """Return the JSON array of a decision's flags, in their fixed order."""
    return "[" + ",".join(f'"{name}"' for bit, name in enumerate(FLAG_NAMES) if flags >> bit & 1) + "]"


def _cut(text: str, room: int) -> str:
    """Return the longest beginning of ``text`` whose JSON string has at most ``room`` bytes in its quotes."""
    used = 0
    for at, char in enumerate(text):
        used += len(escape(char).encode()) - 2
        if used > room:
            return escape(text[:at])
    return escape(text)


def reason_list(reasons: tuple[tuple[str, str], ...], room: int) -> str:
    """Return the JSON array of reasons in at most ``room`` bytes.

    Too long texts are cut to equal shares of what is left, on code point borders; codes never are.
    """
    codes = [escape(code) for code, _ in reasons]
    texts = [escape(text) for _, text in reasons]
    parts = [f'{{"code":{code},"text":{text}}}' for code, text in zip(codes, texts, strict=True)]
    whole = "[" + ",".join(parts) + "]"
    if len(whole.encode()) <= room:
        return whole
    fixed = len("[]") + sum(len(f'{{"code":{code},"text":""}},'.encode()) for code in codes)
    share = max(0, room - fixed) // len(reasons)
    cut = (_cut(text, share) for _, text in reasons)
    return (
        "["
        + ",".join(f'{{"code":{code},"text":{text}}}' for code, text in zip(codes, cut, strict=True))
        + "]"
    )


class Writer:
    """Templates of one slice's decisions."""

    def __init__(self, partition: int, versions: Versions) -> None:
        self.partition = partition
        self.versions = f'"rules_version":{escape(versions.rules)},"models_version":{escape(versions.models)}'
        # Ids need no escapes by contract, so a row is one substitution.
        self.plain = tuple(
            '{"transaction_id":%s,"decision":"'
            + name
            + '","score":%d,"reasons":%s,"models":{%s},'
            + self.versions.replace("%", "%%")
            + ',"event_time":%s,"src":"'
            + f"{partition}:%d"
            + '","flags":%s%s}'
            for name in DECISIONS
        )
        self.flags: dict[int, str] = {}

    def flag_list(self, flags: int) -> str:
        """Return the JSON array of a decision's flags."""
        text = self.flags.get(flags)
        if text is None:
            text = self.flags[flags] = flag_list(flags)
        return text

    def reasoned(
        self,
        decision: int,
        reasons: tuple[tuple[str, str], ...],
        transaction_id: str,
        score: int,
        models: str,
        event_time: str,
        offset: int,
        flags: str,
    ) -> bytes:
        """Return a decision with reasons, in the limit of a record."""
        plain = self.plain[decision]
        bare = plain % (transaction_id, score, "", models, event_time, offset, flags, "")
        texts = reason_list(reasons, MAX_DECISION_BYTES - len(bare.encode()))
        return (plain % (transaction_id, score, texts, models, event_time, offset, flags, "")).encode()

    def malformed(self, rejected: Rejected, offset: int, decision: Decision) -> bytes:
        """Return the decision about a record that could not be read: alert, for somebody to look at."""
        text = f"{rejected.code} {rejected.field}" if rejected.field else rejected.code
        transaction_id = "null" if rejected.transaction_id is None else escape(rejected.transaction_id)
        event_time = "null" if rejected.event_time is None else str(rejected.event_time)
        return self.reasoned(
            decision,
            (("malformed", text),),
            transaction_id,
            0,
            "",
            event_time,
            offset,
            self.flag_list(Flag.MALFORMED),
        )


def _ids(batch: Batch) -> list[str]:
    """Return every row's transaction id as JSON."""
    column = batch.schema.field(batch.schema.event_id).column
    text = batch.buffer.tobytes().decode("latin-1")  # ids are ASCII: a byte is a character
    spans = zip(
        batch.state[column].tolist(), batch.start[column].tolist(), batch.size[column].tolist(), strict=True
    )
    return [f'"{text[start : start + size]}"' if present else "null" for present, start, size in spans]


def _times(batch: Batch) -> list[object]:
    """Return every row's event time as JSON."""
    column = batch.schema.field(batch.schema.event_time).column
    times: list[object] = batch.value[column].tolist()
    if batch.state[column].all():
        return times
    return [
        time if present else "null" for time, present in zip(times, batch.state[column].tolist(), strict=True)
    ]


def encode_by_row(
    source: Slice,
    batch: Batch,
    outcome: Outcome,
    versions: Versions,
    rows: I32 | None = None,
    *,
    malformed: Decision = Decision.ALERT,
) -> Encoded:
    """Write the decisions one by one; see :func:`~fraudstream.stream.wire.encode.encode`."""
    writer = Writer(source.partition, versions)
    wanted = np.arange(len(source)) if rows is None else rows
    where = np.full(len(source), -1, np.int64)
    where[batch.row] = np.arange(len(batch))
    rejected = {item.row: item for item in batch.rejected}
    ids, times, plain, reasons = _ids(batch), _times(batch), writer.plain, outcome.reasons
    decisions, scores, flags = outcome.decision.tolist(), outcome.score.tolist(), outcome.flags.tolist()
    first, champion = outcome.duplicate_of.tolist(), outcome.champion_micro.tolist()
    places = zip(wanted.tolist(), where[wanted].tolist(), source.offset[wanted].tolist(), strict=True)
    records: list[bytes] = []
    for row, at, offset in places:
        if at < 0:
            records.append(writer.malformed(rejected[row], offset, malformed))
            continue
        flag, micro = flags[at], champion[at]
        models = "" if micro < 0 else f'"champion":{micro // 1_000_000}.{micro % 1_000_000:06d}'
        tail = ""
        listed = writer.flag_list(flag) if flag else "[]"
        if flag & _DUPLICATE:
            models, tail = "", f',"duplicate_of":"{source.partition}:{first[at]}"'
        elif why := reasons.get(at):
            decision = decisions[at], why, ids[at], scores[at], models, str(times[at]), offset, listed
            records.append(writer.reasoned(*decision))
            continue
        text = plain[decisions[at]] % (ids[at], scores[at], "[]", models, times[at], offset, listed, tail)
        records.append(text.encode())
    ends = np.zeros(len(records) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, records), np.int64, len(records)), out=ends[1:])
    return Encoded(b"".join(records), ends)
