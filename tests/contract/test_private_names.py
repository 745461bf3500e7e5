"""Names without a promise of stability that the transport relies on are still there."""

from __future__ import annotations

import importlib
import inspect
from importlib.metadata import version

import pytest
from faust.transport.drivers.aiokafka import Consumer

from fraudstream.stream.transport import PRIVATE_NAMES


@pytest.mark.parametrize("place", PRIVATE_NAMES)
def test_private_names_are_there(place: str) -> None:
    """Every name that is overridden or called exists where it is looked for."""
    module, _, name = place.partition(":")
    owner = getattr(importlib.import_module(module), name)
    assert [item for item in PRIVATE_NAMES[place] if not hasattr(owner, item)] == []


def test_the_versions_are_those_that_were_read() -> None:
    """A new release needs its private parts read again."""
    assert (version("faust-streaming"), version("aiokafka")) == ("0.15.3", "0.14.0")


def test_the_drain_loop_reads_and_writes_read_offsets_through_the_mapping_only() -> None:
    """Gap counting and dropping by read offset are switched off by a mapping that forgets."""
    source = inspect.getsource(Consumer._drain_messages)
    assert "self._read_offset.__getitem__" in source
    assert "self._read_offset.__setitem__" in source
