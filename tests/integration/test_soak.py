"""`fraudstream soak` for some seconds: all is decided, a report is written, SIGTERM ends it with one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.kafka, pytest.mark.long, pytest.mark.timeout(900)]


def start(reports: Path, duration: str) -> subprocess.Popen[str]:
    """Start a small soak without a terminal."""
    command = [sys.executable, "-m", "fraudstream.stream.cli", "soak", "--duration", duration]
    command += ["--rate", "200", "--accounts", "200", "--reports", str(reports), "--note", "A small one."]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def test_a_short_soak_decides_everything_and_says_that_it_was_too_short(tmp_path: Path) -> None:
    """Exit 1: there are not enough minutes for a verdict, and nothing else is wrong but stalls."""
    with start(tmp_path, "70s") as soak:
        _, said = soak.communicate(timeout=800)
    assert soak.returncode == 1, said
    (page,) = tmp_path.glob("*.md")
    report = json.loads(page.with_suffix(".json").read_text())["data"]
    assert report["answered"] == report["sent"] == 14_000
    assert not report["cut_short"]
    others = [text for text in report["problems"] if "stalls above 50 ms" not in text]
    assert others == ["too short for a verdict: fewer than 10 minutes after the warm-up"]
    assert "A small one." in page.read_text()
    assert "| 1 | 12,000 |" in page.read_text()


def test_sigterm_ends_a_soak_with_a_report(tmp_path: Path) -> None:
    """What was measured until then is not lost."""
    with start(tmp_path, "1h") as soak:
        assert soak.stderr is not None
        seen: list[str] = []
        for line in soak.stderr:
            seen.append(line)
            if "minute 1:" in line:
                break
        time.sleep(1)
        soak.send_signal(signal.SIGTERM)
        seen += soak.stderr.readlines()
        assert soak.wait(120) == 1, "".join(seen)
    (page,) = tmp_path.glob("*.md")
    report = json.loads(page.with_suffix(".json").read_text())["data"]
    assert report["cut_short"]
    assert report["answered"] == report["sent"] >= 12_000
    assert "It was ended early." in page.read_text()
