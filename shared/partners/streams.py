"""Answers that come piece by piece: server-sent events (WHATWG HTML, 9.2) and lines of JSON. Without I/O, and bounded.

WebSocket and gRPC aren't there: a partner that has nothing else is called by a library of its own, in its own module.
"""

import re
from typing import NamedTuple

__all__ = ["LARGEST_ITEM", "EventStream", "Lines", "ServerEvent", "TooLong"]

LARGEST_ITEM = 1024 * 1024
"""Bytes of one line, and of one event's data."""
LONGEST_RETRY = 60.0
"""Seconds to wait before a connection is made anew, however long the partner asks for."""
_END = re.compile(rb"\r\n|\n|\r")
_DIGITS = re.compile(r"[0-9]+")
_BOM = b"\xef\xbb\xbf"


class TooLong(ValueError):
    """A line or an event is longer than what was agreed."""


class ServerEvent(NamedTuple):
    """One event.

    Attributes
    ----------
    data:
        Its lines, with newlines between them.
    event:
        Its type.
    id:
        The last id that the stream gave, in this event or before.
    """

    data: str
    event: str = "message"
    id: str = ""


class Lines:
    """Bytes to lines, which end with a newline; the last one needs none. A carriage return before it is dropped."""

    def __init__(self, *, largest: int = LARGEST_ITEM) -> None:
        self._largest = largest
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are whole now, without empty ones. Raises TooLong."""
        *ended, rest = data.split(b"\n")
        found: list[bytes] = []
        for end in ended:
            found.append(self._line(end))
        self._keep(rest)
        return [one for one in found if one]

    def end(self) -> list[bytes]:
        """What was left at the end of the stream."""
        line = self._line(b"")
        return [line] if line else []

    def _line(self, end: bytes) -> bytes:
        self._keep(end)
        line = b"".join(self._parts)
        self._parts, self._size = [], 0
        return line.strip(b" \t\r")

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._largest:
            raise TooLong(f"a line of more than {self._largest} bytes")
        self._parts.append(part)


class EventStream:
    """Bytes of `text/event-stream` to events.

    Attributes
    ----------
    last_id:
        What `Last-Event-ID` says where the connection is made anew.
    retry:
        Seconds until then.
    """

    def __init__(self, *, largest: int = LARGEST_ITEM, last_id: str = "", retry: float = 3.0) -> None:
        self.last_id = last_id
        self.retry = retry
        self._largest = largest
        self._id = last_id
        self._parts: list[bytes] = []
        self._size = 0
        self._data: list[str] = []
        self._data_size = 0
        self._event = ""
        self._is_first = True
        self._after_return = False

    def feed(self, data: bytes) -> list[ServerEvent]:
        """The events that are whole now. Raises TooLong."""
        if self._after_return and data:  # CR and LF of one line's end came apart
            data = data.removeprefix(b"\n")
            self._after_return = False
        found: list[ServerEvent] = []
        start = 0
        for end in _END.finditer(data):
            self._keep(data[start : end.start()])
            start = end.end()
            line = b"".join(self._parts)
            self._parts, self._size = [], 0
            if (event := self._take(line)) is not None:
                found.append(event)
            self._after_return = end[0] == b"\r" and start == len(data)
        self._keep(data[start:])
        return found

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._largest:
            raise TooLong(f"a line of more than {self._largest} bytes")
        if part:
            self._parts.append(part)

    def _take(self, line: bytes) -> ServerEvent | None:
        if self._is_first:
            self._is_first = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatched()
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data_size += len(value) + 1
                if self._data_size > self._largest:
                    raise TooLong(f"an event of more than {self._largest} bytes")
                self._data.append(value)
            case "event":
                self._event = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if _DIGITS.fullmatch(value):
                self.retry = min(LONGEST_RETRY, int(value[:9]) / 1_000)
        return None

    def _dispatched(self) -> ServerEvent | None:
        self.last_id = self._id
        data, event = self._data, self._event
        self._data, self._data_size, self._event = [], 0, ""
        return ServerEvent("\n".join(data), event or "message", self.last_id) if data else None
