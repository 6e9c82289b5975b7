"""What an integration declares of a table whose changes it handles, and what it remembers to keep them in order."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any

from pydantic import AwareDatetime, BaseModel, ValidationError
from pydantic_core import to_json

from .change import CapturedChange, Change, Operation

__all__ = ["Applied", "Feed", "Late", "change_event_type", "is_late"]


class Late(StrEnum):
    """What becomes of a change that comes after a later one of the same row.

    SKIP leaves it out: every change has the whole row, so the later one stands; a message, which has no row, is handled
    whenever it comes. DEAD_LETTER keeps it for an operator,
    for handlers that need every step.
    """

    SKIP = "skip"
    DEAD_LETTER = "dead-letter"


@dataclass(frozen=True, kw_only=True)
class Feed:
    """The changes of one table.

    Attributes
    ----------
    table:
        As it is declared: `public.customers`, with the database before it where several have such a table.
    key:
        The spellings of the column that names the aggregate.
    row_key:
        The spellings of each column that tells rows of one aggregate apart; without any, what the source says, and
        where it doesn't, the aggregate is the row.
    row:
        The model of the row.
    types:
        Column → Debezium's type, `io.debezium.time.Date`, of events that come without their schema; one of a decimal
        has its scale behind a colon.
    truncates:
        The handler takes truncations of the whole table.
    """

    table: str
    key: tuple[str, ...]
    row_key: tuple[tuple[str, ...], ...] = ()
    row: type[BaseModel]
    types: Mapping[str, str] = field(default_factory=dict)
    late: Late = Late.SKIP
    truncates: bool = False

    def content(self, change: CapturedChange) -> dict[str, Any]:
        """The change as a message's data.

        Raises
        ------
        UnreadableChange
            It doesn't say its key.
        """
        whole_table = change.operation is Operation.TRUNCATE
        key = self.table if whole_table else change.value_of(self.key)
        found = {
            "operation": change.operation.value,
            "table": self.table,
            "key": key,
            "row": self._row_of(change, key),
            "before": change.before if self._is_whole(change) else None,
            "after": change.after,
            "origin": change.origin.text,
            "position": change.position,
            "time": None if change.time is None else change.time.isoformat().replace("+00:00", "Z"),
            "transaction": change.transaction,
            "unavailable": list(change.unavailable),
        }
        return {name: value for name, value in found.items() if value not in (None, "", [])}

    def _row_of(self, change: CapturedChange, key: str) -> str:
        """What tells the row from others of its key, hashed: of any length, and maybe not to be read by everybody."""
        if change.operation in (Operation.TRUNCATE, Operation.MESSAGE):
            return ""
        if self.row_key:
            values = [change.value_of(names) for names in self.row_key]
        else:
            values = [str(change.key[name]) for name in sorted(change.key)]
        if values in ([], [key]):
            return ""
        return sha256(json.dumps(values).encode()).hexdigest()[:32]

    def _is_whole(self, change: CapturedChange) -> bool:
        """Whether a row from before has all that the model needs: a database may log no more than its key."""
        row = change.before
        if row is None:
            return False
        try:
            found = self.row.model_validate_json(to_json(row), strict=True)
        except (ValidationError, ValueError):
            return False
        # else a model whose other fields have defaults would say that they were empty
        return not row.keys() <= change.key.keys() or found.model_fields_set == self.row.model_fields.keys()


class Applied(BaseModel):
    """The last change of a row that was handled: kept beside the row's aggregate, in the same transaction."""

    origin: str
    position: str
    time: AwareDatetime | None = None


def change_event_type(table: str) -> str:
    """The event type under which changes of a table are handled."""
    return f"change:{table}"


def is_late(change: Change[Any], last: Applied | None) -> bool:
    """Whether a later change of this row was handled before.

    A lower position with a later time is of a database that was set up anew or restored: it isn't late.
    """
    if last is None or last.origin != change.origin or not change.position or not last.position:
        return False
    is_newer = change.time is not None and last.time is not None and change.time > last.time
    return change.position < last.position and not is_newer
