# ruff: noqa: E501 (one message a line)
"""Lists from files of their own: the same list as with `items`, and every wrong line told with its place."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.sample_rules import changed, sample_files

from fraudstream.rules import Compiled, compile_archive, compile_sources, read_directory, render_all
from fraudstream.rules.bundle import ListVersion
from fraudstream.rules.compiler.compile import read_list_versions
from fraudstream.rules.compiler.difference import semantic
from fraudstream.rules.compiler.list_files import ERRORS_MAX, ITEMS_MAX, LIST_BYTES_MAX
from fraudstream.stream.cli import main
from fraudstream.stream.directory import stamp

PLAIN = "items: [NO, KP, IR]"
PATH = "lists/risky.csv"


def with_file(content: bytes, path: str = PATH) -> dict[str, bytes]:
    """Return the sample with the list `risky` in a file."""
    return {**changed("lists.yaml", PLAIN, f"file: {path}"), path: content}


def errors(files: dict[str, bytes]) -> list[str]:
    """Return the findings as one line each, file and place first."""
    return render_all(compile_sources(files).diagnostics, {}).splitlines()


def list_of(compiled: Compiled, name: str = "risky") -> ListVersion:
    """Return a list of a bundle."""
    assert compiled.bundle is not None, compiled.errors
    return next(item for item in compiled.bundle.lists if item.name == name)


@pytest.mark.parametrize(
    "content",
    [
        b"NO\nKP\nIR",
        b"NO\nKP\nIR\n",
        b"\xef\xbb\xbfvalue\r\nNO\r\nKP\r\nIR\r\n",
        b'# exported\nvalue,until\n\n  NO ,\nKP\n  # about the last one\n"IR"\n',
    ],
)
def test_a_file_gives_the_list_that_items_give(content: bytes) -> None:
    """Headings, comments, blank lines, quotes, a mark at the beginning and both ends of lines."""
    plain, found = compile_sources(sample_files()), compile_sources(with_file(content))
    assert plain.bundle is not None
    assert found.bundle is not None, found.errors
    assert found.diagnostics == ()
    assert found.bundle.program.digest == plain.bundle.program.digest
    assert found.bundle.hash != plain.bundle.hash
    assert list_of(found).version == list_of(plain).version
    assert (list_of(found).file, list_of(plain).file) == (PATH, "")


def test_ends_of_items_are_those_of_items() -> None:
    """A bare date is 00:00 in the policy's zone, as in lists.yaml."""
    plain = compile_sources(
        changed(
            "lists.yaml",
            PLAIN,
            "items: [NO, {value: KP, until: 2027-01-31}, {value: IR, until: 2027-06-30T00:00:00Z}]",
        )
    )
    found = compile_sources(with_file(b"NO\nKP,2027-01-31\nIR,2027-06-30T00:00:00Z\n"))
    assert plain.bundle is not None
    assert found.bundle is not None
    assert found.bundle.program.digest == plain.bundle.program.digest
    assert (
        list_of(found).version == list_of(plain).version != list_of(compile_sources(sample_files())).version
    )


def test_a_version_is_of_the_content_not_of_its_order() -> None:
    """The hash is that of the documented text; another item, end or type is another version."""
    text = json.dumps(
        {"items": [["IR", None], ["KP", None], ["NO", None]], "type": "country"}, separators=(",", ":")
    )
    wanted = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    assert list_of(compile_sources(with_file(b"KP\nIR\nNO\n"))).version == wanted
    others = {
        list_of(compile_sources(with_file(content))).version
        for content in (b"KP\nIR\n", b"KP\nIR\nNO,2027-01-31\n", b"KP\nIR\nSY\n")
    }
    assert len(others | {wanted}) == 4


def test_the_sources_travel_whole() -> None:
    """The archive has the file, and compiles to the same bundle; versions need no compilation of rules."""
    files = with_file(b"NO\nKP,2027-01-31\n")
    bundle = compile_sources(files).bundle
    assert bundle is not None
    again = compile_archive(bundle.archive)
    assert (again.hash, again.lists, again.program.digest) == (
        bundle.hash,
        bundle.lists,
        bundle.program.digest,
    )
    assert read_list_versions(files) == bundle.lists


def test_a_change_is_told_in_words() -> None:
    """By items, and by version."""
    before, after = (compile_sources(with_file(content)) for content in (b"NO\nKP\n", b"KP,2027-01-31\nSY\n"))
    versions = " -> ".join(list_of(side).version[:19] for side in (before, after))
    assert semantic(before, after) == [
        "list risky: added SY",
        "list risky: removed NO",
        "list risky: with another end KP",
        f"list risky: version {versions}",
    ]


def test_every_wrong_line_is_told() -> None:
    """All of them in one run, with their lines."""
    content = b'NO\nKP,never\n"IR\nNO\nno\n,\na,b,c\nX\x00\n"a"b\n' + b"C" * 129
    assert errors(with_file(content)) == [
        f"{PATH}:2:1: error: `never` is not a date or time; write `2026-01-31` or `2026-01-31T12:00:00+08:00`",
        f'{PATH}:3:1: error: the quotes of `"IR` do not fit; write `"a ""quoted"" value",2027-01-31`',
        f"{PATH}:4:1: error: `NO` is in the list twice; the first is on line 1",
        f'{PATH}:5:1: error: `"no"` is not a country; write its two capital letters, such as `"CN"`',
        f"{PATH}:6:1: error: the value was empty; no field of an event can equal it",
        f"{PATH}:7:1: error: 3 columns, expected `value` or `value,until`; a value with a comma stands in double quotes",
        f"{PATH}:8:1: error: the value was not printable; no field of an event can equal it",
        f'{PATH}:9:1: error: the quotes of `"a"b` do not fit; write `"a ""quoted"" value",2027-01-31`',
        f"{PATH}:10:1: error: the value was longer than 128 characters; no field of an event can equal it",
    ]


def test_what_does_not_belong_together_is_told() -> None:
    """A file that is not there, two sources, none, rates from a file, a file that no list names."""
    plain = {PATH: b"NO\nKP\nIR\n"}
    assert errors({**changed("lists.yaml", PLAIN, "file: lists/riksy.csv"), **plain}) == [
        "lists.yaml:5:32: error: there is no list file `lists/riksy.csv`; did you mean `lists/risky.csv`?",
        f"{PATH}:1:1: warning: no list has its items in this file; declare one with `file: {PATH}` in lists.yaml, or remove the file [unused-list]",
    ]
    (both,) = errors({**changed("lists.yaml", PLAIN, f"{PLAIN}, file: {PATH}"), **plain})
    assert "`items` and `file` can not stand together" in both
    (none,) = errors(changed("lists.yaml", f", {PLAIN}", ""))
    assert "a list needs `items` or `file`" in none
    rates = changed("lists.yaml", 'items: {USD: "7.1034"', 'file: lists/rates.csv, items: {USD: "7.1034"')
    assert any(
        "exchange rates are no list of items" in line for line in errors({**rates, "lists/rates.csv": b"x"})
    )


def test_what_is_too_large_or_no_text_is_refused() -> None:
    """Whether or not a list names it, and without as many findings as lines."""
    for path in (PATH, "lists/unread.txt"):
        files = {**with_file(b"NO\n"), path: b"x" * (LIST_BYTES_MAX + 1)}
        assert f"{path}:1:1: error: the file was larger than 4,194,304 bytes" in errors(files)[0]
        files[path] = b"NO\nKP\n\xff\n"
        assert (
            errors(files)[0] == f"{path}:3:1: error: the file was not UTF-8; save it with the encoding UTF-8"
        )
    wrong = errors(with_file(b"wrong\n" * 100_000))
    assert len(wrong) == ERRORS_MAX + 1
    assert any(f"{ERRORS_MAX} errors in this file, the rest of it" in line for line in wrong)
    files = with_file(b"".join(b"%d\n" % at for at in range(ITEMS_MAX + 1)))
    files["lists.yaml"] = files["lists.yaml"].replace(b"risky: {type: country", b"risky: {type: id")
    assert any(f"more than {ITEMS_MAX:,} items" in line for line in errors(files))


@given(st.binary(max_size=200) | st.text(alphabet='NO,"\n#\r ü', max_size=40).map(str.encode))
def test_no_content_breaks_the_reader(content: bytes) -> None:
    """It is a list, or refused with a place."""
    compiled = compile_sources(with_file(content))
    assert all(item.span.file in (PATH, "rulesets/card.yaml") for item in compiled.diagnostics)
    assert (compiled.bundle is None) == bool(compiled.errors)


def test_the_directory_is_read_and_watched_with_its_lists(tmp_path: Path) -> None:
    """Only `.csv` and `.txt` right in `lists/`; a changed list is a changed directory."""
    for path, data in with_file(b"NO\nKP\n").items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    for name in ("old.bak", "deep/er.csv", "README.md"):
        (tmp_path / "lists" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "lists" / name).write_text("x")
    files = read_directory(tmp_path)
    assert files == with_file(b"NO\nKP\n")
    before = stamp(tmp_path)
    (tmp_path / PATH).write_bytes(b"NO\nKP\nSY\n")
    assert stamp(tmp_path) != before
    (tmp_path / PATH).write_bytes(b"x" * (LIST_BYTES_MAX + 9))
    assert len(read_directory(tmp_path)[PATH]) == LIST_BYTES_MAX + 1


def test_the_formatter_leaves_lists_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are no YAML."""
    content = b"NO\nKP ,\n\n\nIR\n"
    for path, data in with_file(content).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    assert main(["rules", "fmt", str(tmp_path)]) == 0
    assert (tmp_path / PATH).read_bytes() == content
    assert "risky.csv" not in capsys.readouterr().out
