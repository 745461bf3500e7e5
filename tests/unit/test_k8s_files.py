"""Manifests that follow from declarations in the code are current; rules live from a mounted ConfigMap."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from support.kafka import Topics
from support.manifests import ROOT, KubeletVolume
from support.worker import Feed, Site, traffic
from support.worker_rules import write_rules

from fraudstream.rules.compiler.compile import read_directory
from fraudstream.stream.directory import stamp


def generator() -> ModuleType:
    """Load k8s/manifests.py, which is no package."""
    spec = importlib.util.spec_from_file_location("manifests", ROOT / "k8s" / "manifests.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_manifests_are_current() -> None:
    """Topics, access rules and alert rules say what the code says."""
    made = generator()
    for name in made.FILES:
        assert (ROOT / "k8s" / name).read_text("utf-8") == made.render(name), "run `python k8s/manifests.py`"


def test_the_rules_directory_lists_its_files_for_kubernetes() -> None:
    """Kustomize takes no wildcard: a new rule set has to be named."""
    listed = yaml.safe_load((ROOT / "rules/kustomization.yaml").read_text())["configMapGenerator"]
    assert {file for item in listed for file in item["files"]} == set(read_directory(ROOT / "rules"))
    pod = yaml.safe_load((ROOT / "k8s/base/stateful-set.yaml").read_text())["spec"]["template"]["spec"]
    sources = next(v for v in pod["volumes"] if v["name"] == "rules")["projected"]["sources"]
    paths = {item["path"] for source in sources for item in source["configMap"].get("items", ())}
    assert paths == {name for name in read_directory(ROOT / "rules") if "/" in name}


def texts(directory: Path) -> dict[str, str]:
    """Return the files of a rules directory as text."""
    return {name: content.decode() for name, content in read_directory(directory).items()}


def test_a_mounted_config_map_reads_like_a_directory(tmp_path: Path) -> None:
    """Links into a hidden directory, which is not read twice; a replaced edition is another stamp."""
    first, second = write_rules(tmp_path / "first"), write_rules(tmp_path / "second", 2)
    volume = KubeletVolume(tmp_path / "mount")
    volume.write(texts(first))
    assert read_directory(volume.mount) == read_directory(first)
    before = stamp(volume.mount)
    volume.write(texts(second))
    assert read_directory(volume.mount) == read_directory(second)
    assert stamp(volume.mount) != before


@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_an_edited_config_map_is_in_force_without_a_restart(topics: Topics, tmp_path: Path) -> None:
    """What kubelet does when somebody applies other rules, under a real worker."""
    volume = KubeletVolume(tmp_path / "mount")
    volume.write(texts(write_rules(tmp_path / "first")))
    site = Site(topics, tmp_path, tmp_path / "first", rules_dir=str(volume.mount))
    worker, feed = site.start(), Feed(site)
    try:
        feed.send(traffic(50, 81))
        worker.wait_decided(50)
        volume.write(texts(write_rules(tmp_path / "second", 2)))
        worker.wait_for(lambda: len(site.journal(0).versions) == 2, "the change")
        assert worker.stop() == 0
    finally:
        worker.kill()
