"""Manifests that follow from declarations in the code: `python k8s/manifests.py` writes them.

Topics are what `topics create` makes, access rules are what the worker asks for at its start, and the
PrometheusRule carries the rules of k8s/monitoring/alerts.yaml. Tests compare the committed files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from fraudstream.stream.permissions import worker_rights
from fraudstream.stream.settings import Settings
from fraudstream.stream.topics import specification

HERE = Path(__file__).parent
MADE = "# Made by `python k8s/manifests.py`; do not edit.\n"
KAFKA = "kafka.strimzi.io/v1"
PARTITIONS, RETENTION_DAYS, REPLICAS = 1, 30, 3


def topics() -> list[dict[str, Any]]:
    """Return a KafkaTopic for each topic."""
    wanted = specification(Settings().topics, PARTITIONS, RETENTION_DAYS, REPLICAS)
    return [
        {
            "apiVersion": KAFKA,
            "kind": "KafkaTopic",
            "metadata": {"name": name},
            "spec": {"partitions": partitions, "replicas": REPLICAS, "config": config},
        }
        for name, (partitions, config) in wanted.items()
    ]


def user() -> list[dict[str, Any]]:
    """Return the KafkaUser of the worker with just its rights."""
    acls = [
        {
            "resource": {"type": resource.kind, "name": resource.name, "patternType": "literal"},
            "operations": list(operations),
        }
        for resource, operations in worker_rights(Settings()).items()
    ]
    spec = {"authentication": {"type": "scram-sha-512"}, "authorization": {"type": "simple", "acls": acls}}
    return [{"apiVersion": KAFKA, "kind": "KafkaUser", "metadata": {"name": "fraudstream"}, "spec": spec}]


def prometheus_rule() -> list[dict[str, Any]]:
    """Return the alert rules for the Prometheus operator."""
    rules = yaml.safe_load((HERE / "monitoring" / "alerts.yaml").read_text("utf-8"))
    return [
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": "fraudstream"},
            "spec": {"groups": rules["groups"]},
        }
    ]


FILES = {
    "strimzi/topics.yaml": topics,
    "strimzi/user.yaml": user,
    "components/prometheus-rule/prometheus-rule.yaml": prometheus_rule,
}


def render(name: str) -> str:
    """Return the text of a file."""
    return MADE + yaml.safe_dump_all(FILES[name](), sort_keys=False, width=110)


def write() -> None:
    """Write all files."""
    for name in FILES:
        (HERE / name).write_text(render(name), "utf-8")


if __name__ == "__main__":
    write()
