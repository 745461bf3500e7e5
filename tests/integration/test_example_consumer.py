"""The consumer on the page for integrators works as the page says."""

from __future__ import annotations

import importlib.util
from itertools import islice

import pytest
from support.kafka import Topics, produce
from support.worker import ROOT

pytestmark = pytest.mark.kafka

EXAMPLE = ROOT / "docs" / "examples" / "decision_consumer.py"


def test_the_first_decision_per_source_wins(topics: Topics) -> None:
    """A repeated ``src`` is dropped, malformed ones come without a transaction id, order is kept."""
    spec = importlib.util.spec_from_file_location("decision_consumer", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    topic = topics("decisions")
    first = b'{"transaction_id":"a","decision":"block","src":"0:0"}'
    broken = b'{"transaction_id":null,"decision":"alert","src":"0:1"}'
    last = b'{"transaction_id":"b","decision":"pass","src":"0:2"}'
    produce(topics.bootstrap, topic, [(b"k", value) for value in (first, broken, first, broken, last)])
    found = list(islice(example.decisions(topics.bootstrap, topic, topic), 3))
    assert [(item["src"], item["transaction_id"]) for item in found] == [
        ("0:0", "a"),
        ("0:1", None),
        ("0:2", "b"),
    ]


def test_the_page_prints_the_consumer_as_it_is() -> None:
    """The code on the page is the file's."""
    source = EXAMPLE.read_text("utf-8")
    shown = (ROOT / "docs" / "integration.md").read_text("utf-8").split("```python\n")[1].split("```")[0]
    assert shown.strip() in source
