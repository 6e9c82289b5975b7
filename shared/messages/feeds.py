"""What an integration declares of the changes of a table elsewhere, and the order that their handler is given."""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import wraps
from typing import Any

from pydantic import BaseModel

from shared.changes import Applied, Change, Feed, Late, Operation, change_event_type, is_late
from shared.telemetry import log_event

from .errors import Reject
from .fields import fields_to

__all__ = ["feed_of", "in_order", "row_of"]


def row_of(model: type[BaseModel], where: str) -> type[BaseModel]:
    """The model of the rows of a `Change`; raises TypeError, which names where it was declared."""
    known = model.__pydantic_generic_metadata__
    row = known["args"][0] if known["origin"] is Change else None
    if not (isinstance(row, type) and issubclass(row, BaseModel)):
        raise TypeError(f"{where}: annotate the first parameter as Change[...] of a model")
    return row


def feed_of(
    row: type[BaseModel],
    table: str,
    key: str,
    *,
    row_key: Sequence[str],
    late: Late,
    types: Mapping[str, str],
    truncates: bool,
) -> Feed:
    """The changes of a table, checked.

    Raises
    ------
    TypeError, ValueError
        The row has no such field, or there is no such table.
    """
    if not re.fullmatch(r"[\x21-\x7e]{1,120}", table):
        raise ValueError(f"the table {table!r}: use 1 to 120 printable characters without spaces")

    def spellings(column: str) -> tuple[str, ...]:
        try:
            ((_, name),) = fields_to(row, column)
        except (LookupError, ValueError):
            raise TypeError(f"changes of {table}: {row.__name__} has no field {column!r} for the key") from None
        return tuple(dict.fromkeys((column, name, row.model_fields[name].alias or name)))

    return Feed(
        table=table,
        key=spellings(key),
        row_key=tuple(map(spellings, row_key)),
        row=row,
        types=dict(types),
        late=Late(late),
        truncates=truncates,
    )


def in_order(call: Callable[[Any, Any], Awaitable[None]], feed: Feed) -> Callable[[Any, Any], Awaitable[None]]:
    """The handler of a table's changes, which is never given one that is older than what it was given before."""
    table = change_event_type(feed.table)

    @wraps(call)
    async def handle(change: Change[Any], work: Any) -> None:
        if change.operation is Operation.TRUNCATE and not feed.truncates:
            raise Reject(f"{feed.table} was truncated, which its handler doesn't take: declare truncates=True")
        kind = f"{table}#{change.row}" if change.row else table
        last = await work.load(kind, change.key, Applied)
        late = is_late(change, last)
        if late and feed.late is Late.DEAD_LETTER:
            raise Reject(f"a later change of this row of {feed.table} was handled before")
        if late and change.operation is not Operation.MESSAGE:
            log_event("change late", level=logging.WARNING, table=feed.table, position=change.position)
            return
        await call(change, work)
        if change.position and not late:
            applied = Applied(origin=change.origin, position=change.position, time=change.time)
            await work.save(kind, change.key, applied)

    return handle
