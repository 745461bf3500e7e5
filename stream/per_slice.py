"""Types of which every slice makes one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as per_slice
else:

    def per_slice(*, frozen: bool, slots: bool) -> Callable[[type], type]:
        """Make a dataclass that only the type checker holds frozen.

        Of a frozen one every field is set by a call, which is most of what a slice of one record costs.
        """
        assert frozen
        return dataclasses.dataclass(slots=slots)


__all__ = ["per_slice"]
