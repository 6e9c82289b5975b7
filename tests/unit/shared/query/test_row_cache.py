"""Rows from memory: never older than said, never after an erasure, never somebody else's, within a bound."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import pytest

from shared.classification import Classification, Confidential, Restricted, Subject, Tokenized
from shared.messages import Contract, Integration, Registry
from shared.privacy import FieldProtection
from shared.query import Freshness, ReadModels, RowCache, ViewReader, ViewRow
from shared.tables import Entity, MemoryTable
from shared.tokenization import TokenKeys
from tests.unit.shared.encryption.vault import World


class Guest(Contract):
    """About a person."""

    guest_id: Annotated[str | None, Restricted, Tokenized("guest"), Subject("guest")] = None
    name: Annotated[str | None, Restricted] = None
    nights: int = 1


class CountedTable(MemoryTable):
    """Counts reads, of whole rows and of versions, and can hold them back."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = self.versions = 0
        self.hold: asyncio.Event | None = None
        self.asked = asyncio.Event()

    async def get(self, partition: str, row: str, *, select: Any = ()) -> Entity | None:
        """See `Table`."""
        self.whole += not select
        self.versions += bool(select)
        found = await super().get(partition, row, select=select)
        self.asked.set()
        if self.hold is not None:
            await self.hold.wait()
        return found


class Hotel:
    """A view of guests, its cache, and a clock that is moved by hand."""

    def __init__(self, freshness: Freshness, *, capacity: int = 1_000_000, world: World | None = None) -> None:
        hotel = Integration("hotel")

        @hotel.projects("guest.came", into="guests")
        def row(guest: Guest) -> Guest:
            return guest

        self.seconds = 0.0
        self.table = CountedTable()
        self.views = ReadModels(self.table)
        self.fields = None
        if world is not None:
            self.fields = FieldProtection(
                world.data_keys(), world.subject_keys(), TokenKeys(world.secrets, "token-key")
            )
        reader = ViewReader(Registry([hotel]), self.views, self.fields)
        self.cache = RowCache(self.views, reader, freshness, capacity=capacity, clock=lambda: self.seconds)
        self._sequence = 0

    async def comes(self, key: str, **data: Any) -> dict[str, str]:
        """Store a row; returns the tokens of its person."""
        self._sequence += 1
        guest, aad = Guest(**data), ("view", "guests", key)
        text, tokens = guest.model_dump_json(by_alias=True), {}
        if self.fields is not None:
            encrypted = await self.fields.encrypt(guest, aad)
            text, tokens = encrypted.text, dict(encrypted.tokens)
        await self.views.put(
            [ViewRow(view="guests", key=key, value=text, event_id="e", sequence=self._sequence, tokens=tokens)]
        )
        return tokens

    async def never(self) -> Any:
        """A read that isn't begun, since another is in progress."""
        raise AssertionError

    async def reads(self, key: str, level: Classification = Restricted, **asked: Any) -> Any:
        """The row as JSON, and its age."""
        found = await self.cache.one("guests", key, level=level, **asked)
        return None if found is None else (json.loads(found.body), found.age)


async def test_without_an_age_every_change_is_seen_at_once() -> None:
    """A version decides; what hasn't changed isn't read again."""
    hotel = Hotel(Freshness())
    await hotel.comes("1", nights=1)
    await hotel.comes("1", nights=2)
    for _ in range(3):
        assert (await hotel.reads("1"))[0]["nights"] == 2
    assert (hotel.table.whole, hotel.table.versions) == (1, 3)  # one of them by the second event
    await hotel.comes("1", nights=3)
    assert (await hotel.reads("1"))[0]["nights"] == 3


async def test_within_its_age_the_store_is_not_asked() -> None:
    hotel = Hotel(Freshness(max_age=10))
    await hotel.comes("1", nights=1)
    assert await hotel.reads("1", Confidential) == await hotel.reads("1", Confidential)
    await hotel.comes("1", nights=2)
    reads = hotel.table.whole + hotel.table.versions
    hotel.seconds = 9.9
    row, age = await hotel.reads("1", Confidential)
    assert (row["nights"], age, hotel.table.whole + hotel.table.versions) == (1, 9.9, reads)
    hotel.seconds = 10
    assert ((await hotel.reads("1", Confidential))[0]["nights"]) == 2


async def test_a_caller_may_ask_for_less() -> None:
    """`no-cache` asks the store; a longer age than ours changes nothing."""
    hotel = Hotel(Freshness(max_age=10, stale=100))
    await hotel.comes("1", nights=1)
    await hotel.reads("1")
    await hotel.comes("1", nights=2)
    hotel.seconds = 5
    assert (await hotel.reads("1", max_age=6))[0]["nights"] == 1
    assert (await hotel.reads("1", max_age=5))[0]["nights"] == 2
    await hotel.comes("1", nights=3)
    assert (await hotel.reads("1", max_age=0))[0]["nights"] == 3
    await hotel.comes("1", nights=4)
    hotel.seconds = 16
    assert (await hotel.reads("1", max_age=1_000))[0]["nights"] == 4


async def test_a_stale_row_is_served_while_it_is_read_anew() -> None:
    """Once for all who ask meanwhile; after its time nobody gets it."""
    hotel = Hotel(Freshness(max_age=10, stale=20))
    await hotel.comes("1", nights=1)
    await hotel.reads("1")
    await hotel.comes("1", nights=2)
    hotel.seconds, hotel.table.hold = 29, asyncio.Event()
    reads = hotel.table.versions
    assert [await hotel.reads("1") for _ in range(5)] == [({"guestId": None, "name": None, "nights": 1}, 29)] * 5
    await asyncio.sleep(0)
    assert hotel.table.versions == reads + 1
    hotel.table.hold.set()
    await hotel.cache._reading.call(("guests", "1", Restricted), hotel.never)
    assert await hotel.reads("1") == ({"guestId": None, "name": None, "nights": 2}, 0)
    await hotel.comes("1", nights=3)
    hotel.seconds += 30
    assert (await hotel.reads("1"))[0]["nights"] == 3


async def test_the_age_counts_from_before_the_read() -> None:
    """A row that took five seconds to come is five seconds old."""
    hotel = Hotel(Freshness(max_age=10))
    await hotel.comes("1")
    hotel.table.hold = asyncio.Event()
    reading = asyncio.create_task(hotel.reads("1"))
    hotel.table.asked.clear()
    await hotel.table.asked.wait()
    hotel.seconds = 5
    hotel.table.hold.set()
    assert (await reading)[1] == 5


async def test_what_is_not_there_is_not_remembered() -> None:
    hotel = Hotel(Freshness(max_age=10))
    assert await hotel.reads("1") is None
    await hotel.comes("1")
    assert await hotel.reads("1") is not None


async def test_every_level_sees_its_own() -> None:
    """A restricted value that one caller has seen is in no answer to another."""
    hotel = Hotel(Freshness(max_age=10), world=World())
    await hotel.comes("1", guest_id="7", name="Ada")
    for _ in range(2):
        assert (await hotel.reads("1", Restricted))[0]["name"] == "Ada"
        assert (await hotel.reads("1", Confidential))[0]["name"] is None


@pytest.mark.parametrize("freshness", [Freshness(), Freshness(max_age=1_000), Freshness(max_age=1, stale=1_000)])
async def test_who_is_erased_is_gone_from_memory(freshness: Freshness) -> None:
    """At the first read after this instance learns of it: the keys of an entry are asked for each time."""
    world = World()
    hotel = Hotel(freshness, world=world)
    token = (await hotel.comes("1", guest_id="7", name="Ada"))["guestId"]
    assert (await hotel.reads("1"))[0]["name"] == "Ada"
    hotel.seconds += 5
    assert hotel.fields is not None
    await hotel.fields._subject_keys.erase(token, by="a test", reason="asked for")
    seen = await hotel.cache.one("guests", "1", level=Restricted)
    assert seen is not None
    assert (json.loads(seen.body)["name"], seen.modified) == (None, None)
    reader = await hotel.cache.one("guests", "1", level=Confidential)
    assert reader is not None
    assert json.loads(reader.body)["$masked"] == ["/guestId", "/name"]


async def test_it_is_bounded() -> None:
    """By bytes; what was used last stays."""
    hotel = Hotel(Freshness(max_age=10), capacity=3_500)
    for number in range(20):
        await hotel.comes(str(number), nights=number)
        await hotel.reads(str(number))
        await hotel.reads("0")
    whole = hotel.table.whole
    await hotel.reads("0")
    await hotel.reads("19")
    assert hotel.table.whole == whole
    await hotel.reads("5")
    assert hotel.table.whole == whole + 1


async def test_a_slow_read_does_not_turn_a_row_back() -> None:
    """One that began earlier and ends later is answered with what it found, and isn't remembered."""
    hotel = Hotel(Freshness(max_age=10))
    await hotel.comes("1", nights=1)
    hotel.table.hold = asyncio.Event()
    slow = asyncio.create_task(hotel.reads("1", max_age=0))
    hotel.table.asked.clear()
    await hotel.table.asked.wait()
    held, hotel.table.hold = hotel.table.hold, None
    hotel.seconds = 1
    await hotel.comes("1", nights=2)
    await hotel.reads("1")
    held.set()
    assert (await slow)[0]["nights"] == 1
    assert (await hotel.reads("1"))[0]["nights"] == 2
