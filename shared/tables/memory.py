"""A table in memory, as atomic as the service's and as strict: for tests, and for apps that keep nothing."""

import itertools
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from .formats import TransactionFailed, encode, require_one_partition
from .table import MAX_OPERATIONS, Condition, Conflict, Create, Delete, Entity, Operation, Query, Replace, Rows, Table

__all__ = ["MemoryTable"]

_MAX_BYTES = 4 * 1024 * 1024
_MAX_ROW_BYTES = 1024 * 1024
_MAX_COLUMN_BYTES = 64 * 1024
_MAX_KEY_BYTES = 1024
_MAX_COLUMNS = 252
_MAX_NAME = 255
_FORBIDDEN = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]")
_OLDEST = datetime(1601, 1, 1, tzinfo=UTC)
_PAGE = 1_000


class MemoryTable(Table):
    """Implements `Table`; nothing in it waits.

    Attributes
    ----------
    rows:
        (partition, row key) → entity.
    """

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.rows: dict[tuple[str, str], Entity] = {}
        self._versions = itertools.count(1)

    async def get(self, partition: str, row: str, *, select: Sequence[str] = ()) -> Entity | None:
        """See `Table`."""
        found = self.rows.get((partition, row))
        return None if found is None else _copied(found, select)

    async def page(self, query: Query, start: Mapping[str, str] | None = None) -> Rows:
        """See `Table`."""
        conditions = query.conditions()
        begin = (start["PartitionKey"], start["RowKey"]) if start else ("", "")
        within = (place for place in self.rows if query.partition in (None, place[0]))
        places = sorted((place for place in within if _ordered(place) >= _ordered(begin)), key=_ordered)
        found: list[Entity] = []
        for place in places:
            row = self.rows[place]
            if not all(_holds(row, condition) for condition in conditions):
                continue
            if len(found) == min(query.size or _PAGE, _PAGE):
                return Rows(found, {"PartitionKey": place[0], "RowKey": place[1]})
            found.append(_copied(row, query.select))
        return Rows(found, None)

    async def submit(self, operations: Sequence[Operation]) -> list[str | None]:
        """See `Table`."""
        self._accept(operations)
        for operation in operations:
            self._expect(operation)
        return [self._apply(operation) for operation in operations]

    def _accept(self, operations: Sequence[Operation]) -> None:
        """Refuse what the service does, whatever the table holds."""
        if not operations:
            raise TransactionFailed(400, "InvalidInput", "a transaction has operations")
        if len(operations) > MAX_OPERATIONS:
            raise TransactionFailed(400, "InvalidInput", f"a transaction has {MAX_OPERATIONS} operations at most")
        size = 0
        for index, operation in enumerate(operations):
            size += _accepted_size(index, operation)
        if size > _MAX_BYTES:
            raise TransactionFailed(413, "RequestBodyTooLarge", f"{size} bytes in one transaction")
        require_one_partition(operations)
        if len({operation.row["RowKey"] for operation in operations}) < len(operations):
            raise TransactionFailed(400, "InvalidDuplicateRow", "1:a row twice in one transaction")

    def _expect(self, operation: Operation) -> None:
        known = self.rows.get(_place(operation))
        match operation:
            case Create():
                fits = known is None
            case Replace(etag=etag):
                fits = known is not None and known.etag == etag
            case Delete(etag=etag):
                fits = known is not None and etag in (None, known.etag)
            case _:
                fits = True
        if not fits:
            raise Conflict(operation.row["RowKey"])

    def _apply(self, operation: Operation) -> str | None:
        place = _place(operation)
        if isinstance(operation, Delete):
            del self.rows[place]
            return None
        return self.put(operation.row)

    def put(self, row: Mapping[str, Any]) -> str:
        """Have a row there, whatever was there before; returns its version."""
        etag = f"etag-{next(self._versions)}"
        columns = {name: value for name, value in row.items() if value is not None}
        self.rows[row["PartitionKey"], row["RowKey"]] = Entity(columns, etag, datetime.now(UTC))
        return etag

    async def ensure_created(self) -> None:
        """It is there."""

    async def probe(self) -> None:
        """It can be reached."""

    async def close(self) -> None:
        """Nothing is open."""


def _place(operation: Operation) -> tuple[str, str]:
    return operation.row["PartitionKey"], operation.row["RowKey"]


def _copied(row: Entity, select: Sequence[str]) -> Entity:
    return Entity({name: value for name, value in row.items() if not select or name in select}, row.etag, row.modified)


def _ordered(place: tuple[str, str]) -> tuple[bytes, bytes]:
    """The service compares UTF-16."""
    return place[0].encode("utf-16-be"), place[1].encode("utf-16-be")


def _holds(row: Entity, condition: Condition) -> bool:
    column, operator, wanted = condition
    value = row.get(column)
    if value is None:
        return False
    if operator == "in":
        return value in wanted
    one, other = _comparable(value), _comparable(wanted)
    match operator:
        case "eq":
            return bool(one == other)
        case "ne":
            return bool(one != other)
        case "lt":
            return bool(one < other)
        case "le":
            return bool(one <= other)
        case "gt":
            return bool(one > other)
        case _:
            return bool(one >= other)


def _comparable(value: Any) -> Any:
    return value.encode("utf-16-be") if isinstance(value, str) else value


def _accepted_size(index: int, operation: Operation) -> int:
    """Bytes that an operation takes on the wire, about; refuses what no row can hold."""
    row = operation.row
    for name in ("PartitionKey", "RowKey"):
        key = row[name]
        if len(key.encode("utf-16-le")) > _MAX_KEY_BYTES:
            raise TransactionFailed(400, "KeyValueTooLarge", f"{index}:{name} has more than {_MAX_KEY_BYTES} bytes")
        if _FORBIDDEN.search(key):
            raise TransactionFailed(400, "OutOfRangeInput", f"{index}:{name} holds what a key can't")
    if isinstance(operation, Delete):
        return 400
    if isinstance(operation, Replace) and not operation.etag:
        raise ValueError("a row that must be unchanged needs its ETag")
    if len(row) > _MAX_COLUMNS + 3 or any(len(name) > _MAX_NAME for name in row):
        raise TransactionFailed(400, "TooManyProperties", f"{index}:{len(row)} columns")
    sizes = [_size(index, name, value) for name, value in row.items() if value is not None]
    if sum(sizes) > _MAX_ROW_BYTES:
        raise TransactionFailed(400, "EntityTooLarge", f"{index}:{sum(sizes)} bytes in a row")
    return 400 + len(encode(row))


def _size(index: int, name: str, value: Any) -> int:
    if isinstance(value, datetime) and value.astimezone(UTC) < _OLDEST:
        raise TransactionFailed(400, "OutOfRangeInput", f"{index}:{name} is before 1601")
    if not isinstance(value, str | bytes):
        return 8
    size = len(value) if isinstance(value, bytes) else len(value.encode("utf-16-le"))
    if size > _MAX_COLUMN_BYTES:
        raise TransactionFailed(400, "PropertyValueTooLarge", f"{index}:{name} has {size} bytes")
    return size
