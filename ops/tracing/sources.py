"""Where spans are read from: the store of a local stack."""

import base64
import binascii
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import UUID

from shared.telemetry.span_store import Found, SpanStore, StoredSpan

__all__ = ["MOST_SPANS", "LocalSource", "NoSpans", "Source", "message_of"]

T = TypeVar("T")

MOST_SPANS = 5_000
"""Of a trace."""


class NoSpans(Exception):
    """The spans can't be read; the message says why, and what helps."""


class Source(Protocol):
    """Reads spans; raises NoSpans."""

    def find(self, text: str, *, most: int) -> list[Found]:
        """Traces that an id, or its beginning, names."""

    def trace(self, trace: str) -> list[StoredSpan]:
        """The spans of a trace, and those that link to it."""

    def newest(self, most: int) -> list[StoredSpan]:
        """The spans that ended last."""


class LocalSource:
    """A stack's span store."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, text: str, *, most: int) -> list[Found]:
        """Traces that an id, or its beginning, names."""
        return self._read(lambda store: store.find(text, most=most))

    def trace(self, trace: str) -> list[StoredSpan]:
        """The spans of a trace, and those that link to it."""
        return self._read(lambda store: store.trace(trace, most=MOST_SPANS))

    def newest(self, most: int) -> list[StoredSpan]:
        """The spans that ended last."""
        return self._read(lambda store: list(store.newest(most)))

    def _read(self, ask: Callable[[SpanStore], list[T]]) -> list[T]:
        if not self._path.exists():
            raise NoSpans(f"there is no span store {self._path}: start a stack with `python3 dev.py run`.")
        try:
            with closing(SpanStore(self._path, read_only=True)) as store:
                return ask(store)
        except sqlite3.Error as error:
            raise NoSpans(f"the span store {self._path} can't be read: {error}") from error


def message_of(text: str) -> str | None:
    """The message id in an operation's id or address; None where it is none. Its signature isn't looked at."""
    identity = text.rpartition("/")[2].partition("?")[0]
    with suppress(ValueError, binascii.Error):
        whole = base64.b64decode(identity.encode("ascii"), altchars=b"-_", validate=True)
        if len(whole) >= 26:
            return str(UUID(bytes=whole[:16]))
    return None
