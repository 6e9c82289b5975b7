"""Queries of views against a plain evaluation: any filter, any order, any data, page by page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from shared.classification import Classification
from shared.query import (
    InvalidQuery,
    PageQuery,
    Pages,
    Place,
    ReadModels,
    ViewReader,
    ViewRow,
    indexes_of,
    paging,
    parse_options,
)
from shared.query.filters import parse_filter
from shared.tables import MemoryTable

from .samples import Parcel, parcel_registry

REGISTRY = parcel_registry()
DECLARED = indexes_of(REGISTRY)
PROPERTIES = DECLARED["parcels"].properties
START = datetime(2026, 1, 1, tzinfo=UTC)

texts = st.sampled_from(["", "France", "Fr", "Germany", "a'b", "ä😀\uffff", "x" * 48, "x" * 49, "x" * 60, "\x00!Z"])
moments = st.integers(-3, 3).map(lambda n: START + timedelta(days=n * 40, microseconds=n))
days = st.integers(-3, 3).map(lambda n: date(2026, 1, 1) + timedelta(days=n * 40))
weights = st.sampled_from(["-12.5", "-12.50001", "-1", "0", "0.000001", "1", "1.0", "10", "9.99", "123456789012.5"])
parcels: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    country=st.none() | texts,
    sent_at=st.none() | moments,
    due=st.none() | days,
    weight=st.none() | weights.map(Decimal),
    pieces=st.integers(-2, 2),
    urgent=st.booleans(),
    trace=st.none() | st.integers(0, 2).map(lambda n: UUID(int=n)),
    note=st.none() | texts,
    customer_id=st.none() | st.sampled_from(["1", "2", "3"]),
)
Row = dict[str, Any]
Says = Callable[[Row], Any]
Term = tuple[str, Says]
"""A filter as it is written, and a function that says whether it is true of a row: None is null."""


def quoted(text: str) -> str:
    """As a literal."""
    return "'" + text.replace("'", "''") + "'"


LITERALS: dict[str, tuple[str, st.SearchStrategy[Any], Callable[[Any], str]]] = {
    "country": ("country", texts, quoted),
    "note": ("note", texts, quoted),
    "customerId": ("customer_id", st.sampled_from(["1", "2", "9"]), quoted),
    "sentAt": ("sent_at", moments, lambda value: f"{value:%Y-%m-%dT%H:%M:%S.%f}Z"),
    "due": ("due", days, lambda value: value.isoformat()),
    "weight": ("weight", weights.map(Decimal), str),
    "pieces": ("pieces", st.integers(-2, 2), str),
    "trace": ("trace", st.integers(0, 2).map(lambda n: UUID(int=n)), str),
}


@st.composite
def comparisons(draw: st.DrawFn, names: tuple[str, ...] = tuple(sorted(LITERALS))) -> Term:
    """One field against one literal, or several."""
    name = draw(st.sampled_from(names))
    field, values, write = LITERALS[name]
    operator = draw(st.sampled_from(["eq", "ne", "in", "null", "gt", "ge", "lt", "le"]))
    value = draw(values)
    match operator:
        case "eq":
            return f"{name} eq {write(value)}", lambda row: row[field] == value
        case "ne":
            return f"{name} ne {write(value)}", lambda row: row[field] != value
        case "null":
            return f"{name} eq null", lambda row: row[field] is None
        case "in":
            several = [value, *draw(st.lists(values, max_size=2))]
            return f"{name} in ({','.join(map(write, several))})", lambda row: row[field] in several
    compare: dict[str, Callable[[Any, Any], bool]] = {
        "gt": lambda a, b: a > b,
        "ge": lambda a, b: a >= b,
        "lt": lambda a, b: a < b,
        "le": lambda a, b: a <= b,
    }
    return (
        f"{name} {operator} {write(value)}",
        lambda row: row[field] is not None and compare[operator](_plain(row[field]), _plain(value)),
    )


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value


@st.composite
def functions(draw: st.DrawFn) -> Term:
    """`contains` and the like: null of null."""
    function = draw(st.sampled_from(["contains", "startswith", "endswith"]))
    name, part = draw(st.sampled_from(["country", "note"])), draw(texts)
    says: dict[str, Callable[[str], bool]] = {
        "contains": lambda text: part in text,
        "startswith": lambda text: text.startswith(part),
        "endswith": lambda text: text.endswith(part),
    }
    return f"{function}({name},{quoted(part)})", lambda row: None if row[name] is None else says[function](row[name])


def _not(found: Any) -> Any:
    return None if found is None else not found


def _and(one: Any, other: Any) -> Any:
    return False if False in (one, other) else None if None in (one, other) else True


def joined(terms: st.SearchStrategy[Term]) -> st.SearchStrategy[Term]:
    """Terms of terms, by three-valued logic."""
    both = st.tuples(terms, terms)
    return st.one_of(
        both.map(
            lambda pair: (f"({pair[0][0]}) and ({pair[1][0]})", lambda row: _and(pair[0][1](row), pair[1][1](row)))
        ),
        both.map(
            lambda pair: (
                f"({pair[0][0]} or {pair[1][0]})",
                lambda row: _not(_and(_not(pair[0][1](row)), _not(pair[1][1](row)))),
            )
        ),
        terms.map(lambda term: (f"not ({term[0]})", lambda row: _not(term[1](row)))),
    )


LEADING = ("country", "customerId", "weight", "due", "note")
filters = st.recursive(st.one_of(comparisons(), functions()), joined, max_leaves=4)
indexed = st.one_of(
    comparisons(LEADING),
    st.tuples(comparisons(LEADING), filters).map(
        lambda pair: (f"{pair[0][0]} and {pair[1][0]}", lambda row: _and(pair[0][1](row), pair[1][1](row)))
    ),
    filters,
)
ORDERS: dict[str, tuple[str, bool]] = {
    "weight desc": ("weight", True),
    "weight": ("weight", False),
    "sentAt desc": ("sent_at", True),
    "country": ("country", False),
    "due asc": ("due", False),
    "parcelId": ("parcel_id", False),
}


def pages_of(table: MemoryTable) -> tuple[ReadModels, Pages]:
    """The store and its reader, nothing encrypted."""
    rows = ReadModels(table, DECLARED)
    return rows, Pages(DECLARED, rows, ViewReader(REGISTRY, rows, None), None)


async def put(rows: ReadModels, found: list[Row], sequence: int = 1) -> None:
    """Have rows there."""
    await rows.put(
        [
            ViewRow(
                view="parcels",
                key=row["parcel_id"],
                value=Parcel(**row).model_dump_json(by_alias=True),
                event_id="e",
                sequence=sequence,
            )
            for row in found
        ]
    )


async def all_pages(pages: Pages, top: int, skip: int = 0, **asked: str) -> list[Row]:
    """Every row of a query, page by page."""
    options = parse_options({f"${name}": text for name, text in asked.items()}, PROPERTIES)
    place: Place | None = Place(None, skip)
    found: list[Row] = []
    while place is not None:
        query = PageQuery(filter=options.filter, order=options.order, top=top, place=place)
        page = await pages.page("parcels", query, level=Classification.RESTRICTED)
        assert len(page.rows) <= top
        found += [row.value for row in page.rows]
        place = page.next
    return found


def ordered(rows: list[Row], order: str | None) -> list[Row]:
    """By a field, null as the least, then by the key."""
    rows = sorted(rows, key=lambda row: row["parcel_id"])
    if order is None:
        return rows
    field, descending = ORDERS[order]
    null = [row for row in rows if row[field] is None]
    found = sorted((row for row in rows if row[field] is not None), key=lambda row: row[field], reverse=descending)
    return [*found, *null] if descending else [*null, *found]


SOUP = ["(", ")", ",", "'", "''", "country", "weight", "eq", "in", "not", "and", "or", "contains", "null", "true", "1"]


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=40) | st.lists(st.sampled_from(SOUP), max_size=20).map(" ".join))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    """And nothing else."""
    try:
        parse_filter(text, PROPERTIES)
    except InvalidQuery as refused:
        reason = str(refused)
    else:
        reason = "$filter: was read"
    assert reason.startswith("$filter: ")
    assert len(reason) < 250


@settings(deadline=None, max_examples=100)
@given(
    st.lists(parcels, max_size=12), indexed, st.none() | st.sampled_from(sorted(ORDERS)), st.integers(1, 4), st.data()
)
def test_a_query_gives_what_a_plain_evaluation_gives(
    data: list[Row], term: Term, order: str | None, top: int, more: st.DataObject
) -> None:
    """Or it is refused, with what would serve it, or that nothing would."""
    key = more.draw(st.sampled_from(["p", "😀", "\ufffd"]))
    rows = [{**row, "parcel_id": f"{key}{number}"} for number, row in enumerate(data)]
    text, says = term
    skip = more.draw(st.integers(0, 3))

    async def ask() -> list[Row]:
        store, pages = pages_of(MemoryTable("views"))
        await put(store, rows)
        asked = {"filter": text} | ({} if order is None else {"orderby": order})
        return await all_pages(pages, top, skip, **asked)

    try:
        found = [row["parcelId"] for row in asyncio.run(ask())]
    except InvalidQuery as refused:
        reason = str(refused)
    else:
        reason = ""
    event("refused" if reason else "answered")
    if reason:
        assert any(one in reason for one in ("find_by=[", "only narrow", "is protected", "at most 16"))
        return
    fitting = ordered([row for row in rows if says(row) is True], order)
    expected = [row["parcel_id"] for row in fitting]
    if order is None or any(len(str(row["country"])) > 47 for row in fitting):  # texts sort by their beginning
        assert len(found) == len(set(found)) == max(0, len(expected) - skip)
        assert set(found) <= set(expected)
    else:
        assert found == expected[skip:]


KEYS = [f"{first}{number}" for first in ("p", "😀", "\uff5e") for number in range(6)]
"""In the store's order, by UTF-16; by characters the middle ones are the last."""


@pytest.mark.parametrize(
    "asked", [{}, {"filter": f"parcelId in ({','.join(map(quoted, KEYS))})"}, {"orderby": "country"}]
)
async def test_rows_are_in_the_order_of_the_store(asked: dict[str, Any]) -> None:
    """Whatever characters their keys begin with: none is lost between two pages, forward or backward."""
    store, pages = pages_of(MemoryTable("views"))
    await put(store, [{"parcel_id": key, "country": "x"} for key in KEYS])
    assert [row["parcelId"] for row in await all_pages(pages, 2, **asked)] == KEYS
    options = parse_options({f"${name}": text for name, text in asked.items()}, PROPERTIES)
    place: Place | None = Place(None)
    while place is not None:
        query = PageQuery(filter=options.filter, order=options.order, top=5, place=place)
        page = await pages.page("parcels", query, level=Classification.RESTRICTED)
        place = page.next
        if place is not None:
            begin, _ = await pages.preceding("parcels", replace(query, place=place), level=Classification.RESTRICTED)
            again = await pages.page("parcels", replace(query, place=begin), level=Classification.RESTRICTED)
            before = KEYS[: KEYS.index(page.rows[-1].key)]
            assert [row.key for row in again.rows if row.key in before] == before[-5:]


@pytest.mark.parametrize("many", [1, 2, 30])
async def test_rows_of_a_token_are_in_the_order_of_the_store(many: int) -> None:
    table = MemoryTable("views")
    rows = ReadModels(table)
    found = [
        ViewRow(view="v", key=key, value='{"name$token":"t"}', event_id="e", sequence=1, tokens={"name": "t"})
        for key in KEYS
    ]
    await rows.put(found)
    after: str | None = ""
    seen: list[str] = []
    while after is not None:
        page = await rows.find("v", "name", ["t"], top=many, after=after)
        seen, after = seen + [key for key, _ in page.rows], page.after
    assert seen == KEYS


@pytest.mark.parametrize(
    "asked",
    [{}, {"orderby": "country"}, {"filter": f"parcelId in ({','.join(quoted(f'p{n:02}') for n in range(40))})"}],
)
async def test_a_page_of_large_rows_ends_early(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind some bytes, though more rows are asked for; the next page goes on, and nothing is lost."""
    monkeypatch.setattr(paging, "PAGE_BYTES", 3_000)
    store, pages = pages_of(MemoryTable("views"))
    pages._reading = asyncio.Semaphore(2)
    await put(store, [{"parcel_id": f"p{number:02}", "country": "x", "note": "n" * 900} for number in range(40)])
    options = parse_options({f"${name}": text for name, text in asked.items()}, PROPERTIES)
    place: Place | None = Place(None, 3)
    sizes: list[int] = []
    found: list[str] = []
    while place is not None:
        charged: list[int] = []
        query = PageQuery(filter=options.filter, order=options.order, top=40, place=place)
        page = await pages.page("parcels", query, level=Classification.RESTRICTED, charge=charged.append)
        found, place = found + [row.key for row in page.rows], page.next
        sizes.append(len(page.rows))
        assert sum(charged) < 3_000 + 2 * 1_200
    assert found == [f"p{number:02}" for number in range(3, 40)]
    assert max(sizes) <= 4
