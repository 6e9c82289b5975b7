"""Where a test has the outside world fail."""

from __future__ import annotations

__all__ = ["Edge"]


class Edge:
    """Something that may fail: each exception of `failures` is raised by one call, None lets a call pass."""

    def __init__(self) -> None:
        self.failures: list[BaseException | None] = []
        self.broken: BaseException | None = None
        self.probes = 0

    def _meet(self) -> None:
        if self.broken is not None:
            raise self.broken
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure

    async def probe(self) -> None:
        """Reachable unless broken."""
        self.probes += 1
        self._meet()

    async def open(self) -> None:
        """Reachable unless broken."""
        self._meet()

    async def close(self) -> None:
        """Nothing is open."""
