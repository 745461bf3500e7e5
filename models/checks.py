"""Members of JSON that may be hostile: each is what was expected, or a ``ModelError`` says what was."""

from __future__ import annotations

import math

from fraudstream.models.inputs import TRANSFORMS, Input, ModelError

MAX_ABS = 1e300
MAX_INPUTS = 20_000


def check_members(value: object, where: str, names: tuple[str, ...]) -> None:
    """Raise unless ``value`` is an object with exactly these members."""
    if not isinstance(value, dict):
        raise ModelError(f"{where} was not an object")
    for name in names:
        if name not in value:
            raise ModelError(f"{where} lacks `{name}`")
    for name in value:
        if name not in names:
            raise ModelError(f"{where} has an unknown member `{name!s:.40}`")


def as_texts(value: object, where: str, *, at_least: int = 1, at_most: int = 100) -> tuple[str, ...]:
    """Return a list of short texts."""
    if not isinstance(value, list) or not at_least <= len(value) <= at_most:
        raise ModelError(f"`{where}` was not a list of {at_least} to {at_most} texts")
    if not all(isinstance(item, str) and 0 < len(item) <= 128 for item in value):
        raise ModelError(f"`{where}` has an item that is not a short text")
    return tuple(value)


def as_inputs(value: object, *, at_least: int = 1) -> tuple[Input, ...]:
    """Return inputs written as objects or as [name, transform, argument]."""
    if not isinstance(value, list) or not at_least <= len(value) <= MAX_INPUTS:
        raise ModelError(f"`inputs` was not a list of {at_least} to {MAX_INPUTS}")
    inputs = []
    for item in value:
        if isinstance(item, list):
            texts = item
        else:
            check_members(item, "an input", Input._fields)
            texts = [item[name] for name in Input._fields]
        if len(texts) != 3 or not all(isinstance(text, str) and len(text) <= 256 for text in texts):
            raise ModelError("an input has a member that is not a short text")
        if texts[1] not in TRANSFORMS:
            raise ModelError(
                f"input `{texts[0]}` has transform `{texts[1]}`, expected one of {', '.join(TRANSFORMS)}"
            )
        inputs.append(Input(*texts))
    if len(set(inputs)) != len(inputs):
        raise ModelError("`inputs` names one input twice")
    return tuple(inputs)


def as_number(value: object, where: str) -> float:
    """Return a finite number within bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ModelError(f"`{where}` has an item that is not a number")
    if not math.isfinite(value) or abs(value) > MAX_ABS:
        raise ModelError(f"`{where}` has a number that is not finite or beyond {MAX_ABS:g}")
    return float(value)
