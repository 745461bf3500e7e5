"""The lock of Apache Kafka's jars, ``jars.lock.json``: which files with which hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import NamedTuple

DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"


class Jar(NamedTuple):
    """One file of the lock."""

    group: str
    artifact: str
    version: str
    classifier: str
    file: str
    sha256: str
    size: int

    def is_at(self, path: Path) -> bool:
        """Return whether a file has this jar's content."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == self.sha256


def located(coordinates: str) -> Jar:
    """Return a jar of which only ``group:artifact:version[:classifier]`` is known."""
    group, artifact, version, *classifier = coordinates.split(":")
    return Jar(group, artifact, version, "".join(classifier), "", "", 0)


class Lock(NamedTuple):
    """Content of ``jars.lock.json``."""

    kafka: str
    roots: tuple[str, ...]
    jars: tuple[Jar, ...]


def read_lock() -> Lock:
    """Return the lock that this release ships."""
    content = json.loads(resources.files(__package__).joinpath("jars.lock.json").read_text("utf-8"))
    jars = tuple(
        located(entry["coordinates"])._replace(file=entry["file"], sha256=entry["sha256"], size=entry["size"])
        for entry in content["jars"]
    )
    return Lock(content["kafka"], tuple(content["roots"]), jars)


def pom(jars: Iterable[Jar], *, transitive: bool) -> str:
    """Return a Maven project that depends on jars, and on what they depend on only if ``transitive``."""
    exclusions = (
        ""
        if transitive
        else "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
    )
    dependencies = "".join(
        f"<dependency><groupId>{jar.group}</groupId><artifactId>{jar.artifact}</artifactId>"
        f"<version>{jar.version}</version>"
        + (f"<classifier>{jar.classifier}</classifier>" if jar.classifier else "")
        + f"{exclusions}</dependency>"
        for jar in jars
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>fraudstream</groupId><artifactId>kafka</artifactId><version>1</version>"
        f"<packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>"
    )
