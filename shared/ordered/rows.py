"""Rows of the ordered lane: a parked key, and the messages that wait behind it, in order.

A key is parked by one row, `parked:<key>`, and each message that waits has a row of its own, `waiting:<key>:<number>`;
both lie in the key's bucket.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from shared.messages import Delivery
from shared.state import Row, delivery_columns, delivery_parts
from shared.tables import etag_of

__all__ = ["FIRST", "ParkedKey", "Turn", "delivery_of", "waiting_columns"]

FIRST = 10**9
"""Number of the first message: there is room before it for one that comes back to the front."""


def waiting_columns(delivery: Delivery) -> dict[str, Any]:
    """A message that waits as columns of a row."""
    return {
        "claim": str(delivery.properties.get("claim") or ""),
        "brokerId": delivery.message_id,
        "sequenceNumber": str(delivery.sequence_number),
        "deliveryCount": delivery.delivery_count,
        **delivery_columns(delivery.body, delivery.properties),
    }


def delivery_of(row: Row) -> Delivery:
    """Read a message back."""
    body, properties = delivery_parts(row)
    return Delivery(
        body=body,
        properties=properties,
        message_id=str(row["brokerId"]),
        sequence_number=int(row["sequenceNumber"]),
        delivery_count=int(row["deliveryCount"]),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ParkedKey:
    """What is known of a parked key.

    Attributes
    ----------
    first, after:
        Numbers of the message whose turn it is, and of the next one that comes.
    until:
        When the first one is tried; None while an operator must decide.
    blocked_by:
        The dead message that holds the key, by its id.
    since:
        When the key was parked or blocked.
    """

    key: str
    first: int = FIRST
    after: int = FIRST
    until: datetime | None = None
    blocked_by: str | None = None
    reason: str = ""
    since: datetime
    etag: str | None = field(default=None, compare=False)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return self.first == self.after

    def columns(self) -> dict[str, Any]:
        """The key as columns of a row."""
        return {
            "key": self.key,
            "first": str(self.first),
            "next": str(self.after),
            "blockedBy": self.blocked_by or "",
            "reason": self.reason[:4_000],
            "since": self.since,
            **({} if self.until is None else {"until": self.until}),
        }

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Read a key's row."""
        until = row.get("until")
        return cls(
            key=str(row["key"]),
            first=int(row["first"]),
            after=int(row["next"]),
            until=None if until is None else until.astimezone(UTC),
            blocked_by=row.get("blockedBy") or None,
            reason=str(row.get("reason", "")),
            since=row["since"].astimezone(UTC),
            etag=etag_of(row),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """The message of a parked key whose turn it is."""

    key: str
    number: int
    delivery: Delivery
    etag: str | None
