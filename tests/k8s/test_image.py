"""What the image relies on: compiled kernels that are copied stay compiled, for a processor named by hand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.promql import ROOT

pytestmark = pytest.mark.ops


def environment(dockerfile: str, stage: int) -> dict[str, str]:
    """Return what a stage of the Dockerfile sets about Numba."""
    text = re.split(r"^FROM ", dockerfile, flags=re.MULTILINE)[stage]
    return dict(re.findall(r'(NUMBA_\w+)="?([^"\s\\]*)"?', text))


def numba(code: str, cache: Path, cpu: dict[str, str]) -> str:
    """Run code with Numba's cache in a directory; return what Numba says about the cache."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **cpu, "NUMBA_CACHE_DIR": str(cache), "NUMBA_DEBUG_CACHE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_kernels_of_the_build_are_used_at_run_time(tmp_path: Path) -> None:
    """Both stages name one processor; a copied cache is loaded, one for another processor is not."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    build, run = environment(dockerfile, 1), environment(dockerfile, 2)
    assert build.pop("NUMBA_CACHE_DIR") == "/opt/fraudstream/kernels"
    assert run.pop("NUMBA_CACHE_DIR") == "/var/cache/fraudstream"
    assert build == run == {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": ""}
    module = tmp_path / "kernel.py"
    module.write_text("import numba\n@numba.njit('i8(i8)', cache=True)\ndef double(x):\n    return 2 * x\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import kernel; assert kernel.double(4) == 8"
    assert "data saved to" in numba(code, tmp_path / "built", build)
    shutil.copytree(tmp_path / "built", tmp_path / "copied")
    told = numba(code, tmp_path / "copied", run)
    assert "data loaded from" in told
    assert "data saved to" not in told
    assert "data saved to" in numba(code, tmp_path / "copied", {**run, "NUMBA_CPU_NAME": "x86-64"})


def test_the_start_script_says_what_is_missing(tmp_path: Path) -> None:
    """Without a place for the kernels it refuses instead of compiling for minutes into nowhere."""
    done = subprocess.run(
        [ROOT / "k8s/image/start", "worker"],
        env={"PATH": os.environ["PATH"], "NUMBA_CACHE_DIR": str(tmp_path / "absent")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78
    assert done.stderr.startswith(f"fraudstream: {tmp_path}/absent cannot be written; mount a volume there")


def test_the_image_copies_what_a_rules_directory_has() -> None:
    """`docker run` without a mount decides by the shipped rules."""
    copied = re.findall(
        r"^COPY rules/(.+) /etc/fraudstream/rules/", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )
    files = {name.removeprefix("rules/") for line in copied for name in line.split()}
    assert files == {"schema.yaml", "features.yaml", "lists.yaml", "typologies.yaml", "rulesets"}
