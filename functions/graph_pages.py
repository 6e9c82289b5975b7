"""Connections of the graph, answered by the pages that answer REST: the same indexes, masks and bounds."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.classification import Classification
from shared.query import InvalidQuery, PageQuery, Pages, Place, ViewIndexes, parse_options
from shared.query.planning import place_order

from .continuation import Continuations

if TYPE_CHECKING:
    from shared.graphql import ConnectionPage, PageArguments

__all__ = ["GraphPages"]


class GraphPages:
    """Reads pages of connections."""

    def __init__(self, declared: Mapping[str, ViewIndexes], pages: Pages, continuations: Continuations) -> None:
        self._declared = declared
        self._pages = pages
        self._continuations = continuations

    async def page(
        self, view: str, asked: "PageArguments", level: Classification, charge: Callable[[int], None]
    ) -> "ConnectionPage":
        """A page, as a caller with an access level sees it; `charge` is that of `Pages.page`.

        Raises
        ------
        InvalidQuery
            No index serves it, or the cursor isn't one of this query.
        ForbiddenField, KeysUnavailable
        """
        from shared.graphql import ConnectionPage, Row

        given = {name: text for name, text in (("$filter", asked.filter), ("$orderby", asked.order)) if text}
        options = parse_options(given, self._declared[view].properties)
        bound = repr(("graph", view, sorted(given.items()), int(level)))

        async def cursor(place: str) -> str:
            return await self._continuations.make(Place(place), None, bound)

        place = Place(None)
        if asked.cursor is not None:
            read = await self._continuations.read(asked.cursor, bound)
            if read is None:
                raise InvalidQuery(f"{'before' if asked.backward else 'after'}: is no cursor of this query")
            place, _ = read
        query = PageQuery(filter=options.filter, order=options.order, top=asked.size, place=place, count=asked.count)
        if not asked.backward:
            page = await self._pages.page(view, query, level=level, charge=charge)
            rows = [(one.place, Row(view, one.key, one.value)) for one in page.rows]
            last = None if page.next is None else page.next.after
            return ConnectionPage(rows, cursor, page.next is not None, place.after is not None, page.total, last)
        begin, more = await self._pages.preceding(view, query, level=level)
        rows, total, end = [], None, None if place.after is None else place_order(place.after)
        following: Place | None = begin
        while following is not None and len(rows) < asked.size:  # a page of large rows ends before the cursor
            if end is not None and following.after is not None and place_order(following.after) >= end:
                break
            query = replace(query, place=following, top=asked.size - len(rows))
            page = await self._pages.page(view, query, level=level, charge=charge)
            fitting = [one for one in page.rows if end is None or place_order(one.place) < end]
            rows += [(one.place, Row(view, one.key, one.value)) for one in fitting]
            total, following, query = total or page.total, page.next, replace(query, count=False)
        return ConnectionPage(rows, cursor, place.after is not None, more, total)
