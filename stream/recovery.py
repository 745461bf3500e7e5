"""Recovery of one partition: what lies on the topics, and whether it fits together.

The decision partition is the record of what was decided; it is read, never inferred from what this
process sent. Steps 2 to 4 of ``start(p)`` in docs/reference/delivery.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import orjson

from fraudstream.rules.bundle import Bundle
from fraudstream.stream.errors import Refusal
from fraudstream.stream.logreader import Bounds, LogReader
from fraudstream.stream.outcome import Decision
from fraudstream.stream.settings import TopicNames
from fraudstream.stream.snapshots import Header

DECISIONS = {item.name.lower(): int(item) for item in Decision}


class Facts(NamedTuple):
    """What the cluster says about the topics."""

    cluster: str
    partitions: int
    """Of the input; decisions and journal have as many."""
    create_time: bool
    """Whether producers set the timestamps of the input."""
    dead_letter_bytes_max: int
    """Largest record that the dead-letter topic takes."""
    alert_partitions: int
    dead_letter_partitions: int


class Published(NamedTuple):
    """Decisions that lie on the decision partition, in the order of their input offsets."""

    offset: np.ndarray[Any, np.dtype[np.int64]]
    decision: np.ndarray[Any, np.dtype[np.uint8]]
    score: np.ndarray[Any, np.dtype[np.int32]]

    @property
    def last(self) -> int:
        """Return the largest input offset, -1 without any."""
        return int(self.offset[-1]) if len(self.offset) else -1


class DecisionLog:
    """The decision partition of one input partition, as far as it was read."""

    def __init__(self, reader: LogReader, topic: str, partition: int) -> None:
        self._reader = reader
        self._topic = topic
        self._partition = partition
        self._position = 0
        self._ahead: list[tuple[int, int]] = []

    async def read_from(self, begin: int, src_from: int) -> Published:
        """Read from ``begin`` to the end; the first decision of an input offset counts.

        Args:
            begin: Offset on the decision partition.
            src_from: Decisions of lower input offsets are left out.
        """
        end = await self._reader.end(self._topic, self._partition)
        found: dict[int, tuple[int, int]] = {}
        self._ahead = []
        async for records in self._reader.read(self._topic, self._partition, begin, end):
            for record in records:
                src = self._src(record)
                if src < src_from:
                    continue
                self._ahead.append((record.offset, src))
                if src not in found:
                    found[src] = self._result(record)
        self._position = end
        offsets = np.array(sorted(found), np.int64)
        return Published(
            offsets,
            np.array([found[int(o)][0] for o in offsets], np.uint8),
            np.array([found[int(o)][1] for o in offsets], np.int32),
        )

    async def first_from(self, src_from: int) -> int:
        """Read on to the end; return an offset at or before every record with ``src`` from ``src_from`` on.

        ``src_from`` must not go back between two calls.
        """
        end = await self._reader.end(self._topic, self._partition)
        ahead = [(offset, src) for offset, src in self._ahead if src >= src_from]
        async for records in self._reader.read(self._topic, self._partition, self._position, end):
            ahead += [(r.offset, src) for r in records if (src := self._src(r)) >= src_from]
        self._ahead, self._position = ahead, end
        return min((offset for offset, _ in ahead), default=end)

    def _src(self, record: Any) -> int:
        for name, value in record.headers:
            if name == "src":
                partition, _, offset = value.partition(b":")
                if partition == b"%d" % self._partition and offset.isdigit():
                    return int(offset)
        raise Refusal(
            f"record {record.offset} of {self._topic}-{self._partition} has no header `src` of partition "
            f"{self._partition}; only the worker may write there. Remove the other writer, move its records "
            "away"
        )

    def _result(self, record: Any) -> tuple[int, int]:
        try:
            body = orjson.loads(record.value)
            return DECISIONS[body["decision"]], int(body["score"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as problem:
            raise Refusal(
                f"record {record.offset} of {self._topic}-{self._partition} is no decision ({problem!r}); "
                "only the worker may write there. Remove the other writer, move its records away"
            ) from None


def check_bundle(bundle: Bundle, facts: Facts, topic: str) -> None:
    """Check that a bundle may decide on this input.

    Raises:
        Refusal: windows that would see a share of their events only, or times that producers may make up.
    """
    non_local = bundle.features.non_local(bundle.schema.partition_key)
    if non_local and facts.partitions > 1:
        names = ", ".join(f"`{feature.name}`" for feature in non_local[:10])
        more = f" and {len(non_local) - 10} more" if len(non_local) > 10 else ""
        raise Refusal(
            f"{len(non_local)} features have keys without `{bundle.schema.partition_key}`, and `{topic}` "
            f"has {facts.partitions} partitions: each would see only a share of its events: {names}{more}. "
            "Use one partition, or rules without them (rules/packs/account_only)"
        )
    if facts.create_time and not bundle.features.time.trust_create_time:
        raise Refusal(
            f"`{topic}` has message.timestamp.type=CreateTime: a producer with a wrong clock would make "
            "later events late. Set the topic to LogAppendTime, or `time.trust_create_time: true` in "
            "features.yaml"
        )


def check_snapshot(header: Header, facts: Facts, topics: TopicNames, bounds: Bounds) -> None:
    """Check that a snapshot belongs to these topics and that its next record can be had.

    Raises:
        Refusal: it does not; the state must not be used, and a fresh one would not be the same.
    """
    remedy = "Point the worker at the topics of its state directory, or give it a new state directory"
    for what, was, now in (
        ("cluster", header.cluster, facts.cluster),
        ("input topic", header.input_topic, topics.input),
        ("decision topic", header.decisions_topic, topics.decisions),
        ("journal topic", header.journal_topic, topics.journal),
    ):
        if was != now:
            raise Refusal(
                f"{what} is `{now}`, the snapshot of partition {header.partition} is of `{was}`. {remedy}"
            )
    if header.partitions != facts.partitions:
        raise Refusal(
            f"`{topics.input}` has {facts.partitions} partitions, the snapshot of partition "
            f"{header.partition} was taken with {header.partitions}: accounts are on other partitions now. "
            "Make new input and decision topics and a new `app_id`, and replay the old log"
        )
    if not bounds.begin <= header.next_offset <= bounds.end:
        raise Refusal(
            f"`{topics.input}`-{header.partition} holds offsets {bounds.begin} to {bounds.end}, the newest "
            f"snapshot goes on at {header.next_offset}: records were lost, or the topic was made anew. "
            "Restore the topic, or start with a new `app_id`, topics and state directory"
        )


def check_empty(
    partition: int, topics: TopicNames, bounds: Bounds, start_from: int, state_from: int, *, decided: bool
) -> None:
    """Check that without a snapshot the state can be built again from the input.

    Raises:
        Refusal: records that decisions were made with are gone.
    """
    needed = min(start_from, state_from)
    if decided and bounds.begin > needed:
        raise Refusal(
            f"partition {partition} has no snapshot, and `{topics.input}` begins at {bounds.begin}, after "
            f"offset {needed} from which its state was built: the state cannot be built again. Restore a "
            "snapshot to the state directory, or start with a new `app_id` and topics"
        )


def check_published(partition: int, topics: TopicNames, bounds: Bounds, last: int) -> None:
    """Check that no decision is about a record that the input does not have.

    Raises:
        Refusal: the input was cut or made anew.
    """
    if last >= bounds.end:
        raise Refusal(
            f"`{topics.decisions}`-{partition} has a decision for input offset {last}, but "
            f"`{topics.input}`-{partition} ends at {bounds.end}: the input was deleted and refilled, or "
            "lost its end. Restore it, or start with a new `app_id` and topics"
        )


def refilled(header: Header, topics: TopicNames) -> Refusal:
    """Return the refusal for an input whose records are not those of the snapshot."""
    return Refusal(
        f"record {header.last_offset} of `{topics.input}`-{header.partition} has another value than when "
        "the snapshot was taken: the topic was deleted and refilled. Start with a new `app_id`, topics and "
        "state directory"
    )
