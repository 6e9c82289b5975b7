"""Rows in memory: bounded, never served older than it says, and never after a key of theirs was erased.

Other instances don't hear of a change, so nothing is invalidated: within its age an entry is served as it is, after
that a point read of the row's version decides whether it still holds.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from shared.classification import Classification
from shared.resilience import BoundedCache, SingleFlight

from .reader import ViewReader
from .views import ReadModels

__all__ = ["CachedRow", "Freshness", "RowCache"]

_ENTRY_BYTES = 1_024
"""What an entry takes beside its body."""
Place = tuple[str, str, Classification]
"""View, key and access level: all that a row as it is shown depends on. Read models are the app's, not a client's."""


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """How old a row may be that is served.

    Attributes
    ----------
    max_age:
        Seconds within which the store isn't asked; with 0 it is, every time.
    stale:
        Seconds after that within which it is served at once, and looked for anew meanwhile.
    """

    max_age: float = 0
    stale: float = 0


class CachedRow(NamedTuple):
    """A row as a caller with some access level sees it.

    Attributes
    ----------
    body:
        JSON.
    modified:
        When it was written; None where that isn't known, or where it doesn't tell since a person was erased.
    age:
        Seconds since the store was asked.
    sequence:
        The number of its newest event.
    """

    body: bytes
    modified: datetime | None
    age: float
    sequence: int = 0


class _Entry(NamedTuple):
    body: bytes
    modified: datetime | None
    version: str
    keys: frozenset[str]
    sequence: int
    read: float
    """When the store was about to be asked, by the clock."""


class RowCache:
    """Reads single rows of views.

    Parameters
    ----------
    capacity:
        Bytes of all entries.
    clock:
        Seconds, monotonic.
    """

    def __init__(
        self,
        rows: ReadModels,
        reader: ViewReader,
        freshness: Freshness,
        *,
        capacity: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rows = rows
        self._reader = reader
        self._freshness = freshness
        self._clock = clock
        self._entries: BoundedCache[Place, _Entry] = BoundedCache(
            capacity, size=lambda entry: _ENTRY_BYTES + len(entry.body)
        )
        self._reading: SingleFlight[_Entry | None] = SingleFlight(clock)

    async def one(
        self, view: str, key: str, *, level: Classification, max_age: float | None = None
    ) -> CachedRow | None:
        """A row, or None.

        Parameters
        ----------
        max_age:
            Seconds that the caller lets it be old; 0 asks the store.

        Raises
        ------
        ProtectionError
            It can't be decrypted; the log says so too.
        KeysUnavailable
        """
        place = (view, key, level)
        fresh = self._freshness.max_age if max_age is None else min(max_age, self._freshness.max_age)
        entry = self._entries.get(place)
        if entry is not None and fresh > 0:
            age = self._clock() - entry.read
            if age < fresh + (self._freshness.stale if max_age is None else 0):
                if await self._reader.still_readable(entry.keys):
                    if age >= fresh:
                        self._reading.start(place, lambda: self._read(place))
                    return CachedRow(entry.body, entry.modified, age, entry.sequence)
                self._entries.pop(place)
        if fresh > 0:
            entry = await self._reading.call(place, lambda: self._read(place))
        else:  # a read that began before this one may not know what its caller has seen done
            entry = await self._read(place)
        if entry is None:
            return None
        return CachedRow(entry.body, entry.modified, max(0.0, self._clock() - entry.read), entry.sequence)

    async def _read(self, place: Place) -> _Entry | None:
        view, key, level = place
        began = self._clock()
        known = self._entries.get(place)
        if known is not None and await self._reader.still_readable(known.keys):
            version = await self._rows.version(view, key)
            if version == known.version:
                return self._put(place, known._replace(read=began))
        row = await self._rows.read(view, key)
        if row is None:
            self._entries.pop(place)
            return None
        masked = await self._reader.mask(view, key, row.text, level)
        modified = None if masked.erased else row.modified
        return self._put(place, _Entry(masked.body, modified, row.version, masked.keys, row.sequence, began))

    def _put(self, place: Place, entry: _Entry) -> _Entry:
        """Keep an entry, unless a read that began later has brought another."""
        known = self._entries.get(place)
        if known is None or known.read <= entry.read:
            self._entries.put(place, entry)
        return entry

    async def close(self) -> None:
        """Stop the reads in progress."""
        await self._reading.close()
