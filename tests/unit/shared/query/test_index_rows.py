"""Index rows and counters follow the view's rows exactly: late, repeated and torn batches, several writers, kills."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic_core import from_json

from shared.classification import Classification
from shared.query import PageQuery, Pages, Place, ReadModels, ViewReader, ViewRow, indexes_of, parse_options
from shared.tables import Condition, Entity, MemoryTable, Operation, Query

from .samples import Parcel, parcel_registry

REGISTRY = parcel_registry()
DECLARED = indexes_of(REGISTRY)
PARCELS = DECLARED["parcels"]


class Killed(Exception):
    """The process died."""


class Mortal(MemoryTable):
    """A table whose client dies now and then, before a transaction or after it; others run in between."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__("views")
        self._chance = chance
        self.deaths = 0.0

    async def get(self, partition: str, row: str, *, select: Sequence[str] = ()) -> Entity | None:
        """See `Table`."""
        await asyncio.sleep(0)
        return await super().get(partition, row, select=select)

    async def submit(self, operations: Sequence[Operation]) -> list[str | None]:
        """See `Table`."""
        await asyncio.sleep(0)
        self._die()
        done = await super().submit(operations)
        self._die()
        return done

    def _die(self) -> None:
        if self._chance.random() < self.deaths:
            raise Killed


def parcel(number: int, sequence: int, chance: random.Random) -> ViewRow:
    """The row that the n-th event of a key makes."""
    value = Parcel(
        parcel_id=f"p{number}",
        country=chance.choice(["France", "Norway", None]),
        urgent=chance.random() < 0.5,
        note=chance.choice(["x", "y"]),
        pieces=sequence,
    )
    return ViewRow(
        view="parcels",
        key=f"p{number}",
        value=value.model_dump_json(by_alias=True),
        event_id=f"e{sequence}",
        sequence=sequence,
    )


def recount(table: MemoryTable) -> tuple[set[tuple[str, str]], Counter[tuple[str, str]]]:
    """What the entries and counters have to be, from the rows alone."""
    entries: set[tuple[str, str]] = set()
    counters: Counter[tuple[str, str]] = Counter()
    for (partition, _), row in table.rows.items():
        if "eventId" in row:
            own, counted = PARCELS.entries(from_json(row["value"]), row["key"])
            entries |= {(partition, one) for one in own}
            counters.update((partition, one) for one in counted)
    return entries, counters


def kept(table: MemoryTable) -> tuple[set[tuple[str, str]], Counter[tuple[str, str]]]:
    """The entries and counters that there are."""
    entries = {place for place in table.rows if place[1].startswith("%3A%3A")}
    counters = {place: row["rows"] for place, row in table.rows.items() if place[1].startswith("%3A%3B")}
    return entries, Counter(counters)


@pytest.mark.parametrize("seed", range(12))
async def test_index_rows_are_those_of_the_rows_whatever_dies(seed: int) -> None:
    """Two instances with events of the same keys, each batch again until it is through; all counted once."""
    chance = random.Random(seed)
    table = Mortal(chance)
    table.deaths = 0.2
    events = [parcel(number, sequence, chance) for number in range(20) for sequence in range(1, 5)]
    newest = {row.key: row.value for row in events if row.sequence == 4}

    async def instance(own: list[ViewRow]) -> None:
        for start in range(0, len(own), 10):
            while True:
                try:
                    await ReadModels(table, DECLARED).put(own[start : start + 10])
                    break
                except (Killed, ExceptionGroup):
                    continue

    first, second = list(events), chance.sample(events, 40)
    chance.shuffle(first)
    await asyncio.gather(instance(first), instance(second))
    assert kept(table) == recount(table)
    rows = ReadModels(table, DECLARED)
    assert {key: await rows.get("parcels", key) for key in newest} == newest
    assert await rows.count("parcels", [PARCELS.entries({}, "")[1][0]]) == 20


async def pages_of(pages: Pages, between: Any, top: int, **asked: str) -> list[dict[str, Any]]:
    """All rows of a query, something else happening between the pages."""
    options = parse_options({f"${name}": text for name, text in asked.items()}, PARCELS.properties)
    place: Place | None = Place(None)
    found: list[dict[str, Any]] = []
    while place is not None:
        query = PageQuery(filter=options.filter, order=options.order, top=top, place=place)
        page = await pages.page("parcels", query, level=Classification.RESTRICTED)
        found += [row.value for row in page.rows]
        place = page.next
        await between()
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("asked", [{}, {"filter": "note eq 'x'"}, {"filter": "urgent eq true", "orderby": "country"}])
async def test_paging_through_a_moving_table(seed: int, asked: dict[str, str]) -> None:
    """Rows come, change and leave the filter meanwhile; one that stays as it is comes exactly once."""
    chance = random.Random(seed)
    table = MemoryTable("views")
    rows = ReadModels(table, DECLARED)
    pages = Pages(DECLARED, rows, ViewReader(REGISTRY, rows, None), None)
    staying = [parcel(number, 1, chance) for number in range(30)]
    await rows.put(staying)
    sequence = 1

    async def between() -> None:
        nonlocal sequence
        sequence += 1
        moving = [parcel(chance.randrange(100, 130), sequence, chance) for _ in range(4)]
        await rows.put([*moving, parcel(1_000 + sequence, 1, chance)] if sequence < 60 else [])

    found = [row["parcelId"] for row in await pages_of(pages, between, chance.randint(3, 7), **asked)]
    fitting = {row.key for row in staying if fits(from_json(row.value), asked)}
    stayed = [key for key in found if int(key[1:]) < 100]
    assert sorted(stayed) == sorted(fitting)
    assert kept(table) == recount(table)


def fits(row: dict[str, Any], asked: dict[str, str]) -> bool:
    """The two filters, plainly."""
    match asked.get("filter"):
        case "note eq 'x'":
            return bool(row["note"] == "x")
        case "urgent eq true":
            return bool(row["urgent"])
        case _:
            return True


async def test_a_page_makes_as_many_requests_however_many_rows_there_are() -> None:
    """Ranges and point reads: those of the page, not of the view."""

    class Counted(MemoryTable):
        requests = 0

        async def get(self, partition: str, row: str, *, select: Sequence[str] = ()) -> Entity | None:
            self.requests += 1
            return await super().get(partition, row, select=select)

        async def page(self, query: Query, start: Any = None) -> Any:
            self.requests += 1
            assert query.partition is not None
            assert query.end is not None
            assert query.first is not None or any(one == Condition("RowKey", "gt", one.value) for one in query.where)
            return await super().page(query, start)

    made: list[int] = []
    for many in (100, 1_000):
        table = Counted("views")
        rows = ReadModels(table, DECLARED)
        chance = random.Random(1)
        await rows.put([parcel(number, 1, chance) for number in range(many)])
        pages = Pages(DECLARED, rows, ViewReader(REGISTRY, rows, None), None)
        options = parse_options({"$filter": "note eq 'x'", "$count": "true"}, PARCELS.properties)
        table.requests = 0
        query = PageQuery(filter=options.filter, top=20, count=True)
        page = await pages.page("parcels", query, level=Classification.RESTRICTED)
        assert len(page.rows) == 20
        stored = [from_json(row["value"]) for row in table.rows.values() if "value" in row]
        assert page.total == sum(row["note"] == "x" for row in stored)
        made.append(table.requests)
    assert made == [16 + 16 + 20] * 2


async def test_queries_begin_together_with_so_many_requests() -> None:
    """However many ranges they have and however many there are: the store serves others too."""

    class Slow(MemoryTable):
        now = most = 0

        async def page(self, query: Query, start: Any = None) -> Any:
            await self.answer()
            return await super().page(query, start)

        async def get(self, partition: str, row: str, *, select: Sequence[str] = ()) -> Entity | None:
            await self.answer()
            return await super().get(partition, row, select=select)

        async def answer(self) -> None:
            self.now += 1
            self.most = max(self.most, self.now)
            for _ in range(5):
                await asyncio.sleep(0)
            self.now -= 1

    table = Slow("views")
    rows = ReadModels(table, DECLARED)
    pages = Pages(DECLARED, rows, ViewReader(REGISTRY, rows, None), None)
    values = ",".join(f"'{number}'" for number in range(16))
    options = parse_options({"$filter": f"note in ({values})", "$count": "true"}, PARCELS.properties)
    query = PageQuery(filter=options.filter, count=True)
    await asyncio.gather(*(pages.page("parcels", query, level=Classification.RESTRICTED) for _ in range(5)))
    assert table.most == 64
