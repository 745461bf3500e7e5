"""The registry keeps what it was given, says who put it in force, and takes it back."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from fraudstream.models.file import load_model
from fraudstream.models.inputs import Input, ModelError
from fraudstream.models.members import Member
from fraudstream.models.registry_store import Registry, read_entry

ENTRY = """\
kind: Model
id: {id}
family: logistic
owner: card risk
purpose: tests
events: [payment]
inputs: [txn.amount, {{name: txn.channel, transform: flag, argument: atm}}]
"""
WHO = {"at": "2026-11-24T00:00:00Z", "by": "u1", "why": "because"}


def member(name="a", weight=1.0):
    """Return a linear model of one input."""
    arrays = {key: np.array([weight]) for key in ("mean", "var", "weights", "bias")}
    return Member(name, "linear", (Input("txn.amount"),), arrays)


def blend(name):
    """Return a blend with its two parts before it."""
    parts = [Member(**{**vars_of(member(f"{name}.{at}", at + 1.0)), "role": "part"}) for at in range(2)]
    arrays = {"weights": np.ones(2), "bias": np.zeros(1)}
    return (*parts, Member(name, "blend", (), arrays, blend="max", parts=tuple(p.id for p in parts)))


def vars_of(one):
    """Return the members of a member."""
    return {name: getattr(one, name) for name in Member.__dataclass_fields__}


def test_a_version_is_named_by_its_bytes_and_kept_once(tmp_path):
    """The same model is the same version; its file is what the name says."""
    registry = Registry(tmp_path)
    version = registry.add([member()])
    assert registry.add([member()]) == version != registry.add([member(weight=2.0)])
    data = (tmp_path / "versions" / f"{version.removeprefix('sha256:')}.model").read_bytes()
    assert version == "sha256:" + hashlib.sha256(data).hexdigest()
    assert registry.version(version).members[0].arrays["weights"][0] == 1.0


def test_a_version_that_was_changed_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    """A whole file under another's name counts as little as a damaged one."""
    registry = Registry(tmp_path)
    first, second = registry.add([member()]), registry.add([member(weight=2.0)])
    paths = [tmp_path / "versions" / f"{one.removeprefix('sha256:')}.model" for one in (first, second)]
    paths[0].write_bytes(paths[1].read_bytes())
    monkeypatch.setattr("fraudstream.models.registry_store.load_model", lambda _: pytest.fail("parsed"))
    with pytest.raises(ModelError, match="does not have the hash that it is named by"):
        registry.version(first)
    with pytest.raises(ModelError, match="was not `sha256:` and 64"):
        registry.version("sha256:../../etc/passwd")


def test_promotion_and_rollback_replace_the_active_file_and_are_written_down(tmp_path):
    """A new champion leaves the old one in the shadow; rollback restores the bytes; twice goes two back."""
    registry = Registry(tmp_path)
    a, b, c = (registry.add([member(name)]) for name in "abc")
    active = tmp_path / "active.model"
    registry.promote("a", a, "champion", **WHO)
    only_a = active.read_bytes()
    registry.promote("b", b, "challenger", **WHO)
    both = active.read_bytes()
    done = registry.promote("c", c, "champion", **WHO)
    loaded = load_model(active.read_bytes())
    assert {m.id: m.role for m in loaded.members} == {"a": "shadow", "b": "challenger", "c": "champion"}
    assert loaded.version == done.version
    registry.rollback(**WHO)
    assert active.read_bytes() == both
    registry.rollback(**WHO)
    assert active.read_bytes() == only_a
    with pytest.raises(ModelError, match="nothing was in force"):
        registry.rollback(**WHO)
    assert [item.action for item in registry.history()] == ["promote"] * 3 + ["rollback"] * 2
    assert registry.history()[0].why == "because"


def test_a_registry_without_a_champion_is_refused(tmp_path):
    """Nothing is written: what was in force stays."""
    registry = Registry(tmp_path)
    with pytest.raises(ModelError, match="has one champion, this one 0"):
        registry.promote("a", registry.add([member()]), "shadow", **WHO)
    assert not (tmp_path / "active.model").exists()
    assert registry.history() == []


def test_parts_of_blends_keep_their_role_in_the_active_file(tmp_path):
    """A shadow blend beside a champion: its parts are no shadows of their own."""
    registry = Registry(tmp_path)
    registry.promote("a", registry.add([member()]), "champion", **WHO)
    registry.promote("both", registry.add(blend("both")), "shadow", **WHO)
    roles = {m.id: m.role for m in load_model((tmp_path / "active.model").read_bytes()).members}
    assert roles == {"a": "champion", "both.0": "part", "both.1": "part", "both": "shadow"}


def test_entries_are_read_by_name(tmp_path):
    """Inputs as names or as transforms."""
    (tmp_path / "a.yaml").write_text(ENTRY.format(id="a"))
    entry = Registry(tmp_path).entry("a")
    assert entry.inputs == (Input("txn.amount"), Input("txn.channel", "flag", "atm"))
    with pytest.raises(ModelError, match=r"no model `b` in .*; registered: a"):
        Registry(tmp_path).entry("b")
    (tmp_path / "b.yaml").write_text(ENTRY.format(id="c"))
    with pytest.raises(ModelError, match=r"name the file c\.yaml"):
        Registry(tmp_path).entries()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("kind: Model", "kind: Pickle", "expected a document with `kind: Model`"),
        ("family: logistic", "family: magic", "`family` was `magic`, expected one of"),
        ("owner: card risk", "boss: card risk", "lacks `owner`"),
        ("events: [payment]", "events: payment", "`events` was not a list"),
        ("purpose: tests", "purpose: !!python/name:os.system", "without anchors, aliases and tags"),
        ("id: a", "id: ../a", "`id` was not lower-case letters"),
    ],
)
def test_a_mistake_in_an_entry_is_named(before, after, message):
    """One change, one message."""
    with pytest.raises(ModelError, match=message):
        read_entry(ENTRY.format(id="a").replace(before, after).encode())
