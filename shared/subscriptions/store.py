"""Keeps subscriptions: a row each, in the partition of its owner.

Signing secrets, and what shows a receiver who the app is, are encrypted under the app's data key, where the app has
one. They aren't secrets of the key vault:
every delivery needs one, and a vault answers 4,000 requests in 10 s.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from shared.privacy import FieldProtection
from shared.state import pack, row_safe, unpack
from shared.tables import Create, Delete, Entity, Query, Replace, Table, Upsert, again_on_conflict

from .subscription import Subscription

__all__ = ["MOST_OF_ONE", "SubscriptionStore"]

MOST_OF_ONE = 100
"""Subscriptions of one owner."""
_RELOAD_SECONDS = 30.0
_GENERATION = "%generation"
_ADAPTER = TypeAdapter(Subscription)


class SubscriptionStore:
    """The table of subscriptions.

    Parameters
    ----------
    fields:
        Encrypts signing secrets; without it they are in clear.
    clock:
        Seconds, monotonic.
    """

    def __init__(self, table: Table, fields: FieldProtection | None, *, clock: Callable[[], float]) -> None:
        self._table = table
        self._fields = fields
        self._clock = clock
        self._known: tuple[Subscription, ...] = ()
        self._generation: str | None = None
        self._loaded_at = float("-inf")
        self._loading = asyncio.Lock()

    async def get(self, owner: str, identity: str) -> Subscription | None:
        """One with all that it has; None where its owner has none of that id."""
        row = await self._table.get(_partition(owner), row_safe(identity))
        return None if row is None else await self._read(row)

    async def owned(self, owner: str) -> list[Subscription]:
        """All of one owner in the order of their ids, without their secrets."""
        return [_public(row) async for row in self._table.query(Query(partition=_partition(owner)))]

    async def create(self, made: Subscription) -> None:
        """Return when every instance will see it; raises Conflict where the id is known."""
        await self._table.submit([Create(await self._row(made))])
        await self._changed()

    async def change(
        self, owner: str, identity: str, make: Callable[[Subscription], Subscription]
    ) -> Subscription | None:
        """What `make` made of it; None where there is none. What `make` raises is passed on, and nothing is changed.

        Raises
        ------
        TimeoutError
            It kept changing.
        """

        async def attempt() -> tuple[Subscription, bool] | None:
            row = await self._table.get(_partition(owner), row_safe(identity))
            if row is None:
                return None
            found = await self._read(row)
            made = make(found)
            if made != found:
                await self._table.submit([Replace(await self._row(made), row.etag)])
            return made, made != found

        result = await again_on_conflict(attempt, subject=f"the subscription {identity}")
        if result is None:
            return None
        if result[1]:
            await self._changed()
        return result[0]

    async def delete(
        self, owner: str, identity: str, check: Callable[[Subscription], None] = lambda _: None
    ) -> Subscription | None:
        """What was deleted, as `check` saw it; None where there is none. What `check` raises leaves it there.

        Raises
        ------
        TimeoutError
            It kept changing.
        """

        async def attempt() -> Subscription | None:
            row = await self._table.get(_partition(owner), row_safe(identity))
            if row is None:
                return None
            found = await self._read(row)
            check(found)
            key = {"PartitionKey": _partition(owner), "RowKey": row_safe(identity)}
            await self._table.submit([Delete(key, row.etag)])
            return found

        deleted = await again_on_conflict(attempt, subject=f"the subscription {identity}")
        if deleted is not None:
            await self._changed()
        return deleted

    async def every(self) -> tuple[Subscription, ...]:
        """All of them without their secrets, as they are now: one small read while nothing has changed."""
        async with self._loading:
            row = await self._table.get(_GENERATION, _GENERATION)
            generation = "" if row is None else str(row["value"])
            if generation != self._generation or self._clock() - self._loaded_at > _RELOAD_SECONDS:
                found = [one async for one in self._table.query(Query()) if one["RowKey"] != _GENERATION]
                self._known = tuple(_public(one) for one in found)
                self._generation, self._loaded_at = generation, self._clock()
            return self._known

    async def _changed(self) -> None:
        row = {"PartitionKey": _GENERATION, "RowKey": _GENERATION, "value": uuid4().hex}
        await self._table.submit([Upsert(row)])

    async def _row(self, one: Subscription) -> dict[str, Any]:
        columns = _ADAPTER.dump_python(one, mode="json")
        proofs = {"secrets": columns.pop("secrets")}
        if columns["authentication"] is None:
            del columns["authentication"]  # the release before has no such column
        else:
            proofs["credential"] = columns["authentication"].pop("secret")
        hidden = to_json(proofs).decode()
        if self._fields is not None:
            hidden = await self._fields.encrypt_whole(hidden, ("subscription", one.id))
        return {
            "PartitionKey": _partition(one.owner),
            "RowKey": row_safe(one.id),
            "status": one.status.value,
            "proof": hidden,
            **pack(to_json(columns).decode()),
        }

    async def _read(self, row: Entity) -> Subscription:
        hidden = str(row["proof"])
        if self._fields is not None:
            hidden = await self._fields.decrypt_whole(hidden, ("subscription", _public(row).id))
        columns, proofs = from_json(unpack(row)), from_json(hidden)
        if "credential" in proofs and "authentication" in columns:
            columns["authentication"]["secret"] = proofs.pop("credential")
        return _ADAPTER.validate_python(columns | proofs)

    async def close(self) -> None:
        """Close the table's HTTP sessions."""
        await self._table.close()


def _partition(owner: str) -> str:
    """Never the generation's: `row_safe` makes another text of a percent sign."""
    return row_safe(owner or "-")


def _public(row: Entity) -> Subscription:
    return replace(_ADAPTER.validate_python(from_json(unpack(row))), secrets=())
