"""The worker with a defect: processing a record raises an error that quotes the record."""

from __future__ import annotations

import sys
from functools import partial

from fraudstream.stream import cli
from fraudstream.stream.app import create_app
from fraudstream.stream.commands import worker
from fraudstream.stream.partition import Partition


class Crashing(Partition):
    """A partition with that defect."""

    async def _process_piece(self) -> bool:
        fetched = self.intake.next()
        if fetched is not None:
            value = fetched.slice.value(0) or b""
            try:
                int(value)
            except ValueError as cause:
                raise ArithmeticError(f"cannot read {value!r}") from cause
        return False


def main() -> int:
    """Run the command line's worker with it."""
    worker.create_app = partial(create_app, make_partition=Crashing)  # type: ignore[assignment]
    return cli.main(["worker"])


if __name__ == "__main__":
    sys.exit(main())
