"""What a page by an index takes among many rows, beside the same page among few.

The store finds where a range begins by search, as Azure's does; Azurite's looks at every row, so it would be measured.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import integrations
from integrations.orders.models import OrderView
from shared.classification import Classification
from shared.messages import discover
from shared.query import PageQuery, Pages, ReadModels, ViewReader, ViewRow, indexes_of, parse_options
from shared.tables import Entity, MemoryTable, Query
from shared.tables.table import Rows

from .harness import Benchmark

FEW, MANY, PAGE = 1_000, 50_000, 50
REPEATS, TURNS = 20, 5
COUNTRIES = 10
BATCH = 500


class _Searched(MemoryTable):
    """A table whose ranges are found by search once it is whole; counts what it is asked."""

    def __init__(self) -> None:
        super().__init__("views")
        self.requests = 0
        self._keys: dict[str, list[str]] = {}

    def settle(self) -> None:
        """Nothing is written any more."""
        for partition, row in sorted(self.rows):
            self._keys.setdefault(partition, []).append(row)

    async def get(self, partition: str, row: str, *, select: Sequence[str] = ()) -> Entity | None:
        """See `Table`."""
        self.requests += 1
        return await super().get(partition, row, select=select)

    async def page(self, query: Query, start: Mapping[str, str] | None = None) -> Rows:
        """See `Table`."""
        self.requests += 1
        partition = query.partition or ""
        keys = self._keys.get(partition, [])
        first = start["RowKey"] if start else max([query.first or "", *(f"{one.value}\0" for one in query.where)])
        place = bisect_left(keys, first)
        end = bisect_left(keys, query.end or "\uffff")
        last = min(end, place + (query.size or 1_000))
        following = {"PartitionKey": partition, "RowKey": keys[last]} if last < end else None
        return Rows([self.rows[partition, key] for key in keys[place:last]], following)


async def _view(many: int) -> tuple[_Searched, Pages]:
    registry = discover(integrations)
    declared = indexes_of(registry)
    table = _Searched()
    rows = ReadModels(table, declared)
    for start in range(0, many, BATCH):
        await rows.put([_row(number) for number in range(start, start + BATCH)])
    table.settle()
    return table, Pages(declared, rows, ViewReader(registry, rows, None), None)


def _row(number: int) -> ViewRow:
    order = OrderView(
        order_id=f"{number:06d}",
        placed_at="2026-01-05T08:26:00Z",
        guest=True,
        country=f"Country {number % COUNTRIES}",
        line_count=1,
        units=6,
        total=Decimal("15.30"),
    )
    return ViewRow(
        view="orders", key=order.order_id, value=order.model_dump_json(by_alias=True), event_id="-", sequence=1
    )


async def _seconds(table: _Searched, pages: Pages) -> tuple[float, int]:
    """Of some pages, and the requests that one makes."""
    properties = indexes_of(discover(integrations))["orders"].properties
    options = parse_options({"$filter": "country eq 'Country 3'"}, properties)
    query = PageQuery(filter=options.filter, top=PAGE)
    table.requests = 0
    started = time.perf_counter()
    for _ in range(REPEATS):
        page = await pages.page("orders", query, level=Classification.RESTRICTED)
        assert len(page.rows) == PAGE
    return time.perf_counter() - started, table.requests // REPEATS


async def _rounds_of(rounds: int) -> list[float]:
    few, many = await _view(FEW), await _view(MANY)
    found: list[float] = []
    for _ in range(rounds):
        one, other = [], []
        for _ in range(TURNS):  # in turn, and the fastest of each: whatever is slower was disturbed
            one.append(await _seconds(*few))
            other.append(await _seconds(*many))
        asked, asked_many = one[0][1], other[0][1]
        if asked != asked_many:
            raise RuntimeError(f"{asked} requests among {FEW} rows, {asked_many} among {MANY}")
        found.append(min(other)[0] / min(one)[0])
    return found


def _rounds(rounds: int) -> Iterator[float]:
    yield from asyncio.run(_rounds_of(rounds))


BENCHMARKS = [
    Benchmark(
        name="indexed-page",
        claim=f"time of a page of {PAGE} by an index among {MANY:,} rows / among {FEW:,}, with as many requests",
        goal=2.0,
        better="lower",
        rounds=_rounds,
    )
]
