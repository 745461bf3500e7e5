"""The generated bank's reference data: as many kinds as the reference bank has, with keys of its traffic."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.worker import ROOT

from fraudstream.bench.traffic import reference as made
from fraudstream.bench.traffic.generate import START_MS, generate
from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler.casefile import run_tests
from fraudstream.rules.compiler.compile import compile_sources, read_directory
from fraudstream.stream.enrichment.directory import TableFiles, version_from
from fraudstream.stream.enrichment.store import Enrichment
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.wire.types import Slice

KEY = bytes(16)
ACCOUNTS, SEED = 300, 7


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the tables of a small bank."""
    directory = tmp_path_factory.mktemp("bank")
    assert made.write_reference(directory, ACCOUNTS, SEED) > 72 * 10
    return directory


@pytest.fixture(scope="module")
def bundle(home: Path) -> Bundle:
    """The shipped schema with all tables and a rule for each."""
    files = {"schema.yaml": (ROOT / "rules" / "schema.yaml").read_bytes(), **read_directory(home)}
    files["rulesets/reference.yaml"] = made.rule_set(SEED).encode()
    compiled = compile_sources(files)
    assert compiled.bundle is not None, [item.text for item in compiled.errors[:3]]
    assert {result.status for result in run_tests(compiled)} == {"passed"}
    return compiled.bundle


def test_there_are_42_internal_and_30_external_tables_that_rules_read(bundle: Bundle) -> None:
    """The reference bank's number, every one of them joined."""
    assert (len(made.INTERNAL), len(made.EXTERNAL)) == (42, 30)
    read = {slot.name.split(".")[0] for slot in bundle.reference.read}
    assert read == {table.name for table in made.TABLES}


def test_keys_are_those_of_the_traffic_and_content_is_as_old_as_its_start(home: Path, bundle: Bundle) -> None:
    """Profiles of accounts, customers, cards, merchants are found for every event that has the key."""
    loaded = TableFiles(home).load(bundle, None)
    assert loaded.problems == {}
    versions = {name: version_from(content)[0] for name, content in loaded.contents.items()}
    pipeline = Pipeline(0, KEY, bundle, None, enrichment=Enrichment(bundle, None, KEY, versions))
    (chunk, *_) = generate(3_000, SEED, START_MS, ACCOUNTS)
    n = len(chunk)
    part = Slice.from_records(0, chunk.values, chunk.keys, range(n), chunk.times_ms.tolist())
    joins = pipeline.process(part).counts.joins
    for table in made.TABLES:
        found, absent = joins[table.name, "found"], joins[table.name, "absent"]
        assert joins[table.name, "stale"] == 0
        if table.key in ("account.id", "customer.id", "card.id", "merchant.id") and table.share == 1:
            assert (found > 0, absent) == (True, 0), table.name
        if table.key in ("counterparty.id", "device.id") and table.share >= 0.5:
            assert found > absent / 4, table.name
    assert {content.as_of_ms for content in loaded.contents.values()} == {START_MS}


def test_the_same_arguments_give_the_same_content(home: Path, bundle: Bundle, tmp_path: Path) -> None:
    """Seeded, whenever it is written."""
    made.write_reference(tmp_path, ACCOUNTS, SEED)
    first, second = (TableFiles(path).load(bundle, None).contents for path in (home, tmp_path))
    assert {n: version_from(c)[0].version for n, c in first.items()} == {
        n: version_from(c)[0].version for n, c in second.items()
    }
