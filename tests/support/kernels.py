"""All kernels compiled and cached, as an image does it when it is built."""

from __future__ import annotations

from pathlib import Path

from fraudstream.models.linear import load_model
from fraudstream.rules.compiler.compile import compile_sources, read_directory
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.shipped import shipped_model

ROOT = Path(__file__).resolve().parents[2]


def compile_kernels() -> None:
    """Warm a pipeline of the shipped pack in this process; others load what it compiled."""
    bundle = compile_sources(read_directory(ROOT / "rules")).bundle
    content = shipped_model()
    assert bundle is not None
    assert content is not None
    Pipeline(0, bytes(16), bundle, load_model(content)).warm()
