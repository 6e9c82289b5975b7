"""An event as Event Hubs delivers it."""

from dataclasses import dataclass
from typing import Any

__all__ = ["StreamEvent"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamEvent:
    """An event with its position in the log.

    Attributes
    ----------
    unreadable:
        Why nobody can decode it; its body is then what could be kept of it.
    """

    body: bytes
    partition: str
    offset: str
    sequence_number: int
    unreadable: str = ""

    @property
    def position(self) -> dict[str, Any]:
        """As it is stored and logged."""
        return {"partition": self.partition, "offset": self.offset, "sequenceNumber": self.sequence_number}
