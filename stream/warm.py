"""Compile every kernel into Numba's cache: `python -m fraudstream.stream.warm`, how an image is built.

The cache is keyed by source, Python and processor. An image that runs on other machines than it was built
on sets NUMBA_CPU_NAME and NUMBA_CPU_FEATURES both times; NUMBA_CACHE_DIR says where the files go.
"""

from __future__ import annotations

from fraudstream.models.file import load_model
from fraudstream.rules.compiler.compile import compile_sources
from fraudstream.stream.errors import Refusal
from fraudstream.stream.pipeline import Pipeline
from fraudstream.stream.shipped import read_rules, shipped_model, shipped_rules


def compile_kernels() -> None:
    """Decide made-up records under the shipped rules and model, which loads or compiles every kernel.

    Raises:
        Refusal: The installation is not whole.
    """
    bundle = compile_sources(read_rules(shipped_rules())).bundle
    content = shipped_model()
    if bundle is None or content is None:
        raise Refusal("the shipped rules or the shipped model cannot be used; install fraudstream again")
    Pipeline(0, bytes(16), bundle, load_model(content)).warm()


if __name__ == "__main__":
    compile_kernels()
