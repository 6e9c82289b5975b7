"""Events of the log as parsed JSON, and rows as Arrow tables."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.messages import CloudEvent, InvalidMessage
from shared.messages.strict_json import parse_strict
from shared.streams import StreamEvent

if TYPE_CHECKING:
    from arro3.core import Schema, Table

__all__ = ["ReadEvent", "arrow_table", "read_event"]

_ROWS = 65_536
"""Of one Arrow batch."""


@dataclass(frozen=True, slots=True)
class ReadEvent:
    """An event in its place in the log, its data parsed."""

    received: StreamEvent
    event: CloudEvent
    data: Any


def read_event(received: StreamEvent) -> ReadEvent:
    """An event of ours.

    Raises
    ------
    MalformedJson, InvalidMessage
    """
    if received.unreadable:
        raise InvalidMessage(received.unreadable)
    parsed = parse_strict(received.body)
    if not isinstance(parsed, dict):
        raise InvalidMessage("A CloudEvent is a JSON object.")
    return ReadEvent(received, CloudEvent.from_parsed(parsed, write=lambda _: ""), parsed["data"])


def arrow_table(rows: Sequence[bytes], schema: "Schema") -> "Table":
    """JSON objects as an Arrow table of a schema; every value has the exact form of its column already.

    Nothing in them may be escaped as a pair of surrogates: arro3-io 0.9.1 reads another character.
    """
    from arro3.core import Table
    from arro3.io import read_json

    if not rows:
        return Table.from_batches([], schema=schema)
    return read_json(io.BytesIO(b"\n".join(rows)), schema, batch_size=_ROWS).read_all()
