"""Followed rows: as they are, then as they change, from where a client left."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from graphql import GraphQLError

from shared.graphql import RowChanges


class Store:
    """Rows that change each time somebody waits."""

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {"1": b'{"n":0}', "2": b'{"n":0}'}
        self.waits: list[float] = []

    async def read(self, view: str, key: str) -> bytes | None:
        """A row."""
        return self.rows.get(key)

    async def sleep(self, seconds: float) -> None:
        """Change a row, and add one."""
        self.waits.append(seconds)
        self.rows["1"] = b'{"n":%d}' % len(self.waits)
        self.rows["3"] = b"{}"
        await asyncio.sleep(0)


async def take(changes: RowChanges, many: int, keys: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """The first rows that come."""
    found = []
    rows = changes.follow("orders", keys)
    async for row in rows:
        found.append((row.key, dict(row)))
        if len(found) == many:
            break
    await rows.aclose()
    return found


async def test_rows_come_as_they_are_and_then_as_they_change() -> None:
    """One that isn't there comes when it is; one that hasn't changed isn't sent again."""
    store = Store()
    found = await take(RowChanges(store.read, sleep=store.sleep, poll=3), 5, ["1", "2", "3", "1"])
    assert found == [("1", {"n": 0}), ("2", {"n": 0}), ("1", {"n": 1}), ("3", {}), ("1", {"n": 2})]
    assert store.waits == [3, 3]


async def test_who_comes_again_is_told_what_has_changed_since() -> None:
    """By the id of the last event."""
    store = Store()
    first = RowChanges(store.read, sleep=store.sleep)
    await take(first, 2, ["1", "2"])
    assert await take(RowChanges(store.read, last=first.identity, sleep=store.sleep), 1, ["1", "2"]) == [
        ("1", {"n": 1})
    ]


@pytest.mark.parametrize("last", ["", "?", "e30=", "W10=", "x" * 10_000, "eyIxIjo3fQ==", "\u00e9"], ids=range(7))
async def test_an_id_that_is_none_of_ours_is_no_id(last: str) -> None:
    store = Store()
    assert (await take(RowChanges(store.read, last=last, sleep=store.sleep), 1, ["1"]))[0] == ("1", {"n": 0})


@pytest.mark.parametrize("keys", [[], [""], ["x" * 129], [str(number) for number in range(21)]], ids=range(4))
async def test_too_many_keys_or_wrong_ones_are_refused(keys: list[str]) -> None:
    with pytest.raises(GraphQLError, match="Follow 1 to 20 keys"):
        await take(RowChanges(Store().read), 1, keys)
