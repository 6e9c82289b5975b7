"""A change of a row: as every reader gives it, and as a handler gets it, with the row as its own model.

Values of rows are what JSON can say without loss: whole numbers, booleans and texts as they are; decimals as text; days
as `2026-11-30`; times of day as `10:00:00.5`; moments as RFC 3339 in UTC (one without a time zone counts as UTC, as
Debezium counts it); durations as ISO 8601; bytes as base64.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, NoReturn, TypeVar
from uuid import UUID, uuid5

from pydantic import AwareDatetime, BaseModel, ConfigDict

__all__ = ["CapturedChange", "Change", "Operation", "Origin", "UnreadableChange", "parsed_json", "position_text"]

_IDS = UUID("c1e2a8e5-4b0a-5d0e-8f3c-7b9a52d6f031")
"""Ids of changes are made from it and what identifies a change where it comes from; fixed for good."""


class UnreadableChange(ValueError):
    """What came is no change that can be read; the message says why."""


class Operation(StrEnum):
    """What happened to the row, in Debezium's abbreviations.

    READ is a row that a snapshot found; TRUNCATE is about the whole table; MESSAGE is no row at all but what an
    application wrote into the log of its database.
    """

    CREATE = "c"
    UPDATE = "u"
    DELETE = "d"
    READ = "r"
    TRUNCATE = "t"
    MESSAGE = "m"


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a change comes from.

    Attributes
    ----------
    connector:
        `postgresql`, `mysql`, `sqlserver`, `cosmos`, ...
    name:
        What the connector calls the server.
    """

    connector: str
    name: str = ""
    database: str = ""
    schema: str = ""
    table: str = ""

    @property
    def tables(self) -> Sequence[str]:
        """The names by which the table may be declared, the most exact first."""
        whole = [part for part in (self.database, self.schema, self.table) if part]
        names = [".".join(whole[start:]) for start in range(len(whole))]
        named = [".".join(filter(None, (self.name, self.schema, self.table)))] if self.name else []
        return list(dict.fromkeys([*named, *names]))

    @property
    def text(self) -> str:
        """The origin in one line."""
        return ":".join((self.connector, self.name, self.database))


@dataclass(frozen=True, kw_only=True, slots=True)
class CapturedChange:
    """A change as a reader found it, its rows without a model.

    Attributes
    ----------
    before, after:
        The row, column by column; `before` may have no more than the key.
    key:
        The columns of the table's key, where the source tells them beside the row.
    position:
        Where it stands in the log of its origin, by `position_text`; empty where nobody knows.
    identity:
        What else distinguishes it at that position; the same as often as the source sends this change.
    time:
        When the change was made in the database.
    transaction:
        The source's name of the transaction.
    unavailable:
        Columns that the source didn't send since they haven't changed; `after` is without them.
    """

    operation: Operation
    origin: Origin
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    key: Mapping[str, Any] = field(default_factory=dict)
    position: str = ""
    identity: str = ""
    time: datetime | None = None
    transaction: str = ""
    unavailable: tuple[str, ...] = ()

    @property
    def message_id(self) -> UUID:
        """The id of the message that this change becomes: reading it again gives the same."""
        origin = (*self.origin.text.split(":", 2), self.origin.schema, self.origin.table)
        rows = (self.before, self.after, self.key)
        parts = (*origin, self.operation.value, self.position, self.identity, *rows)
        return uuid5(_IDS, json.dumps(parts, sort_keys=True, default=str, separators=(",", ":")))

    def value_of(self, names: Sequence[str]) -> str:
        """The text of the first of these columns that there is, as the row's key.

        Raises
        ------
        UnreadableChange
        """
        for row in (self.after, self.before, self.key):
            for name in names:
                value = None if row is None else row.get(name)
                if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
                    return str(value)
        raise UnreadableChange(
            f"no part of the change has the key {names[0]}, as a text or a whole number; of a deleted row a "
            "database may log no more than its primary key (PostgreSQL: REPLICA IDENTITY FULL)"
        )


Row = TypeVar("Row", bound=BaseModel)


class Change(BaseModel, Generic[Row]):
    """A change as a handler gets it: `async def handler(change: Change[Customer], work: Work)`.

    Attributes
    ----------
    table:
        As it is declared.
    key:
        The row's key, as text: the aggregate of the message. Of a truncation, the table.
    row:
        What tells this row from others of the same key, in no form to be read; empty where the key does, or nothing is
        known.
    before:
        The row before, where the source tells all of it; None otherwise, whatever it tells of it.
    after:
        The row now; None of what was deleted.
    position:
        Where the change stands in the log of its origin: of one origin the greater text is the later change. Empty
        where nobody knows.
    time:
        When the change was made in the database.
    unavailable:
        Columns that the source didn't send since they haven't changed.
    """

    model_config = ConfigDict(frozen=True)

    operation: Operation
    table: str
    key: str
    row: str = ""
    before: Row | None = None
    after: Row | None = None
    origin: str = ""
    position: str = ""
    time: AwareDatetime | None = None
    transaction: str = ""
    unavailable: tuple[str, ...] = ()

    @property
    def removes(self) -> bool:
        """Whether the row is gone."""
        return self.operation is Operation.DELETE


def parsed_json(text: str | bytes) -> Any:
    """What a text within an event says: no name twice in an object, no digit lost.

    Raises
    ------
    UnreadableChange
    """
    try:
        return _DECODER.decode(text.decode() if isinstance(text, bytes) else text)
    except (ArithmeticError, RecursionError, ValueError):  # ArithmeticError: an exponent of twenty digits
        raise UnreadableChange("a text in it is no JSON") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name appears twice")
    return found


def _number(digits: str) -> float | Decimal:
    number, exact = float(digits), Decimal(digits)
    return number if exact == Decimal(repr(number)) else exact


def _not_finite(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_number, parse_constant=_not_finite)


def position_text(*parts: int) -> str:
    """A position as text that is ordered as the numbers are; each from 0 to 2^64 - 1.

    >>> position_text(5, 12) < position_text(11, 3)
    True
    """
    for part in parts:
        if not 0 <= part < 2**64:
            raise UnreadableChange(f"{part} is no part of a position")
    return ".".join(f"{part:020d}" for part in parts)
