"""Buckets as rows of a table: a lease is one conditional write, and a read where another instance wrote before."""

import hashlib
import json
import random
from asyncio import sleep
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from shared.resilience import BoundedCache
from shared.state import row_safe
from shared.tables import Conflict, Create, Entity, Replace, Table, etag_of

from .blocks import Block, BlockStore, Quota, SharedRate, lease_quota, lease_rate

__all__ = ["TableBlocks", "client_key"]

_TRIES = 3
_MOST_KNOWN = 10_000
_PAUSE = 0.02
_MOST_LEASES = 500
"""Instances whose last lease of a quota its row remembers."""

_LONGEST_KEY = 200
"""Characters of a client's name in a key; a longer one stands there as its hash."""

Changed = tuple[Block, dict[str, Any] | None]


class TableBlocks(BlockStore):
    """Implements `BlockStore`: a partition for each client, a row for each of its buckets.

    The instances agree on the time by their clocks: one that is ahead by a second sees a second's tokens more.
    """

    def __init__(
        self,
        table: Table,
        *,
        now: Callable[[], datetime],
        random: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = sleep,
    ) -> None:
        self._table = table
        self._now = now
        self._random = random
        self._sleep = sleep
        self._known: BoundedCache[tuple[str, str], tuple[Entity, bool]] = BoundedCache(_MOST_KNOWN)
        """The rows as they were written here; and whether nobody else wrote before, so that the next needs no read."""

    async def lease_rate(self, client: str, bucket: SharedRate, wanted: int) -> Block:
        """See `BlockStore`."""

        def change(row: Entity | None) -> Changed:
            stored = 0.0 if row is None else float(row["fullAt"])
            block, full_at = lease_rate(stored, self._now().timestamp(), bucket, wanted)
            return block, {"fullAt": full_at} if block.tokens or full_at < stored else None

        return await self._change(client, f"rate:{bucket.name}", change)

    async def lease_quota(self, client: str, quota: Quota, wanted: int, *, lease: str = "") -> Block:
        """See `BlockStore`."""
        instance, _, number = lease.rpartition(".")

        def change(row: Entity | None) -> Changed:
            found = ("", 0) if row is None else (str(row["period"]), int(row["used"]))
            leases: dict[str, tuple[str, int]] = {} if row is None else json.loads(row.get("leases") or "{}")
            last, granted = leases.pop(instance, ("", 0))
            if lease and last == number:
                return Block(granted, quota.most - found[1]), None
            block, (period, used) = lease_quota(found, self._now(), quota, wanted)
            if (period, used) == found:
                return block, None
            if lease:
                leases[instance] = (number, block.tokens)
            kept = dict(list(leases.items())[-_MOST_LEASES:])
            return block, {"period": period, "used": used, "leases": json.dumps(kept, separators=(",", ":"))}

        return await self._change(client, f"quota:{quota.name}", change)

    async def _change(self, client: str, name: str, change: Callable[[Entity | None], Changed]) -> Block:
        key = {"PartitionKey": f"limits:{client_key(client)}", "RowKey": row_safe(name)}
        place = (key["PartitionKey"], key["RowKey"])
        written, is_trusted = self._known.get(place) or (None, False)
        for attempt in range(_TRIES):
            row = written if is_trusted else await self._table.get(*place)
            is_alone = row is not None and written is not None and etag_of(row) == etag_of(written)
            block, columns = change(row)
            if columns is None:
                if is_trusted:  # perhaps another instance has changed it
                    is_trusted = False
                    continue
                return block
            changed = {**key, **columns}
            try:
                (version,) = await self._table.submit([Create(changed) if row is None else _replace(changed, row)])
            except Conflict:
                is_trusted = False
                await self._sleep(self._random() * _PAUSE * (attempt + 1))
                continue
            self._known.put(place, (Entity(changed, version), is_alone))
            return block
        return Block(0, 0.0, _PAUSE * _TRIES)

    async def close(self) -> None:
        """Close the table."""
        await self._table.close()


def _replace(row: dict[str, Any], over: Entity) -> Replace:
    return Replace(row, etag_of(over))


def client_key(client: str) -> str:
    """A client's name as a part of a row's key."""
    name = row_safe(client)
    if len(name) <= _LONGEST_KEY and name.isprintable():
        return name
    return f"sha256-{hashlib.sha256(client.encode('utf-8', 'surrogatepass')).hexdigest()}"
