"""`fraudstream export`: a topic as envelopes, so that a log can be replayed elsewhere."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from confluent_kafka import Consumer, KafkaError, TopicPartition

from fraudstream.stream.cluster import (
    REQUEST_TIMEOUT_S,
    Cluster,
    as_command_error,
    command_errors,
    connection,
)
from fraudstream.stream.envelope import Record, write_envelope
from fraudstream.stream.errors import BadUse, CannotCheck, Exit
from fraudstream.stream.permissions import Resource
from fraudstream.stream.progress import Progress
from fraudstream.stream.settings import load_settings

SUMMARY = "write a topic as envelopes, one record a line, for `replay` and for reports"
EXAMPLE = """\
examples:
  fraudstream export --topic input --output input.jsonl
  fraudstream export --topic journal --output journal.jsonl
  fraudstream export --topic control --output control.jsonl
  fraudstream replay --input input.jsonl --format envelope --journal journal.jsonl --control control.jsonl

Each line is {"p":partition,"o":offset,"ts":milliseconds,"k":key,"v":value}, key and value in base64 or null;
partition after partition, in the order of offsets, from the oldest retained record to the end as it was at
the start. Headers are not exported. The file appears under its name when it is complete.
"""
TOPICS = ("input", "decisions", "journal", "control", "alerts", "dead-letters", "labels", "features")
BATCH = 10_000
POLL_S = 0.1
"""The client waits this long for a full batch."""
SILENCE_S = 30.0
"""A broker that has records delivers some within this time."""
QUIET_S = 2.0
"""A shorter export shows no progress."""


class Span(NamedTuple):
    """What is to be read of one partition: offsets ``begin`` to ``end - 1``, those that exist."""

    partition: int
    begin: int
    end: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument("--topic", required=True, choices=TOPICS, metavar="topic", help=", ".join(TOPICS))
    parser.add_argument("--output", default="-", metavar="F", help="file, `-` is standard output (default)")
    parser.add_argument("--partition", type=int, help="this one only (default: all)")


def run(args: argparse.Namespace) -> int:
    """Export and say on standard error how much it was."""
    settings = load_settings()
    name = getattr(settings.topics, args.topic.replace("-", "_"))
    cluster = Cluster.of(settings)
    state = cluster.describe([name])
    if name not in state.topics:
        raise CannotCheck(
            f"there is no topic `{name}` at `{settings.broker}`; `fraudstream topics check` tells more"
        )
    cluster.require({Resource("topic", name): ("Read",)})
    count = state.topics[name].partitions
    if args.partition is not None and not 0 <= args.partition < count:
        raise BadUse(f"`{name}` has partitions 0 to {count - 1}, `--partition` was {args.partition}")
    partitions = range(count) if args.partition is None else [args.partition]
    consumer = Consumer(
        connection(
            settings,
            **{
                # Required by the client and never used: nothing is joined, nothing committed.
                "group.id": f"{settings.app_id}-export",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                # Aborted records were never decided; the worker does not see them either.
                "isolation.level": "read_committed",
                # A record that retention took meanwhile is an error, not a reason to start somewhere else.
                "auto.offset.reset": "error",
            },
        )
    )
    try:
        with command_errors(settings.broker):
            spans = [_span(consumer, name, partition) for partition in partitions]
        with _opened(args.output) as output:
            written = _export(consumer, name, spans, output, settings.broker)
    finally:
        consumer.close()
    print(f"exported {written:,} records of {name}", file=sys.stderr)
    return Exit.OK


def _span(consumer: Consumer, name: str, partition: int) -> Span:
    begin, end = consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=REQUEST_TIMEOUT_S)
    return Span(partition, begin, end)


def _export(consumer: Consumer, name: str, spans: list[Span], output: BinaryIO, servers: str) -> int:
    total, passed, written = sum(span.end - span.begin for span in spans), 0, 0
    with Progress(f"exporting {name}", total, "records", QUIET_S) as progress:
        for span in spans:
            for record in _records(consumer, name, span, servers):
                output.write(write_envelope(record))
                written += 1
                if written % BATCH == 0:
                    progress.at(passed + record.offset - span.begin)
            passed += span.end - span.begin
    return written


def _records(consumer: Consumer, name: str, span: Span, servers: str) -> Iterator[Record]:
    """Yield the records of a span in order; compaction and transactions leave offsets out.

    Raises:
        CannotCheck: The broker stopped delivering, or retention took what was still to be read.
    """
    if span.begin == span.end:
        return
    consumer.assign([TopicPartition(name, span.partition, span.begin)])
    heard_s = time.monotonic()
    while True:
        messages = consumer.consume(BATCH, POLL_S)
        if messages:
            heard_s = time.monotonic()
        elif time.monotonic() - heard_s > SILENCE_S:
            raise CannotCheck(f"`{name}` partition {span.partition} delivered nothing for {SILENCE_S:.0f} s")
        for message in messages:
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own code
                    return
                if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                    continue  # the client asks for its group's coordinator, which is never used
                if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
                    raise CannotCheck(
                        f"`{name}` partition {span.partition} lost records to its retention while it was "
                        "read; export again"
                    )
                raise as_command_error(error, servers)
            if message.offset() >= span.end:
                return
            kind, time_ms = message.timestamp()
            yield Record(
                span.partition, message.offset(), time_ms if kind else -1, message.key(), message.value()
            )
            if message.offset() == span.end - 1:
                return


@contextlib.contextmanager
def _opened(output: str) -> Iterator[BinaryIO]:
    """Open the output; a file gets its name when everything is in it."""
    if output == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(output)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            yield stream
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
