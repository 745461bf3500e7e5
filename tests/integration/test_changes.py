"""Rules on their way into force, through a real broker and running workers."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.changes import command, proposer, push, refusal, rules_of, status
from support.kafka import Topics, produce
from support.worker import Feed, Running, Site, effective, same_as_reference, traffic
from support.worker_rules import write_rules

from fraudstream.rules.compiler.compile import archive_files, archive_hash, make_archive
from fraudstream.rules.compiler.switch_off import switched_off
from fraudstream.stream.changes import POINTER_KEY, Pointer, new_id, write_pointer
from fraudstream.stream.control_store import split_content

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]


def make(topics: Topics, home: Path, partitions: int = 1, **settings: str) -> Site:
    """Return a site with the small rules directory."""
    return Site(topics, home, write_rules(home / "first"), partitions, **settings)


def bundles(site: Site, partition: int = 0) -> list[object]:
    """Return the bundles that a partition journaled, in order."""
    versions = site.journal(partition).versions
    return [version.changes["bundle"] for version in versions if "bundle" in version.changes]


def served(worker: Running) -> str:
    """Return the address of the worker's status server."""
    for line in subprocess.run(
        ["ss", "-ltnp"], capture_output=True, text=True, check=True
    ).stdout.splitlines():
        if f"pid={worker.process.pid}," in line:
            return "http://" + line.split()[3]
    raise AssertionError("the worker does not listen")


def test_a_change_is_in_force_on_both_workers_partitions_and_taken_back(
    topics: Topics, tmp_path: Path
) -> None:
    """The commands on two partitions under two workers; decisions equal replay across every switch."""
    site = make(topics, tmp_path, 2)
    feed, records = Feed(site), traffic(1_500, 31)
    first = site.start()
    feed.send(records[:300])
    first.wait_decided(300)
    second = site.start()
    second.wait_for(lambda: "epoch" in second.text, "the second worker's partition")
    initial = bundles(site)[-1]
    # One worker's own directory changes nothing.
    write_rules(site.rules, 9)
    first.wait_for(lambda: "use `fraudstream rules apply`" in first.text, "the refusal")
    assert [bundles(site, p)[-1] for p in (0, 1)] == [initial] * 2
    # It is applied from outside.
    done = command(site, "rules", "bundle", str(site.rules), "--output", "nine.bundle")
    assert done.returncode == 0, done.stderr
    done = command(site, "rules", "apply", "nine.bundle", "--note", "nine is enough", "--by", "ana")
    assert done.returncode == 0, done.stderr
    nine = str(bundles(site)[-1])
    assert nine != initial
    assert bundles(site, 1)[-1] == nine
    assert re.findall(r"partition (\d): (\S+) from offset \d+", done.stdout) == [("0", nine), ("1", nine)]
    feed.send(records[300:800])
    first.wait_decided(800)
    # One rule is switched off by one person.
    done = command(site, "rules", "disable", "account.many", "--note", "blocks a bank", "--by", "bo")
    assert done.returncode == 0, done.stderr
    feed.send(records[800:1_100])
    first.wait_decided(1_100)
    found = status(site)
    assert found["off"] == {"account.many": "bo"}
    assert [(entry["action"], entry["by"], entry["note"], entry["rule"]) for entry in found["log"]][1:] == [  # type: ignore[index]
        ("apply", "ana", "nine is enough", ""),
        ("disable", "bo", "blocks a bank", "account.many"),
    ]
    assert len({item["worker"] for item in found["partitions"]}) == 2  # type: ignore[index]
    # The directory still has the rule: going back to it has to be meant.
    done = command(site, "rules", "apply", "nine.bundle")
    assert done.returncode == 78
    assert "--switch-on account.many" in done.stderr
    done = command(site, "rules", "rollback")
    assert done.returncode == 3, "the bundles before have the rule too"
    done = command(site, "rules", "apply", "nine.bundle", "--switch-on", "account.many")
    assert done.returncode == 0, done.stderr
    done = command(site, "rules", "rollback", "--to", str(initial))
    assert done.returncode == 0, done.stderr
    assert [bundles(site, p)[-1] for p in (0, 1)] == [initial] * 2
    feed.send(records[1_100:])
    first.wait_decided(len(records))
    assert second.stop() == 0
    assert first.stop() == 0
    same_as_reference(site)
    decided = [effective(site, p) for p in (0, 1)]
    off = [version for version in site.journal(0).versions if "bundle" in version.changes][2]
    inside = range(
        off.from_offset, [v for v in site.journal(0).versions if "bundle" in v.changes][3].from_offset
    )
    assert inside
    assert not [o for o in inside if b'"account.many"' in decided[0][o]]


def test_what_is_broken_changes_nothing_whoever_sends_it(topics: Topics, tmp_path: Path) -> None:
    """Past the command's own check: errors, failed tests, false hashes, pointers without a change."""
    site = make(topics, tmp_path)
    feed, records = Feed(site), traffic(400, 32)
    worker = site.start()
    feed.send(records[:200])
    worker.wait_decided(200)
    (initial,) = bundles(site)
    client = proposer(site)
    broken = rules_of(site, 3, rulesets__account="account.count_1h->account.cuont_1h")
    assert "account.cuont_1h" in refusal(client, broken)
    assert "test `fires` of `account.many` failed" in refusal(client, rules_of(site, 500))
    other = rules_of(site, 3, schema="from: [string, integer], ->")
    assert "needs a restart" in refusal(client, other)
    assert "canonical form" in refusal(client, rules_of(site, 3) + b" ")
    # Who may write to the topic writes a pointer himself.
    good = rules_of(site, 3)
    (name,) = {archive_hash(good)}
    produce(site.bootstrap, f"{site.prefix}control", split_content("bundle", good))
    for pointer in (Pointer("nobody", name), Pointer(new_id(1), archive_hash(broken))):
        produce(site.bootstrap, f"{site.prefix}control", [write_pointer(pointer)])
    produce(site.bootstrap, f"{site.prefix}control", [(POINTER_KEY, b"nonsense")])
    worker.wait_for(
        lambda: worker.text.count("a pointer on the control topic is refused") == 3, "three refusals"
    )
    feed.send(records[200:])
    worker.wait_decided(len(records))
    assert bundles(site) == [initial]
    # The pointer in force was put back, so that a restart finds it.
    last = [r.value for r in site.read("control", 0) if r.key == POINTER_KEY][-1]
    assert orjson.loads(last or b"")["bundle"] == initial
    assert "refused last" in command(site, "rules", "status").stdout
    # And the way is still open.
    assert [item.bundle for item in push(client, good)] == [name]
    client.close()
    assert worker.stop() == 0
    same_as_reference(site)


def test_a_wider_change_needs_two_signatures_of_those_who_were_named_before(
    topics: Topics, tmp_path: Path
) -> None:
    """Narrower ones and a switch-off need none; the directory cannot go around it."""
    rules, keys = write_rules(tmp_path / "first"), {}
    for name in ("ana", "bo", "eve"):
        pem = tmp_path / f"{name}.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(pem)], check=True)
        shown = subprocess.run(
            ["openssl", "pkey", "-in", str(pem), "-pubout"], check=True, capture_output=True, text=True
        )
        keys[name] = shown.stdout.splitlines()[1]
    policy = (rules / "typologies.yaml").read_text()

    def signers(*names: str) -> str:
        return policy.rstrip("}\n") + ", signers: {" + ", ".join(f"{n}: {keys[n]}" for n in names) + "}}\n"

    def directory(count: int, *names: str) -> str:
        path = write_rules(tmp_path / f"rules{count}{len(names)}", count)
        (path / "typologies.yaml").write_text(signers(*names))
        done = command(
            site, "rules", "bundle", str(path), "--output", f"{path.name}.bundle", "--model", "none"
        )
        assert done.returncode == 0, done.stderr
        return f"{path.name}.bundle"

    def apply(bundle: str, *who: str) -> tuple[int, str]:
        for name in who:
            done = command(
                site, "rules", "sign", bundle, "--key", str(tmp_path / f"{name}.pem"), "--signer", name
            )
            assert done.returncode == 0, done.stderr
        done = command(site, "rules", "apply", bundle)
        return done.returncode, done.stderr

    (rules / "typologies.yaml").write_text(signers("ana", "bo"))
    site = Site(topics, tmp_path, rules)
    worker = site.start()
    feed, records = Feed(site), traffic(600, 33)
    feed.send(records[:200])
    worker.wait_decided(200)
    code, text = apply(directory(3, "ana", "bo"))
    assert code == 78
    assert "nobody has signed" in text
    assert "rule account.many: matches where it did not before" in text
    code, text = apply("rules32.bundle", "ana", "eve")
    assert code == 78, "eve is nobody here"
    assert "only ana" in text
    code, text = apply(directory(3, "ana", "bo", "eve"), "eve", "ana")
    assert code == 78, "a change can not name its own signers"
    assert apply("rules32.bundle", "bo")[0] == 0
    assert apply(directory(6, "ana", "bo"))[0] == 0, "a narrower change needs nobody"
    write_rules(site.rules, 2)
    (site.rules / "typologies.yaml").write_text(signers("ana", "bo"))
    worker.wait_for(lambda: "is refused; the rules before stay" in worker.text, "the refusal")
    worker.wait_for(lambda: "nobody has signed" in status(site)["workers"][0]["directory"], "the report")  # type: ignore[index]
    assert command(site, "rules", "disable", "account.many", "--note", "now").returncode == 0
    feed.send(records[200:])
    worker.wait_decided(len(records))
    assert len(bundles(site)) == 4
    # A restart does not let the refused directory in either.
    assert worker.stop() == 0
    worker = site.start()
    worker.wait_for(lambda: "differs from what is in force" in worker.text, "the refusal at the start")
    worker.wait_for(lambda: "epoch" in worker.text, "the start")
    assert worker.stop() == 0
    assert len(bundles(site)) == 4
    same_as_reference(site)


def test_a_restart_keeps_what_was_applied_and_takes_an_edit(topics: Topics, tmp_path: Path) -> None:
    """The directory counts when it changed, not because it differs; without a worker a change waits."""
    site = make(topics, tmp_path)
    feed, records = Feed(site), traffic(700, 34)
    worker = site.start()
    feed.send(records[:100])
    worker.wait_decided(100)
    client = proposer(site)
    worker.wait_for(lambda: client.refresh().pointer is not None, "the directory's pointer")
    applied = rules_of(site, 3)
    push(client, applied)
    feed.send(records[100:200])
    worker.wait_decided(200)
    address = served(worker)

    def document() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(urllib.request.urlopen(address + "/status", timeout=10).read())
        return found

    # The page is a second old at most.
    worker.wait_for(lambda: document()["partitions"][0]["bundle"] == archive_hash(applied), "the status")
    assert document()["partitions"][0]["bundle_since"] == 100
    assert document()["rules_change"]["kept"][0] == archive_hash(applied)
    worker.kill()
    # What the worker compiled is there for the next one: the directory's rules, and those that were applied.
    forms = {path.name[:64] for path in tmp_path.glob("state/*/compiled/*.rules")}
    assert forms == {name.removeprefix("sha256:") for name in bundles(site)}
    worker = site.start()
    feed.send(records[200:300])
    worker.wait_decided(300)
    assert bundles(site)[-1] == archive_hash(applied)
    assert worker.stop() == 0
    # No worker runs: a good change waits for one, a bad one is refused by the command.
    later = write_rules(tmp_path / "later", 7)
    done = command(site, "rules", "apply", str(later))
    assert done.returncode == 0, done.stderr
    assert "no worker runs" in done.stdout
    (later / "rulesets" / "account.yaml").write_text("rules: [")
    assert command(site, "rules", "apply", str(later)).returncode == 1
    worker = site.start()
    feed.send(records[300:400])
    worker.wait_decided(400)
    assert bundles(site)[-1] == archive_hash(rules_of(site, 7))
    worker.kill()
    write_rules(site.rules, 8)
    worker = site.start()
    feed.send(records[400:])
    worker.wait_decided(len(records))
    assert bundles(site)[-1] == archive_hash(rules_of(site, 8)), "an edit while nobody ran"
    assert worker.stop() == 0
    client.close()
    same_as_reference(site)
    wanted = [archive_hash(rules_of(site, count)) for count in (4, 3, 7, 8)]
    assert bundles(site) == wanted


def test_a_switch_off_can_carry_nothing_else(topics: Topics, tmp_path: Path) -> None:
    """One person switches off; another threshold under that name is refused."""
    site = make(topics, tmp_path)
    worker = site.start()
    Feed(site).send(traffic(100, 35))
    worker.wait_decided(100)
    client = proposer(site)
    smuggled = make_archive(switched_off(archive_files(rules_of(site, 2)), "account.much"))
    assert "with `account.much` switched off" in refusal(client, smuggled, "disable", rule="account.much")
    assert "none of the" in refusal(client, rules_of(site, 2), "rollback")
    honest = make_archive(switched_off(archive_files(rules_of(site, 4)), "account.much"))
    assert push(client, honest, "disable", rule="account.much")
    client.close()
    assert worker.stop() == 0
