"""Every key that rule files may contain, with the line that editors show for it.

The readers check files against these shapes, ``jsonschema.py`` publishes them. ``later`` names keys of
the language that this version does not evaluate yet; giving one is an error that says so.
"""

from __future__ import annotations

from fraudstream.rules.bundle import Agg
from fraudstream.rules.compiler.shape import Either, Key, Listed, Mapped, Shape, Word

API_VERSION = "fraudstream/v1"

FIELD_TYPES = (
    "number", "integer", "money", "time", "date", "bool", "enum", "category", "country", "id", "geo",
    "duration",
)  # fmt: skip
LIST_TYPES = ("category", "id", "country", "enum", "number", "integer", "money", "money_rate")
CLASSES = ("public", "internal", "personal", "secret")
SEVERITIES = ("low", "medium", "high", "critical")
ACTIONS = ("none", "pass", "alert", "block")
OVERRIDES = ("allowed", "never")
STATES = ("draft", "shadow", "canary", "live", "retired")
COMBINES = ("sum", "max", "noisy_or")
WHEN_STALE = ("keep", "missing")
AGGREGATES = tuple(item.value for item in Agg if item is not Agg.SEQUENCE)

TEXT, NAME, EXPRESSION = Word("text"), Word("name"), Word("expression")
BOOLEAN, DURATION, DATE, CONSTANT = Word("boolean"), Word("duration"), Word("date"), Word("constant")


def _whole(low: int, high: int) -> Word:
    return Word("integer", minimum=low, maximum=high)


def _one_of(*values: str) -> Word:
    return Word("text", values)


_HEAD = {
    "apiVersion": Key(f"Version of the language: `{API_VERSION}`.", _one_of(API_VERSION), required=True),
}


def _document(kind: str, title: str, keys: dict[str, Key], later: frozenset[str] = frozenset()) -> Shape:
    head = _HEAD | {"kind": Key(f"What this file declares: `{kind}`.", _one_of(kind), required=True)}
    return Shape(title, head | keys, later)


FIELD = Shape(
    "a field",
    {
        "path": Key(
            "JSON member, `a.b` for a nested one; latitude and longitude for `geo`.",
            Either((TEXT, Listed(TEXT))),
        ),
        "type": Key("Type of the values.", _one_of(*FIELD_TYPES), required=True),
        "required": Key("Whether a record without it is rejected.", BOOLEAN),
        "required_for": Key("Event types whose records need it.", Listed(TEXT, or_one=True)),
        "default": Key("Value of records that do not have it.", TEXT),
        "const": Key("Value of all records; there is no path.", TEXT),
        "from": Key(
            "JSON types of an id: `[string, integer]` reads an integer as its digits.",
            Listed(_one_of("string", "integer"), or_one=True),
        ),
        "values": Key("Values of an enum.", Listed(TEXT)),
        "signed": Key("Whether amounts may be negative.", BOOLEAN),
        "currency": Key("JSON member or field that holds the currency of this money.", TEXT),
        "convert": Key(
            "Whether the amount is converted to the base currency (default) or kept as sent.", BOOLEAN
        ),
        "decimals": Key("Digits behind the point that count in windows (`number`).", _whole(1, 9)),
        "class": Key("Personal-data class.", _one_of(*CLASSES)),
        "max_chars": Key("Longest id or category that is accepted.", _whole(1, 128)),
    },
)
SCHEMA = _document(
    "Schema",
    "a schema",
    {
        "base_currency": Key("Currency in which amounts are compared and added.", TEXT, required=True),
        "partition_key": Key("Field by which the input topic is keyed.", NAME, required=True),
        "fields": Key("Fields of an event by name.", Mapped(FIELD), required=True),
    },
)

COLUMN = Shape(
    "a column",
    {
        "type": Key("Type of the values.", _one_of(*FIELD_TYPES), required=True),
        "values": Key("Values of an enum.", Listed(TEXT)),
        "from": Key(
            "Name in the source if it is another; latitude and longitude for `geo`.",
            Listed(TEXT, or_one=True),
        ),
        "class": Key("Personal-data class; the table's by default.", _one_of(*CLASSES)),
    },
)
SOURCE = Shape(
    "`source`",
    {
        "file": Key(
            "Path of a .parquet, .csv or .jsonl file; a relative one begins at the rules directory.", TEXT
        ),
        "topic": Key("Compacted Kafka topic: key is the row's, value a JSON object of its columns.", TEXT),
        "key": Key("Name of the key in a file (default: the last word of the table's `key`).", TEXT),
        "as_of": Key(
            "Column with times whose newest is the content's own time; default: time of the file or records.",
            TEXT,
        ),
        "refresh": Key("How often a topic is collected (default 10s).", DURATION),
    },
)
TABLE = Shape(
    "a table",
    {
        "key": Key("Field whose value is looked up.", NAME, required=True),
        "columns": Key("Columns by name.", Mapped(COLUMN), required=True),
        "source": Key("Where the rows come from.", SOURCE, required=True),
        "stale_after": Key("Age of the content, at the event's time, beyond which it is stale.", DURATION),
        "when_stale": Key("What happens to values of stale content.", _one_of(*WHEN_STALE)),
        "class": Key("Personal-data class of all columns.", _one_of(*CLASSES)),
    },
)
REFERENCE = _document(
    "Reference", "a reference file", {"tables": Key("Tables by name.", Mapped(TABLE), required=True)}
)

TIME = Shape(
    "`time`",
    {
        "allowed_lateness": Key("How far an event may be behind the newest and still count.", DURATION),
        "max_skew": Key("How far an event may be ahead of its Kafka timestamp.", DURATION),
        "dedup": Key("How long a transaction id is remembered; at least `allowed_lateness`.", DURATION),
        "max_events_per_key": Key(
            "Events kept one by one per key; older ones are folded into panes of a minute.",
            _whole(1, 4_194_304),
        ),
        "max_state_bytes": Key(
            "Size of a partition's windows at which idle keys leave (100 B a key, 64 B an event).",
            _whole(1 << 20, 1 << 44),
        ),
        "trust_create_time": Key("Accept producers' timestamps (CreateTime) on the input topic.", BOOLEAN),
    },
)
FEATURE = Shape(
    "a feature",
    {
        "agg": Key("Aggregate.", _one_of(*AGGREGATES), required=True),
        "of": Key("Field that is aggregated; several for `first` and `last`.", Listed(NAME, or_one=True)),
        "key": Key(
            "Field whose events belong together, or several.", Listed(NAME, or_one=True), required=True
        ),
        "window": Key("How far back events count, e.g. `10m`, `24h`, `30d`.", DURATION),
        "where": Key("Only events for which this condition on their own fields is true.", EXPRESSION),
        "current": Key("Whether the event itself counts.", _one_of("include", "exclude")),
        "min_count": Key("With fewer events the value is missing.", _whole(1, 100_000)),
        "max": Key("Highest count of `distinct`.", _whole(1, 10_000)),
        "half_life": Key("`ewma`: the age at which an event weighs half.", DURATION),
        "resolution": Key(
            "Length of the panes in which the window's beginning moves, or `exact`; by default `exact` up to "
            "24 hours, `1h` up to 12 days, `1d` beyond.",
            Either((_one_of("exact"), DURATION)),
        ),
    },
)
FAMILY = Shape(
    "a family",
    dict(FEATURE.keys)
    | {
        "agg": Key("Aggregates.", Listed(_one_of(*AGGREGATES), or_one=True), required=True),
        "of": Key("Field that is aggregated (`count` does not need it).", NAME),
        "window": Key("Windows.", Listed(DURATION, or_one=True)),
        "where": Key("Named conditions: one feature for each.", Mapped(EXPRESSION)),
    },
)
FEATURES = _document(
    "Features",
    "a features file",
    {
        "time": Key("How lateness, skew and duplicates are judged.", TIME),
        "features": Key("Features by name.", Mapped(FEATURE)),
        "families": Key("Groups of features: `<family>_<agg>[_<where>]_<window>`.", Mapped(FAMILY)),
    },
)

ITEM = Shape(
    "a list item",
    {
        "value": Key("The item.", CONSTANT, required=True),
        "until": Key("The item counts for events before this date or time.", DATE),
    },
)
LIST = Shape(
    "a list",
    {
        "type": Key("Type of the items.", _one_of(*LIST_TYPES), required=True),
        "items": Key(
            "The items, each with an optional end; for `money_rate` currency: rate.",
            Either((Listed(Either((CONSTANT, ITEM))), Mapped(Word("decimal")))),
        ),
        "file": Key(
            "File with the items, one a line, in `lists/` beside this file: `value` or `value,until`.", TEXT
        ),
    },
    frozenset({"source", "revision"}),
    one_of=("items", "file"),
)
LISTS = _document("Lists", "a lists file", {"lists": Key("Lists by name.", Mapped(LIST), required=True)})

TYPOLOGY = Shape(
    "a typology",
    {
        "combine": Key("How scores of matched rules add up.", _one_of(*COMBINES), required=True),
        "alert_at": Key("Total from which the decision is `alert`.", _whole(1, 100)),
        "block_at": Key("Total from which the decision is `block`.", _whole(1, 100)),
    },
)
BAND = Shape(
    "a model band",
    {
        "at": Key("Score from which the action is taken, 0 to 1.", Word("decimal"), required=True),
        "action": Key("What to do.", _one_of("alert", "block"), required=True),
    },
)
POLICY = Shape(
    "a policy",
    {
        "language": Key("Language of reason texts.", TEXT),
        "timezone": Key("Time zone of bare dates outside rule sets.", TEXT),
        "segment": Key("Field that says which segment an event belongs to, for params `by_segment`.", NAME),
        "model_bands": Key("Thresholds of the champion's score.", Listed(BAND)),
        "signers": Key(
            "Who may sign bundles: name and Ed25519 public key, the base64 line of its PEM file; a wider "
            "change needs two of them.",
            Mapped(TEXT),
        ),
        "alert_budget": Key(
            "Alerts a day that analysts can work off; backtests and monitoring compare with it.",
            _whole(1, 100_000_000),
        ),
    },
    frozenset({"fallback", "deadline", "control_group"}),
)
TYPOLOGIES = _document(
    "Typologies",
    "a typologies file",
    {
        "typologies": Key("Groups of rules by name.", Mapped(TYPOLOGY)),
        "policy": Key("From scores to decisions.", POLICY),
    },
)

DEFAULTS = Shape(
    "`defaults`",
    {
        "owner": Key("Who answers for rules without an own owner.", TEXT),
        "timezone": Key("Zone of bare dates and of hours and weekdays in conditions.", TEXT),
    },
)
PARAM = Shape(
    "a param",
    {
        "value": Key("The value.", CONSTANT, required=True),
        "min": Key("Lowest value that may be set.", CONSTANT),
        "max": Key("Highest value that may be set.", CONSTANT),
        "by_segment": Key("Other values by segment, within the same bounds.", Mapped(CONSTANT)),
    },
    frozenset({"by"}),
)
MODE = Shape(
    "`mode`",
    {
        "state": Key("Life of the rule.", _one_of(*STATES), required=True),
        "percent": Key("Share of keys on which a canary acts, 0.01 to 100.", Word("decimal")),
        "by": Key("Id by which a canary takes keys, e.g. `account.id`.", NAME),
    },
)
EFFECTIVE = Shape(
    "`effective`",
    {
        "from": Key("First instant, on the event's time.", DATE),
        "until": Key("End, not included, on the event's time.", DATE),
    },
)
EXPECT = Shape(
    "`expect`",
    {
        "match": Key("Whether the rule matches.", _one_of("true", "false", "unknown")),
        "action": Key(
            "`given`: the rule's action, `none` without a match; `event`: the decision.", _one_of(*ACTIONS)
        ),
        "score": Key("The rule's score, 0 without a match.", _whole(0, 100)),
        "reason": Key("The reason text in the policy's language.", TEXT),
    },
)
ANY_MEMBER = Either((CONSTANT, Mapped(CONSTANT)))
TEST = Shape(
    "a test",
    {
        "name": Key("What the test shows.", TEXT, required=True),
        "given": Key(
            "Values of names; what is left out is missing.", Mapped(Either((CONSTANT, Listed(CONSTANT))))
        ),
        "history": Key(
            "Earlier events by JSON members, each `at` an offset like `-9m`.", Listed(Mapped(ANY_MEMBER))
        ),
        "event": Key("The event to decide, by JSON members.", Mapped(ANY_MEMBER)),
        "expect": Key("What must come out.", EXPECT, required=True),
    },
    frozenset({"lists", "params"}),
)
EXCEPTION = Shape(
    "an exception",
    {
        "when": Key("Where the rule does not match although its condition holds.", EXPRESSION, required=True),
        "owner": Key("Who answers for the exception.", TEXT, required=True),
        "until": Key("Its end, not included, on the event's time.", DATE, required=True),
    },
)
LIMITS = Shape(
    "`limits`",
    {
        "share": Key(
            "Highest share of the events it looks at that the rule may block, e.g. `1%`.", TEXT, required=True
        ),
        "per": Key("Over how much event time.", DURATION, required=True),
        "min_count": Key("With fewer events no share is judged (default 100).", _whole(1, 1_000_000_000)),
        "reset": Key("Raise it by one to let the rule block again.", _whole(0, 1_000_000_000)),
    },
)
SUPPRESS = Shape(
    "`suppress`",
    {
        "by": Key(
            "Field, or several, whose events one alert stands for.", Listed(NAME, or_one=True), required=True
        ),
        "for": Key("How long after that alert.", DURATION, required=True),
    },
)
SCORE_BAND = Shape(
    "a score band",
    {
        "when": Key("Where this score counts, unless an earlier band does.", EXPRESSION, required=True),
        "score": Key("Points for the typology.", _whole(0, 100), required=True),
    },
)
STEP = Shape(
    "a step",
    {
        "as": Key("What the step is called.", NAME),
        "on": Key("Event types; by default those of the rule.", Listed(TEXT, or_one=True)),
        "when": Key(
            "Only events for which this is true: a condition on their own fields, and for the last step, "
            "which is the event itself, on anything.",
            EXPRESSION,
        ),
    },
)
UNLESS = Shape(
    "`unless`",
    {
        "on": Key("Event types; by default all.", Listed(TEXT, or_one=True)),
        "when": Key("Only events for which this condition on their own fields is true.", EXPRESSION),
    },
)
SEQUENCE = Shape(
    "`sequence`",
    {
        "by": Key(
            "Field whose events belong together, or several.", Listed(NAME, or_one=True), required=True
        ),
        "within": Key("How far back the first step may be.", DURATION, required=True),
        "steps": Key("Two or more, in order; the last one is the event itself.", Listed(STEP), required=True),
        "unless": Key("An event after the first step that lets the steps begin anew.", UNLESS),
    },
)
RULE = Shape(
    "a rule",
    # In this order `rules fmt` writes them.
    {
        "id": Key("Stable name, never reused.", NAME, required=True),
        "was": Key("Earlier ids of the rule.", Listed(NAME, or_one=True)),
        "title": Key("What the rule finds, in one line.", TEXT, required=True),
        "severity": Key("How bad a match is; orders reasons.", _one_of(*SEVERITIES), required=True),
        "typology": Key("Group whose scores add up.", NAME),
        "owner": Key("Who answers for the rule.", TEXT),
        "on": Key("Event types.", Listed(TEXT, or_one=True), required=True),
        "params": Key("Thresholds by name, with bounds.", Mapped(PARAM)),
        "conditions": Key("Named parts of `when`.", Mapped(EXPRESSION)),
        "when": Key("The condition; only `true` matches.", EXPRESSION),
        "sequence": Key("In place of `when`: steps in order, and nothing between that forbids it.", SEQUENCE),
        "table": Key(
            "Decision table in place of `when`: rows `{column: cell}` with cells like `atm`, `>= 5`, `-`.",
            Listed(Mapped(CONSTANT)),
        ),
        "exceptions": Key("Where a match is turned off, with owners and ends.", Listed(EXCEPTION)),
        "action": Key("What a match asks for (default `none`: score only).", _one_of(*ACTIONS)),
        "override": Key("`never`: no pass rule may undo this block.", _one_of(*OVERRIDES)),
        "score": Key(
            "Points for the typology: a number, or bands of which the first true one counts.",
            Either((_whole(0, 100), Listed(SCORE_BAND))),
        ),
        "priority": Key("Order of reasons among equals, high first.", _whole(-1_000_000, 1_000_000)),
        "mode": Key("Whether the rule decides, decides for a share of keys, only counts, or rests.", MODE),
        "effective": Key("When the rule is in force.", EFFECTIVE),
        "suppress": Key("How long an alert about a key stands for those that follow.", SUPPRESS),
        "limits": Key(
            "From which share of blocks on the rule only alerts, until an operator resets it.", LIMITS
        ),
        "reason": Key(
            "Text for analysts and customers by language, with `{name}` placeholders.", Mapped(TEXT)
        ),
        "tests": Key("Examples that are checked at load.", Listed(TEST)),
    },
    one_of=("when", "sequence", "table"),
)
RULE_SET = _document(
    "RuleSet",
    "a rule set",
    {
        "defaults": Key("Owner and zone of all rules of the file.", DEFAULTS),
        "rules": Key("The rules.", Listed(RULE), required=True),
    },
)

DOCUMENTS = {
    "Schema": SCHEMA,
    "Reference": REFERENCE,
    "Features": FEATURES,
    "Lists": LISTS,
    "Typologies": TYPOLOGIES,
    "RuleSet": RULE_SET,
}
