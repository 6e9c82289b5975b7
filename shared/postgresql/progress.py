"""How far a capture has come: one row, written after what it says was sent, and before the slot is advanced to it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from .stream import BEGINNING, Position, Visibility

__all__ = ["Progress", "TableRead", "lsn_of", "lsn_text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRead:
    """What was read of a table before its stream.

    Attributes
    ----------
    snapshot, lsn, at:
        The first snapshot of it; one that is gone on with later sees more, which the stream then tells once more, in
        the same words.
    last:
        The key of the last row that was sent, as text; None before the first.
    rows:
        How many were sent.
    identity:
        Which table it was, in which membership of the publication (`Session.published`): of another one the log may
        lack changes, so that it is read anew.
    after:
        The number of the first transaction that the snapshot needn't wait for: those before it may have changed the
        table before it was published, which the log doesn't tell. The snapshot is empty until it was taken.
    """

    snapshot: str = ""
    lsn: int = 0
    at: int = 0
    last: tuple[str, ...] | None = None
    rows: int = 0
    done: bool = False
    identity: str = ""
    after: int = 0

    @property
    def visibility(self) -> Visibility:
        """What the snapshot sees of the stream."""
        return Visibility.of(self.snapshot, self.lsn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a capture has come.

    Attributes
    ----------
    begun:
        Where the stream begins; 0 before there is a slot of ours.
    position:
        The last change that was sent.
    upto:
        The slot isn't advanced any further: one that stands behind this was moved by somebody else.
    """

    begun: int = 0
    position: Position = BEGINNING
    upto: int = 0
    tables: Mapping[str, TableRead] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """As a row keeps it."""
        tables = {
            name: TableRead(
                snapshot=one["snapshot"],
                lsn=lsn_of(one["lsn"]),
                at=one["at"],
                last=None if one["last"] is None else tuple(one["last"]),
                rows=one["rows"],
                done=one["done"],
                identity=one.get("identity", ""),
                after=one.get("after", 0),
            )
            for name, one in json.loads(values.get("tables") or "{}").items()
        }
        return cls(
            begun=lsn_of(values.get("begun") or "0/0"),
            position=Position(lsn_of(values.get("lsn") or "0/0"), int(values.get("index") or 0)),
            upto=lsn_of(values.get("upto") or "0/0"),
            tables=tables,
        )

    def columns(self) -> dict[str, Any]:
        """As a row keeps it: positions as PostgreSQL writes them."""
        tables = {
            name: {
                "snapshot": one.snapshot,
                "lsn": lsn_text(one.lsn),
                "at": one.at,
                "last": one.last,
                "rows": one.rows,
                "done": one.done,
                "identity": one.identity,
                "after": one.after,
            }
            for name, one in self.tables.items()
        }
        return {
            "begun": lsn_text(self.begun),
            "lsn": lsn_text(self.position.lsn),
            "index": self.position.number,
            "upto": lsn_text(self.upto),
            "tables": json.dumps(tables, separators=(",", ":")),
        }

    def with_table(self, name: str, read: TableRead) -> "Progress":
        """The same, with what was read of a table."""
        return replace(self, tables={**self.tables, name: read})


def lsn_text(lsn: int) -> str:
    """A position as PostgreSQL writes it.

    >>> lsn_text(0x1_0000_00A0)
    '1/A0'
    """
    return f"{lsn >> 32:X}/{lsn & 0xFFFF_FFFF:X}"


def lsn_of(text: str) -> int:
    """The number of a position.

    >>> lsn_of("1/A0")
    4294967456
    """
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)
