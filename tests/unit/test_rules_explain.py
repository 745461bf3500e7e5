"""A rule in words, and the JSON Schema that editors use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator
from support.broken_rules import MISTAKES
from support.sample_rules import changed, sample_files

from fraudstream.rules import compile_sources, explain, json_schema, read_directory
from fraudstream.rules.compiler.jsonschema import document_schema
from fraudstream.rules.compiler.shape import Either, Form, Listed, Mapped, Shape
from fraudstream.rules.compiler.vocabulary import DOCUMENTS

GOLDEN = Path(__file__).parents[1] / "golden" / "rule_explanations.txt"
RULES = Path(__file__).parents[2] / "rules"


class EditorLoader(yaml.SafeLoader):
    """YAML as an editor's language server reads it: core schema of YAML 1.2."""


EditorLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith((":timestamp", ":bool"))]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for first in "tf":
    EditorLoader.yaml_implicit_resolvers.setdefault(first, []).append(
        ("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"))
    )


def findings(data: bytes) -> list[str]:
    """Return what an editor underlines in a file."""
    document = yaml.load(data, EditorLoader)
    return [error.message for error in Draft7Validator(json_schema()).iter_errors(document)]


def shapes(form: Form) -> Iterator[Shape]:
    """Yield every shape of a form."""
    if isinstance(form, Shape):
        yield form
        for key in form.keys.values():
            yield from shapes(key.form)
    elif isinstance(form, Either):
        for item in form.forms:
            yield from shapes(item)
    elif isinstance(form, Listed | Mapped):
        yield from shapes(form.form)


def test_every_rule_of_the_sample_in_words() -> None:
    """The explanations are those of the golden file."""
    compiled = compile_sources(sample_files())
    text = "\n\n".join(explain(compiled, rule.id) for rule in compiled.rules) + "\n"
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_an_unknown_rule_has_a_suggestion() -> None:
    """A misspelt id is answered with the one that was probably meant."""
    with pytest.raises(KeyError, match=r"did you mean `pay\.charity`"):
        explain(compile_sources(sample_files()), "pay.charty")


def test_the_schema_is_one() -> None:
    """The published schema is a valid JSON Schema, for each kind alone too."""
    Draft7Validator.check_schema(json_schema())
    for kind in DOCUMENTS:
        Draft7Validator.check_schema(document_schema(kind))


@pytest.mark.parametrize("path", sorted(sample_files()))
def test_the_sample_validates(path: str) -> None:
    """Every kind of file that compiles has no red line in an editor."""
    assert findings(sample_files()[path]) == []


def test_the_shipped_files_validate() -> None:
    """The shipped pack has no red line either."""
    files = read_directory(RULES)
    assert files
    assert {path: findings(data) for path, data in files.items() if findings(data)} == {}


@pytest.mark.parametrize(
    "title",
    [
        "an unknown key",
        "a missing key",
        "a wrong version",
        "an unknown choice",
        "a number out of range",
        "an unknown type",
        "a bad window",
        "an unknown combination",
        "a key of a later version",
        "a score band without a score",
    ],
)
def test_mistakes_of_shape_are_underlined(title: str) -> None:
    """Editors see misspelt keys, unknown choices and numbers out of range without the compiler."""
    (mistake,) = [item for item in MISTAKES if item[0] == title]
    assert findings(changed(*mistake[1:])[mistake[1]])


def test_every_key_is_described() -> None:
    """Each key of each mapping has one sentence for the editor, and no key is both known and later."""
    for document in DOCUMENTS.values():
        for shape in shapes(document):
            assert not shape.keys.keys() & shape.later
            for name, key in shape.keys.items():
                assert key.doc.endswith("."), (shape.title, name)
                assert key.doc[0].isupper() or key.doc.startswith("`"), (shape.title, name)
