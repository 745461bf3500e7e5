"""``python -m fraudstream.bench [core|kafka|latency|all]``: measure, write a report to bench/reports."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from fraudstream.bench import core, kafka, report
from fraudstream.bench.workloads import WORKLOADS

BATCHES = (1, 8, 64, 1000)
SUITES = ("core", "kafka", "latency")


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fraudstream.bench",
        description=__doc__,
        epilog="example: python -m fraudstream.bench core --history 200000 --count 50000",
    )
    parser.add_argument("suite", nargs="?", choices=(*SUITES, "all"), default="all")
    parser.add_argument("--workload", choices=tuple(WORKLOADS), default="W1a")
    parser.add_argument("--history", type=int, help="core: events before timing starts")
    parser.add_argument("--batch", type=int, nargs="+", default=list(BATCHES), help="core: batch sizes")
    parser.add_argument(
        "--resolution", default="", help="of windows beyond 24 hours, e.g. exact (default: the engine's)"
    )
    parser.add_argument("--count", type=int, default=100_000, help="core: events timed for each batch size")
    parser.add_argument("--records", type=int, default=300_000, help="kafka: records of the drained topic")
    parser.add_argument("--rounds", type=int, default=3, help="kafka: rounds of each loop")
    parser.add_argument("--seconds", type=float, default=20.0, help="latency: length of each run")
    parser.add_argument("--rates", type=int, nargs="+", default=list(kafka.RATES), help="latency: records/s")
    parser.add_argument("--reports", type=Path, default=report.REPORTS, help="where the report goes")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the suites asked for, one report each."""
    argv = sys.argv[1:] if argv is None else argv
    args = _arguments(argv)
    workload = WORKLOADS[args.workload]
    command = shlex.join(["python", "-m", "fraudstream.bench", *argv])
    for suite in SUITES if args.suite == "all" else (args.suite,):
        parameters: dict[str, object] = {
            "workload": workload.id,
            "seed": workload.seed,
            "accounts": workload.accounts,
            "resolution": args.resolution or "default",
        }
        if suite == "core":
            history = workload.history if args.history is None else args.history
            parameters |= {"history": history, "count": args.count}
            tables, data = core.run(workload, history, args.count, args.batch, args.resolution)
        else:
            with kafka.with_broker(workload, args.resolution) as bench:
                if suite == "kafka":
                    parameters |= {"records": args.records, "rounds": args.rounds}
                    tables, data = kafka.run_drains(bench, args.records, args.rounds)
                else:
                    parameters |= {"seconds": args.seconds}
                    tables, data = kafka.run_latency(bench, args.seconds, args.rates)
        json_path, md_path = report.write(
            f"{workload.id}-{suite}", command, parameters, tables, data, args.reports
        )
        print(md_path.read_text())
        print(f"written: {md_path} and {json_path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
