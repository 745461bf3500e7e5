"""A version of a table from its bytes and those of everything that it builds upon."""

from __future__ import annotations

from collections.abc import MutableMapping

from fraudstream.stream.enrichment.bound import TableVersion
from fraudstream.stream.enrichment.content import Content, ContentError, read_content

STEPS_MAX = 10_000
"""A longer chain of deltas is damage."""


class Assembly:
    """Puts one version together: give it the bytes of :attr:`wanted` until there is nothing wanted."""

    def __init__(self, version: str, known: MutableMapping[str, TableVersion]) -> None:
        """Begin.

        Args:
            version: ``sha256:<hex>``.
            known: versions that are there; those that were put together are added.
        """
        self._version = version
        self._known = known
        self._pending: list[tuple[str, Content]] = []
        self.wanted = "" if version in known else version
        """Version whose bytes come next; empty: none."""

    def add(self, data: bytes) -> None:
        """Take the bytes of the wanted version.

        Raises:
            ContentError: bytes that are no content, or a chain without beginning.
        """
        content = read_content(data)
        self._pending.append((self.wanted, content))
        if len(self._pending) > STEPS_MAX:
            raise ContentError(f"`{self._version}` builds upon more than {STEPS_MAX:,} others")
        self.wanted = "" if content.parent in self._known else content.parent

    def result(self) -> TableVersion:
        """Return the version."""
        while self._pending:
            name, content = self._pending.pop()
            parent = self._known[content.parent] if content.parent else None
            self._known[name] = TableVersion(name, content, parent)
        return self._known[self._version]
