"""Every metric, declared once: kind, unit, labels with closed sets of values, meaning and action."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fraudstream.models.protocol import LABEL_OUTCOMES as LEARNING_OUTCOMES
from fraudstream.stream.enrichment.store import OUTCOMES as JOIN_OUTCOMES
from fraudstream.stream.labels import CODES as LABEL_CODES
from fraudstream.stream.outcome import FLAG_NAMES, Decision
from fraudstream.stream.wire.codes import REJECTION_CODES
from fraudstream.stream.wire.types import EXACT_REASONS

NAMESPACE = "fraudstream"


class Kind(StrEnum):
    """Prometheus types."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """A label: its values are known here, or come from what is in force."""

    name: str
    values: tuple[str, ...] = ()
    """All values; empty: given by :meth:`fraudstream.stream.collector.Metrics.allow`."""
    source: str = ""
    """Where the values come from if not from here."""


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One declared metric."""

    name: str
    """Without the prefix ``fraudstream_``."""
    kind: Kind
    unit: str
    meaning: str
    action: str
    """What to do about it."""
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, infinity left out."""
    sparse: bool = False
    """Series appear with their first count; else every combination of labels is there from the start."""

    @property
    def full_name(self) -> str:
        """Return the name that Prometheus shows."""
        return f"{NAMESPACE}_{self.name}"


STEPS = ("take", "decode", "join", "admit", "features", "score", "rules", "decide", "encode", "emit")
"""The eight steps of a transaction; joining reference tables is counted apart from decoding, encoding from
deciding."""
RELOAD_RESULTS = ("applied", "unchanged", "invalid", "needs_restart", "unapproved", "failed")
MISSING_CAUSES = ("bad_geo", "undeclared")

DECISION = Label("decision", tuple(decision.name.lower() for decision in Decision))
STEP = Label("step", STEPS)
CODE = Label("code", REJECTION_CODES)
FLAG = Label("flag", FLAG_NAMES)
CAUSE = Label("cause", MISSING_CAUSES)
OUTCOME = Label("outcome", ("true", "unknown", "excepted", "limited"))
RESULT = Label("result", RELOAD_RESULTS)
PARTITION = Label("partition", source="partitions assigned to this worker")
RULE = Label("rule", source="rules of the bundle in force")
FIELD = Label("field", source="fields of the schema in force")
KEYS = Label("kind", source="keys of the features in force, such as `account.id`")
BUNDLE = Label("bundle", source="hash of the bundle in force")

TABLE = Label("table", source="reference tables that rules, filters or the model in force read")
VERSION = Label("version", source="hashes of the content of reference tables in force")
JOIN = Label("outcome", JOIN_OUTCOMES)
EXACT = Label("reason", EXACT_REASONS)
LABEL_OUTCOME = Label("outcome", ("published", *LABEL_CODES))
RECORD_OUTCOME = Label("outcome", ("taken", "repeated", "unreadable"))
TRAINER_OUTCOME = Label("outcome", LEARNING_OUTCOMES)
TRAINED = Label("model", source="models that the trainer learns")
FALLBACK_PART = Label("part", ("fetch", "produce"))
FALLBACK = Label("reason", ("compressed", "damaged", "differs", "failed", "format"))

LATENCY_BUCKETS_S = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05),
    *(0.075, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 300.0),
)
"""Close around the usual deadline of 50 ms; the far end tells a catch-up from an outage."""
LABEL_DELAY_BUCKETS_S = (
    *(60.0, 600.0, 3_600.0, 21_600.0),
    *(86_400.0 * days for days in (1, 2, 3, 7, 14, 30, 60, 90)),
)
"""A call back within minutes, a charge back within weeks."""
STEP_BUCKETS_S = (0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""A step of a batch of one takes 10 us and more, of a thousand up to 10 ms."""

DECISIONS = Metric(
    "decisions_total",
    Kind.COUNTER,
    "decisions",
    "Decisions published, duplicates and malformed ones included.",
    "A jump of `block` or `alert` after a rule change: look at rule_outcomes_total, take the rule back.",
    (DECISION,),
)
DECISION_LATENCY = Metric(
    "decision_latency_seconds",
    Kind.HISTOGRAM,
    "seconds",
    "From the timestamp of the input record to the acknowledgement of its decision.",
    "Above the deadline: compare with step_seconds (slow scoring) and input_lag_records (a backlog).",
    buckets=LATENCY_BUCKETS_S,
)
STEP_SECONDS = Metric(
    "step_seconds",
    Kind.HISTOGRAM,
    "seconds",
    "Time that one step took for one batch.",
    "Names the slow step; `emit` is the broker's time.",
    (STEP,),
    STEP_BUCKETS_S,
)
INPUT_LAG = Metric(
    "input_lag_records",
    Kind.GAUGE,
    "records",
    "Records of the partition that are not decided yet.",
    "Rising for minutes: the worker is too slow or stands; see its log, add partitions and workers.",
    (PARTITION,),
)
DEAD_LETTERS = Metric(
    "dead_letters_total",
    Kind.COUNTER,
    "records",
    "Input records that could not be read, by rejection code.",
    "Not zero: a producer sends what the schema does not allow; the dead-letter topic has the bytes.",
    (CODE,),
)
EXACT_LANE = Metric(
    "exact_lane_records_total",
    Kind.COUNTER,
    "records",
    "Records that the fast reader left to the exact one: those that are `rejected`, and good ones whose JSON "
    "(`tokens`) or values it does not vouch for. The decisions are the same; each costs about 50 times more.",
    "A large share of good records: see how the producer writes them, e.g. numbers of more than 15 digits.",
    (EXACT,),
)
WIRE_FALLBACKS = Metric(
    "wire_fallbacks_total",
    Kind.COUNTER,
    "fallbacks",
    "Times that fetched batches, or batches to be sent, were handled record by record by the Kafka client "
    "library because the fast way does not know or does not trust what it saw. The results are the same.",
    "Not zero: the log says why; `format` is a topic with batches of an old message format. Throughput is "
    "about a third.",
    (FALLBACK_PART, FALLBACK),
    sparse=True,
)
LABELS = Metric(
    "labels_total",
    Kind.COUNTER,
    "records",
    "Records of the labels topic that became events on the input (`published`), or dead letters by rejection "
    "code. Counted by `trainer`.",
    "Anything but `published`: the case system writes what is no label; the dead-letter topic has the bytes, "
    "their header `src` begins with `label:`.",
    (LABEL_OUTCOME,),
)
LABEL_DELAY = Metric(
    "label_delay_seconds",
    Kind.HISTOGRAM,
    "seconds",
    "From a transaction to a label about it, as the trainer sees them.",
    "Nothing improves models as much as earlier labels: see which source is slow.",
    buckets=LABEL_DELAY_BUCKETS_S,
)
TRAINER_RECORDS = Metric(
    "trainer_records_total",
    Kind.COUNTER,
    "records",
    "Records of the features topic that the trainer read: taken, come again after a restart of a worker, or "
    "unreadable.",
    "`unreadable`: somebody else writes to the features topic.",
    (RECORD_OUTCOME,),
)
TRAINER_LABELS = Metric(
    "trainer_labels_total",
    Kind.COUNTER,
    "labels",
    "Labels at the trainer: learned, saying what is known already, about no transaction that is kept, or "
    "withheld because their source is in quarantine.",
    "`unmatched`: labels come later than vectors are kept (`trainer --keep`), or name the wrong transaction. "
    "`withheld`: see the log.",
    (TRAINER_OUTCOME,),
)
TRAINER_QUARANTINE = Metric(
    "trainer_quarantined_sources",
    Kind.GAUGE,
    "sources",
    "Sources of labels that would have moved a mean score beyond the bound; nothing of them is learned.",
    "Not zero: the log names them; ask the owner, then `trainer --release`.",
)
TRAINER_VECTORS = Metric(
    "trainer_vectors",
    Kind.GAUGE,
    "transactions",
    "Transactions that wait at the trainer for labels and corrections.",
    "Grows with traffic times `trainer --keep`; it is the trainer's memory.",
)
TRAINER_UNTIL = Metric(
    "trainer_learned_until_seconds",
    Kind.GAUGE,
    "seconds",
    "Time up to which the stream was learned, seconds since 1970.",
    "Falls behind the clock by more than an hour or two: the trainer stands; see its log.",
)
TRAINER_AP = Metric(
    "trainer_average_precision",
    Kind.GAUGE,
    "ratio",
    "Average precision of a model's scores, made before the label was learned, over what is mature.",
    "A challenger above the champion for weeks: `models promote`. Falling: the pattern changed.",
    (TRAINED,),
)
TRAINER_VERSIONS = Metric(
    "trainer_versions_total",
    Kind.COUNTER,
    "versions",
    "Versions of a model that the trainer put into the registry.",
    "None for days: nothing is learned; see trainer_labels_total and trainer_learned_until_seconds.",
    (TRAINED,),
)
RULE_OUTCOMES = Metric(
    "rule_outcomes_total",
    Kind.COUNTER,
    "transactions",
    "Transactions for which a rule matched (`true`), lacked values to be answered (`unknown`), or would have "
    "matched without its exceptions (`excepted`), or blocked without its limit (`limited`).",
    "Mostly `unknown`: the feed does not fill a field that the rule reads. Suddenly `true`: ask its owner.",
    (RULE, OUTCOME),
)
RULE_EVALUATIONS = Metric(
    "rule_evaluations_total",
    Kind.COUNTER,
    "transactions",
    "Transactions of a rule's event types within its time of effect.",
    "Zero: the rule's `on` or its dates never apply.",
    (RULE,),
)
RULE_LIMITED = Metric(
    "rule_limited",
    Kind.GAUGE,
    "partitions",
    "Partitions on which a rule with `limits` blocked more than it may and only alerts now.",
    "Not zero: look at what the rule matched; correct it, or raise `limits.reset` to let it block again.",
    (RULE,),
    sparse=True,
)
ALERT_BUDGET = Metric(
    "alert_budget",
    Kind.GAUGE,
    "alerts",
    "Alerts a day that analysts can work off, by the policy in force; infinite where it names none.",
    "Compare with the alerts of the last day; change `policy.alert_budget` when the team changes.",
)
BUNDLE_INFO = Metric(
    "bundle_info",
    Kind.GAUGE,
    "1",
    "1 for the bundle of rules in force.",
    "Differs between workers for more than a few seconds: one of them does not follow the journal.",
    (BUNDLE,),
)
RELOADS = Metric(
    "reload_total",
    Kind.COUNTER,
    "reloads",
    "Changes of the rules and of reference tables' files by what became of them.",
    "`invalid`: errors are in the log, old rules in force. `needs_restart`: schema or time settings changed. "
    "`unapproved`: signatures are missing, or it has to come by `rules apply`.",
    (RESULT,),
)
SNAPSHOT_AGE = Metric(
    "snapshot_age_seconds",
    Kind.GAUGE,
    "seconds",
    "Age of the newest durable snapshot of the partition.",
    "Far above the snapshot interval: the state directory is full or slow; a restart would replay this much.",
    (PARTITION,),
)
STATE_BYTES = Metric(
    "state_bytes",
    Kind.GAUGE,
    "bytes",
    "Memory held by windows and duplicate entries of all partitions.",
    "Near the memory limit: shorten windows or move partitions to another worker.",
)
STATE_KEYS = Metric(
    "keys",
    Kind.GAUGE,
    "keys",
    "Keys with history, by kind.",
    "Grows without end: a field with ever new values is used as a key.",
    (KEYS,),
)
STATE_LIMIT = Metric(
    "state_limit_ratio",
    Kind.GAUGE,
    "1",
    "What a partition's windows count for, as a share of `max_state_bytes`; 0 without such a bound.",
    "Above 0.8: raise the bound, shorten windows or add partitions; at 1 the longest idle keys go.",
    (PARTITION,),
)
STATE_EVICTED = Metric(
    "state_evicted_keys_total",
    Kind.COUNTER,
    "keys",
    "Keys that went because of `max_state_bytes`.",
    "Rises: rows of keys that return are flagged `approximate`, their windows begin anew.",
)
WARMING = Metric(
    "features_warming",
    Kind.GAUGE,
    "features",
    "Features that some event may still reach back for to before they were defined.",
    "They are missing meanwhile; `fraudstream features backfill` fills them from the input.",
)
FLAGS = Metric(
    "flags_total",
    Kind.COUNTER,
    "decisions",
    "Decisions with a flag.",
    "`late`, `clock_skew`: a producer's clock or delivery. `id_reuse`: its ids. `no_rate`: the rates.",
    (FLAG,),
)
FIELDS_MISSING = Metric(
    "fields_missing_total",
    Kind.COUNTER,
    "values",
    "Values that count as missing though they were there: a point off the globe, an undeclared enum value.",
    "Declare the new enum value in schema.yaml, or talk to the producer.",
    (FIELD, CAUSE),
    sparse=True,
)
HISTORY = Metric(
    "history_seconds",
    Kind.GAUGE,
    "seconds",
    "Event time that the windows of the partition cover.",
    "Less than the longest window: its features see a part only, as after a first start.",
    (PARTITION,),
)
AMOUNT = Metric(
    "amount_minor_total",
    Kind.COUNTER,
    "minor units of the base currency",
    "Money of the decided transactions.",
    "Share of `block` in money; compare with its share in number.",
    (DECISION,),
)
REFERENCE_INFO = Metric(
    "reference_info",
    Kind.GAUGE,
    "1",
    "1 for the content of each reference table in force.",
    "Differs between workers for more than a few refresh intervals: one of them does not see the source.",
    (TABLE, VERSION),
)
REFERENCE_ROWS = Metric(
    "reference_rows",
    Kind.GAUGE,
    "rows",
    "Rows of a reference table in force.",
    "A sudden drop: the source was cut; the journal names the version before.",
    (TABLE,),
)
REFERENCE_AGE = Metric(
    "reference_age_seconds",
    Kind.GAUGE,
    "seconds",
    "Time since the as-of time of a reference table's content; decisions judge it by event time instead.",
    "Beyond the table's `stale_after`: its source is not delivered; rules see it as stale.",
    (TABLE,),
)
REFERENCE_BYTES = Metric(
    "reference_bytes",
    Kind.GAUGE,
    "bytes",
    "Memory of a reference table bound for the joins of all partitions.",
    "Near the memory limit: read fewer columns, or give the worker fewer partitions.",
    (TABLE,),
)
REFERENCE_JOINS = Metric(
    "reference_joins_total",
    Kind.COUNTER,
    "keys",
    "Keys of transactions looked up: with a row, without one, and those whose event saw stale content.",
    "Mostly `absent`: keys are written another way in the source. `stale`: see reference_age_seconds.",
    (TABLE, JOIN),
    sparse=True,
)
REFERENCE_BAD_RECORDS = Metric(
    "reference_bad_records_total",
    Kind.COUNTER,
    "records",
    "Records of a reference table's topic that were passed over.",
    "Not zero: the log has the first ones with what was wrong; talk to the producer.",
    (TABLE,),
    sparse=True,
)
REFERENCE_REFUSED = Metric(
    "reference_refused_total",
    Kind.COUNTER,
    "refusals",
    "Deliveries of a reference table, files or readings of its topic, that could not be used.",
    "Not zero: the content before stays and grows old; the log has what was wrong.",
    (TABLE,),
)
METRICS = (
    DECISIONS,
    DECISION_LATENCY,
    STEP_SECONDS,
    INPUT_LAG,
    DEAD_LETTERS,
    RULE_OUTCOMES,
    RULE_LIMITED,
    RULE_EVALUATIONS,
    ALERT_BUDGET,
    BUNDLE_INFO,
    RELOADS,
    SNAPSHOT_AGE,
    STATE_BYTES,
    STATE_KEYS,
    STATE_LIMIT,
    STATE_EVICTED,
    WARMING,
    FLAGS,
    FIELDS_MISSING,
    HISTORY,
    AMOUNT,
    REFERENCE_INFO,
    REFERENCE_ROWS,
    REFERENCE_AGE,
    REFERENCE_BYTES,
    REFERENCE_JOINS,
    REFERENCE_BAD_RECORDS,
    REFERENCE_REFUSED,
    EXACT_LANE,
    WIRE_FALLBACKS,
    LABELS,
    LABEL_DELAY,
    TRAINER_RECORDS,
    TRAINER_LABELS,
    TRAINER_QUARANTINE,
    TRAINER_VECTORS,
    TRAINER_UNTIL,
    TRAINER_AP,
    TRAINER_VERSIONS,
)
"""All of them, in the order of the reference page."""
