"""Messages whose deliveries keep ending without an outcome: which of them ran when its worker died.

A process that is killed, runs out of memory or never answers again tells nothing. So before a suspect runs, alone, a
row says that it does, and it is taken back when the run has ended, whatever came of it.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

from shared.messages import Category, Delivery, ErrorCode, Failure, Headers, MessageError
from shared.state import StateStore, bucket_of, partition_key
from shared.tables import Upsert

__all__ = ["KILLER", "MOST_DEATHS", "SUSPICIOUS_DELIVERY", "Suspects", "headers_of"]

SUSPICIOUS_DELIVERY = 3
"""From this one on a message runs alone, after those that came with it."""
MOST_DEATHS = 2
"""So many workers may die of a message."""
_TAKEN_BACK_SECONDS = 5.0

KILLER = Failure(
    Category.PERMANENT,
    ErrorCode.WORKER_LOST,
    f"{MOST_DEATHS} workers ended while this message ran alone: its handler kills them, or never returns.",
)


def headers_of(delivery: Delivery) -> Headers | None:
    """Its headers, where they can be read."""
    try:
        return Headers.from_properties(delivery.properties)
    except MessageError:
        return None


class Suspects:
    """The notes of one process; `alone` is locked while a suspect runs, so that a death is the doing of one of them."""

    def __init__(self, store: StateStore) -> None:
        self.alone = asyncio.Lock()
        self._store = store
        self._process = uuid4().hex

    async def deaths(self, delivery: Delivery) -> int:
        """How many runs of a message have ended with their process; one that this process noted has not."""
        key = _key(delivery)
        row = (await self._store.find(self._bucket(key), [key])).get(key)
        return 0 if row is None else int(row["runs"]) - (row["process"] == self._process)

    @asynccontextmanager
    async def running(self, delivery: Delivery, deaths: int) -> AsyncIterator[None]:
        """Note that it runs, for as long as it does."""
        key = _key(delivery)
        row = {"PartitionKey": partition_key(self._bucket(key)), "RowKey": key}
        await self._store.commit(self._bucket(key), [Upsert({**row, "runs": deaths + 1, "process": self._process})])
        try:
            yield
        finally:
            with suppress(Exception):  # storage is away: as long as this process lives, the note accuses nobody
                async with asyncio.timeout(_TAKEN_BACK_SECONDS):
                    await self.forget(delivery)

    async def forget(self, delivery: Delivery) -> None:
        """A message has its dead letter: its replay begins anew."""
        key = _key(delivery)
        await self._store.delete(self._bucket(key), [key])

    def _bucket(self, key: str) -> int:
        return bucket_of(key, self._store.buckets)


def _key(delivery: Delivery) -> str:
    """By the logical id, which all copies of a message share."""
    name = str(delivery.properties.get("messageId") or delivery.message_id or delivery.sequence_number)
    return f"suspect:{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:32]}"
