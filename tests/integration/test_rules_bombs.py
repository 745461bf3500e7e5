"""Rule files that are made to hurt, in the child process that reads them first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.bombs import BOMBS

from fraudstream.rules import compile_isolated, compile_sources

CHEAP = {"conditions that double"}
"""Large only when they are written out; here they are a few terms."""
MEMORY_BYTES = 512 << 20
PEAK = """
import resource, sys
sys.path.insert(0, {tests!r})
from support.bombs import BOMBS
from fraudstream.rules import compile_isolated
for name in {names!r}:
    compile_isolated(BOMBS[name](), cpu_seconds=60)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
LARGE = [
    "20,000 rules", "300,000 values", "15 files of small values", "15 files of small mappings",
    "15 files of one text", "15 files of quotes", "15 files of comments", "100,000 keys that are one",
    "a list of 100,000",
]  # fmt: skip


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_a_bomb_is_refused_with_findings(name: str) -> None:
    """By what it is, not by running out of something; at most a screen of text each."""
    compiled = compile_sources(BOMBS[name]())
    assert (compiled.bundle is not None) == (name in CHEAP)
    assert len(compiled.errors) <= 1_000
    assert all(len(item.text) < 1_000 for item in compiled.diagnostics)


@pytest.mark.timeout(600)
def test_the_child_refuses_a_bomb_like_its_parent() -> None:
    """Through the process border: the same findings, no limit reached."""
    for name in ("nine to the ninth aliases", "thirteen levels of merge keys", "a tag that runs a command"):
        files = BOMBS[name]()
        assert compile_isolated(files).diagnostics == compile_sources(files).diagnostics


@pytest.mark.timeout(900)
def test_no_bomb_takes_more_than_half_a_gibibyte() -> None:
    """Peak memory of the children that read the largest ones."""
    program = PEAK.format(tests=str(Path(__file__).parents[1]), names=LARGE)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < MEMORY_BYTES
