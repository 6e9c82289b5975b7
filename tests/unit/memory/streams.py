"""An event log, and a host that reads it as the real one does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace

from shared.streams import StreamEvent
from shared.streams.event_log import Extent, LogUnavailable

from .edge import Edge

__all__ = ["Host", "MemoryLog"]


class MemoryLog(Edge):
    """One hub: its partitions by name."""

    def __init__(self, partitions: Sequence[str] = ("0",)) -> None:
        super().__init__()
        self.events: dict[str, list[StreamEvent]] = {name: [] for name in partitions}
        self.first: dict[str, int] = dict.fromkeys(partitions, 0)
        self.made = 1
        self.chunk = 7
        self.reads = self.asked = 0

    def append(self, body: bytes, *, partition: str = "0", unreadable: str = "") -> StreamEvent:
        """Keep an event at the end of a partition."""
        number = self.first[partition] + len(self.events[partition])
        event = StreamEvent(
            body=body, partition=partition, offset=str(number * 100), sequence_number=number, unreadable=unreadable
        )
        self.events[partition].append(event)
        return event

    def expire(self, before: int, *, partition: str = "0") -> None:
        """Let go of the events before a number."""
        self.events[partition] = [one for one in self.events[partition] if one.sequence_number >= before]
        self.first[partition] = before

    def make_anew(self) -> None:
        """Be another log, which is empty."""
        for name in self.events:
            self.events[name], self.first[name] = [], 0
        self.made += 1

    async def identity(self) -> str:
        """See `EventLog`."""
        self._meet()
        self.asked += 1
        return f"{self.made:03d}"

    async def partitions(self) -> list[str]:
        """See `EventLog`."""
        self._meet()
        return list(self.events)

    async def extent(self, partition: str) -> Extent:
        """See `EventLog`."""
        self._meet()
        first = self.first[partition]
        return Extent(first=first, last=first + len(self.events[partition]) - 1)

    async def extents(self) -> dict[str, Extent]:
        """See `EventLog`."""
        return {name: await self.extent(name) for name in self.events}

    async def read(self, partition: str, *, after: int) -> AsyncGenerator[list[StreamEvent], None]:
        """See `EventLog`."""
        self.reads += 1
        while True:
            self._meet()
            found = [one for one in self.events[partition] if one.sequence_number > after][: self.chunk]
            if not found:
                raise LogUnavailable("nothing comes")
            yield found
            after = found[-1].sequence_number


class Host:
    """Delivers a log as the Functions host does: batch by batch, and on after so many tries, whatever became of them.

    Attributes
    ----------
    checkpoint:
        By partition the number of the next event.
    calls:
        How often a batch was tried, whether it reached the app or not.
    wait:
        Told of the seconds between two tries: the policy of `functions.triggers`.
    """

    def __init__(
        self, log: MemoryLog, *, batch: int = 5, retries: int = 5, wait: Callable[[float], None] = lambda _: None
    ) -> None:
        self._log = log
        self._batch = batch
        self._retries = retries
        self._wait = wait
        self.checkpoint: dict[str, int] = {}
        self.calls = 0

    async def deliver(
        self, call: Callable[[Sequence[StreamEvent]], Awaitable[None]], *, partition: str = "0", most: int = 1_000_000
    ) -> None:
        """Everything that is in a partition now, or so many batches of it."""
        for _ in range(most):
            begin = max(self.checkpoint.get(partition, 0), self._log.first[partition])
            held = self._log.events[partition]
            events = [one for one in held if one.sequence_number >= begin][: self._batch]
            if not events:
                return
            for attempt in range(self._retries + 1):
                self.calls += 1
                if await self._try(call, events):
                    break
                if attempt < self._retries:
                    self._wait(min(2.0**attempt, 15.0))
            self.checkpoint[partition] = events[-1].sequence_number + 1

    async def _try(self, call: Callable[[Sequence[StreamEvent]], Awaitable[None]], events: list[StreamEvent]) -> bool:
        if any(one.unreadable for one in events):  # the binding fails, and the app sees nothing of it
            return False
        try:
            await call([replace(one) for one in events])
        except Exception:
            return False
        return True
