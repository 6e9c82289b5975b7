"""Queries of read models on a real Azurite: index rows move with their rows, pages are found, counts are those of a
recount."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import from_json

from shared.classification import Classification
from shared.query import Indexer, PageQuery, Pages, Place, ReadModels, ViewReader, indexes_of, parse_options
from shared.tables import Query, Table
from tests.unit.shared.query.samples import parcel_registry
from tests.unit.shared.query.test_index_rows import PARCELS, fits, parcel

from .conftest import NewTable

REGISTRY = parcel_registry()
DECLARED = indexes_of(REGISTRY)


async def query(table: Table, top: int, **asked: str) -> tuple[list[dict[str, Any]], int | None]:
    """All rows of a query and their number as it is counted."""
    rows = ReadModels(table, DECLARED)
    pages = Pages(DECLARED, rows, ViewReader(REGISTRY, rows, None), None)
    options = parse_options({f"${name}": text for name, text in asked.items()}, PARCELS.properties)
    place: Place | None = Place(None)
    found: list[dict[str, Any]] = []
    total = None
    while place is not None:
        page = await pages.page(
            "parcels",
            PageQuery(filter=options.filter, order=options.order, top=top, place=place, count=options.count),
            level=Classification.RESTRICTED,
        )
        found, total, place = [*found, *(row.value for row in page.rows)], page.total, page.next
    return found, total


async def test_rows_are_found_and_counted_after_they_moved(new_table: NewTable) -> None:
    """Two instances write events in any order; what is found by an index is what a look at every row finds."""
    table, chance = new_table(), random.Random(7)
    await table.ensure_created()
    events = [parcel(number, sequence, chance) for number in range(40) for sequence in (1, 2, 3)]
    newest = {row.key: from_json(row.value) for row in events if row.sequence == 3}

    async def instance(seed: int) -> None:
        own = random.Random(seed).sample(events, len(events))
        for start in range(0, len(own), 40):
            await ReadModels(new_table(table.name), DECLARED).put(own[start : start + 40])

    await asyncio.gather(instance(1), instance(2))
    for asked in ({"filter": "note eq 'x'", "count": "true"}, {"filter": "urgent eq true", "count": "true"}, {}):
        found, total = await query(table, 9, **asked)
        expected = sorted(key for key, row in newest.items() if fits(row, asked))
        assert sorted(row["parcelId"] for row in found) == expected
        assert total in (None, len(expected))
    french, _ = await query(table, 50, filter="country eq 'France'", orderby="sentAt desc")
    assert {row["parcelId"] for row in french} == {key for key, row in newest.items() if row["country"] == "France"}
    stored = [row async for row in table.query(Query())]
    entries = {row["RowKey"] for row in stored if row["RowKey"].startswith("%3A%3A")}
    assert entries == {one for key, row in newest.items() for one in PARCELS.entries(row, key)[0]}


async def test_rows_without_index_rows_get_them(new_table: NewTable) -> None:
    """Of a declaration that came later."""
    table, chance = new_table(), random.Random(8)
    await ReadModels(table).put([parcel(number, 1, chance) for number in range(30)])
    assert (await query(table, 50, filter="note eq 'x'"))[0] == []
    indexer = Indexer(table, ReadModels(table, DECLARED), DECLARED, now=lambda: moment)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert await indexer.run(lambda: 1.0) == (30, 30, True)
    assert await indexer.run(lambda: 1.0) == (0, 0, True)
    moment += timedelta(hours=1)
    assert await indexer.run(lambda: 1.0) == (30, 0, True)
    found, total = await query(table, 50, filter="note eq 'x'", count="true")
    assert total is not None
    assert len(found) == total > 0
