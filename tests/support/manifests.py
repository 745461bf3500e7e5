"""Manifests as a cluster would get them: rendered by kubectl, volumes laid out as kubelet does.

`python -m support.manifests` in tests/ writes the golden files again; look at the difference then.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from support.tools import tool

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
RENDERS = {
    "base": "k8s/base",
    "dev": "k8s/overlays/dev",
    "prod": "k8s/overlays/prod",
    "scaled": "tests/k8s/scaled",
}
"""Name -> directory."""
CONTENT = {"fraudstream-rules", "fraudstream-rulesets", "fraudstream-dashboards"}
"""ConfigMaps whose content has tests of its own."""

Manifest = dict[str, Any]


@cache
def render(name: str) -> tuple[Manifest, ...]:
    """Return the manifests of a directory, in kubectl's order."""
    done = subprocess.run(
        [tool("kubectl"), "kustomize", RENDERS[name]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def golden(name: str) -> str:
    """Return what the golden file of a render has to be."""
    shown = [
        {**item, "data": dict.fromkeys(item["data"], "...")} if item["metadata"]["name"] in CONTENT else item
        for item in render(name)
    ]
    return yaml.safe_dump_all(shown, sort_keys=True, width=110)


def one(name: str, kind: str) -> Manifest:
    """Return the only manifest of a kind."""
    found = [item for item in render(name) if item["kind"] == kind]
    assert len(found) == 1, f"{name}: {len(found)} of {kind}"
    return found[0]


def pod(name: str) -> Manifest:
    """Return the worker's pod specification."""
    spec: Manifest = one(name, "StatefulSet")["spec"]["template"]["spec"]
    return spec


def rules_volume(name: str) -> dict[str, str]:
    """Return the files of the rules volume, path -> content."""
    maps = {item["metadata"]["name"]: item["data"] for item in render(name) if item["kind"] == "ConfigMap"}
    volume = next(volume for volume in pod(name)["volumes"] if volume["name"] == "rules")
    files: dict[str, str] = {}
    for source in volume["projected"]["sources"]:
        chosen = source["configMap"]
        data = maps[chosen["name"]]
        items = chosen.get("items") or [{"key": key, "path": key} for key in data]
        files.update({item["path"]: data[item["key"]] for item in items})
    return files


class KubeletVolume:
    """A mounted ConfigMap: files are links into a directory that is replaced whole by one rename."""

    def __init__(self, mount: Path) -> None:
        self.mount = mount
        self._edition = 0
        mount.mkdir()

    def write(self, files: Mapping[str, str]) -> None:
        """Put an edition in place, as kubelet's atomic writer does."""
        self._edition += 1
        edition = self.mount / f"..2026_11_24_{self._edition:09}"
        for path, content in files.items():
            target = edition / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        link = self.mount / "..data_tmp"
        link.symlink_to(edition.name)
        link.rename(self.mount / "..data")
        for top in {path.split("/")[0] for path in files}:
            visible = self.mount / top
            if not visible.is_symlink():
                visible.symlink_to(f"..data/{top}")


if __name__ == "__main__":
    for render_name in RENDERS:
        (GOLDEN / f"k8s-{render_name}.yaml").write_text(golden(render_name))
