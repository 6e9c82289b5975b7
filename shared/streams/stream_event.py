"""An event as Event Hubs delivers it."""

from dataclasses import dataclass
from typing import Any

__all__ = ["StreamEvent"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamEvent:
    """An event with its position in the log."""

    body: bytes
    partition: str
    offset: str
    sequence_number: int

    @property
    def position(self) -> dict[str, Any]:
        """As it is stored and logged."""
        return {"partition": self.partition, "offset": self.offset, "sequenceNumber": self.sequence_number}
