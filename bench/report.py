"""Reports: one JSON file and one Markdown page per run, named by date, commit and suite."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fraudstream.bench.chart import Chart

REPORTS = Path(__file__).resolve().parent / "reports"
PACKAGES = ("aiokafka", "confluent-kafka", "faust-streaming", "numba", "numpy", "orjson", "river")


def _git(*args: str) -> str:
    done = subprocess.run(  # noqa: S603 fixed arguments
        ["git", *args],  # noqa: S607 git from PATH
        capture_output=True,
        text=True,
        check=False,
        cwd=REPORTS.parent,
    )
    return done.stdout.strip()


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def environment() -> dict[str, Any]:
    """Say what was measured on what: commit, machine, versions."""
    return {
        "commit": _git("rev-parse", "--short=12", "HEAD") or "unknown",
        "dirty": bool(_git("status", "--porcelain")),
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "hash_seed": os.environ.get("PYTHONHASHSEED", "random"),
        "packages": {name: version(name) for name in PACKAGES},
    }


@dataclass(slots=True)
class Table:
    """One table of a report."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[Any]] = field(default_factory=list)
    note: str = ""

    def markdown(self) -> str:
        """Render as a Markdown table under a heading."""
        lines = [f"## {self.title}", ""]
        if self.note:
            lines += [self.note, ""]
        lines.append("| " + " | ".join(self.columns) + " |")
        lines.append("|" + "---|" * len(self.columns))
        lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in self.rows]
        return "\n".join([*lines, ""])


def _cell(value: object) -> str:
    if isinstance(value, float):
        if value >= 1000:
            return f"{value:,.0f}"
        return f"{value:.2f}" if value < 100 else f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def write(
    suite: str,
    command: str,
    parameters: Mapping[str, Any],
    tables: Sequence[Table],
    data: Mapping[str, Any],
    directory: Path = REPORTS,
    charts: Sequence[Chart] = (),
) -> tuple[Path, Path]:
    """Write the report and return the paths of its JSON and Markdown files; charts lie beside them."""
    env = environment()
    directory.mkdir(parents=True, exist_ok=True)
    stem = f"{env['date'][:10]}-{env['commit']}-{suite}"
    json_path, md_path = directory / f"{stem}.json", directory / f"{stem}.md"
    content = {
        "suite": suite,
        "command": command,
        "environment": env,
        "parameters": dict(parameters),
        "data": dict(data),
    }
    json_path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    dirty = " (with uncommitted changes)" if env["dirty"] else ""
    head = [
        f"# {suite}",
        "",
        f"`{command}` at commit {env['commit']}{dirty}, {env['date']}.",
        f"{env['cpu']}, {env['cores']} cores shared with everything the run needs; Linux {env['kernel']}, "
        f"Python {env['python']}, " + ", ".join(f"{k} {v}" for k, v in env["packages"].items()) + ".",
        "Parameters: " + ", ".join(f"{k} = {v}" for k, v in parameters.items()) + ".",
        "",
    ]
    parts = [table.markdown() for table in tables]
    for chart in charts:
        picture = directory / f"{stem}-{chart.name}.svg"
        picture.write_text(chart.svg())
        parts.append(f"![{chart.title}]({picture.name})\n")
    md_path.write_text("\n".join(head) + "\n" + "\n".join(parts))
    return json_path, md_path
