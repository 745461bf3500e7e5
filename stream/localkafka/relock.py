"""Write ``jars.lock.json`` anew; for maintainers, when Kafka is raised. Needs Maven.

`python -m fraudstream.stream.localkafka.relock org.apache.kafka:kafka_2.13:4.3.1
org.apache.kafka:kafka-tools:4.3.1 org.apache.logging.log4j:log4j-slf4j-impl:2.25.4`; the last, which
Kafka's own distribution adds too, is what makes the broker log at all.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fraudstream.stream.localkafka.lock import DEPENDENCY_PLUGIN, located, pom


def relock(path: Path, roots: Sequence[str]) -> None:
    """Resolve the roots, of which the first is Kafka, and write the lock."""
    with tempfile.TemporaryDirectory() as name:
        project, layout = Path(name) / "pom.xml", Path(name) / "jars"
        project.write_text(pom(map(located, roots), transitive=True), "utf-8")
        subprocess.run(  # noqa: S603
            ["mvn", "-B", "-q", "-f", str(project), f"{DEPENDENCY_PLUGIN}:copy-dependencies",  # noqa: S607
             "-DincludeScope=runtime", "-Dmdep.useRepositoryLayout=true", f"-DoutputDirectory={layout}"],
            check=True,
        )  # fmt: skip
        jars = [_entry(file, layout) for file in layout.rglob("*.jar")]
    jars.sort(key=lambda entry: str(entry["coordinates"]))
    # One jar a line: a change of version reads well in a diff.
    lines = ",\n  ".join(json.dumps(jar) for jar in jars)
    head = f' "kafka": {json.dumps(located(roots[0]).version)},\n "roots": {json.dumps(roots)},\n'
    path.write_text(f'{{\n{head} "jars": [\n  {lines}\n ]\n}}\n', "utf-8")


def _entry(file: Path, layout: Path) -> dict[str, str | int]:
    """Return the lock entry of a file at ``group/artifact/version/artifact-version[-classifier].jar``."""
    *group, artifact, version = file.parent.relative_to(layout).parts
    classifier = file.stem.removeprefix(f"{artifact}-{version}").removeprefix("-")
    content = file.read_bytes()
    return {
        "coordinates": ":".join([".".join(group), artifact, version, classifier]).rstrip(":"),
        "file": file.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
    }


if __name__ == "__main__":
    relock(Path(__file__).with_name("jars.lock.json"), sys.argv[1:])
