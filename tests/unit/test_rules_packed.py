"""The compiled form of a bundle: equal to what the sources compile to, and never believed over them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.sample_rules import changed, sample_files
from support.worker_rules import write_rules

from fraudstream.bench.workloads.seed_scale import w2_files
from fraudstream.rules import Compiled, compile_archive, compile_sources, read_directory, run_tests
from fraudstream.rules.bundle import Bundle
from fraudstream.rules.compiler import packed
from fraudstream.rules.compiler.packed import PackedError, pack, unpack
from fraudstream.stream import compiled_forms, directory
from fraudstream.stream.commands.models import shipped_registry
from fraudstream.stream.compiled_forms import FORMS_KEPT, CompiledForms
from fraudstream.stream.directory import check_directory


def differences(was: Any, now: Any, where: str = "bundle") -> Iterator[str]:
    """Yield every place at which two values differ in type or content."""
    if type(was) is not type(now):
        yield f"{where}: {type(was).__name__} became {type(now).__name__}"
    elif isinstance(was, np.ndarray):
        same = was.dtype == now.dtype and was.shape == now.shape and np.array_equal(was, now)
        if not same or now.flags.writeable != was.flags.writeable or not now.flags.aligned:
            yield f"{where}: another array"
    elif is_dataclass(was):
        for item in fields(was):
            yield from differences(getattr(was, item.name), getattr(now, item.name), f"{where}.{item.name}")
    elif isinstance(was, Mapping):
        if list(was) != list(now):
            yield f"{where}: other keys"
        for key in was.keys() & now.keys():
            yield from differences(was[key], now[key], f"{where}[{key!r}]")
    elif isinstance(was, tuple):
        if len(was) != len(now):
            yield f"{where}: {len(was)} items became {len(now)}"
        for at, pair in enumerate(zip(was, now, strict=False)):
            yield from differences(*pair, f"{where}[{at}]")
    elif was != now:
        yield f"{where}: {was!r} became {now!r}"


def compiled_of(name: str) -> Compiled:
    """Compile one of the rules that the tests have."""
    files = {
        "sample": sample_files,
        "shipped": lambda: read_directory(shipped_registry().parent / "rules"),
        "generated": lambda: w2_files(number_of_rules=20),
    }[name]()
    compiled = compile_sources(files)
    assert compiled.bundle is not None
    return compiled


@pytest.fixture(scope="module")
def sample() -> Bundle:
    """The sample's bundle."""
    bundle = compiled_of("sample").bundle
    assert bundle is not None
    return bundle


@pytest.mark.parametrize("name", ["sample", "shipped", "generated"])
def test_every_field_is_what_the_sources_compile_to(name: str) -> None:
    """In type, order and content, arrays with their flags; packing it again gives the same bytes."""
    bundle = compiled_of(name).bundle
    assert bundle is not None
    data = pack(bundle)
    found = unpack(data, bundle.archive)
    assert list(differences(bundle, found)) == []
    assert found.program.digest == bundle.program.digest
    assert pack(found) == data


def test_a_difference_would_be_seen(sample: Bundle) -> None:
    """The comparison above looks into rules, arrays and tables."""
    rule = replace(sample.rules[0], score=sample.rules[0].score + 1)
    pool = sample.program.pool.copy()
    pool[-1] += 1
    wrong = replace(
        sample, rules=(rule, *sample.rules[1:]), program=replace(sample.program, pool=pool), slots={}
    )
    places = [text.split(":")[0] for text in differences(sample, wrong)]
    assert places[:2] == ["bundle.rules[0].score", "bundle.program.pool"]
    assert "bundle.slots" in places


def test_the_compiled_form_decides_as_the_sources_do() -> None:
    """All embedded tests with given values have the same outcome, failed expectations included."""
    files = changed(
        "rulesets/payment.yaml",
        "expect: {match: true, action: alert}",
        "expect: {match: true, action: block}",
    )
    compiled = compile_sources(files)
    bundle = compiled.bundle
    assert bundle is not None
    found = unpack(pack(bundle), bundle.archive)
    was, now = run_tests(compiled), run_tests(replace(compiled, bundle=found))
    assert [(item.name, item.status, item.problems) for item in was] == [
        (item.name, item.status, item.problems) for item in now
    ]
    assert {"passed", "failed"} <= {item.status for item in was}


def test_damage_is_told(sample: Bundle) -> None:
    """A flipped bit anywhere, a cut, nothing at all."""
    data = pack(sample)
    for at in {*range(0, len(data), max(1, len(data) // 40)), len(data) - 1}:
        with pytest.raises(PackedError):
            unpack(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], sample.archive)
        with pytest.raises(PackedError):
            unpack(data[:at], sample.archive)


def test_other_sources_have_another_form(sample: Bundle) -> None:
    """One that is whole, but of other rules, is not taken."""
    other = compile_sources(changed("lists.yaml", "KP", "CU")).bundle
    assert other is not None
    with pytest.raises(PackedError, match="other sources"):
        unpack(pack(other), sample.archive)


def test_another_compiler_s_form_is_not_read(sample: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever changed in it."""
    data = pack(sample)
    monkeypatch.setattr(packed, "compiler_digest", lambda: "0" * 64)
    with pytest.raises(PackedError, match="another compiler"):
        unpack(data, sample.archive)


@pytest.mark.parametrize(
    "wrong",
    [
        "[]",
        "{",
        '{"compiler": 1}',
        '{"compiler": "$", "hash": "#", "slots": [], "arrays": [["f8", 1, true]], "bundle": {}}',
        '{"compiler": "$", "hash": "#", "slots": [], "arrays": [["i64", 99999999, true]], "bundle": {}}',
        '{"compiler": "$", "hash": "#", "slots": [["a"]], "arrays": [], "bundle": {}}',
        '{"compiler": "$", "hash": "#", "slots": [], "arrays": [], "bundle": {"hash": "x"}}',
    ],
)
def test_a_whole_file_with_nonsense_is_refused(wrong: str, sample: Bundle) -> None:
    """The digest is right, the description is not."""
    text = wrong.replace("$", packed.compiler_digest()).replace("#", sample.hash).encode()
    data = packed.MAGIC + len(text).to_bytes(4, "little") + text
    with pytest.raises(PackedError):
        unpack(data + hashlib.sha256(data).digest(), sample.archive)


def forms_with(tmp_path: Path, bundle: Bundle) -> tuple[CompiledForms, Path]:
    """Return a directory that holds the form of a bundle, and its path."""
    forms = CompiledForms(tmp_path / "compiled")
    forms.keep(bundle)
    (path,) = (tmp_path / "compiled").iterdir()
    return forms, path


def test_a_bundle_is_compiled_once(tmp_path: Path, sample: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then its form is there, for this user alone, and compiling is over."""
    forms = CompiledForms(tmp_path / "compiled")
    assert list(differences(sample, forms.load(sample.archive))) == []
    monkeypatch.setattr(compiled_forms, "compile_archive", lambda _: pytest.fail("compiled again"))
    assert list(differences(sample, forms.load(sample.archive))) == []
    (path,) = (tmp_path / "compiled").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("harm", ["altered", "writable", "link", "directory"])
def test_a_form_that_may_be_another_s_is_not_used(
    harm: str, tmp_path: Path, sample: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, and the sources are compiled."""
    forms, path = forms_with(tmp_path, sample)
    if harm == "altered":
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    elif harm == "writable":
        path.chmod(0o620)
    elif harm == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.unlink()
        path.mkdir()
    assert forms.find(sample.archive) is None
    assert "compiled_skipped" in json.dumps([record.__dict__ for record in caplog.records], default=str)
    assert forms.load(sample.archive).hash == sample.hash


def test_the_forms_used_longest_ago_go(tmp_path: Path, sample: Bundle) -> None:
    """As many stay as may be gone back to."""
    forms, path = forms_with(tmp_path, sample)
    for age in range(FORMS_KEPT + 3):
        other = path.with_name(f"{age:064x}-0{compiled_forms.SUFFIX}")
        other.write_bytes(b"")
        os.utime(other, (age, age))
    path.unlink()
    forms.keep(sample)
    left = sorted(path.parent.iterdir())
    assert path in left
    assert len(left) == FORMS_KEPT


def test_a_full_disk_costs_only_time(
    tmp_path: Path, sample: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    """A place that is no directory stands for it."""
    (tmp_path / "compiled").write_text("")
    assert CompiledForms(tmp_path / "compiled").load(sample.archive).hash == sample.hash
    assert "compiled_not_kept" in json.dumps([record.__dict__ for record in caplog.records], default=str)


def test_a_known_directory_is_not_compiled_apart_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child process is for content that nobody compiled yet; a refused content leaves no form."""
    rules, forms = write_rules(tmp_path / "rules"), CompiledForms(tmp_path / "compiled")
    first = check_directory(rules, None, forms=forms).bundle
    assert first is not None
    monkeypatch.setattr(directory, "compile_isolated", lambda *_: pytest.fail("a child process"))
    again = check_directory(rules, None, forms=forms).bundle
    assert again is not None
    assert again.hash == first.hash == compile_archive(first.archive).hash
    monkeypatch.undo()
    (rules / "schema.yaml").write_text("kind: Schema\n")
    assert check_directory(rules, None, forms=forms).bundle is None
    assert len(list((tmp_path / "compiled").iterdir())) == 1
