"""Train the shipped champion on generated history with labels.

``python -m fraudstream.bench.train_champion --seeds 11 12 13 --count 400000`` decides each history with the
shipped rules (for its features only), lets River learn each event when its label is known, and writes the
model file. Several histories, because each begins without a past: a model that never saw how everything is
new at first takes a fresh installation's customers for thieves.
The same arguments give the same bytes under one set of locked libraries.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from fraudstream.bench.traffic.generate import generate
from fraudstream.bench.traffic.records import Chunk, rfc3339
from fraudstream.models.file import blank_model
from fraudstream.models.inputs import Columns, Input
from fraudstream.models.train import Examples, Settings, export_river, learn
from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.compile import compile_sources, read_directory
from fraudstream.stream.pipeline import Pipeline, Result
from fraudstream.stream.scoring import BoundModel, bind_model, undeclared_inputs
from fraudstream.stream.shipped import champion_file, shipped_rules
from fraudstream.stream.wire.types import Slice

ON = ("payment", "card_auth")
"""The model scores attempts to move money."""

LEGITIMATE_AFTER_MS = 7 * 86_400_000
"""An event that nobody complained about for so long is taken for legitimate."""

UTC_OFFSET = "480"
"""Minutes; the generated bank's customers live in one zone."""

INPUTS = (
    Input("txn.amount", "log1p"),
    Input("txn.balance_before", "log1p"),
    *(Input("txn.channel", "flag", name) for name in ("mobile", "web", "atm", "pos")),
    *(Input("txn.kind", "flag", name) for name in ("transfer", "instant", "cash_withdrawal", "cash_deposit")),
    Input("txn.direction", "flag", "in"),
    Input("event.time", "hour_sin", UTC_OFFSET),
    Input("event.time", "hour_cos", UTC_OFFSET),
    Input("account.active_for", "log1p"),
    Input("account.active_for", "present"),
    Input("account.idle", "log1p"),
    Input("account.devices_seen_for", "log1p"),
    Input("account.paying_for", "log1p"),
    Input("account.paying_for", "present"),
    Input("account.sent_count_1h", "log1p"),
    Input("account.sent_sum_24h", "log1p"),
    Input("account.sent_mean_30d", "log1p"),
    Input("account.sent_mean_30d", "present"),
    Input("account.senders_24h", "log1p"),
    Input("account.received_24h", "log1p"),
    Input("account.left_24h", "log1p"),
    Input("account.cash_near_limit_10d", "log1p"),
    Input("account.failed_logins_1h", "log1p"),
    Input("account.password_resets_24h", "log1p"),
    Input("account.devices_added_24h", "log1p"),
    Input("account.contact_changed_ago", "log1p"),
    Input("account.contact_changed_ago", "present"),
    Input("account.payees_added_24h", "log1p"),
    Input("pair.device_seen_for", "log1p"),
    Input("pair.device_seen_for", "present"),
    Input("pair.payee_seen_for", "log1p"),
    Input("pair.payee_seen_for", "present"),
    Input("pair.sent_count_24h", "log1p"),
    Input("card.auths_10m", "log1p"),
    Input("card.small_auths_6h", "log1p"),
    Input("card.declines_6h", "log1p"),
    Input("card.spent_mean_30d", "log1p"),
    Input("card.spent_mean_30d", "present"),
    Input("card.city_seen_for", "present"),
    Input("card.country_seen_for", "log1p"),
    Input("card.country_seen_for", "present"),
    Input("card.shown_for", "log1p"),
    Input("device.customers_30d", "log1p"),
    Input("merchant.declined_cards_10m", "log1p"),
    Input("payee.known_for", "log1p"),
    Input("payee.payers_7d", "log1p"),
)


class History:
    """Collects examples of the events that the model scores."""

    def __init__(self, bound: BoundModel) -> None:
        self._bound = bound
        self._parts: list[Examples] = []

    def add(self, result: Result, chunk: Chunk) -> None:
        """Take the feature rows of a decided chunk with its labels."""
        batch, matrix = result.batch, result.matrix
        columns = Columns(batch.value, batch.state, matrix.value, matrix.state)
        wanted = self._bound.wanted(columns, np.ones(len(batch), np.bool_))
        x, present = self._bound.model.transform(self._bound.binding, columns, wanted)
        time_ms = batch.value[batch.schema.field(batch.schema.event_time).column]
        fraud = np.zeros(len(batch), np.bool_)
        known_ms = time_ms + LEGITIMATE_AFTER_MS
        place = {offset: row for row, offset in enumerate(batch.offset.tolist())}
        for label in chunk.labels:
            row = place[label.offset]
            fraud[row], known_ms[row] = label.fraud, label.labelled_at_ms
        keep = wanted == 1
        self._parts.append(Examples(x[keep], present[keep], fraud[keep], time_ms[keep], known_ms[keep]))

    def examples(self) -> Examples:
        """Return everything, in event order."""
        return _joined(self._parts)


def _joined(parts: Sequence[Examples]) -> Examples:
    return Examples(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def in_a_row(histories: Sequence[Examples]) -> Examples:
    """Return histories as one, each moved behind the last label of those before it."""
    moved: list[Examples] = []
    end_ms = 0
    for history in histories:
        shift = end_ms - int(history.time_ms[0])
        moved.append(history._replace(time_ms=history.time_ms + shift, known_ms=history.known_ms + shift))
        end_ms = int(moved[-1].known_ms.max()) + 1
    return _joined(moved)


def collect(bundle: Bundle, seed: int, count: int, accounts: int, progress: Progress) -> Examples:
    """Run generated history through the pipeline and return its examples.

    Raises:
        ValueError: the bundle does not declare an input.
    """
    model = blank_model(ON, INPUTS)
    bound = bind_model(model, bundle)
    if bound is None:
        raise ValueError("the rules do not fit the model: " + "; ".join(undeclared_inputs(model, bundle)))
    history, pipeline = History(bound), Pipeline(0, bytes(16), bundle, None)
    task = progress.add_task("history", total=count)
    for chunk in generate(count, seed, accounts=accounts):
        offsets = range(chunk.offset, chunk.offset + len(chunk))
        part = Slice.from_records(0, chunk.values, chunk.keys, offsets, chunk.times_ms.tolist())
        history.add(pipeline.process(part), chunk)
        progress.advance(task, len(chunk))
    return history.examples()


def main(argv: Sequence[str] | None = None) -> int:
    """Train and write the file."""
    parser = argparse.ArgumentParser(
        prog="python -m fraudstream.bench.train_champion",
        description="Train the champion on generated, labelled history.",
        epilog="example: python -m fraudstream.bench.train_champion --seeds 11 12 13 --count 400000",
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[11, 12, 13], metavar="S", help="a history of each"
    )
    parser.add_argument("--count", type=int, default=400_000, metavar="N", help="events of a history")
    parser.add_argument("--accounts", type=int, default=4_000, metavar="N", help="fewer: more days")
    parser.add_argument(
        "--rules", type=Path, metavar="DIR", help="rules directory (default: the shipped one)"
    )
    parser.add_argument("--output", type=Path, metavar="F", help="model file (default: the shipped one)")
    args = parser.parse_args(argv)
    compiled = compile_sources(read_directory(args.rules or shipped_rules()))
    if compiled.bundle is None:
        print("fraudstream: the rules do not compile; see `fraudstream rules lint`", file=sys.stderr)
        return 2
    bundle = compiled.bundle
    settings = Settings(seed=args.seeds[0], legitimate_share=0.25)
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        histories = [collect(bundle, seed, args.count, args.accounts, progress) for seed in args.seeds]
        examples = in_a_row(histories)
        task = progress.add_task("learning", total=1.0)
        model, metrics = learn(INPUTS, examples, settings, lambda done: progress.update(task, completed=done))
    training = {
        "data": {"generator_seeds": args.seeds, "events": args.count, "accounts": args.accounts},
        "window": [
            rfc3339(min(int(h.time_ms[0]) for h in histories)),
            rfc3339(max(int(h.time_ms[-1]) for h in histories)),
        ],
        "features": bundle.features.hash,
        "river": version("river"),
        "metrics": metrics,
    }
    output = args.output or champion_file()
    output.write_bytes(export_river(model, ON, INPUTS, settings, training))
    print(json.dumps({"output": str(output), **metrics}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
