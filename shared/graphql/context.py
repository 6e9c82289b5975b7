"""What the resolvers of one request share: rows, each read once, and a budget that lists and rows are charged to."""

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from graphql import GraphQLError, GraphQLResolveInfo
from pydantic_core import from_json

if TYPE_CHECKING:
    from .connections import ConnectionPage, PageArguments

__all__ = ["ReadingContext", "ResolveInfo", "Row", "global_id", "read_id"]

MAX_KEY = 128
_LONGEST_ID = 1_024
_AT_ONCE, _CONNECTIONS = 16, 4
EXAMINED = 10
"""What each row that a connection looks at is charged as, in fields of items."""


class Row(dict[str, Any]):
    """A row's JSON object as the caller sees it, and where it is."""

    __slots__ = ("key", "view")

    def __init__(self, view: str, key: str, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self.view = view
        self.key = key


def global_id(view: str, key: str) -> str:
    """A row's id in the graph: opaque."""
    return urlsafe_b64encode(f"{view}:{key}".encode()).decode().rstrip("=")


def read_id(text: str) -> tuple[str, str] | None:
    """View and key of an id; None for a text that is none."""
    if len(text) > _LONGEST_ID:
        return None
    try:
        view, colon, key = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().partition(":")
    except ValueError:
        return None
    return (view, key) if colon and global_id(view, key) == text else None


class ReadingContext:
    """Reads for the resolvers of one request.

    Parameters
    ----------
    read:
        From view and key to the row as JSON, as the caller sees it.
    pages:
        From a view and the arguments of a connection to its page; calls with 0 before it reads a row, and with the
        row's bytes after.
    changes:
        From a view and keys to their rows, whenever they change.
    cost, size:
        How many fields may be resolved, and how many bytes of rows be read.
    """

    def __init__(
        self,
        read: Callable[[str, str], Awaitable[bytes | None]],
        pages: Callable[[str, "PageArguments", Callable[[int], None]], Awaitable["ConnectionPage"]],
        changes: Callable[[str, Sequence[str]], AsyncGenerator[Row, None]],
        *,
        cost: int,
        size: int,
    ) -> None:
        self._read = read
        self._pages = pages
        self.changes = changes
        self._most, self._left = cost, cost
        self._bytes = size
        self._loading: dict[tuple[str, str], asyncio.Task[Row | None]] = {}
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._connections = asyncio.Semaphore(_CONNECTIONS)
        self.each: dict[int, int] = {}
        """By identity of a field's node, what each item of its list costs."""

    @property
    def spent(self) -> int:
        """What was charged beside what is charged in advance."""
        return self._most - self._left

    def renew(self) -> None:
        """Begin anew: the next event of a subscription has a budget of its own."""
        self._left = self._most

    def charge(self, items: int, nodes: Sequence[Any]) -> None:
        """Count the items of a list that a field's nodes select from; raises GraphQLError where it is too much."""
        self._left -= items * sum(self.each.get(id(node), 1) for node in nodes)
        if self._left < 0:
            raise GraphQLError("This list is too long for one query.", extensions={"code": "COST_EXCEEDED"})

    async def row(self, view: str, key: str) -> Row | None:
        """A row; asked for twice it is read once."""
        if not 1 <= len(key) <= MAX_KEY:
            return None
        task = self._loading.get((view, key))
        if task is None:
            task = self._loading[view, key] = asyncio.create_task(self._load(view, key))
        return await asyncio.shield(task)

    async def _load(self, view: str, key: str) -> Row | None:
        async with self._at_once:
            self._spend(0)
            body = await self._read(view, key)
        if body is None:
            return None
        self._spend(len(body))
        return Row(view, key, from_json(body))

    def _spend(self, size: int) -> None:
        self._bytes -= size
        if self._bytes < 0:
            raise GraphQLError("The rows are too large for one query.", extensions={"code": "COST_EXCEEDED"})

    def _examine(self, size: int) -> None:
        """Count a row of a connection, whether it is shown or not."""
        self._left -= EXAMINED if size else 0
        if self._left < 0:
            raise GraphQLError("This looks at too many rows for one query.", extensions={"code": "COST_EXCEEDED"})
        self._spend(size)

    async def page(self, view: str, asked: "PageArguments") -> "ConnectionPage":
        """A page of a connection; a few are read at once."""
        async with self._connections:
            return await self._pages(view, asked, self._examine)

    async def close(self) -> None:
        """Stop what is still being read."""
        for task in self._loading.values():
            task.cancel()
        await asyncio.gather(*self._loading.values(), return_exceptions=True)


ResolveInfo = GraphQLResolveInfo[ReadingContext]
"""What a resolver is given."""
