"""A message as a trigger hands it over, or as it waits on the ordered lane."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Delivery"]


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
