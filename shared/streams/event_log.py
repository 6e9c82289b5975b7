"""The event log: an event as it is delivered, and the seam to the log itself, for what its trigger passed over."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

__all__ = ["NEVER", "Annotations", "EventLog", "Extent", "LogUnavailable", "StreamEvent"]


NEVER = datetime.min.replace(tzinfo=UTC)
"""When an event was enqueued that never was in a log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotations:
    """What is known of an event besides what its sender gave it.

    Attributes
    ----------
    enqueued:
        When the log took it.
    system:
        What the broker and the AMQP message say of it else, as the Functions host spells it.
    """

    enqueued: datetime
    system: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamEvent:
    """An event with its position in the log.

    Attributes
    ----------
    properties:
        What its sender put beside the body; bytes are base64, as the host hands them over.
    unreadable:
        Why nobody can decode it; its body is then what could be kept of it.
    annotations:
        For consumers that keep whole events; None for the others, which need the body alone.
    """

    body: bytes
    partition: str
    offset: str
    sequence_number: int
    unreadable: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict, compare=False)
    annotations: Annotations | None = None

    @property
    def position(self) -> dict[str, Any]:
        """As it is stored and logged."""
        return {"partition": self.partition, "offset": self.offset, "sequenceNumber": self.sequence_number}


class LogUnavailable(Exception):
    """The log could not be read; another try may succeed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """What a partition holds.

    Attributes
    ----------
    first, last:
        Sequence numbers of the oldest event that is kept and of the newest; an empty partition has `first = last + 1`.
    """

    first: int
    last: int


class EventLog(Protocol):
    """A log of events in partitions, which are numbered in the order in which they came."""

    async def identity(self) -> str:
        """A text that another log under the same name, such as one made anew, doesn't have; a later one is greater.

        This and everything else here raises LogUnavailable.
        """
        ...

    async def partitions(self) -> list[str]:
        """The names of its partitions."""
        ...

    async def extent(self, partition: str) -> Extent:
        """What a partition holds now."""
        ...

    async def extents(self) -> dict[str, Extent]:
        """What every partition holds now, asked for at once."""
        ...

    def read(self, partition: str, *, after: int) -> AsyncGenerator[list[StreamEvent], None]:
        """The events after a sequence number in order, some at a time, for as long as somebody asks for more.

        An event that can't be decoded is among them, as `unreadable`.
        """
        ...
