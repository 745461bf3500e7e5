"""A model file that is cut, damaged or made to hurt is refused; none of it is parsed unless it is whole."""

from __future__ import annotations

import hashlib
import pickle
import struct

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.families import FAMILIES, INPUTS, make_rows

from fraudstream.models import file
from fraudstream.models.file import dump_models, load_model
from fraudstream.models.inputs import Input, ModelError
from fraudstream.models.members import Member


def linear(name="champion", **more):
    """Return a small linear model."""
    arrays = {name: np.array([0.5, 1.5]) for name in ("mean", "var", "weights")}
    return Member(name, "linear", INPUTS[:2], {**arrays, "bias": np.array([0.1])}, **more)


def tree(**changes):
    """Return a forest of one tree: a root, two leaves."""
    arrays = {
        "nodes": np.array([[0, 1, 0, -1], [-1, 0, 0, -1], [-1, 1, 0, -1]], np.int32),
        "threshold": np.zeros(3),
        "votes": np.array([[1.0, 0.0], [0.5, 0.5]]),
        "bayes": np.array([-1, -1], np.int32),
        "roots": np.zeros(1, np.int32),
        "weights": np.ones(1),
        "prior": np.zeros((0, 2)),
        "begin": np.zeros(1, np.int32),
        "rows": np.zeros((0, 2), np.int32),
        "gauss": np.zeros((0, 3)),
    }
    return Member("champion", "forest", INPUTS[:2], {**arrays, **changes})


def bins(**changes):
    """Return two inputs with one edge each, and their cross."""
    arrays = {
        "edges": np.array([1.0, 2.0]),
        "first": np.array([0, 1, 2], np.int32),
        "terms": np.array([[0, -1, 0, 0], [0, 1, 3, 3]], np.int32),
        "weights": np.arange(12.0),
        "bias": np.zeros(1),
    }
    return Member("champion", "bins", INPUTS[:2], {**arrays, **changes})


GOOD = dump_models([linear(), linear("other", role="shadow")])


def sealed(change):
    """Return the good file with another header, sealed as a writer would."""
    size = struct.unpack_from("<Q", GOOD, 48)[0]
    header, body = orjson.loads(GOOD[56 : 56 + size]), GOOD[56 + size + -size % 8 :]
    change(header)
    return seal(orjson.dumps(header), body)


def seal(text, body=b""):
    """Return a file with a true digest around any header."""
    rest = struct.pack("<Q", len(text)) + text + bytes(-len(text) % 8) + body
    return b"FSMODEL2" + struct.pack("<Q", 48 + len(rest)) + hashlib.sha256(rest).digest() + rest


def never(*_):
    """Stand in for a parser that must not be called."""
    raise AssertionError("parsed")


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_cut_or_changed_bytes_are_refused_before_anything_is_parsed(data):
    """Every cut, every changed byte."""
    if data.draw(st.booleans()):
        bad = GOOD[: data.draw(st.integers(0, len(GOOD) - 1))]
    else:
        at = data.draw(st.integers(0, len(GOOD) - 1))
        bad = GOOD[:at] + bytes([GOOD[at] ^ data.draw(st.integers(1, 255))]) + GOOD[at + 1 :]
    if bad[:1] == b"{":  # of format 1, which is JSON
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file.orjson, "loads", never)
        with pytest.raises(ModelError, match="model file"):
            load_model(bad)


def test_a_pickle_and_rubbish_are_no_models(monkeypatch):
    """They are refused by their first bytes."""
    monkeypatch.setattr(file.orjson, "loads", never)
    for bad in (pickle.dumps(linear()), b"\x93NUMPY\x01\x00", b"", b"FSMODEL2", b"PK\x03\x04", bytes(200)):
        with pytest.raises(ModelError):
            load_model(bad)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(extra=1), "unknown member `extra`"),
        (lambda h: h.update(models=[]), "`models` was not a list of 1 to"),
        (lambda h: h["models"][0].pop("card"), "lacks `card`"),
        (lambda h: h["models"][0].update(family="os.system"), "a family other than"),
        (lambda h: h["models"][1].update(id="champion"), "two models with the name"),
        (lambda h: h["models"][1].update(role="champion"), "one champion, this one 2"),
        (lambda h: h["models"][1].update(role="boss"), "a role that is not one of"),
        (lambda h: h["models"][0].update(calibration=[1.0]), "`calibration` was not a list of two"),
        (lambda h: h["models"][0].update(parts=["other"]), "a blend, and nothing else, has `parts`"),
        (lambda h: h["models"][0]["inputs"][0].__setitem__(1, "eval"), "has transform `eval`"),
        (lambda h: h["models"][0]["arrays"].pop("mean"), "lacks `mean`"),
        (lambda h: h["models"][0]["arrays"].update(mean=["f", 8, 10**7]), "lies beyond the end"),
        (lambda h: h["models"][0]["arrays"].update(mean=["f", -8, 2]), "not a small whole number"),
        (lambda h: h["models"][0]["arrays"].update(mean=["f", 3, 2]), "lies beyond the end"),
        (lambda h: h["models"][0]["arrays"].update(mean=["O", 0, 2]), r"was not \[kind, offset, shape"),
        (lambda h: h["models"][0]["arrays"].update(mean=["f", 0, 1]), r"`mean` has the shape \(1,\)"),
        (lambda h: h["models"][0]["arrays"].update(mean=["i", 0, 2]), "`mean` was not an array of numbers"),
    ],
)
def test_a_whole_file_with_a_hostile_header_is_refused_with_what_is_wrong(change, message):
    """Whoever can seal a file can still not make the kernel read elsewhere."""
    with pytest.raises(ModelError, match=message):
        load_model(sealed(change))


@pytest.mark.parametrize("text", [b"", b"[]", b"[" * 100_000, b"\xff", b'{"models":{}}', b'{"models":[[]]}'])
def test_a_whole_file_with_another_header_is_refused(text):
    """Depth, other JSON, no JSON."""
    with pytest.raises(ModelError):
        load_model(seal(text))


NODES = tree().arrays["nodes"]


def nodes(at, value):
    """Return the nodes of the tree with one number changed."""
    changed = NODES.copy()
    changed[at] = value
    return changed


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (tree(nodes=nodes((0, 1), 0)), "a child is no node behind its parent"),
        (tree(nodes=nodes((0, 1), 2)), "a child is no node behind its parent"),
        (tree(nodes=nodes((0, 0), 2)), "reads an input that is not there"),
        (tree(nodes=nodes((0, 0), -2)), "reads an input that is not there"),
        (tree(nodes=nodes((0, 2), 2)), "neither left nor right"),
        (tree(nodes=nodes((0, 3), 0)), "a child is no node behind its parent"),
        (tree(nodes=nodes((2, 1), 2)), "a leaf has no row"),
        (tree(roots=np.array([3], np.int32)), "a root is no node"),
        (tree(roots=np.zeros(0, np.int32), weights=np.zeros(0)), "`roots` was not a list"),
        (tree(bayes=np.array([-1, 0], np.int32)), "`bayes` has a number that is not from"),
        (tree(votes=np.array([[1.0, 0.0], [-0.5, 0.5]])), "a negative number"),
        (tree(threshold=np.array([np.inf, 0, 0])), "`threshold` has a number that is not finite"),
        (bins(weights=np.arange(11.0)), "`terms` reads beyond `weights`"),
        (bins(terms=np.array([[0, 1, 3, 4]], np.int32)), "another number of bins"),
        (bins(terms=np.array([[2, -1, 0, 0]], np.int32)), "`terms` has a number that is not from"),
        (bins(first=np.array([0, 2, 1], np.int32)), "`first` does not part `edges`"),
        (bins(first=np.array([0, 0, 2], np.int32), edges=np.array([2.0, 2.0])), "do not rise"),
    ],
)
def test_arrays_that_would_lead_the_kernel_astray_are_refused(member, message):
    """Loops, places outside, numbers that are none."""
    with pytest.raises(ModelError, match=message):
        dump_models([member])


def test_deep_trees_and_many_alternates_are_refused():
    """A score has a bounded cost."""
    n = 1_100
    chain = np.array([[0, 2 * at + 1, 0, -1] if at < n else [-1, 0, 0, -1] for at in range(n)], np.int32)
    deep = np.zeros((2 * n + 1, 4), np.int32)
    deep[:, 0] = -1
    deep[:, 3] = -1
    for at in range(n):
        deep[2 * at] = [0, 2 * at + 1, 0, -1]
    assert len(chain) == n
    with pytest.raises(ModelError, match="deeper than"):
        dump_models([tree(nodes=deep, threshold=np.zeros(len(deep)))])


def test_the_same_models_are_the_same_bytes_and_come_back_bit_for_bit():
    """The version is their hash."""
    for name in ("ftrl on bins and crosses", "adaptive random forest"):
        member, _ = FAMILIES[name](make_rows(400, 2))
        data = dump_models([member])
        loaded = load_model(data)
        assert dump_models(loaded.members) == data
        assert loaded.version == "sha256:" + hashlib.sha256(data).hexdigest()
        for key, array in member.arrays.items():
            np.testing.assert_array_equal(loaded.members[0].arrays[key], array)


def test_a_blend_of_what_stands_behind_it_or_is_not_there_is_refused():
    """Its parts are scored before it."""
    arrays = {"weights": np.ones(1), "bias": np.zeros(1)}
    blend = Member("both", "blend", (), arrays, blend="max", parts=("other",))
    with pytest.raises(ModelError, match="part `other` does not stand before it"):
        dump_models([blend, linear("other", role="part")])
    assert load_model(dump_models([linear("other", role="part"), blend])).champion == 1


def test_input_names_are_read_in_ratios_too():
    """A bundle that lacks the divisor does not fit."""
    member = Member(
        "champion",
        "linear",
        (Input("txn.amount", "ratio", "f.mean"),),
        {name: np.ones(1) for name in ("mean", "var", "weights", "bias")},
    )
    assert load_model(dump_models([member])).reads == ("txn.amount", "f.mean")
