"""Steps 2 to 7 of one partition: a slice of records in, encoded decisions out.

Pure: :meth:`Pipeline.process` is a function of the state, the slice and the versions in force. It reads no
clock, no environment and no random source, logs nothing and awaits nothing; live work, recovery, replay,
tests and benchmarks are all this call. Where a slice ends is invisible in its results.

A slice's rows are *decided* here unless their offset is below ``start_from`` or in ``known`` (decisions that
an earlier owner published): those advance the state only, and what a duplicate of them repeats is taken from
``known``, never computed again.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from fraudstream.models.inputs import Columns
from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle, Rule
from fraudstream.rules.compiler.brakes import limit_words
from fraudstream.rules.compiler.lineage import features_read
from fraudstream.rules.compiler.program import BoundProgram, Inputs
from fraudstream.rules.compiler.text import render
from fraudstream.rules.iso4217 import DECIMALS
from fraudstream.stream.brakes import Brakes, key_words
from fraudstream.stream.counts import Counts, amount_column, count_slice
from fraudstream.stream.decide import Decided, causes, compile_plan, decide, row_mask
from fraudstream.stream.enrichment.kernel_warm import warm as warm_enrichment
from fraudstream.stream.enrichment.store import Enrichment
from fraudstream.stream.evidence import Evidence, Hide, mask
from fraudstream.stream.kernel_rows import any_row, score_column, split_rows
from fraudstream.stream.kernel_rows import warm as warm_rows
from fraudstream.stream.outcome import Decision, Flag, Outcome, Versions
from fraudstream.stream.per_slice import per_slice
from fraudstream.stream.reading import Decoded
from fraudstream.stream.sample import sample_slice
from fraudstream.stream.scoring import NO_MODEL, bind_model
from fraudstream.stream.windows.copying import Copy
from fraudstream.stream.windows.snapshot import DIGEST_BYTES, padded, seal, unseal
from fraudstream.stream.windows.store import Admission, FeatureMatrix, SnapshotError, WindowStore
from fraudstream.stream.windows.warm import warm as warm_windows
from fraudstream.stream.wire.currency import Converter
from fraudstream.stream.wire.decode import decode
from fraudstream.stream.wire.encode import Encoder
from fraudstream.stream.wire.tables import compile_schema
from fraudstream.stream.wire.types import Batch, Encoded, Rejected, Slice

# Plain integers: arithmetic with members of an enum costs a microsecond each.
_DUPLICATE, _NO_RATE, _APPROXIMATE = int(Flag.DUPLICATE), int(Flag.NO_RATE), int(Flag.APPROXIMATE)
_LATE, _SUPPRESSED = int(Flag.LATE), int(Flag.SUPPRESSED)
_NO_ALERT = int(Flag.DUPLICATE | Flag.MALFORMED | Flag.SUPPRESSED)
_PASS, _ALERT = int(Decision.PASS), int(Decision.ALERT)
_LIMITED_TEXT = {
    "en": " (an alert instead of a block: more than {})",
    "zh": " [超过{}, 由拦截改为告警]",
}
_MAGIC = b"FSPIPE02"
_LENGTH = struct.Struct("<I")


class RebuildNeeded(Exception):  # noqa: N818 - named for what has to be done
    """Other definitions of schema or features: their state has to be built from the log."""


def needs_rebuild(before: Bundle, after: Bundle) -> str | None:
    """Return why a state can not go on under another bundle, None: it can, new features are warming."""
    if before.schema.hash != after.schema.hash:
        return "schema"
    was, now = (replace(one.features.time, max_state_bytes=0) for one in (before, after))
    return None if was == now else "`time:` in its features"


class Known(NamedTuple):
    """Decisions that are already published."""

    offset: NDArray[np.int64]
    """[k], ascending."""
    decision: NDArray[np.uint8]
    score: NDArray[np.int32]


@per_slice(frozen=True, slots=True)
class Result:
    """What came of a slice."""

    slice: Slice
    batch: Batch
    admission: Admission
    matrix: FeatureMatrix
    outcome: Outcome
    rows: NDArray[np.int32]
    """Slice rows that carry a decision, ascending."""
    encoded: Encoded
    """Their decisions."""
    would_be: NDArray[np.uint8]
    """[n] decisions before shadow mode turned them into pass."""
    malformed: Decision
    """Decision about unreadable records."""
    alerts: tuple[tuple[int, bytes], ...]
    """(slice row, alert)."""
    dead_letters: tuple[Rejected, ...]
    """Unreadable records among ``rows``."""
    counts: Counts
    scores: NDArray[np.int64]
    """[M, n] millionths of every model in force, -1: missing; ``Model.members`` names the rows."""


class Pipeline:
    """One partition's state and the versions in force."""

    def __init__(
        self,
        partition: int,
        hash_key: bytes,
        bundle: Bundle,
        model: Model | None,
        start_from: int = 0,
        *,
        live: bool = True,
        next_offset: int = 0,
        store: WindowStore | None = None,
        enrichment: Enrichment | None = None,
    ) -> None:
        self.partition = partition
        self.hash_key = hash_key
        self.start_from = start_from
        self.next_offset = next_offset
        self.store = WindowStore(bundle.features, bundle.schema) if store is None else store
        self.on_step: Callable[[str], object] | None = None
        """Told the name of each step when it is done: whoever holds a clock may measure."""
        self.hide: Hide = mask
        """What alerts show of a personal value."""
        self._every_feature = True
        self._tables = compile_schema(bundle.schema)
        self.enrichment = Enrichment(bundle, model, hash_key) if enrichment is None else enrichment
        self._brakes = Brakes(bundle)
        self._use(bundle, model, live)

    def _use(self, bundle: Bundle, model: Model | None, live: bool) -> None:
        self.bundle = bundle
        self.model = model
        self.live = live
        self.versions = Versions(bundle.hash, NO_MODEL if model is None else model.version)
        # Columns of reference tables that only the model reads have other rows than the compiler gave them.
        placed = replace(bundle, slots=self.enrichment.slots)
        self._bound_model = None if model is None else bind_model(model, placed)
        self._filters = _bind_filters(bundle, self.hash_key)
        self._choose_features()
        self._plan = compile_plan(bundle)
        self._converter = Converter(bundle.schema, bundle.rates)
        self._encoder = Encoder(bundle.schema, self.partition, self.versions)
        self._amount = amount_column(bundle)
        self._program = bundle.program.bind(self.hash_key)
        self._evidence = Evidence(bundle, lambda value: self.hide(value))  # noqa: PLW0108 - set later
        if bundle is not self._brakes.bundle:
            before = self._brakes
            self._brakes = Brakes(bundle)
            self._brakes.take(before.export(self.store.watermark_ms))
        self._decimals = DECIMALS[bundle.schema.base_currency]

    def compute_what_is_read(self) -> None:
        """Leave features out of the matrix that neither rules nor the model read; decisions are the same."""
        self._every_feature = False
        self._choose_features()

    def _choose_features(self) -> None:
        inputs = [] if self.model is None else [self.model.reads]
        read = None if self._every_feature else features_read(self.bundle, inputs)
        self.store.compute(self.bundle.features, read)

    def switch(
        self,
        bundle: Bundle,
        model: Model | None,
        *,
        live: bool | None = None,
        enrichment: Enrichment | None = None,
    ) -> None:
        """Put other versions in force from the next slice on.

        Without ``enrichment`` the reference tables keep their content.

        Raises:
            RebuildNeeded: the bundle has another schema or other time settings of features.
        """
        if (other := needs_rebuild(self.bundle, bundle)) is not None:
            raise RebuildNeeded(f"the bundle has another {other}; its state is built from the log")
        if bundle.features.hash != self.bundle.features.hash:
            self.store = self.store.redefined(bundle.features)
        self._filters = _bind_filters(bundle, self.hash_key)
        if enrichment is None:
            enrichment = self.enrichment.switched(bundle, model, self.enrichment.versions)
        self.enrichment = enrichment
        self._use(bundle, model, self.live if live is None else live)

    def process(self, source: Slice, known: Known | None = None) -> Result:
        """Decide a slice.

        1. (take: the slice was fetched by the caller)
        2. decode the records, convert money to the base currency, join the reference tables
        3. admit: duplicates, late events, clock skew
        4. features: filters, then windows advance row by row
        5. score with the champion
        6. rules
        7. decide, remember for duplicates, encode
        8. (emit: the caller publishes ``Result``)

        Raises:
            ValueError: the slice is of another partition, or begins before ``next_offset``.
        """
        self._check(source)
        # Step 2. decode.
        batch = decode(source, self._tables, self.hash_key)
        no_rate = self._converter.convert(batch)
        self._done("decode")
        joined = self.enrichment.join(batch)
        batch = joined.batch
        self._done("join")
        # Step 3. admit.
        admission = self.store.admit(batch, self.start_from)
        self._done("admit")
        # Step 4. features.
        matrix = self.store.advance(batch, admission, self._filter(batch))
        self._done("features")
        # Step 5. score. Rows that repeat or were published need neither score nor rules.
        published, wanted, rows = self._split(source, known)
        active = np.empty(len(batch), np.bool_)
        some, duplicates = split_rows(wanted, batch.row, admission.flags, active)
        evaluated, replayed = active, None
        if self._brakes.needed and known is not None:
            # What rules remember is the same whoever published the decisions.
            first = (admission.flags & _DUPLICATE) == 0
            replayed = (batch.offset >= self.start_from) & first & ~active
            evaluated = active | replayed
            some += int(replayed.sum())
        scores = self._score(batch, matrix, evaluated, some)
        champion = scores[0 if self.model is None else self.model.champion]
        self._done("score")
        # Step 6. rules.
        true, unknown = self._rules(batch, matrix, champion, some)
        self._done("rules")
        # Step 7. decide, remember, encode.
        decoded = Decoded(batch, matrix.value, matrix.state, champion)
        mask = row_mask(active)
        decided = decide(
            self._plan,
            true,
            unknown,
            mask,
            champion,
            lambda rule, row: self._text(rule, decoded, row),
            self._brakes.judge(true, mask if replayed is None else row_mask(evaluated), admission.as_of_ms),
            None if replayed is None else row_mask(replayed),
        )
        flags = self._suppress(batch, admission, decided, champion)
        if no_rate is not None or any_row(matrix.approximate):
            more = matrix.approximate * np.uint16(_APPROXIMATE)
            if no_rate is not None:
                more |= no_rate * np.uint16(_NO_RATE)
            flags = np.where((admission.flags & _DUPLICATE) != 0, flags, flags | more)
        answered = None if published is None else published[batch.row]
        outcome, would_be = self._outcome(admission, decided, flags, champion, known, answered, duplicates)
        self._done("decide")
        malformed = Decision.ALERT if self.live else Decision.PASS
        encoded = self._encoder.encode(source, batch, outcome, rows, malformed=malformed)
        alerts = self._alerts(source, decoded, decided, outcome, rows, encoded, wanted) if self.live else ()
        dead_letters = tuple(item for item in batch.rejected if wanted[item.row]) if batch.rejected else ()
        counts = count_slice(
            self._amount,
            joined,
            self.enrichment.names,
            outcome,
            decided.counts,
            active,
            wanted,
            dead_letters,
            _ALERT if self.live else _PASS,
        )
        if len(source):
            self.next_offset = int(source.offset[-1]) + 1
        self._done("encode")
        return Result(
            source,
            batch,
            admission,
            matrix,
            outcome,
            rows,
            encoded,
            would_be,
            malformed,
            alerts,
            dead_letters,
            counts,
            scores,
        )

    def _check(self, source: Slice) -> None:
        if source.partition != self.partition:
            raise ValueError(f"slice is of partition {source.partition}, this pipeline of {self.partition}")
        if len(source) and int(source.offset[0]) < self.next_offset:
            raise ValueError(
                f"slice begins at {int(source.offset[0])}, below the next offset {self.next_offset}"
            )

    def _done(self, step: str) -> None:
        if self.on_step is not None:
            self.on_step(step)

    def _split(
        self, source: Slice, known: Known | None
    ) -> tuple[NDArray[np.int64] | None, NDArray[np.bool_], NDArray[np.int32]]:
        """Return, by slice row, its place in ``known`` and whether the row is decided here; and those rows.

        The place is -1 for a row that is not known; without anything known there are no places.
        """
        if known is not None and len(known.offset):
            at = np.minimum(np.searchsorted(known.offset, source.offset), len(known.offset) - 1)
            place = np.where(known.offset[at] == source.offset, at, -1)
            wanted = (source.offset >= self.start_from) & (place < 0)
            return place, wanted, np.flatnonzero(wanted).astype(np.int32)
        if len(source) and source.offset[0] < self.start_from:
            wanted = source.offset >= self.start_from
            return None, wanted, np.flatnonzero(wanted).astype(np.int32)
        wanted = np.empty(len(source), np.bool_)
        wanted.fill(True)
        return None, wanted, np.arange(len(source), dtype=np.int32)

    def _filter(self, batch: Batch) -> NDArray[np.uint64]:
        n = len(batch)
        if self._filters is None:
            return np.empty((0, -(-n // 64)), np.uint64)
        nothing = np.empty((n, 0), np.int64), np.empty((n, 0), np.uint8)
        models = np.empty((0, n), np.int64), np.empty((0, n), np.uint8)
        return self._filters.evaluate(_inputs(batch, *nothing, *models), n)[0]

    def _score(
        self, batch: Batch, matrix: FeatureMatrix, active: NDArray[np.bool_], some: int
    ) -> NDArray[np.int64]:
        """Return the scores [M, n] of all models in millionths, -1 where missing; one row without a model."""
        if self._bound_model is None or not some:
            rows = 1 if self.model is None else len(self.model.members)
            return np.full((rows, len(batch)), -1, np.int64)
        return self._bound_model.score(Columns(batch.value, batch.state, matrix.value, matrix.state), active)

    def _rules(
        self, batch: Batch, matrix: FeatureMatrix, champion: NDArray[np.int64], some: int
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        n = len(batch)
        if not some:
            nothing = np.zeros((self.bundle.program.outputs, -(-n // 64)), np.uint64)
            return nothing, nothing
        score, there = np.empty((1, n)), np.empty((1, n), np.uint8)
        score_column(champion, score, there)
        inputs = _inputs(batch, matrix.value, matrix.state, score.view(np.int64), there)
        return self._program.evaluate(inputs, n)

    def _suppress(
        self, batch: Batch, admission: Admission, decided: Decided, champion: NDArray[np.int64]
    ) -> NDArray[np.uint16]:
        """Return the rows' flags, with those that only repeat an alert of before among them."""
        flags = admission.flags
        if not self._brakes.suppressing or not self.live or not decided.matches:
            return flags
        flags = flags.copy()
        for row in np.flatnonzero((decided.decision != _PASS) & ((flags & _LATE) == 0)).tolist():
            found = causes(self._plan, decided.matches[row], int(champion[row]))
            words = {
                rule.id: key
                for rule in found
                if rule is not None and rule.suppress is not None
                if (key := key_words(rule, batch.value, batch.state, row)) is not None
            }
            alert = int(decided.decision[row]) == _ALERT
            if self._brakes.repeats(found, alert, words, int(admission.as_of_ms[row])):
                flags[row] |= _SUPPRESSED
        self._brakes.tidy(self.store.watermark_ms)
        return flags

    def _text(self, rule: Rule, decoded: Decoded, row: int) -> str:
        texts = rule.reason
        language = self.bundle.policy.language
        segments = texts.get(language) or next(iter(texts.values()), ())
        text = render(segments, lambda slot: decoded.read(slot, row), rule.zone, self._decimals)
        if rule.limited and rule.limit is not None:
            text += (_LIMITED_TEXT.get(language) or _LIMITED_TEXT["en"]).format(limit_words(rule.limit))
        return text

    def _outcome(
        self,
        admission: Admission,
        decided: Decided,
        flags: NDArray[np.uint16],
        champion: NDArray[np.int64],
        known: Known | None,
        published: NDArray[np.int64] | None,
        duplicates: int,
    ) -> tuple[Outcome, NDArray[np.uint8]]:
        """Remember what was decided, and answer duplicates with what their first was answered."""
        would_be, score = decided.decision, decided.score
        decision = would_be if self.live else np.zeros_like(would_be)
        if known is not None and published is not None and (published >= 0).any():
            there, at = published >= 0, np.maximum(published, 0)
            decision = np.where(there, known.decision[at], decision).astype(np.uint8)
            score = np.where(there, known.score[at], score).astype(np.int32)
        self.store.decided(admission, decision, score)
        if duplicates:
            duplicate = (admission.flags & _DUPLICATE) != 0
            first_decision, first_score = self.store.recall(admission)
            decision = np.where(duplicate, first_decision, decision).astype(np.uint8)
            score = np.where(duplicate, first_score, score).astype(np.int32)
            would_be = np.where(duplicate, first_decision, would_be).astype(np.uint8)
        outcome = Outcome(decision, score, flags, admission.duplicate_of, champion, decided.reasons)
        return outcome, would_be

    def _alerts(
        self,
        source: Slice,
        decoded: Decoded,
        decided: Decided,
        outcome: Outcome,
        rows: NDArray[np.int32],
        encoded: Encoded,
        mine: NDArray[np.bool_],
    ) -> tuple[tuple[int, bytes], ...]:
        batch = decoded.batch
        if not decided.matches:
            return ()
        wanted = (outcome.decision != _PASS) & ((outcome.flags & _NO_ALERT) == 0) & mine[batch.row]
        found: list[tuple[int, bytes]] = []
        every = len(rows) == len(source)
        for at in np.flatnonzero(wanted).tolist():
            if at not in decided.matches:  # published by an earlier owner
                continue
            row = int(batch.row[at])
            record = encoded.record(row if every else int(rows.searchsorted(batch.row[at])))
            value = source.value(row) or b"{}"
            found.append((row, self._evidence.alert(record, value, decided.matches[at], decoded, at)))
        return tuple(found)

    @property
    def watermark_ms(self) -> int:
        """Return the highest admitted event time."""
        return self.store.watermark_ms

    def state_hash(self) -> str:
        """Return a SHA-256 of the visible state: equal states decide alike, however they came about."""
        text = f"{self.partition} {self.start_from} {self.hash_key.hex()} {self.store.state_hash()}"
        text += self._brakes.state_hash(self.store.watermark_ms)
        return hashlib.sha256(text.encode()).hexdigest()

    def begin_snapshot(self) -> Copy:
        """Fix the state between two slices; steps of the copy are made while slices go on."""
        header: dict[str, object] = {
            "partition": self.partition,
            "hash_key": self.hash_key.hex(),
            "start_from": self.start_from,
            "next_offset": self.next_offset,
            "schema": self.bundle.schema.hash,
            "features": self.bundle.features.hash,
        }
        if self._brakes.needed:
            header["brakes"] = self._brakes.export(self.store.watermark_ms)
        return self.store.begin_snapshot(padded(_MAGIC, b"", orjson.dumps(header)))

    def snapshot(self) -> bytes:
        """Return the state between slices; ``restore`` goes on from it with the same results."""
        copy = self.begin_snapshot()
        return seal(copy.head, copy.parts())

    @classmethod
    def restore(
        cls,
        data: bytes | memoryview,
        bundle: Bundle,
        model: Model | None,
        *,
        live: bool = True,
        checked: bool = False,
        enrichment: Enrichment | None = None,
    ) -> Pipeline:
        """Return a pipeline with a snapshot's state and the given versions in force.

        Args:
            data: what :meth:`snapshot` returned.
            bundle: rules to go on with.
            model: champion to go on with.
            live: decisions count.
            checked: the digest was compared with the data before.
            enrichment: the reference tables in force; None: none.

        Raises:
            SnapshotError: the bytes are damaged, or of another format.
            RebuildNeeded: the state is of another schema or of other features.
        """
        state = memoryview(data)[:-DIGEST_BYTES] if checked else unseal(data)
        begin = len(_MAGIC) + _LENGTH.size
        if len(state) < begin or state[: len(_MAGIC)] != _MAGIC:
            raise SnapshotError(f"state is not of format {_MAGIC.decode()}")
        end = begin + _LENGTH.unpack_from(state, len(_MAGIC))[0]
        header = orjson.loads(state[begin:end])
        for name, wanted in (("schema", bundle.schema.hash), ("features", bundle.features.hash)):
            if header[name] != wanted:
                raise RebuildNeeded(f"the state is of another version of `{name}`; it is built from the log")
        store = WindowStore.restore_unsealed(bundle.features, bundle.schema, state[end:])
        pipeline = cls(
            header["partition"],
            bytes.fromhex(header["hash_key"]),
            bundle,
            model,
            header["start_from"],
            live=live,
            next_offset=header["next_offset"],
            store=store,
            enrichment=enrichment,
        )
        pipeline._brakes.take(header.get("brakes", {}))
        return pipeline

    @property
    def limited_rules(self) -> dict[str, int]:
        """Return the rules that their limits keep from blocking now, and since which event time."""
        return self._brakes.tripped

    def warm(self) -> None:
        """Load every kernel by deciding made-up records with a scratch state; this one's is not touched."""
        warm_enrichment()
        warm_windows()
        warm_rows()
        scratch = Pipeline(self.partition, self.hash_key, self.bundle, self.model)
        for begin in (0, 8):
            scratch.process(sample_slice(self.bundle.schema, self.partition, begin))
        scratch.state_hash()
        Pipeline.restore(scratch.snapshot(), self.bundle, self.model)


def _bind_filters(bundle: Bundle, hash_key: bytes) -> BoundProgram | None:
    program = bundle.features.filter_program
    return None if program is None else program.bind(hash_key)


def _inputs(
    batch: Batch,
    feature_value: NDArray[np.int64],
    feature_state: NDArray[np.uint8],
    model_value: NDArray[np.int64],
    model_state: NDArray[np.uint8],
) -> Inputs:
    return Inputs(
        batch.value,
        batch.state,
        batch.start,
        batch.size,
        batch.buffer,
        feature_value,
        feature_state,
        model_value,
        model_state,
    )
