"""The JSON Schema that editors get."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fraudstream.rules.compiler.jsonschema import json_schema


def undescribed(node: dict[str, Any], path: str) -> Iterator[str]:
    """Yield the properties without a text to show."""
    for name, item in node.get("properties", {}).items():
        if "description" not in item and "const" not in item:
            yield f"{path}.{name}"
        yield from undescribed(item, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from undescribed(node[key], path)
    for item in node.get("anyOf", []):
        yield from undescribed(item, path)


def test_every_key_has_a_description() -> None:
    """What an editor shows beside a key; a key without one is found."""
    definitions = json_schema()["definitions"]
    assert isinstance(definitions, dict)
    found = [name for kind, node in definitions.items() for name in undescribed(node, kind)]
    assert found == []
    keys = [name for kind, node in definitions.items() for name in undescribed(_bare(node), kind)]
    assert len(keys) > 100


def _bare(node: Any) -> Any:
    """Return a schema without its descriptions."""
    if isinstance(node, dict):
        return {
            key: _bare(item) for key, item in node.items() if key != "description" or isinstance(item, dict)
        }
    return [_bare(item) for item in node] if isinstance(node, list) else node
