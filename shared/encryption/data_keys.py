"""The app's data keys: one that encrypts now, and every earlier one for what was encrypted before.

Keys are numbered. A new one is made by whoever first finds the newest too old or used too often; its row can be made
only once, so that of several instances one wins and the others take the winner's. Keys never change, so one that was
read once serves for as long as the process lives, whether the vault is there or not.
"""

import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.resilience import BoundedCache, SingleFlight
from shared.telemetry import Metrics, log_event

from .cipher import DataKey
from .errors import KeysUnavailable, ProtectionError, UnknownKey
from .key_rows import KeyRow, KeyTable, created_at, infrastructure, make_key, read_key
from .wrapping import KeyWrapper

__all__ = ["DataKeys"]

_PARTITION = "data"
_HIGHEST = 10**10
_KEY_ID = re.compile(r"d([1-9]\d{0,9})")
_TRY_AGAIN_SECONDS = 30.0
_MOST_OVERDUE = 4
"""How many times its messages a key may encrypt while no new one can be made."""


@dataclass(slots=True)
class _Current:
    key: DataKey
    number: int
    until: datetime


class DataKeys:
    """Hands out data keys; cached, one read at a time for each.

    Parameters
    ----------
    rotate_after:
        Age at which a new key takes over; the old one stays readable.
    rotate_after_messages:
        Messages of one process after which a new key takes over. 2^24 keeps 256 processes together within the 2^32
        of `MAX_MESSAGES`.
    capacity:
        Keys in memory.
    timeout:
        Seconds for a key to be read or made.
    """

    def __init__(
        self,
        rows: KeyTable,
        wrapper: KeyWrapper,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
        random_bytes: Callable[[int], bytes] = os.urandom,
        rotate_after: timedelta = timedelta(days=1),
        rotate_after_messages: int = 2**24,
        capacity: int = 1_024,
        timeout: float = 10.0,
    ) -> None:
        if rotate_after <= timedelta(0) or rotate_after_messages < 1 or capacity < 1:
            raise ValueError("rotate_after, rotate_after_messages and capacity must be above 0")
        self._rows = rows
        self._wrapper = wrapper
        self._now = now
        self._clock = clock
        self._random_bytes = random_bytes
        self._rotate_after = rotate_after
        self._rotate_after_messages = rotate_after_messages
        self._timeout = timeout
        self._current: _Current | None = None
        self._not_before = -1.0
        self._known: BoundedCache[str, DataKey] = BoundedCache(capacity)
        self._calls: SingleFlight[DataKey] = SingleFlight()

    async def current(self) -> DataKey:
        """The key to encrypt with now.

        While a new one is being made, or can't be, the old one goes on.

        Raises
        ------
        KeysUnavailable
            There is none yet, or the old one encrypted far too much.
        """
        found = self.peek_current()
        if found is not None:
            return found
        current = self._current
        spent = current is None or current.key.messages >= self._rotate_after_messages * _MOST_OVERDUE
        if current is not None and not spent and (self._calls.get("") or self._clock() < self._not_before):
            return current.key
        try:
            return await self._calls.call("", self._next)
        except KeysUnavailable as error:
            if current is None or spent:
                raise
            self._not_before = self._clock() + _TRY_AGAIN_SECONDS
            log_event("data key overdue", level=logging.WARNING, keyId=current.key.id, error=error)
            return current.key

    def peek_current(self) -> DataKey | None:
        """The key to encrypt with now, where that needs no waiting; else await `current`."""
        current = self._current
        if current is None or current.key.messages >= self._rotate_after_messages or self._now() >= current.until:
            return None
        return current.key

    async def get(self, key_id: str) -> DataKey:
        """The key with an id.

        Raises
        ------
        UnknownKey
            There is none, or it can't be unwrapped any more.
        KeysUnavailable
            It isn't known yet, and storage or vault is away.
        """
        return self.peek(key_id) or await self._calls.call(key_id, lambda: self._load(key_id))

    def peek(self, key_id: str) -> DataKey | None:
        """The key with an id, where it is in memory."""
        return self._known.get(key_id)

    async def _load(self, key_id: str) -> DataKey:
        number = _KEY_ID.fullmatch(key_id)
        if number is None:
            raise UnknownKey(f"There is no data key {key_id[:96]!r}.")
        async with infrastructure(f"the data key {key_id!r} can't be read now", self._timeout):
            row = await self._rows.get(_PARTITION, _row_key(int(number[1])))
            if row is None:
                raise UnknownKey(f"There is no data key {key_id!r}.")
            return self._keep(await read_key(row, self._wrapper))

    async def _next(self) -> DataKey:
        """The newest key where it is young enough, or a new one."""
        async with infrastructure("no data key can be made now", self._timeout):
            row = await self._rows.first(_PARTITION)
            key = await self._adopt(row) if row is not None else None
            while key is None:
                row = await self._make(0 if row is None else _number(row))
                key = await self._adopt(row)
            return key

    async def _adopt(self, row: KeyRow) -> DataKey | None:
        """The key of a row as the current one; None where it is too old, used too often, or lost."""
        until = created_at(row).astimezone(UTC) + self._rotate_after
        current = self._current
        if until <= self._now() or (current is not None and _number(row) <= current.number):
            return None
        try:
            key = self.peek(str(row.columns["keyId"])) or await read_key(row, self._wrapper)
        except ProtectionError as error:  # what it encrypted is lost, but not what is encrypted from now on
            log_event("data key lost", level=logging.ERROR, keyId=str(row.columns["keyId"]), error=error)
            return None
        self._current = _Current(self._keep(key), _number(row), until)
        return key

    async def _make(self, after: int) -> KeyRow:
        """The row of the next key, made here or by somebody who was faster."""
        number = after + 1
        key, row = await make_key(
            f"d{number}",
            partition=_PARTITION,
            row=_row_key(number),
            wrapper=self._wrapper,
            now=self._now(),
            random_bytes=self._random_bytes,
        )
        if await self._rows.create(row):
            log_event("data key made", keyId=key.id)
            self._keep(key)
            return row
        faster = await self._rows.get(_PARTITION, row.row)
        if faster is None:
            raise LookupError(f"the row of the data key {key.id!r} comes and goes")
        return faster

    def _keep(self, key: DataKey) -> DataKey:
        known = self._known.get(key.id) or self._known.put(key.id, key)
        Metrics.keys_cached.set(len(self._known), kind="data")
        return known


def _row_key(number: int) -> str:
    """Counts down, so that the newest key is the first row."""
    return f"{_HIGHEST - number:011d}"


def _number(row: KeyRow) -> int:
    return _HIGHEST - int(row.row)
