"""Cutting a byte stream into AMQP frames, and putting bodies into frames (transport part 2.3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from local_azure.broker.amqp.errors import AmqpError, Condition

__all__ = [
    "AMQP_FRAME",
    "AMQP_HEADER",
    "EMPTY_FRAME",
    "MIN_MAX_FRAME_SIZE",
    "SASL_FRAME",
    "SASL_HEADER",
    "Frame",
    "FrameReader",
    "frame",
]

AMQP_HEADER: Final = b"AMQP\x00\x01\x00\x00"
SASL_HEADER: Final = b"AMQP\x03\x01\x00\x00"
AMQP_FRAME: Final = 0
SASL_FRAME: Final = 1
EMPTY_FRAME: Final = b"\x00\x00\x00\x08\x02\x00\x00\x00"
MIN_MAX_FRAME_SIZE: Final = 512
"""Every peer takes frames of this size, even before `open` (2.4.1)."""

_unpack_header = struct.Struct(">IBBH").unpack_from
_pack_header = struct.Struct(">IBBH").pack


@dataclass(slots=True)
class Frame:
    """Where one frame's body lies in `data`."""

    kind: int
    channel: int
    data: bytes
    start: int
    end: int


def frame(channel: int, body: bytes, kind: int = AMQP_FRAME) -> bytes:
    """A whole frame around a body."""
    return _pack_header(8 + len(body), 2, kind, channel) + body


class FrameReader:
    """Holds the unfinished rest of a stream; never more than one frame and one read."""

    def __init__(self, max_frame_size: int) -> None:
        self._max_frame_size = max_frame_size
        self._data = b""
        self._position = 0

    def feed(self, data: bytes) -> None:
        """Add bytes as they arrive, in pieces of any size."""
        rest = self._data[self._position :]
        self._data = rest + data if rest else data
        self._position = 0

    def take(self, count: int) -> bytes | None:
        """The next `count` bytes outside any frame, or None while they are not all there."""
        end = self._position + count
        if len(self._data) < end:
            return None
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def next_frame(self) -> Frame | None:
        """The next whole frame, or None while it is not all there.

        Raises
        ------
        AmqpError
            `amqp:connection:framing-error` for an impossible size or data offset.
        """
        data, position = self._data, self._position
        if len(data) - position < 8:
            return None
        size, offset, kind, channel = _unpack_header(data, position)
        if size < 8 or size > self._max_frame_size:
            raise AmqpError(Condition.FRAMING_ERROR, f"A frame of {size} bytes is outside 8..{self._max_frame_size}")
        if offset < 2 or 4 * offset > size:
            raise AmqpError(Condition.FRAMING_ERROR, f"A data offset of {offset} lies outside its frame")
        if len(data) - position < size:
            return None
        self._position = position + size
        return Frame(kind, channel, data, position + 4 * offset, position + size)
