"""`fraudstream topics`: what is wrong with the topics, or make them."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import replace

from fraudstream.stream.cluster import Cluster
from fraudstream.stream.errors import BadUse, Exit, NotPermitted
from fraudstream.stream.settings import Settings, load_settings
from fraudstream.stream.topics import Finding, judge, specification

SUMMARY = "check that the topics are as the guarantees need them, or create them"
EXAMPLE = """\
examples:
  fraudstream topics create --partitions 6 --replication-factor 3
  fraudstream topics check

exit codes: 0 all is well, 1 something is wrong, 4 no answer from Kafka, 77 not permitted
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `check` and `create`."""
    parser.epilog = EXAMPLE
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    check = actions.add_parser("check", help="say what is wrong and how to correct it", epilog=EXAMPLE)
    create = actions.add_parser(
        "create", help="create the topics that do not exist, then check", epilog=EXAMPLE
    )
    for action in (check, create):
        action.formatter_class = argparse.RawDescriptionHelpFormatter
        action.add_argument(
            "--trust-create-time",
            action="store_true",
            help="the rules have `time.trust_create_time: true`: producers' timestamps are accepted",
        )
    create.add_argument(
        "--partitions", type=int, required=True, help="of input, decisions, alerts and journal"
    )
    create.add_argument(
        "--learning", action="store_true", help="the trainer's topics as well: labels and features"
    )
    create.add_argument(
        "--replication-factor",
        type=int,
        default=None,
        help="default: 3, fewer on a cluster with fewer brokers",
    )
    create.add_argument(
        "--retention-days",
        type=int,
        default=30,
        help="of all that is deleted by age; state is rebuilt from the input, so take the longest window "
        "(default: 30)",
    )


def run(args: argparse.Namespace) -> int:
    """Check or create; print findings, one topic a line and its remedy under it."""
    settings = load_settings()
    cluster = Cluster.of(settings)
    if args.action == "create":
        _create(args, settings, cluster)
    names = settings.topics
    state = cluster.describe(names.needed)
    with contextlib.suppress(NotPermitted):
        # Who does not learn from labels neither has these nor a right to look.
        more = cluster.describe((names.labels, names.features)).topics
        state = replace(state, topics={**state.topics, **more})
    found = judge(state, names, settings.broker, trust_create_time=args.trust_create_time)
    for name in names:
        topic = state.topics.get(name)
        if topic is None and name not in names.needed:
            continue
        wrong = [finding for finding in found if finding.topic == name]
        size = f"{topic.partitions} partitions, {topic.replicas} replicas" if topic else "missing"
        print(f"{'wrong' if wrong else 'ok':<6}{name} ({size})")
        for finding in wrong:
            _show(finding)
    print(
        f"{len(found)} findings in {len({finding.topic for finding in found})} topics"
        if found
        else "all is well"
    )
    return Exit.FINDINGS if found else Exit.OK


def _create(args: argparse.Namespace, settings: Settings, cluster: Cluster) -> None:
    for name in ("partitions", "retention_days"):
        if getattr(args, name) < 1:
            raise BadUse(f"`--{name.replace('_', '-')}` has to be at least 1, was {getattr(args, name)}")
    state = cluster.describe(settings.topics if args.learning else settings.topics.needed)
    replicas = args.replication_factor or min(3, state.brokers)
    wanted = specification(
        settings.topics, args.partitions, args.retention_days, replicas, learning=args.learning
    )
    missing = {name: spec for name, spec in wanted.items() if name not in state.topics}
    cluster.create(missing, replicas)
    for name, (partitions, _) in missing.items():
        print(f"made  {name} ({partitions} partitions, {replicas} replicas)")
    if missing:
        cluster.await_topics({name: partitions for name, (partitions, _) in missing.items()})


def _show(finding: Finding) -> None:
    print(f"      {finding.wrong}")
    print(f"      -> {finding.remedy}")
