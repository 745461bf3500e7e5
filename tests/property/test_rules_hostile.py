"""Whatever a rule file contains, compiling ends with findings or a bundle, never with an exception."""

# ruff: noqa: E501 (a table of words)
from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from support.sample_rules import sample_files

from fraudstream.rules import compile_archive, compile_sources, render_all, run_tests

FILES = sample_files()
PIECES = [
    "null", "{}", "[]", "{a: b}", "[a]", "''", '"x"', "-1", "1e999", "9" * 40, "true", "missing", "ümläut", "x.y.z",
    "params.n", "lists.risky", "model.score", "10m", "400d", "100 CNY", "50%", "2026-01-31", "2026-02-30", "0000-00-00",
    "not", "and", "(", ")", ",", ":", "#", "|", ">", "&a", "*a", "<<", "\t", "  ", "- ", "{", "}", "%", "@", "`", "\u202e",
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, bytes]:
    """Return the sample with a few words, lines or characters of some files changed."""
    files = dict(FILES)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(sorted(files)))
        lines = files[path].decode("utf-8", "replace").splitlines(keepends=True)
        at = draw(st.integers(0, max(0, len(lines) - 1)))
        kind = draw(st.sampled_from(["word", "word", "drop", "twice", "indent", "cut", "swap"]))
        if not lines:
            continue
        if kind == "word":
            words = lines[at].split(" ")
            words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(PIECES))
            lines[at] = " ".join(words).rstrip("\n") + "\n"
        elif kind == "drop":
            del lines[at]
        elif kind == "twice":
            lines.insert(at, lines[at])
        elif kind == "indent":
            lines[at] = " " * draw(st.integers(1, 4)) + lines[at]
        elif kind == "cut":
            lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
        else:
            other = draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        files[path] = "".join(lines).encode("utf-8", "surrogatepass")
    return files


@given(damaged())
@settings(max_examples=600, deadline=None)
def test_damaged_files_never_raise(files: dict[str, bytes]) -> None:
    """Findings point into the files, can be shown, and a bundle comes exactly without errors."""
    compiled = compile_sources(files)
    assert (compiled.bundle is None) == bool(compiled.errors)
    text = render_all(compiled.diagnostics, files)
    assert all(char.isprintable() or char in "\n\t" for char in text)
    for item in compiled.diagnostics:
        assert item.span.line >= 1
        assert item.span.column >= 1
        assert item.span.file in files or item.span.file == "schema.yaml"
    if compiled.bundle is not None:
        assert compile_archive(compiled.bundle.archive).hash == compiled.bundle.hash
        assert len(run_tests(compiled)) == compiled.tests


@given(st.dictionaries(st.sampled_from(sorted(FILES)), st.binary(max_size=200)))
@settings(max_examples=300, deadline=None)
def test_any_bytes_never_raise(files: dict[str, bytes]) -> None:
    """Random bytes in place of files, with and without a readable schema, give findings."""
    assert compile_sources(files).errors
    compile_sources(FILES | files)
