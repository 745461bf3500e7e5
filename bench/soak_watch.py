"""A worker under watch: `fraudstream worker` that also notes what it did whenever its loop stood still.

``python -m fraudstream.bench.soak_watch FILE`` runs the worker and appends to ``FILE`` one JSON object a
line: ``at`` (Unix seconds, end of the interval), ``ms`` (its length), ``kind`` and ``what``.

loop      the event loop ran nothing for longer than ``LATE_S``; ``what`` is the function that held it, as a
          thread beside saw it, ``cpu_wait_ms`` how long the kernel let its thread wait for a processor then
gc        a garbage collection longer than ``LATE_S``
wait      within 100 ms the loop's thread waited for a processor so long in short pieces
snapshot  was under way in this interval, for orientation
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from fraudstream.stream.commands import worker

BEAT_S = 0.005
LATE_S = 0.010
"""Shorter intervals explain no stall of 50 ms, unless there are many."""
SHORT_S = 0.1
"""Shorter waits are added up over this."""


class Watch:
    """Notes when the loop stands still, and where."""

    def __init__(self, sink: TextIO) -> None:
        self._sink = sink
        self._thread = threading.main_thread().ident
        self._beat_s = time.monotonic()
        self._seen: Counter[str] = Counter()
        self._gc_s = 0.0
        self._begun: dict[str, float] = {}
        self._statistics = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)

    def note(self, kind: str, seconds: float, what: str = "", **more: Any) -> None:
        """Write one interval that ends now."""
        record = {"at": round(time.time(), 4), "ms": round(seconds * 1000, 1), "kind": kind, "what": what}
        self._sink.write(json.dumps(record | more) + "\n")
        self._sink.flush()

    def begin(self) -> None:
        """Start to look; call it in the loop that is watched."""
        gc.callbacks.append(self._collected)
        threading.Thread(target=self._look, name="watch", daemon=True).start()
        self._task = asyncio.create_task(self._beat(), name="watch")

    async def _beat(self) -> None:
        waited_ns = self._waited_ns()
        since_s, short_ns = time.monotonic(), 0
        while True:
            self._beat_s = before_s = time.monotonic()
            await asyncio.sleep(BEAT_S)
            late_s = time.monotonic() - before_s - BEAT_S
            waiting_ns, waited_ns = self._waited_ns() - waited_ns, self._waited_ns()
            seen, self._seen = self._seen, Counter()
            if late_s > LATE_S:
                what = seen.most_common(1)[0][0] if seen else "between two looks"
                self.note("loop", late_s, what, cpu_wait_ms=round(waiting_ns / 1e6, 1))
            else:
                short_ns += waiting_ns
            if before_s - since_s > SHORT_S:
                if short_ns > LATE_S * 1e9:
                    waited_ms = round(short_ns / 1e6, 1)
                    self.note("wait", before_s - since_s, "short waits", cpu_wait_ms=waited_ms)
                since_s, short_ns = before_s, 0
            self._tasks()

    def _tasks(self) -> None:
        """Note the ends of snapshots, which are tasks."""
        running = {task.get_name().split("-")[0] for task in asyncio.all_tasks() if not task.done()}
        now_s = time.monotonic()
        if "snapshot" in running:
            self._begun.setdefault("snapshot", now_s)
        elif "snapshot" in self._begun:
            self.note("snapshot", now_s - self._begun.pop("snapshot"))

    def _waited_ns(self) -> int:
        """Return how long this thread has waited for a processor since it began."""
        return int(os.pread(self._statistics, 100, 0).split()[1])

    def _look(self) -> None:
        while True:
            time.sleep(BEAT_S)
            if time.monotonic() - self._beat_s > BEAT_S + LATE_S / 2:
                frame = sys._current_frames().get(self._thread or 0)  # noqa: SLF001 the documented way to look
                if frame is not None:
                    self._seen[place(frame)] += 1

    def _collected(self, phase: str, _info: dict[str, int]) -> None:
        now_s = time.monotonic()
        if phase == "start":
            self._gc_s = now_s
        elif now_s - self._gc_s > LATE_S:
            self.note("gc", now_s - self._gc_s, f"generation {_info['generation']}")


def place(frame: FrameType) -> str:
    """Name where a thread is: its innermost function, and our own function that led there."""
    inner = f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_name}"
    at: FrameType | None = frame
    while at is not None:
        module = str(at.f_globals.get("__name__", ""))
        if module.startswith("fraudstream.") and module != __name__:
            own = f"{module.removeprefix('fraudstream.')}:{at.f_code.co_name}"
            return own if at is frame else f"{own} > {inner}"
        at = at.f_back
    return inner


def main(argv: list[str]) -> int:
    """Run a worker until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("file", type=Path)
    watched = parser.parse_args(argv)
    options = argparse.ArgumentParser()
    worker.add_arguments(options)
    serve = worker.serve
    with watched.file.open("a") as sink:
        watch = Watch(sink)

        async def serve_watched(*args: Any, **named: Any) -> None:
            watch.begin()
            await serve(*args, **named)

        worker.serve = serve_watched
        return worker.run(options.parse_args([]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
