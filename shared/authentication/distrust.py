"""Signing keys that an operator distrusts: no instance takes a token under one of them, whatever the issuer says."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from datetime import datetime

from shared.resilience import SingleFlight
from shared.state import row_safe
from shared.tables import Conflict, Delete, Query, Table, Upsert
from shared.telemetry import log_event

__all__ = ["DistrustedKeys"]

_PARTITION = "distrusted-keys"
FRESH_SECONDS = 4.0
"""An order is followed by every instance within five seconds: this, and the time that reading takes."""
READING_SECONDS = 5.0
PATIENCE_SECONDS = 0.25
"""So long a caller waits for the store at most; what was known stays while it is away."""
IMPATIENT_SECONDS = 30.0
"""After that nobody waits for so long, and the store is read behind the callers."""


class DistrustedKeys:
    """Ids of keys, a row each; an instance reads them when it is asked, and at most every few seconds."""

    def __init__(
        self, table: Table, *, now: Callable[[], datetime], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._table = table
        self._now = now
        self._clock = clock
        self._known: Collection[str] = frozenset()
        self._until = self._patient_from = float("-inf")
        self._reading: SingleFlight[None] = SingleFlight(clock)

    async def known(self) -> Collection[str]:
        """The ids, as they were a few seconds ago at most while the store answers."""
        now = self._clock()
        if now >= self._until:
            reading = self._reading.start(_PARTITION, self._read)
            if now >= self._patient_from:
                await reading.wait(PATIENCE_SECONDS)
                if self._reading.get(_PARTITION) is not None:  # it goes on behind
                    self._patient_from = self._clock() + IMPATIENT_SECONDS
        return self._known

    async def _read(self) -> None:
        began = self._clock()
        try:
            async with asyncio.timeout(READING_SECONDS):
                self._known = frozenset(await self.all())
        except Exception as error:
            log_event("distrusted keys not read", level=logging.WARNING, error=error)
        self._until = began + FRESH_SECONDS

    async def close(self) -> None:
        """Stop a reading that is in progress."""
        await self._reading.close()

    async def all(self) -> dict[str, str]:
        """By id: since when, by whom and why."""
        return {
            str(row["kid"]): f"since {row['at']:%Y-%m-%d %H:%MZ} by {row['by']}: {row['reason']}"
            async for row in self._table.query(Query(partition=_PARTITION))
        }

    async def distrust(self, kid: str, *, by: str, reason: str) -> None:
        """Take no token under this key from now on."""
        row = {"kid": kid, "by": by[:200], "reason": reason[:1_000], "at": self._now()}
        await self._table.submit([Upsert({**_place(kid), **row})])
        log_event("signing key distrusted", kid=kid, by=by, reason=reason)

    async def trust(self, kid: str) -> bool:
        """Take tokens under it again, as far as the issuer has it; False where it wasn't distrusted."""
        try:
            await self._table.submit([Delete(_place(kid), None)])
        except Conflict:
            return False
        log_event("signing key trusted again", kid=kid)
        return True


def _place(kid: str) -> dict[str, str]:
    return {"PartitionKey": _PARTITION, "RowKey": row_safe(kid)}
