"""`fraudstream rules why`: by replay, by a journal, from a feature log; duplicates and unreadable records."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from support.logs import rough_log
from support.worker_rules import write_rules

from fraudstream.rules.compiler.compile import compile_sources, make_archive, read_directory
from fraudstream.stream.cli import main
from fraudstream.stream.control_store import split_content
from fraudstream.stream.core import CORE
from fraudstream.stream.envelope import Record, write_envelope
from fraudstream.stream.journal import start_record, take_record, version_record

COUNT = 1_500
KEY = bytes(range(16))
SWITCH = 700


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Rules `a`, then `b` from an offset on, journaled; a log with its decisions under the journal."""
    folder = tmp_path_factory.mktemp("why")
    log = rough_log().part(0, COUNT)
    records = [
        Record(0, int(log.offset[row]), int(log.time_ms[row]), log.key(row), log.value(row))
        for row in range(COUNT)
    ]
    (folder / "log").write_bytes(b"".join(map(write_envelope, records)))
    control: dict[bytes, bytes] = {}
    hashes = {}
    for name, count in (("a", 4), ("b", 3)):
        files = read_directory(write_rules(folder / name, count))
        control |= dict(split_content("bundle", make_archive(files)))
        bundle = compile_sources(files).bundle
        assert bundle is not None
        hashes[name] = bundle.hash
    first = {"bundle": hashes["a"], "models": "none", "core": CORE, "mode": "live", "state_from": 0}
    journal = [take_record("w", CORE), start_record(0, 0, KEY), version_record(0, 0, first)]
    journal.append(version_record(0, SWITCH, {"bundle": hashes["b"]}))
    (folder / "journal").write_bytes(
        b"".join(write_envelope(Record(0, at, 0, None, value)) for at, value in enumerate(journal))
    )
    items = enumerate(control.items())
    (folder / "control").write_bytes(
        b"".join(write_envelope(Record(0, at, 0, key, value)) for at, (key, value) in items)
    )
    args = ["replay", "--input", folder / "log", "--format", "envelope", *journaled(folder)]
    assert main(list(map(str, [*args, "--output", folder / "decisions"]))) == 0
    return folder


def journaled(site: Path) -> list[object]:
    """Return the arguments that name the journal."""
    return ["--journal", site / "journal", "--control", site / "control"]


def decisions(site: Path) -> list[dict[str, object]]:
    """Return what was decided."""
    return [orjson.loads(line) for line in (site / "decisions").read_bytes().splitlines()]


def why(capsys: pytest.CaptureFixture[str], site: Path, src: str, *args: object) -> str:
    """Call the command and return what it printed."""
    fixed = ["rules", "why", src, "--input", site / "log", "--format", "envelope"]
    capsys.readouterr()
    assert main(list(map(str, [*fixed, *args]))) == 0
    return capsys.readouterr().out


def test_a_journaled_record_is_explained_as_it_was_decided(site, capsys):
    """On both sides of a switch of rules: decision, score, every reason, and the version in force."""
    found = [item for item in decisions(site) if item["reasons"] and "malformed" not in item["flags"]]
    offsets = [int(item["src"].partition(":")[2]) for item in found]
    assert min(offsets) < SWITCH < max(offsets)
    for item in [*found[:3], *found[-3:]]:
        out = why(capsys, site, f"fraud.transactions-0-{item['src'].partition(':')[2]}", *journaled(site))
        assert f": {item['decision']}, score {item['score']}" in out.splitlines()[0]
        assert item["rules_version"] in out
        for reason in item["reasons"]:
            assert f"  {reason['code']}: {reason['text']}" in out
        assert "It would have passed with " in out
        assert "account.count_1h >= 4" in out or "account.count_1h >= 3" in out or "account.sum_24h" in out


def test_other_rules_and_features_are_shown_on_demand(site, capsys):
    """A rule that did not match, and the features that are not missing."""
    quiet = next(item for item in decisions(site) if item["decision"] == "pass" and not item["flags"])
    out = why(capsys, site, quiet["src"], *journaled(site), "--rule", "account.many", "--features")
    assert "account.many: false" in out
    assert "account.count_1h" in out.partition("Features:")[2]
    assert out.rstrip().endswith("It passed.")


def test_repeats_and_unreadable_records_are_told(site, capsys):
    """A duplicate names its first; a malformed one its code."""
    repeat = next(item for item in decisions(site) if "duplicate" in item["flags"])
    out = why(capsys, site, repeat["src"], *journaled(site))
    assert f"It repeats {repeat['duplicate_of']}" in out
    odd = next(item for item in decisions(site) if "malformed" in item["flags"])
    out = why(capsys, site, odd["src"], *journaled(site))
    assert f"could not be read ({odd['reasons'][0]['text']})" in out


def test_a_feature_log_gives_the_same_explanation(site, capsys):
    """Where a backtest made one, nothing is replayed."""
    args = ["--rules", site / "b", "--model", "none"]
    found = next(item for item in decisions(site) if item["decision"] == "block" and not item["flags"])
    slow = why(capsys, site, found["src"], *args)
    assert "(replayed)" in slow
    backtest = ["rules", "backtest", site / "b", "--input", site / "log", "--format", "envelope"]
    assert main(list(map(str, [*backtest, "--model", "none"]))) == 0
    fast = why(capsys, site, found["src"], *args)
    assert "from the feature log" in fast
    assert fast.splitlines()[1:] == slow.splitlines()[1:]


def test_bad_use_says_what_to_do(site, capsys):
    """Exit codes are those of the contract."""
    fixed = ["--input", site / "log", "--format", "envelope"]
    cases = [
        (["seven", *fixed], 2, "is no `src` of a decision"),
        (["0:7", *fixed, "--journal", site / "journal"], 2, "`--journal` and `--control` go together"),
        (["0:7", *fixed, *journaled(site), "--rules", site / "a"], 2, "cannot be given with `--journal`"),
        (["0:99999", *fixed, *journaled(site)], 3, "the log has no record 0:99999"),
        (["5:7", *fixed, "--rules", site / "a", "--model", "none"], 3, "the log has no record 5:7"),
        (["0:7", *fixed, *journaled(site), "--rule", "account.mony"], 2, "no rule `account.mony`"),
    ]
    for args, code, message in cases:
        assert main(list(map(str, ["why", *args]))) == code, args
        assert message in capsys.readouterr().err
