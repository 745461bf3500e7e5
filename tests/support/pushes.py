"""Good, broken and hostile pushes of rules, one after the other, while transactions are decided."""

from __future__ import annotations

import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.bombs import BOMBS
from support.changes import proposer, push, refusal, rules_of
from support.kafka import Topics, produce
from support.worker import Feed, Running, Site, traffic
from support.worker_rules import write_rules

from fraudstream.rules.compiler.compile import archive_hash, make_archive
from fraudstream.stream.changes import POINTER_KEY, Change, Pointer, new_id, write_change, write_pointer
from fraudstream.stream.control_store import split_content
from fraudstream.stream.proposing import Proposer
from fraudstream.stream.signing import Signature, public_text, sign

REPORT = "FRAUDSTREAM_PUSHES_REPORT"
"""Names a file that gets the figures of a run."""
BOMBS_A_ROUND = 6
CHUNK = 40
"""Records sent at once, so that every push meets traffic."""


@dataclass(slots=True)
class Pushed:
    """What became of a run."""

    expected: list[str] = field(default_factory=list)
    """Bundles that have to be in force, in order, the first start's included."""
    refused: dict[str, int] = field(default_factory=dict)
    """Kind -> pushes."""
    seconds: list[float] = field(default_factory=list)
    """From a good push to its journal record on every partition."""

    def report(self) -> dict[str, object]:
        """Return the figures."""
        ordered = sorted(self.seconds)
        return {
            "good": len(ordered),
            "refused": sum(self.refused.values()),
            "kinds": self.refused,
            "seconds_median": round(statistics.median(ordered), 2),
            "seconds_max": round(ordered[-1], 2),
            "within_3_s": sum(value <= 3.0 for value in ordered),
            "load_average": round(os.getloadavg()[0], 1),
            "cores": os.cpu_count(),
        }


class Pushes:
    """A site whose bank wants two signatures for what widens, and everything that can be pushed to it."""

    def __init__(self, topics: Topics, home: Path, partitions: int) -> None:
        self.keys = {name: Ed25519PrivateKey.generate() for name in ("ana", "bo", "eve")}
        rules = write_rules(home / "first", 50)
        self._policy = (rules / "typologies.yaml").read_text()
        (rules / "typologies.yaml").write_text(self._signers("ana", "bo"))
        self.site = Site(topics, home, rules, partitions)
        self.result = Pushed()
        self._bombs = [(name, make) for name, make in BOMBS.items() if name != "conditions that double"]
        self._next_bomb = 0
        self._limit = 50

    def _signers(self, *names: str) -> str:
        keys = ", ".join(f"{name}: {public_text(self.keys[name])}" for name in names)
        return self._policy.rstrip("}\n") + f", signers: {{{keys}}}}}\n"

    def archive(self, count: int, *names: str, **more: str) -> bytes:
        """Return the rules with a limit and signers."""
        change = f"{self._policy}->{self._signers(*(names or ('ana', 'bo')))}"
        return rules_of(self.site, count, typologies=change, **more)

    def signed(self, archive: bytes, *names: str) -> tuple[Signature, ...]:
        """Return signatures of a bundle."""
        return tuple(sign(self.keys[name], name, archive_hash(archive)) for name in names)

    def good(self, client: Proposer) -> None:
        """Push a change that may be in force: narrower ones unsigned, wider ones signed by two."""
        wider = len(self.result.seconds) % 2 == 0
        self._limit += -7 if wider else 6
        archive = self.archive(self._limit)
        signatures = self.signed(archive, "bo", "ana") if wider else ()
        begin_s = time.monotonic()
        found = push(client, archive, signatures=signatures)
        self.result.seconds.append(time.monotonic() - begin_s)
        assert {item.bundle for item in found} == {archive_hash(archive)}
        self.result.expected.append(archive_hash(archive))

    def bad(self, client: Proposer, number: int) -> None:
        """Push something that must not be in force."""
        kinds = list(self._bad())
        # Every other kind: few pushes see pointers and bombs too.
        kind, does = kinds[2 * number % len(kinds)]
        does(client)
        self._next_bomb += kind.startswith("bomb")
        self.result.refused[kind] = self.result.refused.get(kind, 0) + 1

    def _bad(self) -> Iterator[tuple[str, Callable[[Proposer], None]]]:
        wide = self.archive(3)

        def refused(archive: bytes, word: str, **more: object) -> Callable[[Proposer], None]:
            def does(client: Proposer) -> None:
                text = refusal(client, archive, **more)  # type: ignore[arg-type]
                assert word in text, text

            return does

        one = (*self.signed(wide, "ana"), *self.signed(wide, "ana"))
        forged = (*self.signed(wide, "ana"), Signature("bo", self.signed(wide, "eve")[0].value))
        older = (*self.signed(wide, "ana"), *self.signed(self.archive(4), "bo"))
        yield (
            "unknown name",
            refused(self.archive(9, rulesets__account="account.sum_24h > 5000->x.y > 5"), "x.y"),
        )
        yield "failed test", refused(self.archive(200), "test `fires` of `account.many` failed")
        yield "division by zero", refused(self.archive(9, rulesets__account="> 5000 and->> 5000 / 0 and"), "")
        yield "wider, unsigned", refused(wide, "nobody has signed")
        yield "wider, one signer twice", refused(wide, "only ana", signatures=one)
        yield "wider, forged signature", refused(wide, "only ana", signatures=forged)
        yield "wider, signature of another bundle", refused(wide, "only ana", signatures=older)
        yield (
            "names its own signers",
            refused(
                self.archive(3, "eve", "ana"),
                "only ana",
                signatures=self.signed(self.archive(3, "eve", "ana"), "eve", "ana"),
            ),
        )
        yield "not an archive", refused(b"\x80\x04 pickle", "not a bundle archive")
        yield "an archive that is cut", refused(wide[: len(wide) // 2], "not a bundle archive")
        yield "an archive of another layout", refused(wide + b"\n", "canonical form")
        yield (
            "another schema",
            refused(self.archive(9, schema="from: [string, integer], ->"), "needs a restart"),
        )
        yield "a rollback to what never was", refused(wide, "none of the", action="rollback")
        yield "a switch-off that widens", refused(wide, "switched off", action="disable", rule="account.many")
        yield (
            "a pointer without a change",
            lambda _: self._write(write_pointer(Pointer("nobody", archive_hash(wide)))),
        )
        yield "a pointer that is no JSON", lambda _: self._write((POINTER_KEY, b"{"))
        yield "a pointer to what was refused", self._forced
        yield "content under another name", self._misnamed
        yield "half a directory", self._half_a_directory
        for _ in range(BOMBS_A_ROUND):
            name, make = self._bombs[self._next_bomb % len(self._bombs)]
            yield f"bomb: {name}", refused(make_archive(make()), "")

    def _write(self, *records: tuple[bytes, bytes]) -> None:
        produce(self.site.bootstrap, f"{self.site.prefix}control", records)

    def _forced(self, _: Proposer) -> None:
        archive, now_ms = self.archive(3), time.time_ns() // 1_000_000
        change = Change(new_id(now_ms), "apply", archive_hash(archive), "an attacker", now_ms)
        pointer = Pointer(change.id, change.bundle, "", {})
        self._write(*split_content("bundle", archive), write_change(change), write_pointer(pointer))

    def _misnamed(self, _: Proposer) -> None:
        other, now_ms = archive_hash(self.archive(60)), time.time_ns() // 1_000_000
        change = Change(new_id(now_ms), "apply", other, "an attacker", now_ms)
        key = f"bundle:{other.removeprefix('sha256:')}:1/1".encode()
        pointer = Pointer(change.id, other, "", {})
        self._write((key, self.archive(3)), write_change(change), write_pointer(pointer))

    def _half_a_directory(self, _: Proposer) -> None:
        file = self.site.rules / "rulesets" / "account.yaml"
        whole = file.read_text()
        file.write_text(whole[: len(whole) // 2])
        time.sleep(1.2)
        file.write_text(whole)

    def run(self, good: int, bad: int, records: int) -> tuple[Pushed, Running]:
        """Push everything under load; the worker has decided all records on return and still runs."""
        site = self.site
        worker = site.start()
        feed, made = Feed(site), traffic(records, 41)
        pushed = 0
        feed.send(made[:CHUNK])
        worker.wait_decided(CHUNK)
        self.result.expected.append(str(site.journal(0).versions[0].changes["bundle"]))
        done = threading.Event()

        def load() -> None:
            # The records last to the last push: no chunk goes before its share of the pushes.
            for begin in range(CHUNK, len(made), CHUNK):
                while begin > len(made) * (pushed + 1) / (good + bad) and not done.wait(0.05):
                    pass
                feed.send(made[begin : begin + CHUNK])
                done.wait(0.25)

        sending = threading.Thread(target=load, name="feed")
        sending.start()
        client = proposer(site)
        worker.wait_for(lambda: client.refresh().pointer is not None, "the directory's pointer")
        share = bad / good
        sent = 0
        for number in range(good):
            while sent < round((number + 1) * share):
                self.bad(client, sent)
                sent += 1
                pushed += 1
            self.good(client)
            pushed += 1
        done.set()
        sending.join()
        worker.wait_decided(len(made))
        client.close()
        if (path := os.environ.get(REPORT)) is not None:
            Path(path).write_text(json.dumps(self.result.report(), indent=1) + "\n")
        print(json.dumps(self.result.report()))  # noqa: T201 - the test's own report
        return self.result, worker
