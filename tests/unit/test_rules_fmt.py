"""`rules fmt`: one layout, the same content, comments where they were."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest
from support.sample_rules import sample_files

from fraudstream.rules import compile_sources, read_directory
from fraudstream.rules.compiler.formatter import FormatError, format_text

ROOT = Path(__file__).parents[2]
PACKS = (ROOT / "rules", ROOT / "rules/packs/account_only", ROOT / "tests/support/other_bank")
MESSY = """\
apiVersion:   fraudstream/v1
kind: RuleSet


# who answers
defaults:    {owner:   "o@bank.example",timezone: 'Asia/Shanghai'}
rules:
    # the first rule
    -   id: one   # stable
        title: one
        severity:  low
        on: [ payment,card_auth ]
          # about the condition
        when: |
            txn.amount > 5
              and # not a comment: part of the text
            txn.amount < 9
        mode: {state:  shadow,
               percent: [ 1,2 ]}
        was:
          -   a
          -   b
    # at the end
# really
"""
TIDY = """\
apiVersion: fraudstream/v1
kind: RuleSet

# who answers
defaults: {owner: "o@bank.example", timezone: 'Asia/Shanghai'}
rules:
# the first rule
- id: one   # stable
  was:
  - a
  - b
  title: one
  severity: low
  on: [payment, card_auth]
  # about the condition
  when: |
      txn.amount > 5
        and # not a comment: part of the text
      txn.amount < 9
  mode: {state:  shadow,
         percent: [1, 2]}
  # at the end
# really
"""


def test_a_messy_file() -> None:
    """Indentation, spaces and blank lines are made alike; texts, quotes and comments stay."""
    assert format_text("r.yaml", MESSY.encode()) == TIDY


def test_the_keys_of_rules_get_an_order() -> None:
    """Each takes the comments above and behind it along; the first has the dash."""
    text = """\
rules:
# first
- title: a
  # the tests
  tests:
  - {name: x}   # t
  when: |
    a > 1
    # no comment
  # why id
  id: one   # stable
  severity: low
  # tail
- {title: b, id: two}
- title: c
  unknown: key
  id: three
"""
    assert (
        format_text("r.yaml", text.encode())
        == """\
rules:
# first
# why id
- id: one   # stable
  title: a
  severity: low
  when: |
    a > 1
    # no comment
  # the tests
  tests:
  - {name: x}   # t
# tail
- {title: b, id: two}
- title: c
  unknown: key
  id: three
"""
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("path", [name for name in sorted(sample_files()) if name.startswith("rulesets/")])
def test_rules_mean_the_same_in_any_order_of_their_keys(path: str, seed: int) -> None:
    """Shuffled keys come back into one order, and the bundle's rules are the same."""
    chance, tidy = Random(seed), format_text(path, sample_files()[path])
    head, *rules = re.split(r"(?m)^- ", tidy)
    shuffled = head
    for rule in rules:
        pieces = re.split(r"(?m)^  (?=[a-z]+:)", "  " + rule)[1:]
        chance.shuffle(pieces)
        shuffled += "- " + "  ".join(piece.rstrip("\n") + "\n" for piece in pieces)
    assert shuffled != tidy
    assert squeezed(format_text(path, shuffled.encode())) == squeezed(tidy)


@pytest.mark.parametrize("pack", PACKS, ids=lambda path: path.name)
def test_packs_keep_their_meaning_and_a_second_run_changes_nothing(pack: Path) -> None:
    """Comments are all still there, the bundle decides alike, and formatting is idempotent."""
    files = read_directory(pack)
    assert files
    once = {path: format_text(path, data).encode() for path, data in files.items()}
    assert {path: format_text(path, data).encode() for path, data in once.items()} == once
    for path, data in files.items():
        comments = [line.strip() for line in data.decode().split("\n") if line.strip().startswith("#")]
        assert [
            line.strip() for line in once[path].decode().split("\n") if line.strip().startswith("#")
        ] == comments
    old, new = compile_sources(files).bundle, compile_sources(once).bundle
    assert old is not None
    assert new is not None
    assert (old.rules, old.program.digest) == (new.rules, new.program.digest)
    assert (old.schema.hash, old.features.hash) == (new.schema.hash, new.features.hash)


@pytest.mark.parametrize("path", sorted(sample_files()))
@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_layout_was(path: str, seed: int) -> None:
    """Blanks at ends of lines, gaps behind keys, blank lines and a shift of everything lead to one text."""
    chance = Random(seed)
    tidy = format_text(path, sample_files()[path])
    assert format_text(path, tidy.encode()) == tidy
    text = "|" in tidy or ">\n" in tidy
    lines = []
    for line in tidy.rstrip("\n").split("\n"):
        gap = " " * chance.choice([1, 1, 3])
        messy = (
            line
            if text
            else re.sub(r"^( *(?:- )?[a-z_.]+:) +(?=\S)", lambda found, gap=gap: found[1] + gap, line)
        )
        lines.append(" " * seed + messy + ("" if text else " " * chance.choice([0, 2])))
        lines += [] if text else [""] * chance.choice([0, 0, 0, 2])
    found = format_text(path, "\n".join(lines).encode())
    assert format_text(path, found.encode()) == found
    assert squeezed(found) == squeezed(tidy)


def squeezed(text: str) -> list[str]:
    """Return the lines that are not blank, with alignment taken out."""
    return [re.sub(r": +", ": ", line) for line in text.split("\n") if line]


def test_a_broken_file_is_refused_with_its_error() -> None:
    """The message is the reader's, with the place."""
    with pytest.raises(FormatError, match=r"r\.yaml:2:1: error: a tab can not indent"):
        format_text("r.yaml", b"a: 1\n\tb: 2\n")
