"""The demo's labels and learning: what became of transactions is told seconds later, and a challenger learns.

The champion in force is the shipped one; its average precision is that of the scores in its decisions. The
challenger's is the trainer's own figure: every score was made before its label was learned. Both are about
live transactions that are mature.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Producer

from fraudstream.bench.traffic.records import Label
from fraudstream.models.file import load_model
from fraudstream.models.protocol import average_precision
from fraudstream.stream.cluster import quiet
from fraudstream.stream.errors import FraudstreamError
from fraudstream.stream.shipped import champion_file

DELAY_S = 3.0
"""From a transaction to its label; a bank waits days."""
MATURE_S = 8.0
ARGUMENTS = (
    *("--interval", "1s", "--mature", f"{MATURE_S:.0f}s", "--keep", "1h", "--export", "2s"),
    *("--idle-grace", "1s"),
)
CHALLENGER = "challenger"
_METRIC = f'fraudstream_trainer_average_precision{{model="{CHALLENGER}"}} '


def write_registry(directory: Path) -> Path:
    """Write a registry whose one model learns from bins of what the shipped champion reads."""
    model = load_model(champion_file().read_bytes())
    inputs = [item._asdict() for item in model.inputs if item.transform != "present"]
    entry = {
        "kind": "Model",
        "id": CHALLENGER,
        "family": "binned",
        "owner": "demo",
        "purpose": "learns beside the champion",
        "events": list(model.on),
        "settings": {"legitimate_share": 0.25, "bins": 16, "alpha": 0.3},
        "inputs": inputs,
    }
    directory.mkdir()
    # JSON is YAML.
    (directory / f"{CHALLENGER}.yaml").write_text(json.dumps(entry))
    return directory


class LabelSender(threading.Thread):
    """Publishes the label of each transaction some seconds after it lies on the input."""

    def __init__(self, bootstrap: str, topic: str, labels: Mapping[int, Label]) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self._labels = labels
        self._topic = topic
        self._producer = Producer(quiet(bootstrap, **{"enable.idempotence": True}))
        self._due: list[tuple[float, int, int]] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def delivered(self, number: int, offset: int) -> None:
        """Event ``number`` of the traffic lies at ``offset``."""
        if number in self._labels:
            with self._lock:
                self._due.append((time.monotonic() + DELAY_S, number, offset))

    def run(self) -> None:
        """Send what is due until closed."""
        while not self._closing.wait(0.05):
            now = time.monotonic()
            with self._lock:
                ready = [one for one in self._due if one[0] <= now]
                self._due = [one for one in self._due if one[0] > now]
            for _, number, offset in ready:
                label = self._labels[number]
                self._producer.produce(self._topic, label.encode(f"0:{offset}"), label.transaction_id)
                self._producer.poll(0)
                self.sent += 1
        self._producer.flush(10)

    def close(self) -> None:
        """Stop and wait for the end."""
        self._closing.set()
        self.join(15)


def wait_ready(port: int, check: Callable[[], None], stop: threading.Event) -> None:
    """Wait for a trainer: labels that it publishes late would come after their transactions matured."""
    begin_s = time.monotonic()
    while not stop.wait(0.2):
        check()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
                return
        except OSError:
            if time.monotonic() - begin_s > 300:
                raise FraudstreamError("the trainer was not ready within five minutes") from None


def challenger_precision(port: int) -> float | None:
    """Return what the trainer says of the challenger, None: nothing yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
            text: str = answer.read().decode()
    except OSError:
        return None
    found = [line for line in text.splitlines() if line.startswith(_METRIC)]
    return float(found[0].removeprefix(_METRIC)) if found else None


def champion_precision(scores: dict[str, tuple[float, float]], frauds: set[str]) -> dict[str, Any]:
    """Return the average precision of (time, score) by transaction, of those that are mature now.

    Another thread may add scores meanwhile.
    """
    last = time.monotonic() - MATURE_S
    known = [(score, name in frauds) for name, (at, score) in scores.copy().items() if at <= last]
    fraud = np.array([bad for _, bad in known], np.bool_)
    if not fraud.any():
        return {"average_precision": None, "transactions": len(known), "frauds": 0}
    score = np.array([value for value, _ in known])
    found = average_precision(score, fraud, np.ones(len(score)))
    return {
        "average_precision": round(found, 3),
        "transactions": len(known),
        "frauds": int(fraud.sum()),
    }
