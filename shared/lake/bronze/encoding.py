"""Events as an Avro file, and back: whole files only, since one that was cut gives its first rows before it fails."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from shared.streams import StreamEvent

from .errors import CorruptFile
from .records import SCHEMA, event_of, record_of

__all__ = ["decode", "encode"]

_BLOCK = 256 * 1024
"""Bytes that are compressed together."""


def encode(events: Sequence[StreamEvent]) -> bytes:
    """A file of these events: the same for the same events."""
    from fastavro import writer

    first, last = events[0], events[-1]
    mark = f"{first.partition}:{first.sequence_number}:{last.sequence_number}".encode()
    file = io.BytesIO()
    writer(
        file,
        _schema(),
        (record_of(event) for event in events),
        codec="deflate",
        sync_interval=_BLOCK,
        sync_marker=hashlib.md5(mark, usedforsecurity=False).digest(),
    )
    return file.getvalue()


def decode(data: bytes, partition: str, *, name: str) -> Iterator[StreamEvent]:
    """The events of a file in its order. Only at its end is it certain that all of them are right.

    Parameters
    ----------
    name:
        The file's, for the error.

    Raises
    ------
    CorruptFile
        It was cut or changed, or is no file of events.
    """
    from fastavro import reader

    try:
        for record in reader(io.BytesIO(data)):
            if not isinstance(record, dict):
                raise TypeError("a record is something else")
            event = event_of(record, partition)
            if not isinstance(event.sequence_number, int) or not isinstance(event.body, bytes):
                raise TypeError("a record is no event")
            yield event
    except Exception as error:  # the library raises whatever the bytes lead it into
        raise CorruptFile(name, f"it can't be read: {type(error).__name__}") from error


@cache
def _schema() -> Any:
    from fastavro import parse_schema

    return parse_schema(dict(SCHEMA))
