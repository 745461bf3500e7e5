"""Every command of docs/guide/operator.md in its order, against a broker and a running worker."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.kafka import Topics
from support.worker import ROOT, Feed, Site, effective, same_as_reference

from fraudstream.bench.observe import free_port
from fraudstream.bench.traffic.generate import START_MS, generate
from fraudstream.bench.traffic.hostile import Record
from fraudstream.rules.lsp.directory import RulesDirectory

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(1_500)]
GUIDE = (ROOT / "docs" / "guide" / "operator.md").read_text("utf-8")
RULE = "payee.first_large"
COUNT = 12_000


def blocks(kind: str) -> list[str]:
    """Return the code blocks of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


class Desk:
    """An operator's shell, in a checkout of the bank's rules."""

    def __init__(self, site: Site, port: int) -> None:
        self.home = site.home / "desk"
        shutil.copytree(site.rules, self.home / "rules")
        shutil.copytree(ROOT / "docs" / "examples", self.home / "docs" / "examples")
        self._site, self._port = site, port

    def run(self, script: str) -> str:
        """Run a block of the guide."""
        command = Path(sys.executable).parent
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script.replace(":9464", f":{self._port}")],
            cwd=self.home,
            env={**os.environ, **self._site.environment, "PATH": f"{command}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def counted(shown: str) -> float:
    """Return how often the rule was true, of the lines of `/metrics`."""
    lines = [line for line in shown.splitlines() if 'outcome="true"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def scam(number: int) -> Record:
    """Return a large instant payment to somebody new."""
    event = {
        "transaction_id": f"SCAM{number}",
        "event_type": "payment",
        "event_time": START_MS + 40 * 86_400_000 + number * 60_000,
        "account_id": f"62220209999{number:05}",
        "direction": "out",
        "kind": "instant",
        "amount": "12000.00",
        "currency": "CNY",
        "balance_before": "20000.00",
        "counterparty_id": f"new-{number}",
        "segment": "retail",
        "channel": "mobile",
    }
    return Record(str(event["account_id"]).encode(), json.dumps(event).encode(), 0, "")


def test_the_session_of_the_guide(topics: Topics, tmp_path: Path) -> None:
    """A fraud that passed, a rule, tests, replay, shadow, two signatures, live, off, and back."""
    port = free_port()
    site = Site(topics, tmp_path, ROOT / "rules", metrics_port=str(port))
    desk_keys = {}
    for name in ("ana", "bo"):
        pem = tmp_path / f"{name}.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(pem)], check=True)
        shown = subprocess.run(
            ["openssl", "pkey", "-in", str(pem), "-pubout"], check=True, capture_output=True
        )
        desk_keys[name] = shown.stdout.decode().splitlines()[1]
    policy = site.rules / "typologies.yaml"
    signers = "policy:\n  signers: {" + ", ".join(f"{name}: {key}" for name, key in desk_keys.items()) + "}\n"
    assert policy.read_text().count("policy:\n") == 1
    policy.write_text(policy.read_text().replace("policy:\n", signers))
    desk = Desk(site, port)
    for name in desk_keys:
        shutil.copy(tmp_path / f"{name}.pem", desk.home)
    chunks = list(generate(COUNT, 5, START_MS, 200))
    labels = [label.encode() + b"\n" for chunk in chunks for label in chunk.labels]
    (desk.home / "labels.jsonl").write_bytes(b"".join(labels))
    worker, feed = site.start(), Feed(site)
    for chunk in chunks:
        feed.send(Record(key, value, 0, "") for key, value in zip(chunk.keys, chunk.values, strict=True))
    worker.wait_for(lambda: site.decided() >= COUNT, "the history", 600)
    look, check, trial, apply, read, live, off, back = blocks("sh")

    # 1. What slipped through.
    before = desk.run(look).splitlines()
    slipped = int(before[-1].split()[0])
    assert slipped >= 3
    # 2. The rule, as the editor sees it.
    (text,) = blocks("yaml")
    path = text.splitlines()[0].removeprefix("# ")
    (desk.home / path).write_text(text)
    editor = RulesDirectory(desk.home / "rules")
    assert [item for found in editor.check().values() for item in found if item.level == "error"] == []
    line = next(at for at, row in enumerate(text.split("\n")) if "pair.payee_seen_for is missing" in row)
    _, offered = editor.complete("rulesets/first_payment.yaml", line, len("    and pair.payee_"))
    assert "pair.payee_seen_for" in [item.name for item in offered]
    found = editor.known_at("rulesets/first_payment.yaml", line, len("    and pair.payee_"))
    assert found is not None
    assert "with the same account.id and counterparty.id" in found[1].text
    # 3. Tested.
    shown = desk.run(check)
    assert "2 tests of 1 rule: 2 passed, 0 failed" in shown
    assert "in shadow: evaluated and counted, without effect" in shown
    # 4. On what has happened.
    after = desk.run(trial).splitlines()
    assert int(after[-1].split()[0]) < slipped
    # 5. In shadow: it counts and decides nothing.
    assert "from offset" in desk.run(apply)
    feed.send(scam(number) for number in range(3))
    worker.wait_for(lambda: site.decided() >= COUNT + 3, "the shadow's traffic")
    # 6. The comparison.
    worker.wait_for(lambda: counted(desk.run(read)) == 3, "three counted matches")
    # 7. Live, agreed to by two.
    shown = desk.run(live)
    assert f"rule {RULE}: mode shadow -> live" in shown
    assert "first large payment, live" in shown
    feed.send(scam(number) for number in range(3, 6))
    worker.wait_for(lambda: site.decided() >= COUNT + 6, "live traffic")
    # 8. Off, and the bundle before.
    assert f"switched off: {RULE}" in desk.run(off + "fraudstream rules status\n")
    feed.send(scam(number) for number in range(6, 9))
    worker.wait_for(lambda: site.decided() >= COUNT + 9, "traffic without the rule")
    desk.run(back)
    assert worker.stop() == 0
    same_as_reference(site)
    decided = effective(site, 0)
    reasons = {at: f'"{RULE}"'.encode() in decided[COUNT + at] for at in range(9)}
    assert reasons == {at: 3 <= at < 6 for at in range(9)}
    assert all(json.loads(decided[COUNT + at])["decision"] == "block" for at in range(3, 6))
