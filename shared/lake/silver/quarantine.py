"""Events that don't fit their table: why, and where they are in the log, so that they come back once they fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pydantic_core import to_json

from shared.messages import CloudEvent, rfc3339
from shared.streams import StreamEvent

from .reading import arrow_table

if TYPE_CHECKING:
    from arro3.core import Schema, Table

__all__ = ["Misplaced", "quarantine_schema", "quarantined"]


@dataclass(frozen=True, slots=True)
class Misplaced:
    """An event in quarantine.

    Attributes
    ----------
    event_type, event_id, event_time, event_version:
        As far as it could be read.
    reason:
        What doesn't fit, without the value.
    partition, sequence:
        Its place in the log, and so in bronze.
    """

    partition: str
    sequence: int
    reason: str
    event_type: str | None = None
    event_id: str | None = None
    event_time: str | None = None
    event_version: str | None = None

    @classmethod
    def of(cls, received: StreamEvent, event: CloudEvent | None, reason: str) -> Self:
        """An event with the reason; None where it can't be read at all."""
        if event is None:
            return cls(received.partition, received.sequence_number, reason)
        return cls(
            received.partition,
            received.sequence_number,
            reason,
            event_type=event.type,
            event_id=event.id,
            event_time=rfc3339(event.time),
            event_version=event.version,
        )


def quarantine_schema() -> "Schema":
    """Every quarantine has the same columns."""
    from arro3.core import DataType, Field, Schema

    text = ("event_type", "event_id", "event_version", "reason", "log_partition")
    return Schema(
        [
            *(Field(name, DataType.string(), nullable=True) for name in text),
            Field("event_time", DataType.timestamp("us", tz="UTC"), nullable=True),
            Field("log_sequence", DataType.int64(), nullable=True),
        ]
    )


def quarantined(events: Sequence[Misplaced]) -> "Table":
    """The rows of events in quarantine."""
    rows = [
        {
            "event_type": one.event_type,
            "event_id": one.event_id,
            "event_version": one.event_version,
            "reason": one.reason,
            "log_partition": one.partition,
            "event_time": one.event_time,
            "log_sequence": one.sequence,
        }
        for one in events
    ]
    return arrow_table([to_json(row) for row in rows], quarantine_schema())
