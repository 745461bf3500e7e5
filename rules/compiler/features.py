"""``features.yaml``: declared functions of earlier events, families expanded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from fraudstream.rules.bundle import Agg, Feature, FeatureSet, Field, Schema, Slot, TimeSettings, Type
from fraudstream.rules.compiler import shape as shapes
from fraudstream.rules.compiler.canonical import digest, tidy
from fraudstream.rules.compiler.expressions import checked, note, reads_zone, scope_of
from fraudstream.rules.compiler.program import compile_outputs
from fraudstream.rules.compiler.reader import Findings, ScalarNode
from fraudstream.rules.compiler.reference import DeclaredReference
from fraudstream.rules.compiler.schema import declared_name
from fraudstream.rules.compiler.sequences import (
    SEQUENCE_NAME,
    DeclaredSequence,
    Step,
    WrittenSequence,
    written_sequences,
)
from fraudstream.rules.compiler.shape import Section
from fraudstream.rules.compiler.slots import MODEL_SLOTS, feature_slots, field_slots
from fraudstream.rules.compiler.source import quoted
from fraudstream.rules.compiler.suggest import suggest
from fraudstream.rules.compiler.tokens import DAY_MS, HOUR_MS
from fraudstream.rules.compiler.types import Checked, Scope, check, names_read
from fraudstream.rules.compiler.vocabulary import AGGREGATES, FAMILY, FEATURE, TIME

SECOND_MS = 1_000
WINDOW_MS_MAX = 400 * DAY_MS
EXACT_MS_MAX = DAY_MS
FEATURES_MAX = 5_000
KEY_FIELDS_MAX = 4
STATE_BYTES_MIN = 1 << 20
EVENTS_PER_KEY_MAX = 1 << 22
KEY_TYPES = (Type.ID, Type.CATEGORY, Type.COUNTRY, Type.ENUM, Type.INTEGER, Type.MONEY, Type.DATE)

SUMMED = (Agg.SUM, Agg.MEAN, Agg.STD, Agg.MIN, Agg.MAX)
"""Aggregates of one number."""
POINTS = (Agg.FIRST, Agg.LAST)
SINCE = (Agg.SINCE_FIRST, Agg.SINCE_LAST)
WINDOWED = (Agg.COUNT, Agg.DISTINCT, *SUMMED)
"""Aggregates that need a window."""
PANE_MS_HOUR, PANE_MS_DAY = HOUR_MS, DAY_MS
DAILY_FROM_MS = 12 * DAY_MS
"""Windows beyond 24 hours have panes of an hour, beyond this panes of a day."""
_SUMMED_TYPES = (Type.MONEY, Type.DURATION, Type.INTEGER, Type.NUMBER)


@dataclass(frozen=True, slots=True)
class DeclaredFeatures:
    """The features of a file with what messages and explanations need."""

    feature_set: FeatureSet
    slots: Mapping[str, Slot]
    """Outputs by name."""
    places: Mapping[str, ScalarNode]
    """Feature name -> where it was declared (a family's for its members)."""
    families: frozenset[str]
    """Names that come from families."""
    filters: tuple[Checked, ...]
    scope: Scope
    """What ``where`` may name."""
    sequences: Mapping[int, DeclaredSequence] = field(default_factory=dict)
    """By the identity of a rule's node in the file."""
    time_place: ScalarNode | None = None
    """Where ``time:`` stands."""


@dataclass(slots=True)
class _Where:
    """A feature's filter: index and canonical text."""

    index: int
    text: str


class _Builder:
    """Collects features in the file's order."""

    def __init__(self, schema: Schema, zone: str, findings: Findings, reference: DeclaredReference) -> None:
        self.findings = findings
        self.schema = schema
        self.fields = {field.name: field for field in schema.fields}
        slots = field_slots(schema) | dict(reference.slots)
        self.scope: Scope = scope_of(schema, slots, zone, frozenset({"fields"}))
        self.shapes = reference.shapes
        self.features: list[Feature] = []
        self.slots: dict[str, Slot] = {}
        self.places: dict[str, ScalarNode] = {}
        self.filters: dict[str, Checked] = {}
        self.column = 0
        self.taken = dict.fromkeys(self.fields, "a field")
        self.taken.update((slot.name, "a model") for slot in MODEL_SLOTS)
        self.taken.update((name, "a column of a reference table") for name in reference.slots)

    def where(self, node: ScalarNode | None) -> _Where | None:
        """Return the filter of an expression; equal texts share one."""
        if node is None:
            return None
        found = checked(node, self.scope, self.findings)
        return None if found is None else self.filter(found, node.text, self.scope.zone)

    def step(self, step: Step, zone: str) -> _Where | None:
        """Return the filter of a step of a sequence; errors stand where its condition does."""
        scope = replace(self.scope, zone=zone)
        own, problems = check(step.place.text, scope)
        if own is not None and step.text != step.place.text:
            own, problems = check(step.text, scope)
        hint = "a step before the last reads only the fields of its own event"
        note((item._replace(hint=item.hint or hint) for item in problems), step.place, self.findings)
        return None if own is None else self.filter(own, step.text, zone)

    def filter(self, found: Checked, text: str, zone: str) -> _Where:
        """Return the filter of a checked expression; equal texts share one."""
        text = tidy(text) + (f" @{zone}" if reads_zone(found) else "")
        joined = [self.shapes[slot.name] for slot in names_read(found) if slot.name in self.shapes]
        if joined:
            # What a column means stands in another file, and state depends on it.
            text += f" &{digest(joined)[:16]}"
        self.filters.setdefault(text, found)
        return _Where(list(self.filters).index(text), text)

    def add(
        self,
        feature: Feature,
        of: tuple[Field, ...],
        where: _Where | None,
        place: ScalarNode,
        more: Mapping[str, object] | None = None,
    ) -> None:
        """Give a feature its columns and its hash; ``more``: what its definition has besides."""
        outputs = feature_slots(feature.name, feature.agg, of, self.column)
        for name in dict.fromkeys([feature.name, *(slot.name for slot in outputs)]):
            if name in self.taken:
                hint = (
                    "rename one of them"
                    if len(of) < 2
                    else "`first`/`last` name outputs by a field's last word"
                )
                self.findings.error(place, f"{quoted(name)} is already {self.taken[name]}", hint)
                return
        if len({slot.name for slot in outputs}) < len(outputs):
            hint = "declare one feature for each"
            self.findings.error(place, f"two fields of {quoted(feature.name)} end in the same word", hint)
            return
        for name in [feature.name, *(slot.name for slot in outputs)]:
            self.taken[name] = "a feature"
        definition = {
            "agg": feature.agg.value,
            "key": list(feature.key),
            "of": list(feature.of),
            "window_ms": feature.window_ms,
            "resolution_ms": feature.resolution_ms,
            "half_life_ms": feature.half_life_ms,
            "where": None if where is None else where.text,
            "exclude_current": feature.exclude_current,
            "min_count": feature.min_count,
            "max_distinct": feature.max_distinct,
            **(more or {}),
        }
        where_index = None if where is None else where.index
        feature = replace(feature, where=where_index, outputs=outputs, hash=digest(definition))
        self.features.append(feature)
        self.column += sum(slot.type.width for slot in outputs)
        self.slots.update((slot.name, slot) for slot in outputs)
        self.places[feature.name] = place


def read_features(
    section: Section | None,
    schema: Schema,
    zone: str,
    findings: Findings,
    reference: DeclaredReference | None = None,
    sets: Mapping[str, Section] | None = None,
) -> DeclaredFeatures:
    """Return the features, and those that the sequences of rules are; those with errors are left out.

    Columns of ``reference`` tables may be named in ``where``.
    """
    builder = _Builder(schema, zone, findings, reference or DeclaredReference())
    time, time_place = TimeSettings(), None
    families: set[str] = set()
    if section is not None:
        time_place = section.source.entries["time"][0] if section.has("time") else None
        time = _read_time(section.section("time", TIME), findings)
        for key, node in section.table("features"):
            name = declared_name(key, "a feature", findings)
            inner = Section.open(node, FEATURE, findings)
            if name and inner is not None:
                _read_feature(builder, name, key, inner)
            if name not in builder.places:
                findings.broken.add(key.text)
        before = len(builder.features)
        for key, node in section.table("families"):
            name = declared_name(key, "a family", findings)
            inner = Section.open(node, FAMILY, findings)
            errors = len(findings.items)
            if name and inner is not None:
                _read_family(builder, name, key, inner)
            if inner is None or len(findings.items) > errors:
                findings.broken_prefixes.append(f"{key.text}_")
        families = {item.name for item in builder.features[before:]}
        if len(builder.features) > FEATURES_MAX:
            message = f"{len(builder.features):,} features, at most {FEATURES_MAX:,} are allowed"
            findings.error(section.source, message, "declare fewer windows or aggregates")
    sequences: dict[int, DeclaredSequence] = {}
    for written in written_sequences(sets or {}, schema, builder.scope, findings):
        _add_sequence(builder, written, sequences)
    filters = tuple(builder.filters.values())
    feature_set = FeatureSet(
        time=time,
        features=tuple(builder.features),
        words=builder.column,
        filters=tuple(builder.filters),
        filter_program=compile_outputs(filters) if filters and not findings.failed else None,
        hash=digest({"time": asdict(time), "features": [item.hash for item in builder.features]}),
    )
    return DeclaredFeatures(
        feature_set,
        builder.slots,
        builder.places,
        frozenset(families),
        filters,
        builder.scope,
        sequences,
        time_place,
    )


def _add_sequence(builder: _Builder, written: WrittenSequence, out: dict[int, DeclaredSequence]) -> None:
    """Declare the feature of a sequence."""
    name = f"{SEQUENCE_NAME}.{written.rule}"
    key = _key_fields(builder, written.section, "by")
    within = written.section.duration("within", SECOND_MS, WINDOW_MS_MAX, None)
    steps = [builder.step(step, written.zone) for step in written.steps]
    unless = None if written.unless is None else builder.step(written.unless, written.zone)
    sound = [step for step in steps if step is not None]
    broken = len(sound) < len(steps) or (written.unless is not None and unless is None)
    if not key or within is None or broken or name in builder.taken:
        return
    feature = Feature(
        name=name,
        agg=Agg.SEQUENCE,
        key=key,
        window_ms=within,
        exclude_current=True,
        steps=tuple(step.index for step in sound),
        unless=None if unless is None else unless.index,
    )
    more = {"steps": [step.text for step in sound], "unless": None if unless is None else unless.text}
    builder.add(feature, (), None, written.place, more)
    if name in builder.places:
        out[id(written.node)] = DeclaredSequence(builder.slots[name], written.place, written.last)


def _read_time(section: Section | None, findings: Findings) -> TimeSettings:
    base = TimeSettings()
    if section is None:
        return base
    lateness = section.duration("allowed_lateness", 0, 30 * DAY_MS, base.allowed_lateness_ms)
    skew = section.duration("max_skew", 0, DAY_MS, base.max_skew_ms)
    dedup = section.duration("dedup", 0, 400 * DAY_MS, base.dedup_ms)
    time = TimeSettings(
        allowed_lateness_ms=lateness or 0,
        max_skew_ms=skew or 0,
        dedup_ms=dedup or 0,
        max_events_per_key=section.integer(
            "max_events_per_key", 1, EVENTS_PER_KEY_MAX, base.max_events_per_key
        ),
        max_state_bytes=section.integer("max_state_bytes", STATE_BYTES_MIN, 1 << 44, base.max_state_bytes),
        trust_create_time=section.boolean("trust_create_time"),
    )
    if time.dedup_ms < time.allowed_lateness_ms:
        message = (
            f"`dedup` ({shapes.duration_text(time.dedup_ms)}) is shorter than "
            f"`allowed_lateness` ({shapes.duration_text(time.allowed_lateness_ms)})"
        )
        findings.error(section.key("dedup"), message, "a late repeat would count twice")
    return time


def _read_feature(builder: _Builder, name: str, place: ScalarNode, section: Section) -> None:
    agg = section.choice("agg", AGGREGATES, "")
    where = builder.where(section.scalar("where"))
    key = _key_fields(builder, section)
    window = section.duration("window", SECOND_MS, WINDOW_MS_MAX, None)
    if not agg or not key:
        return
    kind = Agg(agg)
    if section.has("of") and kind in (Agg.COUNT, *SINCE):
        hint = "use `distinct` to count values" if kind is Agg.COUNT else ""
        builder.findings.error(section.key("of"), f"`{agg}` has no `of`", hint)
        return
    of = _of_fields(builder, section, (kind,))
    if kind not in (Agg.COUNT, *SINCE) and not of:
        if section.node("of") is None:
            builder.findings.error(section.source, f"`{agg}` needs `of`", "name the field that is aggregated")
        return
    if not _check_options(builder, section, (kind,)) or not _check_window(builder, section, kind, window):
        return
    resolution = _resolution(builder, section, window, every=True)
    if resolution is not None:
        builder.add(_feature(section, name, kind, key, of, window, resolution), of, where, place)


def _read_family(builder: _Builder, name: str, place: ScalarNode, section: Section) -> None:
    findings = builder.findings
    allowed = tuple(item.value for item in WINDOWED)
    kinds: list[Agg] = []
    for node in section.words("agg"):
        if node.text in AGGREGATES and node.text not in allowed:
            findings.error(node, f"`{node.text}` can not be in a family", "declare it under `features`")
        elif shapes.choice(node, "an item of `agg`", allowed, findings) is not None:
            kinds.append(Agg(node.text))
    wheres: list[tuple[str, _Where | None]] = []
    for key_node, value in section.table("where"):
        text = shapes.scalar(value, f"`{key_node.text}`", findings)
        if shapes.name(key_node, "the name of a condition", findings):
            wheres.append((f"_{key_node.text}", builder.where(text)))
    if not section.has("where"):
        wheres = [("", None)]
    windows = [
        (node, shapes.duration(node, "an item of `window`", SECOND_MS, WINDOW_MS_MAX, findings))
        for node in section.words("window")
    ]
    if not windows:
        findings.error(section.source, "a family needs `window`", "e.g. `[10m, 1h, 24h]`")
    key = _key_fields(builder, section)
    of = _of_fields(builder, section, tuple(kinds))
    needs_of = [kind for kind in kinds if kind is not Agg.COUNT]
    if needs_of and section.node("of") is None:
        findings.error(section.source, f"`{needs_of[0]}` needs `of`", "name the field that is aggregated")
    if not _check_options(builder, section, tuple(kinds)) or not key or (needs_of and not of):
        return
    for kind in kinds:
        for label, where in wheres:
            for node, window in windows:
                if window is None or (label and where is None):
                    continue
                full = f"{name}_{kind.value}{label}_{node.text}"
                if shapes.NAME.fullmatch(full) is None or len(full) > shapes.NAME_CHARS_MAX:
                    findings.error(place, f"{quoted(full)} is not a name", "use shorter words")
                    continue
                resolution = _resolution(builder, section, window, every=False)
                if resolution is not None:
                    fields = () if kind is Agg.COUNT else of
                    feature = _feature(section, full, kind, key, fields, window, resolution)
                    builder.add(feature, fields, where, place)


def _feature(
    section: Section,
    name: str,
    kind: Agg,
    key: tuple[str, ...],
    of: tuple[Field, ...],
    window: int | None,
    resolution: int,
) -> Feature:
    exclude = section.choice("current", ("include", "exclude"), "include") == "exclude" or kind in SINCE
    return Feature(
        name=name,
        agg=kind,
        key=key,
        of=tuple(field.name for field in of),
        window_ms=window,
        resolution_ms=resolution,
        half_life_ms=(section.duration("half_life", SECOND_MS, WINDOW_MS_MAX, None) or 0)
        if kind is Agg.EWMA
        else 0,
        exclude_current=exclude,
        min_count=section.integer("min_count", 1, 100_000, 0),
        max_distinct=section.integer("max", 1, 10_000, 0) if kind is Agg.DISTINCT else 0,
    )


def _key_fields(builder: _Builder, section: Section, member: str = "key") -> tuple[str, ...]:
    out: dict[str, None] = {}
    bad = False
    for node in section.words(member):
        field = builder.fields.get(node.text)
        if field is None and builder.findings.excuses(node.text):
            pass
        elif field is None:
            hint = suggest(node.text, builder.fields)
            builder.findings.error(node, f"`{member}` names the unknown field {quoted(node.text)}", hint)
        elif field.type not in KEY_TYPES:
            expected = ", ".join(f"`{item}`" for item in KEY_TYPES)
            builder.findings.error(
                node, f"`{field.name}` is `{field.type}` and can not be a key", f"expected {expected}"
            )
        elif field.name in out:
            builder.findings.error(node, f"`{member}` names `{field.name}` twice")
        else:
            out[field.name] = None
            continue
        bad = True
    if len(out) > KEY_FIELDS_MAX:
        message = f"`{member}` has {len(out)} fields, at most {KEY_FIELDS_MAX}"
        builder.findings.error(section.key(member), message)
        bad = True
    return () if bad else tuple(out)


def _of_fields(builder: _Builder, section: Section, kinds: tuple[Agg, ...]) -> tuple[Field, ...]:
    """Return the fields of ``of`` if every aggregate of ``kinds`` can take them."""
    nodes = section.words("of")
    out: list[Field] = []
    for node in nodes:
        field = builder.fields.get(node.text)
        if field is None and builder.findings.excuses(node.text):
            continue
        if field is None:
            hint = suggest(node.text, builder.fields)
            builder.findings.error(node, f"`of` names the unknown field {quoted(node.text)}", hint)
            continue
        problem, hint = "", ""
        for kind in kinds:
            problem, hint = _of_problem(kind, field)
            if problem:
                builder.findings.error(node, problem, hint)
                break
        if not problem:
            out.append(field)
    single = [kind for kind in kinds if kind not in POINTS]
    if len(nodes) > 1 and single:
        builder.findings.error(
            section.key("of"), f"`{single[0]}` has one field in `of`", "declare one feature each"
        )
        return ()
    return tuple(out) if len(out) == len(nodes) else ()


def _of_problem(kind: Agg, field: Field) -> tuple[str, str]:
    if kind is Agg.COUNT or kind in SINCE:
        return "", ""
    if field.type is Type.MONEY and not field.convert:
        return (
            f"`{field.name}` is kept in its own currency and can not be aggregated",
            "use a converted amount",
        )
    if kind in (*SUMMED, Agg.EWMA) and field.type not in _SUMMED_TYPES:
        expected = ", ".join(f"`{item}`" for item in _SUMMED_TYPES)
        return f"`{kind}` of `{field.name}`, which is `{field.type}`", f"expected {expected}"
    if kind in (*SUMMED, Agg.EWMA) and field.type is Type.NUMBER and not field.decimals:
        return f"`{field.name}` is a number without `decimals`", "say in schema.yaml how many digits count"
    if kind is Agg.DISTINCT and field.type is Type.GEO:
        return f"`distinct` of `{field.name}`, which is `geo`", "count a city or country"
    return "", ""


def _check_options(builder: _Builder, section: Section, kinds: tuple[Agg, ...]) -> bool:
    findings = builder.findings
    before = len(findings.items)
    if Agg.DISTINCT in kinds and section.node("max") is None:
        findings.error(
            section.source, "`distinct` needs `max`", "the highest count that matters, e.g. `max: 100`"
        )
    if section.has("max") and Agg.DISTINCT not in kinds:
        findings.error(section.key("max"), "`max` belongs to `distinct`", "remove it")
    if Agg.EWMA in kinds and section.node("half_life") is None:
        findings.error(section.source, "`ewma` needs `half_life`", "the age at which an event weighs half")
    if section.has("half_life") and Agg.EWMA not in kinds:
        findings.error(section.key("half_life"), "`half_life` belongs to `ewma`", "remove it")
    since = [kind for kind in kinds if kind in SINCE]
    if since and section.choice("current", ("include", "exclude"), "exclude") == "include":
        findings.error(
            section.key("current"), f"`{since[0]}` never counts the event itself", "remove `current`"
        )
    return len(findings.items) == before


def _check_window(builder: _Builder, section: Section, kind: Agg, window: int | None) -> bool:
    findings = builder.findings
    if window is None and section.node("window") is not None:
        return False
    if window is None and kind in WINDOWED:
        findings.error(section.source, f"`{kind}` needs `window`", "e.g. `window: 24h`")
        return False
    if window is not None and kind is Agg.EWMA:
        findings.error(
            section.key("window"), "`ewma` has no `window`", "`half_life` says how long it remembers"
        )
        return False
    return True


def _resolution(builder: _Builder, section: Section, window: int | None, *, every: bool) -> int | None:
    """Return the length of a window's panes, 0 for exact, None for an error.

    ``every``: a given resolution holds for windows of any length; a family's only for those over 24 hours.
    """
    given = section.scalar("resolution")
    if window is None or (window <= EXACT_MS_MAX and (given is None or not every)):
        return 0
    if given is None:
        return PANE_MS_HOUR if window <= DAILY_FROM_MS else PANE_MS_DAY
    if given.text == "exact":
        return 0
    pane = shapes.duration(given, "`resolution`", SECOND_MS, DAY_MS, builder.findings)
    if pane is None:
        return None
    if pane % SECOND_MS or (HOUR_MS % pane and (pane % HOUR_MS or DAY_MS % pane)) or pane > window:
        builder.findings.error(
            given,
            f"`resolution` was {quoted(given.text)}",
            "expected `exact`, whole seconds that divide 1h (`15m`) or whole hours that divide 1d (`6h`), "
            "at most the window",
        )
        return None
    return pane
