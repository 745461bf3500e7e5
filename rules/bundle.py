"""What a rules directory compiles to: the types that every floor above shares.

Values of expressions and columns
---------------------------------
Every value is one or two 64-bit words (``Type.width``) in an int64 column, beside a uint8 state
(1 present, 0 missing):

========== ===== =============================================================================
type       words content
========== ===== =============================================================================
number     1     binary64 bits (``view("f8")``), finite
integer    1     int64
money      1     int64 minor units of the base currency; binary64 bits where ``repr`` is "f"
                 (means, deviations, products)
duration   1     int64 milliseconds; binary64 bits where ``repr`` is "f"
time       1     int64 milliseconds since the epoch, UTC
date       1     int64 days since the epoch
bool       1     0 or 1
enum       1     index into ``Field.values``
country    1     two letters: ``ord(a) << 8 | ord(b)``
category   2     128-bit keyed hash of the text: low word, high word
id         2     the same
geo        2     latitude, longitude as binary64 bits
========== ===== =============================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from fraudstream.rules.compiler.program import Program


class Type(StrEnum):
    """Types of fields, features and expressions."""

    NUMBER = "number"
    INTEGER = "integer"
    MONEY = "money"
    DURATION = "duration"
    TIME = "time"
    DATE = "date"
    BOOL = "bool"
    ENUM = "enum"
    CATEGORY = "category"
    COUNTRY = "country"
    ID = "id"
    GEO = "geo"

    @property
    def width(self) -> int:
        """Return the number of int64 words of one value."""
        return 2 if self in (Type.CATEGORY, Type.ID, Type.GEO) else 1

    @property
    def is_text(self) -> bool:
        """Return whether values are text with a span in the batch's buffer."""
        return self in (Type.CATEGORY, Type.ID)


Repr = Literal["i", "f"]
"""Content of a value's words: int64 or binary64 bits."""


class Source(IntEnum):
    """Which matrix a slot lives in."""

    FIELD = 0
    FEATURE = 1
    MODEL = 2


@dataclass(frozen=True, slots=True)
class Slot:
    """One name that an expression, a reason or a model may read."""

    name: str
    type: Type
    repr: Repr
    source: Source
    column: int
    """First word: row of ``Batch.value`` for fields and columns of reference tables, column of the feature
    matrix for features."""
    values: tuple[str, ...] = ()
    """Names of an enum's codes."""
    decimals: int = 0
    """Fixed-point digits of a ``number`` field with ``decimals``."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the event schema, in the schema's order."""

    name: str
    type: Type
    column: int
    """First word of the value in ``Batch.value``; also its row in ``start``/``size``."""
    path: tuple[str, ...] = ()
    """Member names from the root, e.g. ("account", "id"); empty for ``const`` fields."""
    path2: tuple[str, ...] = ()
    """Longitude's path of a geo field."""
    required: bool = False
    required_for: tuple[str, ...] = ()
    """Event types that need the field."""
    default: str | None = None
    """Source text used when the member is missing (for an enum also when null)."""
    const: str | None = None
    """Source text of a constant field; it has no path."""
    from_integer: bool = False
    """``from: [string, integer]``: an integer is read as its digits."""
    values: tuple[str, ...] = ()
    signed: bool = False
    currency: str | None = None
    """Money: name of the *field* that holds the currency."""
    convert: bool = True
    """Money: convert to the base currency (``txn.amount``) or leave as sent (``txn.amount_original``)."""
    decimals: int = 0
    personal: str | None = None
    """Personal-data class (``class:`` in YAML); None: not personal."""
    max_chars: int = 128

    @property
    def path_text(self) -> str:
        """Return the path as operators write it; rejections name it."""
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class Schema:
    """The event schema: how JSON members become typed columns."""

    base_currency: str
    partition_key: str
    fields: tuple[Field, ...]
    words: int
    """Rows of ``Batch.value`` that fields take; columns of reference tables stand behind them."""
    event_id: str = "event.id"
    event_type: str = "event.type"
    event_time: str = "event.time"
    hash: str = ""
    """SHA-256 of the canonical declaration: a change needs a rebuild of state."""

    def field(self, name: str) -> Field:
        """Return the field called ``name``; KeyError if there is none."""
        for item in self.fields:
            if item.name == name:
                return item
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class ReferenceColumn:
    """One column of a reference table; its full name is the slot's."""

    name: str
    """Without the table's."""
    type: Type
    slot: Slot
    origin: tuple[str, ...]
    """Names in the source: one, or latitude and longitude of a geo point."""
    values: tuple[str, ...] = ()
    personal: str | None = None
    """Personal-data class; None: not personal."""

    @property
    def shape(self) -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
        """Return what the column's content depends on."""
        return (self.name, self.type.value, self.values, self.origin)


@dataclass(frozen=True, slots=True)
class ReferenceTable:
    """A keyed table that is joined to every event: ``reference.yaml``."""

    name: str
    key: str
    """Field whose value is looked up."""
    key_type: Type
    key_origin: str
    """Name of the key in the source."""
    columns: tuple[ReferenceColumn, ...]
    found: Slot
    """``<name>.found``: whether the table has a row for the event's key."""
    stale: Slot
    """``<name>.stale``: whether the content is older than ``stale_after_ms`` at the event's time."""
    file: str = ""
    """Path as written; relative ones begin at the rules directory. Empty: ``topic``."""
    topic: str = ""
    as_of: str = ""
    """Column of the source whose newest value is the content's time; empty: the file's or the records'."""
    refresh_ms: int = 10_000
    """How often a topic is collected."""
    stale_after_ms: int | None = None
    keep_stale: bool = True
    """False: values of stale content are missing."""
    hash: str = ""
    """SHA-256 of what the content depends on: types of key and columns, and the source."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Return every name that the table gives, in the order of the declaration."""
        return (*(column.slot for column in self.columns), self.found, self.stale)


@dataclass(frozen=True, slots=True)
class Reference:
    """All reference tables of a bundle. Their values are rows of ``Batch.value`` behind the fields."""

    tables: tuple[ReferenceTable, ...] = ()
    read: tuple[Slot, ...] = ()
    """Slots that rules or filters read, by name; only they and a model's inputs are joined."""
    hash: str = ""

    def table(self, name: str) -> ReferenceTable | None:
        """Return a table by its name, None if there is none."""
        return next((item for item in self.tables if item.name == name), None)


class Agg(StrEnum):
    """Aggregates of feature windows (meaning: docs/reference/features.md)."""

    COUNT = "count"
    SUM = "sum"
    MEAN = "mean"
    STD = "std"
    MIN = "min"
    MAX = "max"
    DISTINCT = "distinct"
    FIRST = "first"
    LAST = "last"
    SINCE_FIRST = "since_first"
    SINCE_LAST = "since_last"
    EWMA = "ewma"
    SEQUENCE = "sequence"
    """Of a rule: its earlier steps came in order; no file declares it as a feature."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One declared feature, families expanded."""

    name: str
    agg: Agg
    key: tuple[str, ...]
    """Field names; all of them present or the feature is missing."""
    of: tuple[str, ...] = ()
    """Field names: one for sum to distinct, any number for first/last, none for count and since_*."""
    window_ms: int | None = None
    resolution_ms: int = 0
    """Panes of this length, aligned to the epoch, carry the window's beginning; 0: exact to the event."""
    half_life_ms: int = 0
    """``ewma``: age at which an event weighs half."""
    where: int | None = None
    """Index into ``FeatureSet.filters``."""
    exclude_current: bool = False
    min_count: int = 0
    max_distinct: int = 0
    steps: tuple[int, ...] = ()
    """``sequence``: filters of its earlier steps, in order."""
    unless: int | None = None
    """``sequence``: filter of events that begin it anew."""
    outputs: tuple[Slot, ...] = ()
    """One slot, or one for each field of ``first``/``last`` (``<name>.time``, ``.geo``, ``.country`` ...)."""
    hash: str = ""
    """SHA-256 of the definition without the name."""


@dataclass(frozen=True, slots=True)
class TimeSettings:
    """``time:`` of features.yaml, in milliseconds."""

    allowed_lateness_ms: int = 3_600_000
    max_skew_ms: int = 60_000
    dedup_ms: int = 86_400_000
    max_events_per_key: int = 100_000
    max_state_bytes: int = 0
    """Accounted size of a partition's windows at which the longest idle keys leave; 0: no bound."""
    trust_create_time: bool = False


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """All features of a bundle with the filters they share."""

    time: TimeSettings
    features: tuple[Feature, ...]
    words: int
    """Columns of the feature matrix."""
    filters: tuple[str, ...] = ()
    """Canonical text of each distinct ``where``."""
    filter_program: Program | None = None
    """One output per filter, over fields only. None: no filters."""
    hash: str = ""

    def non_local(self, partition_key: str) -> tuple[Feature, ...]:
        """Return the features whose key does not contain the partition key."""
        return tuple(f for f in self.features if partition_key not in f.key)


class Action(IntEnum):
    """What a rule asks for; larger is stronger for block and alert."""

    NONE = 0
    PASS = 1
    ALERT = 2
    BLOCK = 3


class Severity(IntEnum):
    """How bad a match is; orders reasons."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2
    CRITICAL = 3


class Mode(StrEnum):
    """Life of a rule. Draft and retired ones are checked, not evaluated; a canary acts on a share of keys."""

    DRAFT = "draft"
    SHADOW = "shadow"
    CANARY = "canary"
    LIVE = "live"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a reason text: a literal, or a slot with a format."""

    literal: str = ""
    slot: Slot | None = None
    format: str = ""
    """One of the fixed set: "", money, pct, .0f .. .6f, date, duration."""


@dataclass(frozen=True, slots=True)
class Effect:
    """A part of a rule's matches with its points."""

    output: int
    """Of ``Bundle.program``."""
    score: int


@dataclass(frozen=True, slots=True)
class Limit:
    """Blast radius of a block: beyond it, the rule alerts until its limit is declared anew."""

    share_ppm: int
    """Blocks per million of the events that the rule looks at."""
    per_ms: int
    """Over how much event time."""
    min_count: int
    """With fewer events no share is judged."""
    reset: int
    """Raised by an operator: the rule may block again."""


@dataclass(frozen=True, slots=True)
class Suppression:
    """How long an alert of a rule about a key stands for those that follow."""

    by: tuple[Slot, ...]
    for_ms: int


@dataclass(frozen=True, slots=True)
class Rule:
    """One evaluated rule: live, canary or shadow."""

    id: str
    title: str
    index: int
    """Output of the whole condition in ``Bundle.program``: event type, effective interval, ``when`` and
    exceptions."""
    gate: int
    """Output of event type and effective interval alone: on how many rows the rule was evaluated."""
    severity: Severity
    mode: Mode
    action: Action
    never_override: bool
    score: int
    """With score bands: the highest."""
    priority: int
    typology: int
    """Index into ``Bundle.typologies``; -1: none."""
    owner: str
    zone: str
    reason: Mapping[str, tuple[Segment, ...]]
    """Language -> pieces."""
    reads: tuple[Slot, ...]
    """Every name the rule reads, for alerts' evidence and `rules explain`."""
    before: int = -1
    """Output of the whole condition without exceptions; -1: there are none."""
    split: tuple[Effect, ...] = ()
    """Where the points depend on the row, and for a canary: disjoint outputs of the rows on which it acts."""
    limit: Limit | None = None
    suppress: Suppression | None = None
    limited: bool = False
    """This match would have blocked, but the limit made it an alert."""

    @property
    def effects(self) -> tuple[Effect, ...]:
        """Return the disjoint outputs on which the rule acts, with its points there."""
        return self.split or (Effect(self.index, self.score),)


@dataclass(frozen=True, slots=True)
class Typology:
    """A group of rules whose scores add up to a decision."""

    id: str
    combine: Literal["sum", "max", "noisy_or"]
    alert_at: int | None
    block_at: int | None


@dataclass(frozen=True, slots=True)
class ModelBand:
    """From a champion score on, an action."""

    at_micro: int
    """Threshold in millionths of probability."""
    action: Action


@dataclass(frozen=True, slots=True)
class Policy:
    """How outcomes become a decision, and who agrees to wider ones."""

    language: str = "en"
    zone: str = "UTC"
    model_bands: tuple[ModelBand, ...] = ()
    """Strongest first."""
    signers: Mapping[str, bytes] = field(default_factory=dict)
    """Name -> Ed25519 public key (32 bytes); with any, a wider change needs two of them."""
    alert_budget: int | None = None
    """Alerts a day that analysts can work off; changes no decision."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Exact conversion to the base currency: ``items[c]`` = (numerator, decimal places)."""

    items: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListVersion:
    """A list as it is in a bundle."""

    name: str
    """Without ``lists.``."""
    type: Type
    items: int
    version: str
    """``sha256:<hex>`` of what it says, whatever the order, wherever it is written."""
    file: str = ""
    """Path of the file that has the items; empty: lists.yaml."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked rules directory, ready to run on any partition.

    ``hash`` identifies content (``sha256:<hex>`` of ``archive``); two bundles with one hash decide alike.
    """

    hash: str
    archive: bytes
    """The sources in canonical form; ``compile_archive`` gives the same bundle back."""
    schema: Schema
    features: FeatureSet
    rules: tuple[Rule, ...]
    """Evaluated rules in id order."""
    program: Program
    typologies: tuple[Typology, ...]
    policy: Policy
    rates: Rates
    slots: Mapping[str, Slot]
    """Every readable name of fields, reference tables, features and models."""
    reference: Reference = Reference()
    lists: tuple[ListVersion, ...] = ()
    """In the order of lists.yaml, exchange rates not among them."""

    @property
    def definitions(self) -> tuple[str, str]:
        """What a state depends on: schema and features with their time settings."""
        return self.schema.hash, self.features.hash
