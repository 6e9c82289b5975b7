"""Answers a query of a view page by page: one way for every door, REST, OData or GraphQL."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic_core import from_json

from shared.classification import Classification
from shared.encryption import ProtectionError
from shared.privacy import FieldProtection

from .filters import All, Compare, Filter, InvalidQuery, OneOf, Some, holds, names_in
from .indexes import Field, ViewIndexes
from .merging import Found
from .planning import Plan, counters_of, place_order, plan
from .reader import ViewReader
from .views import ReadModels

__all__ = ["ForbiddenField", "PageQuery", "Pages", "Place", "QueryPage", "QueryRow"]

EXAMINED, PASSED = 1_000, 10_000
"""Rows that one request reads, and entries that it passes over unseen, before it answers with what it has."""
_READS = 64
_CHUNK = 32


class ForbiddenField(Exception):
    """A caller asks by a field that it may not see; the message names it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the next page begins: after a place in the order, and after some more rows."""

    after: str | None
    skip: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class PageQuery:
    """What is asked of a view.

    Attributes
    ----------
    top:
        Rows of a page at most.
    count:
        Whether the number of all rows that fit is wanted.
    """

    filter: Filter | None = None
    order: Sequence[Field] = ()
    top: int = 50
    place: Place = Place(None)
    count: bool = False


class QueryRow(NamedTuple):
    """A row as its reader may see it, its key, and its place: `Place(row.place)` goes on after it."""

    key: str
    place: str
    value: dict[str, Any]


@dataclass(frozen=True, slots=True)
class QueryPage:
    """Some rows; `next` is None at the end. A page may be short, even empty, before the end."""

    rows: list[QueryRow]
    next: Place | None
    total: int | None


class Pages:
    """Pages of all views that declare how they are found.

    Parameters
    ----------
    fields:
        Makes the tokens by which protected values are found; without it they are stored in clear.
    """

    def __init__(
        self,
        declared: Mapping[str, ViewIndexes],
        rows: ReadModels,
        reader: ViewReader,
        fields: FieldProtection | None,
    ) -> None:
        self._declared = declared
        self._rows = rows
        self._reader = reader
        self._fields = fields
        self._reading = asyncio.Semaphore(_READS)

    async def page(self, view: str, query: PageQuery, *, level: Classification) -> QueryPage:
        """The next rows that fit, in order, as a caller with an access level sees them.

        A row that can't be decrypted is left out. A row that was there all the time is on one page; one whose values
        change meanwhile is where they put it.

        Raises
        ------
        InvalidQuery
            No index serves it, or no counter counts it.
        ForbiddenField, KeysUnavailable
        """
        declared = self._declared[view]
        self._refuse_masked(declared, query, level)
        found = plan(declared, query.filter, query.order, await self._tokens(declared, query.filter))
        counters = counters_of(declared, query.filter) if query.count else None
        total = None if counters is None else await self._rows.count(view, counters)
        if found.keys is not None:
            return await self._by_keys(declared, found.keys, query, level, total)
        return await self._by_ranges(declared, found, query, level, total)

    async def preceding(self, view: str, query: PageQuery, *, level: Classification) -> tuple[Place, bool]:
        """Where the page of `query.top` rows begins that ends before `query.place`, or with the last row where that is
        the beginning; and whether there are rows before it.

        The order is followed from its beginning, by its entries alone, where rows that don't fit any more count too.

        Raises
        ------
        InvalidQuery
            No index serves it, or too many rows are before that page.
        ForbiddenField, KeysUnavailable
        """
        declared = self._declared[view]
        self._refuse_masked(declared, query, level)
        found = plan(declared, query.filter, query.order, await self._tokens(declared, query.filter))
        end = None if query.place.after is None else place_order(query.place.after)
        latest: deque[str] = deque(maxlen=query.top + 1)
        if found.keys is not None:
            latest += [key for key in found.keys if end is None or place_order(key) < end]
        else:
            async with aclosing(self._rows.found(view, found.ranges, after=None, size=EXAMINED)) as source:
                passed = 0
                async for one in source:
                    if end is not None and place_order(one.place) >= end:
                        break
                    if (passed := passed + 1) > PASSED:
                        raise InvalidQuery(f"More than {PASSED} rows are before that page: ask from the beginning")
                    latest.append(one.place)
        more = len(latest) > query.top
        return Place(latest[0] if more else None), more

    async def one(self, view: str, key: str, *, level: Classification) -> dict[str, Any] | None:
        """A row by its key, or None.

        Raises
        ------
        ProtectionError, KeysUnavailable
        """
        text = await self._reader.shown(view, key, {}, level=level)
        value = None if text is None else from_json(text)
        return value if isinstance(value, dict) else None

    @staticmethod
    def _refuse_masked(declared: ViewIndexes, query: PageQuery, level: Classification) -> None:
        names = {one.name for one in query.order} | (names_in(query.filter) if query.filter else frozenset())
        for name in sorted(names):
            leaf = declared.properties[name].leaf
            if leaf is not None and leaf.level > level:
                raise ForbiddenField(f"You see {name} masked only, so you can't filter or sort by it.")

    async def _tokens(self, declared: ViewIndexes, term: Filter | None) -> dict[tuple[str, Any], Sequence[str]]:
        """The tokens of the values with which protected fields are compared; none where nothing is encrypted."""
        found: dict[tuple[str, Any], Sequence[str]] = {}
        for name, value in _compared(term):
            leaf = declared.properties[name].leaf
            if self._fields is not None and leaf is not None and leaf.token is not None and value is not None:
                found[name, value] = await self._fields.candidates(leaf.token, str(value))
        return found

    async def _by_keys(
        self, declared: ViewIndexes, keys: Sequence[str], query: PageQuery, level: Classification, total: int | None
    ) -> QueryPage:
        begin = b"" if query.place.after is None else place_order(query.place.after)
        left = [key for key in keys if place_order(key) > begin]
        read = await asyncio.gather(*(self._row(declared, Found(key, {}), key, query.filter, level) for key in left))
        fitting = [one for one in read if one is not None][query.place.skip :]
        rows = fitting[: query.top]
        return QueryPage(rows, Place(rows[-1].place) if rows and len(fitting) > len(rows) else None, total)

    async def _by_ranges(
        self, declared: ViewIndexes, found: Plan, query: PageQuery, level: Classification, total: int | None
    ) -> QueryPage:
        rows: list[QueryRow] = []
        place, skip = query.place.after, query.place.skip
        size = (skip if found.exact else 0) + query.top + 1
        examined = passed = 0
        async with aclosing(self._rows.found(declared.view, found.ranges, after=place, size=size)) as source:
            while found.exact and skip and passed < PASSED and (one := await anext(source, None)) is not None:
                place, skip, passed = one.place, skip - 1, passed + 1
            if found.exact and skip:
                return QueryPage([], Place(place, skip) if passed == PASSED else None, total)
            while len(rows) < query.top and examined < EXAMINED:
                wanted = query.top - len(rows)
                chunk = await _take(source, wanted if found.exact else max(wanted, _CHUNK))
                if not chunk:
                    return QueryPage(rows, None, total)
                examined += len(chunk)
                read = await asyncio.gather(*(self._entry(declared, one, query.filter, level) for one in chunk))
                for one, row in zip(chunk, read, strict=True):
                    place = one.place
                    if row is not None and skip:
                        skip -= 1
                    elif row is not None:
                        rows.append(row)
                    if len(rows) == query.top:
                        break
            more = place != chunk[-1].place or await anext(source, None) is not None
        return QueryPage(rows, Place(place, skip) if more else None, total)

    async def _entry(
        self, declared: ViewIndexes, found: Found, term: Filter | None, level: Classification
    ) -> QueryRow | None:
        return await self._row(declared, found, str(found.row["key"]), term, level)

    async def _row(
        self, declared: ViewIndexes, found: Found, key: str, term: Filter | None, level: Classification
    ) -> QueryRow | None:
        """The row, unless it is gone, can't be decrypted, or doesn't fit the filter any more."""
        async with self._reading:
            try:
                text = await self._reader.shown(declared.view, key, found.row, level=level)
            except ProtectionError:
                return None
        value = None if text is None else from_json(text)
        if not isinstance(value, dict) or (term is not None and not holds(term, value, declared.properties)):
            return None
        return QueryRow(key, found.place, value)


async def _take(source: AsyncGenerator[Found, None], many: int) -> list[Found]:
    found: list[Found] = []
    while len(found) < many and (one := await anext(source, None)) is not None:
        found.append(one)
    return found


def _compared(term: Filter | None) -> list[tuple[str, Any]]:
    match term:
        case Compare(name, "eq", value):
            return [(name, value)]
        case OneOf(name, values):
            return [(name, value) for value in values]
        case All(terms) | Some(terms):
            return [pair for one in terms for pair in _compared(one)]
        case _:
            return []
