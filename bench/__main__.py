"""``python -m fraudstream.bench [SUITE]``: measure, write a report to bench/reports.

core      the deterministic core without Kafka, per step
windows   the windows of a workload alone, by batch size; with --profile by kind of key and aggregate
curves    cost against keys, history, features and rules; growth of state
memory    bytes a key, an event, an idle account; whole banks
snapshot  a partition's state copied out and read back
backtest  features made once and kept, one changed rule run over a month of them
wire      bytes to columns and back, beside JSON libraries and Kafka clients
models    models of every family alone, and 450 registered ones at once
start     from a worker's start until it is ready, kernels compiled or not
kafka     through a real broker, closed loop
latency   through a real broker, open loop
all       core, kafka and latency
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from fraudstream.bench import (
    backtest,
    core,
    curves,
    kafka,
    memory,
    models,
    report,
    snapshot,
    start,
    windows,
    wire,
)
from fraudstream.bench.chart import Chart
from fraudstream.bench.report import Table
from fraudstream.bench.workloads import WORKLOADS, Workload

BATCHES = (1, 8, 64, 1000)
SNAPSHOT_ACCOUNTS = 1_000_000
ALL = ("core", "kafka", "latency")
OF_NO_WORKLOAD = ("curves", "wire")
MEASURES = ("windows", "curves", "memory", "snapshot", "backtest", "models", "wire", "start")

Found = tuple[dict[str, object], list[Table], dict[str, object], list[Chart]]
"""Parameters, tables, data, charts."""


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fraudstream.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python -m fraudstream.bench core --workload W2 --history 200000 --count 50000\n"
        "  python -m fraudstream.bench curves --curve keys history --scale 0.01\n"
        "  python -m fraudstream.bench memory --banks 1 10 --cap-gb 14",
    )
    add = parser.add_argument
    add("suite", nargs="?", choices=(*ALL, *MEASURES, "all"), default="all")
    add("--workload", choices=tuple(WORKLOADS), default="W1a")
    add("--resolution", default="", help="of windows beyond 24 hours, e.g. exact (default: the engine's)")
    add("--reports", type=Path, default=report.REPORTS, help="where the report goes")
    add("--rounds", type=int, default=3, help="repeated measurements of each figure")
    add("--count", type=int, default=100_000, help="core, windows, curves, wire: transactions timed at once")
    core_suite = parser.add_argument_group("core, wire")
    core_suite.add_argument("--history", type=int, help="events before timing (default: the workload's)")
    core_suite.add_argument("--batch", type=int, nargs="+", default=list(BATCHES), help="batch sizes")
    part = parser.add_argument_group("windows, curves, memory, snapshot")
    part.add_argument("--scale", type=float, default=1.0, help="factor on accounts, for trying out")
    part.add_argument("--cap-gb", type=float, default=14.0, help="a run that needs more memory is ended")
    part.add_argument("--profile", action="store_true", help="windows: each kind of key, aggregates")
    part.add_argument("--skew", type=float, default=0.4, help="windows: Zipf exponent of accounts")
    part.add_argument("--curve", nargs="+", choices=tuple(curves.CURVES), default=list(curves.CURVES))
    part.add_argument("--banks", type=float, nargs="+", default=[1.0, 10.0], help="memory: reference banks")
    part.add_argument(
        "--accounts", type=int, help="windows, snapshot: accounts (default: the workload's, 1,000,000)"
    )
    part.add_argument("--events", type=float, default=3.0, help="snapshot: transactions for each account")
    month = parser.add_argument_group("backtest")
    month.add_argument("--made", type=int, default=5_000_000, help="events whose features are computed")
    month.add_argument("--month", type=int, default=78_000_000, help="rows, by copies of the made ones")
    month.add_argument("--scratch", type=Path, help="where some 15 GB may lie meanwhile")
    broker = parser.add_argument_group("kafka, latency")
    broker.add_argument("--records", type=int, default=300_000, help="kafka: records of the drained topic")
    broker.add_argument("--seconds", type=float, default=20.0, help="latency: length of each run")
    broker.add_argument("--rates", type=int, nargs="+", default=list(kafka.RATES), help="latency: records/s")
    return parser.parse_args(argv)


def _core(args: argparse.Namespace, workload: Workload) -> Found:
    history = workload.history if args.history is None else args.history
    tables, data = core.run(workload, history, args.count, args.batch, args.resolution)
    return {"accounts": workload.accounts, "history": history, "count": args.count}, tables, data, []


def _kafka(args: argparse.Namespace, workload: Workload) -> Found:
    with kafka.with_broker(workload, args.resolution) as bench:
        tables, data = kafka.run_drains(bench, args.records, args.rounds)
    return {"records": args.records, "rounds": args.rounds}, tables, data, []


def _latency(args: argparse.Namespace, workload: Workload) -> Found:
    with kafka.with_broker(workload, args.resolution) as bench:
        tables, data = kafka.run_latency(bench, args.seconds, args.rates)
    return {"seconds": args.seconds}, tables, data, []


def _start(args: argparse.Namespace, workload: Workload) -> Found:
    with kafka.with_broker(workload, args.resolution) as bench:
        tables, data = start.run(bench, args.rounds)
    return {"rounds": args.rounds}, tables, data, []


def _settings(args: argparse.Namespace) -> curves.Settings:
    cap = int(args.cap_gb * 2**30)
    return curves.Settings(args.scale, args.rounds, args.count, args.resolution, cap)


def _windows(args: argparse.Namespace, workload: Workload) -> Found:
    accounts = int((args.accounts or workload.accounts) * args.scale)
    tables, data = windows.run(_settings(args), workload.id, accounts, args.skew, profile=args.profile)
    return {"accounts": accounts, "count": args.count, "rounds": args.rounds}, tables, data, []


def _curves(args: argparse.Namespace, _workload: Workload) -> Found:
    tables, data, charts = curves.run(_settings(args), args.curve)
    return {"scale": args.scale, "count": args.count, "rounds": args.rounds}, tables, data, charts


def _memory(args: argparse.Namespace, workload: Workload) -> Found:
    scales = [scale * args.scale for scale in args.banks]
    tables, data, charts = memory.run(_settings(args), scales, workload.id)
    return {"scale": args.scale, "cap_gb": args.cap_gb}, tables, data, charts


def _snapshot(args: argparse.Namespace, workload: Workload) -> Found:
    accounts = int((args.accounts or SNAPSHOT_ACCOUNTS) * args.scale)
    tables, data = snapshot.run(_settings(args), workload.id, accounts, args.events)
    return {"accounts": accounts, "events": args.events, "rounds": args.rounds}, tables, data, []


def _backtest(args: argparse.Namespace, _workload: Workload) -> Found:
    made, rows = int(args.made * args.scale), int(args.month * args.scale)
    tables, data = backtest.run(made, rows, args.scratch)
    return {"made": made, "rows": rows}, tables, data, []


def _models(args: argparse.Namespace, _workload: Workload) -> Found:
    tables, data = models.run(args.rounds)
    return {"rounds": args.rounds}, tables, data, []


def _wire(args: argparse.Namespace, _workload: Workload) -> Found:
    tables, data = wire.run(args.count, args.rounds, args.batch)
    return {"count": args.count, "rounds": args.rounds}, tables, data, []


SUITES: dict[str, Callable[[argparse.Namespace, Workload], Found]] = {
    "core": _core,
    "kafka": _kafka,
    "latency": _latency,
    "windows": _windows,
    "curves": _curves,
    "memory": _memory,
    "snapshot": _snapshot,
    "backtest": _backtest,
    "models": _models,
    "wire": _wire,
    "start": _start,
}


def main(argv: list[str] | None = None) -> int:
    """Run the suites asked for, one report each."""
    argv = sys.argv[1:] if argv is None else argv
    args = _arguments(argv)
    workload = WORKLOADS[args.workload]
    command = shlex.join(["python", "-m", "fraudstream.bench", *argv])
    for suite in ALL if args.suite == "all" else (args.suite,):
        more, tables, data, charts = SUITES[suite](args, workload)
        parameters: dict[str, object] = {} if suite in OF_NO_WORKLOAD else {"workload": workload.id}
        parameters |= {"seed": workload.seed, "resolution": args.resolution or "default", **more}
        parameters["caches"] = "kernels loaded before, memory as the traffic leaves it"
        name = suite if suite in OF_NO_WORKLOAD else f"{workload.id}-{suite}"
        json_path, md_path = report.write(name, command, parameters, tables, data, args.reports, charts)
        print(md_path.read_text())
        print(f"written: {md_path} and {json_path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
