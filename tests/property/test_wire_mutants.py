"""The fuzz of the lanes against kernels with a bug in their source, and without room outside their arrays."""

from __future__ import annotations

import importlib.util
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from support.lanes import both
from support.mutations import mutated
from support.schemas import default_schema, nested_schema
from support.wire import NESTED, TRANSACTION, slice_of

import fraudstream.stream.wire
from fraudstream.stream.wire import fast
from fraudstream.stream.wire.tables import compile_schema

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

WIRE = Path(fraudstream.stream.wire.__path__[0])
KERNELS = ("bytes", "text", "record", "number", "values", "fields", "rows")
TABLES = [(compile_schema(default_schema()), TRANSACTION), (compile_schema(nested_schema()), NESTED)]
TESTS = Path(__file__).parents[1]

BUGS: dict[str, tuple[str, str, str]] = {
    "surrogates in UTF-8": ("text", "high = np.int64(0x9F)", "high = np.int64(0xBF)"),
    "overlong forms of four bytes": ("text", "low = np.int64(0x90)", "low = np.int64(0x80)"),
    "overlong forms of two bytes": ("text", "c < 0xC2 or", "c < 0xC0 or"),
    "beyond U+10FFFF": ("text", "high = np.int64(0x8F)", "high = np.int64(0xBF)"),
    "lone low surrogates": ("text", "if unit >= 0xDC00 or at + 12 > end or", "if at + 12 > end or"),
    "high surrogates before any escape": ("text", "if 0xDC00 <= hex4", "if 0 <= hex4"),
    "form feeds as line feeds": ("text", "c = np.int64(12)", "c = np.int64(10)"),
    "control characters in strings": (
        "text",
        "elif c < 0x20:\n            return _NO",
        "elif c < 0x20:\n            at += 1",
    ),
    "repeated members": ("record", "!= at_.ABSENT:", "== at_.OBJECT:"),
    "escaped names taken as they are": (
        "record",
        "if found & 1:\n                        return False",
        "if found < 0:\n                        return False",
    ),
    "leading zeros": ("record", "(b[at] == 48 and digits > at + 1)", "(b[at] == 58)"),
    "anything after the record": ("record", "return _skip_space(b, at, end) == end", "return True"),
    "brackets that do not match": (
        "record",
        "if c != (93 if node == -2 else 125):",
        "if c != 93 and c != 125:",
    ),
    "a comma before a brace": ("record", "if c != 125 or expected == _NAME:", "if c != 125:"),
    "decimals cut off": ("values", "elif c != 48:", "elif c > 57:"),
    "offsets the wrong way": (
        "values",
        "time_ms + offset_ms if b[at] == 45",
        "time_ms + offset_ms if b[at] == 43",
    ),
    "1900 as a leap year": ("values", "(year % 100 != 0 or year % 400 == 0)", "True"),
    "second 60": ("values", "second > 59", "second > 60"),
    "negative zero": ("number", "if mantissa == 0:", "if mantissa == 0 and not negative:"),
    "halves of the last place": ("number", "if above > 0 or (above == 0", "if above > 1 or (above == 0"),
    "ties away from even": ("number", "(above == 0 and k & 1 == 1)", "(above == 0 and k < 0)"),
    "half a point": ("fields", "if there == 2:", "if there >= 1:"),
    "states left out of the row's hash": ("rows", "packed |= s[state + i]", "packed |= s[state]"),
}
"""What the bug does -> (kernel file, right, wrong)."""


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _mutant(folder: Path, number: int, kernel: str, right: str, wrong: str) -> Callable[..., int]:
    """Return the kernel compiled from sources in which ``right`` is ``wrong``."""
    prefix = f"wire_mutant_{number}"
    loaded = None
    for part in KERNELS:
        source = (WIRE / f"kernel_{part}.py").read_text()
        if part == kernel:
            assert source.count(right) == 1, (
                f"`{right}` stands {source.count(right)} times in kernel_{part}.py"
            )
            source = source.replace(right, wrong)
        source = source.replace("fraudstream.stream.wire.kernel_", f"{prefix}_")
        path = folder / f"{prefix}_{part}.py"
        path.write_text(source)
        loaded = _load(f"{prefix}_{part}", path)
    assert loaded is not None
    return loaded.read_rows


def _borders() -> Iterator[bytes]:
    """Yield records with every border of UTF-8 and of escaped surrogates, in a text that is read."""
    leads = [
        b"\xc0",
        b"\xc1",
        b"\xc2",
        b"\xdf",
        b"\xe0",
        b"\xe1",
        b"\xed",
        b"\xef",
        b"\xf0",
        b"\xf1",
        b"\xf4",
        b"\xf5",
    ]
    tails = [b"\x7f", b"\x80", b"\x8f", b"\x90", b"\x9f", b"\xa0", b"\xbf", b"\xc0"]
    for size in (1, 2, 3):
        for lead, *rest in itertools.product(leads, *[tails] * size):
            yield lead + b"".join(rest)
    units = (0x41, 0xD7FF, 0xD800, 0xDBFF, 0xDC00, 0xDFFF, 0xE000)
    for one, other in itertools.product(units, units):
        yield b"\\u%04x\\u%04x" % (one, other)
        yield b"\\u%04x" % one


def _corpus() -> Iterator[tuple[int, list[bytes]]]:
    """Yield (schema, records) of the borders, then of 60,000 mutated records of each schema."""
    values = [
        b'{"transaction_id":"1","event_time":1795488011123,"account_id":"1","event_type":"login","city":"'
        + item
        + b'"}'
        for item in _borders()
    ]
    for begin in range(0, len(values), 500):
        yield 0, values[begin : begin + 500]
    streams = [mutated([base], seed=31) for _, base in TABLES]
    for _ in range(120):
        for number, stream in enumerate(streams):
            yield number, list(itertools.islice(stream, 500))


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_in_a_kernel_is_found(bug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these makes the lanes differ."""
    kernel = _mutant(tmp_path, list(BUGS).index(bug), *BUGS[bug])
    monkeypatch.setattr(fast, "read_rows", kernel)
    assert any(both(slice_of(values), TABLES[number][0]) for number, values in _corpus())


BOUNDED = """
import itertools
import numba
import numpy as np
from support.lanes import both
from support.mutations import mutated
from support.schemas import default_schema, nested_schema
from support.wire import NESTED, TRANSACTION, record, slice_of
from fraudstream.stream.wire.kernel_bytes import word_at
from fraudstream.stream.wire.tables import compile_schema

assert numba.config.BOUNDSCHECK
try:
    word_at(np.zeros(7, np.uint8), 0)
except IndexError:
    pass
else:
    raise AssertionError("accesses are not checked")
for schema, base in ((default_schema(), TRANSACTION), (nested_schema(), NESTED)):
    tables = compile_schema(schema)
    for raw in itertools.islice(mutated([base], seed=7), 20_000):
        assert both(slice_of([raw]), tables) == []
    whole = record(base)
    for size in range(len(whole)):
        assert both(slice_of([whole[:size]]), tables) == []
print("within bounds")
"""


def test_no_access_leaves_an_array(tmp_path: Path) -> None:
    """40,000 mutated records and every cut of a good one, each alone in its buffer, every access checked."""
    checked = {
        **os.environ,
        "NUMBA_BOUNDSCHECK": "1",
        "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(TESTS),
    }
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED], env=checked, capture_output=True, text=True, timeout=800, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "within bounds"), done.stderr[-2000:]
