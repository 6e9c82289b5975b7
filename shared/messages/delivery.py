"""A message as a trigger hands it over, or as it waits on the ordered lane, and the lanes on which it may come."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

__all__ = ["ERASED_PROPERTY", "Delivery", "Lane"]

ERASED_PROPERTY = "erased"
"""Set on a message whose content was erased with the person whom it was about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A message, and what the broker says of it.

    Attributes
    ----------
    properties:
        Application properties, which no host shifts between the messages of a batch.
    message_id:
        The broker's, which differs between the copies of a message.
    """

    body: bytes
    properties: Mapping[str, Any]
    message_id: str
    sequence_number: int
    delivery_count: int

    def erased(self) -> Self:
        """The message without its content: whoever takes it refuses it, and says why."""
        kept = {name: value for name, value in self.properties.items() if not name.startswith(("claim", "sealed"))}
        return replace(self, body=b"", properties={**kept, ERASED_PROPERTY: True})


class Lane(StrEnum):
    """A queue with a rank of its own; high is never behind low, low keeps a guaranteed share.

    On the ordered lane the messages of a key are done strictly one after the other.
    """

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
    ORDERED = "ordered"
