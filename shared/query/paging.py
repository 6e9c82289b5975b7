"""Answers a query of a view page by page: one way for every door, REST, OData or GraphQL."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Literal, NamedTuple

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
PAGE_BYTES = 8_388_608
"""Bytes of rows after which a page ends; the reads that are under way then are taken too."""
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


class _Unread(Enum):
    """Instead of a row that a page has no room for."""

    UNREAD = auto()


class _Reads:
    """What one page reads.

    Parameters
    ----------
    charge:
        See `Pages.page`.
    """

    def __init__(self, term: Filter | None, level: Classification, charge: Callable[[int], None]) -> None:
        self.term = term
        self.level = level
        self.charge = charge
        self.size = 0

    @property
    def full(self) -> bool:
        """Whether no further row is to be read."""
        return self.size >= PAGE_BYTES

    def add(self, size: int) -> None:
        """A row was read, whether it fits or not."""
        self.size += size
        self.charge(size)


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

    async def page(
        self,
        view: str,
        query: PageQuery,
        *,
        level: Classification,
        charge: Callable[[int], None] = lambda size: None,
    ) -> QueryPage:
        """The next rows that fit, in order, as a caller with an access level sees them.

        A row that can't be decrypted is left out. A row that was there all the time is on one page; one whose values
        change meanwhile is where they put it.

        Parameters
        ----------
        charge:
            Is called with 0 before a row is read, and with its bytes after; what it raises is raised here.

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
        reads = _Reads(query.filter, level, charge)
        if found.keys is not None:
            return await self._by_keys(declared, found.keys, query, reads, total)
        return await self._by_ranges(declared, found, query, reads, total)

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
        self, declared: ViewIndexes, keys: Sequence[str], query: PageQuery, reads: _Reads, total: int | None
    ) -> QueryPage:
        place, skip = query.place.after, query.place.skip
        begin = b"" if place is None else place_order(place)
        left = [key for key in keys if place_order(key) > begin]
        read = await asyncio.gather(*(self._row(declared, Found(key, {}), key, reads) for key in left))
        rows: list[QueryRow] = []
        for number, (key, row) in enumerate(zip(left, read, strict=True)):
            if row is _Unread.UNREAD or len(rows) == query.top:
                more = any(one is not None for one in read[number:])
                return QueryPage(rows, Place(place, skip) if more else None, total)
            place = key
            if row is not None and skip:
                skip -= 1
            elif row is not None:
                rows.append(row)
        return QueryPage(rows, None, total)

    async def _by_ranges(
        self, declared: ViewIndexes, found: Plan, query: PageQuery, reads: _Reads, total: int | None
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
            while len(rows) < query.top and examined < EXAMINED and not reads.full:
                wanted = query.top - len(rows)
                chunk = await _take(source, wanted if found.exact else max(wanted, _CHUNK))
                if not chunk:
                    return QueryPage(rows, None, total)
                examined += len(chunk)
                read = await asyncio.gather(*(self._row(declared, one, str(one.row["key"]), reads) for one in chunk))
                for one, row in zip(chunk, read, strict=True):
                    if row is _Unread.UNREAD:
                        break
                    place = one.place
                    if row is not None and skip:
                        skip -= 1
                    elif row is not None:
                        rows.append(row)
                    if len(rows) == query.top:
                        break
            more = place != chunk[-1].place or await anext(source, None) is not None
        return QueryPage(rows, Place(place, skip) if more else None, total)

    async def _row(
        self, declared: ViewIndexes, found: Found, key: str, reads: _Reads
    ) -> QueryRow | Literal[_Unread.UNREAD] | None:
        """The row, unless it is gone, can't be decrypted, or doesn't fit the filter any more.

        The first one of several is always read, and behind one that isn't none is.
        """
        async with self._reading:
            if reads.full:
                return _Unread.UNREAD
            reads.charge(0)
            try:
                text = await self._reader.shown(declared.view, key, found.row, level=reads.level)
            except ProtectionError:
                return None
            reads.add(0 if text is None else len(text))
        value = None if text is None else from_json(text)
        if not isinstance(value, dict) or (
            reads.term is not None and not holds(reads.term, value, declared.properties)
        ):
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
