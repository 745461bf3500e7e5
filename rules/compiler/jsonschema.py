"""JSON Schema of the rule files, for completion and red squiggles in editors.

Editors type scalars their own way (``0742`` may be a number there), so a text is any scalar here; what
a value must be beyond its shape, the compiler says.
"""

from __future__ import annotations

from collections.abc import Mapping

from fraudstream.rules.compiler.reader import FILE_BYTES_MAX
from fraudstream.rules.compiler.shape import Either, Form, Key, Mapped, Shape, Word
from fraudstream.rules.compiler.vocabulary import DOCUMENTS

DIALECT = "http://json-schema.org/draft-07/schema#"
"""What YAML language servers understand."""

_SCALAR = ["string", "number", "boolean", "null"]
_DURATION = r"^([0-9]+(ms|s|m|h|d|w))+$"
_NAME = r"^[a-z_][a-zA-Z0-9_]*(\.[a-z_][a-zA-Z0-9_]*)*$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ].*)?$"


def json_schema() -> dict[str, object]:
    """Return one schema for all kinds of files, told apart by ``kind``."""
    return {
        "$schema": DIALECT,
        "title": "fraudstream rule files",
        "description": f"All kinds of rule files; at most {FILE_BYTES_MAX >> 20} MiB each.",
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {"kind": {"enum": list(DOCUMENTS)}},
        "allOf": [{"if": _is_kind(kind), "then": {"$ref": f"#/definitions/{kind}"}} for kind in DOCUMENTS],
        "definitions": {kind: _shape(shape) for kind, shape in DOCUMENTS.items()},
    }


def document_schema(kind: str) -> dict[str, object]:
    """Return the schema of one kind of file.

    Raises:
        KeyError: no such kind.
    """
    return {"$schema": DIALECT, **_shape(DOCUMENTS[kind])}


def _is_kind(kind: str) -> Mapping[str, object]:
    return {"properties": {"kind": {"const": kind}}, "required": ["kind"]}


def _shape(shape: Shape) -> dict[str, object]:
    out: dict[str, object] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _key(key) for name, key in shape.keys.items()},
    }
    required = [name for name, key in shape.keys.items() if key.required]
    if shape.one_of:
        out["oneOf"] = [{"required": [name]} for name in shape.one_of]
    return out | {"required": required} if required else out


def _key(key: Key) -> dict[str, object]:
    return {"description": key.doc} | _form(key.form)


def _form(form: Form) -> dict[str, object]:
    if isinstance(form, Word):
        return _word(form)
    if isinstance(form, Shape):
        return _shape(form)
    if isinstance(form, Mapped):
        return {"type": "object", "additionalProperties": _form(form.form)}
    if isinstance(form, Either):
        return {"anyOf": [_form(item) for item in form.forms]}
    listed: dict[str, object] = {"type": "array", "items": _form(form.form)}
    return {"anyOf": [_form(form.form), listed]} if form.or_one else listed


def _word(word: Word) -> dict[str, object]:
    if word.values:
        booleans = [item == "true" for item in word.values if item in ("true", "false")]
        return {"enum": [*word.values, *booleans]}
    if word.kind == "integer":
        bounds = {"minimum": word.minimum, "maximum": word.maximum}
        return {"type": "integer"} | {name: value for name, value in bounds.items() if value is not None}
    if word.kind == "boolean":
        return {"type": "boolean"}
    pattern = {"duration": _DURATION, "name": _NAME, "date": _DATE}.get(word.kind)
    if pattern is not None:
        return {"type": "string", "pattern": pattern}
    return {"type": _SCALAR}
