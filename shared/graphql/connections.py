"""Connections as Relay has them ("GraphQL Cursor Connections Specification"): their types, arguments and page."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from graphql import (
    FieldNode,
    GraphQLBoolean,
    GraphQLError,
    GraphQLField,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLString,
    SelectionSetNode,
)

from .context import ResolveInfo, Row

__all__ = ["MAX_PAGE", "PAGE", "ConnectionPage", "PageArguments", "connection_type", "wrong"]

PAGE, MAX_PAGE = 50, 200


def wrong(message: str) -> GraphQLError:
    """An error that the caller can mend."""
    return GraphQLError(message, extensions={"code": "BAD_REQUEST"})


@dataclass(frozen=True, kw_only=True)
class PageArguments:
    """What is asked of a connection.

    Attributes
    ----------
    size:
        Rows at most.
    cursor:
        The row behind which, or before which, the page is; None begins at the one end or the other.
    backward:
        Whether it is the last rows that are wanted.
    count:
        Whether the number of all rows is wanted.
    """

    size: int
    cursor: str | None
    backward: bool
    filter: str | None
    order: str | None
    count: bool

    @classmethod
    def of(cls, given: Mapping[str, Any], info: ResolveInfo) -> Self:
        """The arguments, checked.

        Raises
        ------
        GraphQLError
        """
        first, last = given.get("first"), given.get("last")
        after, before = given.get("after"), given.get("before")
        if first is not None and last is not None:
            raise wrong("Ask for the first or for the last rows, not for both.")
        backward = last is not None
        if (before is not None and not backward) or (after is not None and backward):
            raise wrong("`after` goes with `first`, `before` with `last`.")
        size: int = last if last is not None else first if first is not None else PAGE
        if not 1 <= size <= MAX_PAGE:
            raise wrong(f"`{'last' if backward else 'first'}` must be 1 to {MAX_PAGE}.")
        return cls(
            size=size,
            cursor=before if backward else after,
            backward=backward,
            filter=given.get("filter"),
            order=given.get("orderBy"),
            count=_selects(info, "totalCount"),
        )


@dataclass(frozen=True)
class ConnectionPage:
    """Rows in order with the place of each, whether there are more on either side, and how many fit in all.

    Attributes
    ----------
    cursor:
        Makes a cursor of a place.
    last:
        The place up to which rows were looked for, where there are more than those: a page may be short, even empty.
    """

    rows: Sequence[tuple[str, Row]]
    cursor: Callable[[str], Awaitable[str]]
    has_next: bool
    has_previous: bool
    total: int | None = None
    last: str | None = None

    async def start(self) -> str | None:
        """The cursor of the first row."""
        return await self.cursor(self.rows[0][0]) if self.rows else None

    async def end(self) -> str | None:
        """The cursor behind which the next page is."""
        place = self.last or (self.rows[-1][0] if self.rows else None)
        return None if place is None else await self.cursor(place)


def _selects(info: ResolveInfo, name: str) -> bool:
    waiting: list[SelectionSetNode] = [one.selection_set for one in info.field_nodes if one.selection_set]
    seen: set[str] = set()
    while waiting:
        for one in waiting.pop().selections:
            if isinstance(one, FieldNode):
                if one.name.value == name:
                    return True
            elif (inner := getattr(one, "selection_set", None)) is not None:
                waiting.append(inner)
            elif (spread := one.name.value) not in seen:  # type: ignore[attr-defined]
                seen.add(spread)
                waiting.append(info.fragments[spread].selection_set)
    return False


_PAGE_INFO = GraphQLObjectType(
    "PageInfo",
    {
        "hasNextPage": GraphQLField(GraphQLNonNull(GraphQLBoolean), resolve=lambda page, _: page.has_next),
        "hasPreviousPage": GraphQLField(GraphQLNonNull(GraphQLBoolean), resolve=lambda page, _: page.has_previous),
        "startCursor": GraphQLField(GraphQLString, resolve=lambda page, _: page.start()),
        "endCursor": GraphQLField(GraphQLString, resolve=lambda page, _: page.end()),
    },
)


def connection_type(row: GraphQLObjectType, claim: Callable[[str], str]) -> GraphQLObjectType:
    """The connection of a row's type; `claim` names its types."""
    edge = GraphQLObjectType(
        claim(f"{row.name}Edge"),
        {
            "cursor": GraphQLField(GraphQLNonNull(GraphQLString), resolve=lambda edge, _: edge[0](edge[1])),
            "node": GraphQLField(row, resolve=lambda edge, _: edge[2]),
        },
    )
    return GraphQLObjectType(
        claim(f"{row.name}Connection"),
        {
            "edges": GraphQLField(
                GraphQLNonNull(GraphQLList(GraphQLNonNull(edge))),
                resolve=lambda page, _: [(page.cursor, *one) for one in page.rows],
            ),
            "nodes": GraphQLField(
                GraphQLNonNull(GraphQLList(GraphQLNonNull(row))), resolve=lambda page, _: [one for _, one in page.rows]
            ),
            "pageInfo": GraphQLField(GraphQLNonNull(_PAGE_INFO), resolve=lambda page, _: page),
            "totalCount": GraphQLField(
                GraphQLInt,
                resolve=lambda page, _: page.total,
                description="How many rows fit; an error where no counter counts them.",
            ),
        },
    )
