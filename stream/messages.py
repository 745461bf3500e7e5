"""Every message of the worker's log, declared once: what happened, what to do, the fields beside the text.

A field never holds what a transaction or a personal column of a reference table contains: numbers, names of
the bank's own configuration, errors that quote rule files. docs/reference/logs.md is made from this list.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from string import Formatter


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """One declared message."""

    event: str
    """Its name: stable, for searches and alerts."""
    level: int
    text: str
    """What happened; `{field}` is replaced."""
    action: str
    """What to do."""
    more: tuple[str, ...] = ()
    """Fields that are no part of the text; `problem` is printed below it."""
    per: tuple[str, ...] = ()
    """Fields whose values make it another message: repeats with the same ones are counted, not written."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the names of all fields."""
        named = [name for _, name, _, _ in Formatter().parse(self.text) if name]
        return tuple(dict.fromkeys([*named, *self.more]))


STARTS = Message(
    "worker_starts",
    logging.INFO,
    "fraudstream {version} starts as `{app}` on {broker}",
    "Nothing.",
    ("core", "rules_dir"),
)
ENDS = Message(
    "worker_ends",
    logging.ERROR,
    "the worker ends with exit code {exit_code}: {problem}",
    "75: it is started again by itself. 77, 78: do what the problem says, then start it.",
    per=("problem",),
)
NOT_ENCRYPTED = Message(
    "connection_not_encrypted",
    logging.WARNING,
    "the connection to {broker} is not encrypted",
    "Set FRAUDSTREAM_SECURITY_PROTOCOL.",
)
NO_PSEUDONYMS = Message(
    "no_pseudonym_key",
    logging.INFO,
    "personal values in alerts are masked to their last four characters: there is no key for pseudonyms",
    "Set FRAUDSTREAM_PSEUDONYM_KEY_FILE where alerts have to be told apart by account, card or device.",
)
RULES_UNUSABLE = Message(
    "rules_unusable",
    logging.ERROR,
    "{rules_dir} cannot be used, {errors} errors",
    "Correct the files; rules that were in force before stay in force.",
    ("problem",),
    per=("problem",),
)
RULES_REFUSED = Message(
    "rules_refused",
    logging.ERROR,
    "{rules_dir} was changed and is refused; the rules before stay in force",
    "Correct the files, or do what the problem says; the next change is looked at by itself.",
    ("problem",),
    per=("problem",),
)
RULES_NOT_IN_FORCE = Message(
    "rules_not_in_force",
    logging.ERROR,
    "{rules_dir} differs from what is in force",
    "Do what the problem says; the rules in force go on.",
    ("problem",),
    per=("problem",),
)
MODEL_REFUSED = Message(
    "model_refused",
    logging.WARNING,
    "{path} was changed and is refused; the models before stay in force: {problem}",
    "Put a whole file there, e.g. by `fraudstream models promote` or `rollback`.",
    per=("problem",),
)
MODEL_APPLIED = Message(
    "model_applied",
    logging.INFO,
    "{path} was changed: models `{models}` are journaled on {partitions} partitions",
    "Watch the scores for some minutes; `fraudstream models rollback` takes it back.",
)
CHANGE_APPLIED = Message(
    "change_applied",
    logging.INFO,
    "{change} of {by}: `{bundle}` is journaled on {partitions} partitions",
    "Watch rule_outcomes_total of the changed rules for some minutes.",
    per=("bundle",),
)
CHANGE_SLOW = Message(
    "change_slow",
    logging.WARNING,
    "not every partition has journaled `{version}` within {seconds} s",
    "Look at `fraudstream rules status`: a partition that was given away is its new owner's business.",
    per=("version",),
)
CHANGE_REFUSED = Message(
    "change_refused",
    logging.ERROR,
    "change {change} of {by} is refused; the rules before stay in force",
    "Correct the bundle and apply it again.",
    ("problem",),
    per=("change", "problem"),
)
POINTER_REFUSED = Message(
    "pointer_refused",
    logging.ERROR,
    "a pointer on the control topic is refused, the rules before stay in force",
    "Look who writes to the control topic: only `fraudstream rules` and workers should.",
    ("problem",),
    per=("problem",),
)
CONTROL_RECORD_BAD = Message(
    "control_record_bad",
    logging.ERROR,
    "control topic, offset {offset}: {problem}",
    "Look who writes to the control topic: only `fraudstream rules` and workers should.",
    per=("problem",),
)
PARTITION_STARTS = Message(
    "partition_starts",
    logging.INFO,
    "partition {partition}: epoch {epoch}, from offset {offset} ({source}), input ends at {input_end}, "
    "{published} decisions already published",
    "Nothing; what lies between the offset and the end is replayed.",
    per=("partition", "epoch"),
)
VERSION_JOURNALED = Message(
    "version_journaled",
    logging.INFO,
    "partition {partition}: from offset {offset} on: {changes}",
    "Nothing.",
    per=("partition", "offset", "changes"),
)
STATE_REBUILDS = Message(
    "state_rebuilds",
    logging.INFO,
    "partition {partition}: building the state from {state_from} to {border}",
    "Wait; decisions of the partition go on when it is done.",
    per=("partition",),
)
PARTITIONS_REVOKED = Message(
    "partitions_revoked",
    logging.INFO,
    "partitions revoked: {partitions}",
    "Nothing if a worker came or went; else look at its log.",
    per=("partitions",),
)
DRAINS = Message(
    "worker_drains", logging.INFO, "stopping: draining {partitions} partitions", "Wait for its end."
)
TRAINER_STARTS = Message(
    "trainer_starts",
    logging.INFO,
    "fraudstream {version} starts as the trainer of `{app}` on {broker}",
    "Nothing.",
    ("models",),
)
TRAINER_NOT_ALONE = Message(
    "trainer_not_alone",
    logging.ERROR,
    "another trainer of this app has some partitions; with {partitions} alone nothing can be learned",
    "Run one trainer; the other waits, and takes over when this one ends.",
    per=("partitions",),
)
TRAINER_VERSION = Message(
    "trainer_version",
    logging.INFO,
    "model {model}: learned up to {to}, version {version}",
    "`fraudstream models promote` puts it in force if it is good enough.",
    ("average_precision",),
    per=("model", "version"),
)
TRAINER_SNAPSHOT = Message(
    "trainer_snapshot",
    logging.INFO,
    "what was learned up to {to} is durable",
    "Nothing.",
    ("digest",),
    per=("to",),
)
SOURCE_QUARANTINED = Message(
    "label_source_quarantined",
    logging.ERROR,
    "labels of {source} would have moved the mean score of {model} by {moved} within the hour of {to}; the "
    "bound is {bound}: nothing that this source says is learned any more",
    "Ask its owner what happened. `trainer --release SOURCE` trusts it again.",
    per=("source",),
)
FEATURES_LOST = Message(
    "features_lost",
    logging.ERROR,
    "features partition {partition}: offsets {first} to {end} were removed before they were read",
    "Let the features topic keep records for longer than the longest outage of the trainer.",
)
LABELS_LOST = Message(
    "labels_lost",
    logging.ERROR,
    "labels partition {partition}: offsets {first} to {end} were removed before they were read",
    "Publish these labels again; let the labels topic keep records for longer than the longest outage.",
)
UNEXPECTED = Message(
    "unexpected_error",
    logging.ERROR,
    "unexpected error of the kind {kind}, a defect of fraudstream; the worker starts again",
    "Report it with the places below; the error's own text is left out because it may quote a transaction.",
    per=("kind",),
)
SNAPSHOT_SKIPPED = Message(
    "snapshot_skipped",
    logging.WARNING,
    "partition {partition}: snapshot skipped: {problem}",
    "Nothing; an older one or the input itself does. If it comes again look at the disk.",
    per=("partition", "problem"),
)
COMPILED_SKIPPED = Message(
    "compiled_skipped",
    logging.WARNING,
    "compiled rules skipped: {path}: {problem}",
    "Nothing; the rules are compiled from their sources. If other users can write there, change that.",
    ("problem",),
    per=("path",),
)
COMPILED_NOT_KEPT = Message(
    "compiled_not_kept",
    logging.WARNING,
    "compiled rules can not be kept: {path}: {problem}",
    "Give the worker room and rights in its state directory; until then starts compile anew.",
    ("problem",),
    per=("path",),
)
SNAPSHOT_FAILED = Message(
    "snapshot_failed",
    logging.WARNING,
    "partition {partition}: {problem}",
    "Look at space and rights of FRAUDSTREAM_STATE_DIR; decisions go on, a restart would take longer.",
    per=("partition",),
)
TABLE_UNAVAILABLE = Message(
    "reference_table_unavailable",
    logging.ERROR,
    "reference table {table}: what was in force before is not on the control topic: {problem}",
    "Restore the control topic, or deliver the table again.",
    per=("table",),
)
TABLE_CONTENT = Message(
    "reference_table_content",
    logging.INFO,
    "reference table {table}: {kind}, {rows} rows and {removed} removed in {bytes} bytes",
    "Compare the number of rows with the source.",
    per=("table", "kind"),
)
TABLE_REFUSED = Message(
    "reference_table_refused",
    logging.ERROR,
    "reference table {table} is refused, its content stays",
    "Correct the source; it is read again by itself.",
    ("problem",),
    per=("table", "problem"),
)
TABLE_TOPIC_REPLACED = Message(
    "reference_topic_replaced",
    logging.WARNING,
    "reference table {table}: `{topic}` was made anew, it is read again",
    "Nothing if that was meant.",
    per=("table",),
)
TABLE_TOPIC_NOT_COMPACTED = Message(
    "reference_topic_not_compacted",
    logging.WARNING,
    "reference table {table}: `{topic}` has cleanup.policy={policy}; rows older than its retention are lost "
    "at a restart",
    "Make the topic `compact`.",
    per=("table",),
)
TABLE_RECORD_BAD = Message(
    "reference_record_bad",
    logging.WARNING,
    "reference table {table}: record {offset} of {topic}-{partition} is passed over: {problem}",
    "Look at the record at its offset; talk to its producer. The first ones of a table are told.",
    per=("table", "partition", "problem"),
)
WIRE_FALLBACK = Message(
    "wire_fallback",
    logging.WARNING,
    "{part}: record by record, not by batches: {reason}",
    "Decisions are the same, throughput is less. `format`: the topic holds batches of an old message format. "
    "`differs`, `failed`: tell the maintainers.",
    per=("part", "reason"),
)
LIBRARY = Message(
    "library",
    logging.WARNING,
    "{logger}: {text}",
    "Of a client library. Usual while the broker is away; else look for the text in its documentation.",
)

MESSAGES = tuple(value for value in list(globals().values()) if isinstance(value, Message))
"""All of them, in the order above."""
