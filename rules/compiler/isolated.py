"""Compile rule files that nobody has looked at yet, in a child process with limits.

Structural limits (file size, depth, number of values, length of expressions) refuse bombs within
milliseconds. What they miss must not stop the decision loop: the child has limits on CPU time, memory
and wall time, no environment but the machine's paths, and says only what it found. The caller's process
then compiles the same files, which by now are known to be cheap; no object crosses the border, so
nothing is unpickled.

Starting the child costs about half a second (imports), compiling 2,000 rules about two.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from fraudstream.rules.compiler.compile import TOTAL_BYTES_MAX, Compiled, compile_sources
from fraudstream.rules.compiler.source import Diagnostic, Span, printable

CPU_SECONDS = 10
"""Imports and small rule sets; large ones get ``CPU_SECONDS_PER_MIB`` more."""
CPU_SECONDS_PER_MIB = 5
MEMORY_BYTES = 2 << 30
"""Address space: NumPy and LLVM map about 0.3 GiB, 16 MiB of rules take less than one."""
OUT_OF_MEMORY = 99
"""Exit code of a child that may not have more memory; a signal ends one without CPU time."""
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "NUMBA_CACHE_DIR")
"""What finds the same code as the caller's; no settings and no secrets."""


def compile_isolated(
    files: Mapping[str, bytes],
    model_inputs: Iterable[str] | None = None,
    *,
    cpu_seconds: int | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> Compiled:
    """Compile rule files as ``compile_sources`` does, but survive whatever they contain.

    Blocks for the child's run: call it from a thread, not from an event loop.

    Args:
        files: content by path.
        model_inputs: as for ``compile_sources``.
        cpu_seconds: limit of the child's CPU time; None: by size.
        memory_bytes: limit of the child's address space.
    """
    total = sum(map(len, files.values()))
    inputs = None if model_inputs is None else sorted(model_inputs)
    if total > TOTAL_BYTES_MAX:
        return compile_sources(files, inputs)  # refused by size alone
    seconds = cpu_seconds or CPU_SECONDS + CPU_SECONDS_PER_MIB * (total >> 20)
    request = {
        "files": {path: base64.b64encode(data).decode() for path, data in files.items()},
        "model_inputs": inputs,
        "cpu_seconds": seconds,
        "memory_bytes": memory_bytes,
    }
    try:
        child = subprocess.run(  # noqa: S603 - this interpreter, this module, nothing from the files
            [sys.executable, "-P", "-s", "-m", __name__],
            input=json.dumps(request).encode(),
            capture_output=True,
            env={name: os.environ[name] for name in _KEPT if name in os.environ},
            timeout=3 * seconds + 5,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _stopped(files, f"compiling took more than {3 * seconds + 5} s")
    if child.returncode not in (0, OUT_OF_MEMORY) and child.returncode > 0:
        last = child.stderr.decode(errors="replace").strip().rsplit("\n", 1)[-1]
        return _stopped(files, f"the compiler failed: {printable(last[:200])}")
    if child.returncode != 0:
        return _stopped(
            files, f"compiling needs more than {seconds} s of CPU or {memory_bytes >> 20} MiB of memory"
        )
    answer = json.loads(child.stdout)
    if not answer["compiled"]:
        found = (
            Diagnostic(item["level"], item["message"], Span(**item["span"]), item["hint"], item["code"])
            for item in answer["diagnostics"]
        )
        return Compiled(None, tuple(found))
    return compile_sources(files, inputs)


def _stopped(files: Mapping[str, bytes], message: str) -> Compiled:
    place = Span(max(files, key=lambda path: len(files[path]), default=""), 1, 1)
    return Compiled(None, (Diagnostic("error", message, place, "the file is too complex; simplify it"),))


def _child() -> int:
    try:
        return _answer()
    except MemoryError:
        return OUT_OF_MEMORY


def _answer() -> int:
    request = json.loads(sys.stdin.buffer.read())
    seconds, memory = request["cpu_seconds"], request["memory_bytes"]
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    files = {path: base64.b64decode(data) for path, data in request["files"].items()}
    compiled = compile_sources(files, request["model_inputs"])
    answer = {
        "compiled": compiled.bundle is not None,
        "diagnostics": [asdict(item) for item in compiled.diagnostics],
    }
    sys.stdout.write(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(_child())
