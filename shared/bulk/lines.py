"""Cuts a stream into the messages of a bulk: lines of NDJSON, or the elements of a JSON array. No I/O.

Nothing is parsed here. A message that is too long is skipped without being kept, and keeps its number.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from shared.messages import ErrorCode

from .errors import CannotGoOn

__all__ = ["BATCH_TYPE", "LARGEST_LINE", "NDJSON", "Line", "Splitter", "splitter"]

NDJSON = "application/x-ndjson"
BATCH_TYPE = "application/cloudevents-batch+json"
LARGEST_LINE = 1024 * 1024
"""Bytes of one message of a bulk; a larger one goes alone, or as an upload."""
_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Line:
    """A message of a bulk, and its number, from 1; `content` is None where it is too long."""

    number: int
    content: bytes | None


class Splitter(Protocol):
    """Takes a stream in pieces, gives the messages that are whole."""

    def feed(self, piece: bytes) -> Iterator[Line]:
        """Those that ended in this piece; to be used up before the next one is fed."""

    def finish(self) -> Iterator[Line]:
        """The last one, where nothing has to follow it; raises CannotGoOn where the end is missing."""


def splitter(kind: str) -> Splitter:
    """What cuts a body of a media type."""
    return _Elements() if kind == BATCH_TYPE else _Lines()


class _Lines:
    """Lines end with LF or CRLF, the last one needn't end; empty ones have a number and are no message."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        self._size = 0
        self._number = 0

    def feed(self, piece: bytes) -> Iterator[Line]:
        first, *others = piece.split(b"\n")
        self._add(first)
        if not others:
            return
        if line := self._ended():
            yield line
        last = others.pop()
        for part in others:  # most lines are whole in their piece
            self._number += 1
            if part and (content := part.strip(_SPACE)):
                yield Line(self._number, content if len(content) <= LARGEST_LINE else None)
        self._add(last)

    def finish(self) -> Iterator[Line]:
        if self._size and (line := self._ended()):
            yield line

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= LARGEST_LINE + 2:  # what ends it doesn't count
            self._begun.append(part)
        else:
            self._begun.clear()

    def _ended(self) -> Line | None:
        self._number += 1
        is_whole, content = self._size <= LARGEST_LINE + 2, b"".join(self._begun)
        self._begun, self._size = [], 0
        if not is_whole:
            return Line(self._number, None)
        if self._number == 1:
            content = content.removeprefix(_BOM)  # a file's, as some editors write it; it belongs to no line
        content = content.strip(_SPACE)
        if not content:
            return None
        return Line(self._number, content if len(content) <= LARGEST_LINE else None)


_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOP = re.compile(rb'(?:[^"{}\[\],]++|' + _TEXT + rb")*+", re.DOTALL)
_DEEP = re.compile(rb'(?:[^"{}\[\]]++|' + _TEXT + rb")*+", re.DOTALL)
"""What decides nothing: whole texts and all but brackets; between elements commas decide too."""
_INSIDE = re.compile(rb'["\\]')


class _Elements:
    """Elements of one JSON array. What is between its brackets and commas is cut out as it is."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        self._size = 0
        self._number = 0
        self._depth = 0
        self._in_text = False
        self._escaped = False
        self._after_comma = False
        self._has_ended = False
        self._head = b""

    def feed(self, piece: bytes) -> Iterator[Line]:
        """The places of quotes, brackets and commas decide; all else is passed over."""
        piece, self._head = self._head + piece, b""
        start = position = 0
        while position < len(piece):
            if self._depth == 0:
                position = start = self._outside(piece, position)
                continue
            if self._escaped:
                self._escaped = False
                position += 1
                continue
            if self._in_text:  # that began in an earlier piece, or goes on in the next
                found = _INSIDE.search(piece, position)
                if found is None:
                    break
                position = found.end()
                self._in_text, self._escaped = found[0] != b'"', found[0] == b"\\"
                continue
            end = (_TOP if self._depth == 1 else _DEEP).match(piece, position).end()  # type: ignore[union-attr]
            if end == len(piece):
                break
            mark, position = piece[end], end + 1
            if mark == 0x22:  # a quotation mark
                self._in_text = True
            elif mark in b"{[":
                self._depth += 1
            elif mark in b"}]" and self._depth > 1:
                self._depth -= 1
            elif mark in b"],":
                self._add(piece[start:end])
                start = position
                yield from self._ended(last=mark == 0x5D)
            else:
                raise _no_array()
        if self._depth:
            self._add(piece[start:])

    def _outside(self, piece: bytes, position: int) -> int:
        """Before the array, or after it: nothing but space; where the array begins, its first byte."""
        rest = piece[position:].lstrip(_SPACE)
        if not self._has_ended and position == 0 and _BOM.startswith(rest[:3]) and rest:
            if len(rest) < len(_BOM):
                self._head = rest
                return len(piece)
            rest = rest[len(_BOM) :].lstrip(_SPACE)
        if not rest:
            return len(piece)
        if self._has_ended or not rest.startswith(b"["):
            raise _no_array()
        self._depth = 1
        return len(piece) - len(rest) + 1

    def finish(self) -> Iterator[Line]:
        if not self._has_ended:
            raise CannotGoOn(ErrorCode.MALFORMED_JSON, "The body is no JSON array, or ended before it did.")
        return iter(())

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= 2 * LARGEST_LINE:
            self._begun.append(part)
        else:
            self._begun.clear()

    def _ended(self, *, last: bool) -> Iterator[Line]:
        is_whole, content = self._size <= 2 * LARGEST_LINE, b"".join(self._begun).strip(_SPACE)
        self._begun, self._size = [], 0
        if last:
            self._depth, self._has_ended = 0, True
        if not content and is_whole:
            if last and not self._after_comma:
                return  # an empty array
            raise _no_array()
        self._after_comma = not last
        self._number += 1
        yield Line(self._number, content if is_whole and len(content) <= LARGEST_LINE else None)


def _no_array() -> CannotGoOn:
    return CannotGoOn(ErrorCode.MALFORMED_JSON, "The body is no JSON array.")
