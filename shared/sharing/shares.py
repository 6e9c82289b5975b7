"""Shares: which tables of the lake are offered together, under which names. Names are compared without case."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from shared.lake.tables import Layer

from .errors import NotShared

__all__ = ["SharedTable", "Shares"]

MOST_SHARES, MOST_TABLES = 100, 1_000
LAYERS = frozenset({Layer.SILVER, Layer.GOLD})
"""Those whose tables may be shared: quarantine has what nobody has understood."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_TABLE = re.compile(r"[a-z][a-z0-9_]{0,126}")


@dataclass(frozen=True, slots=True)
class SharedTable:
    """A table of the lake in a share; its schema is the layer that it is in."""

    share: str
    schema: str
    name: str


class Shares:
    """Everything that is shared.

    Parameters
    ----------
    tables:
        By share the tables of each layer, such as `{"sales": {"gold": ["daily_sales"]}}`.

    Raises
    ------
    ValueError
        Says which name can't be so, or is there twice.
    """

    def __init__(self, tables: Mapping[str, Mapping[str, Collection[str]]]) -> None:
        self._tables: dict[str, dict[str, dict[str, SharedTable]]] = {}
        for share, schemas in tables.items():
            _checked(share, "share", self._tables)
            by_schema = self._tables[share.lower()] = {}
            for schema, names in schemas.items():
                if schema not in LAYERS:
                    raise ValueError(f"{share} shares {schema[:80]!r}: only tables of silver and gold can be shared")
                by_name = by_schema[schema.lower()] = {}
                for name in names:
                    _checked(name, f"table of {share}.{schema}", by_name, _TABLE)
                    by_name[name.lower()] = SharedTable(share, schema, name)
        self.names = list(tables)

    @classmethod
    def parse(cls, text: str) -> "Shares":
        """Read a JSON object of share, layer and list of tables; raises ValueError."""
        try:
            found = json.loads(text) if text else {}
        except (ValueError, RecursionError):
            raise ValueError("is not valid JSON") from None
        if not isinstance(found, dict) or not all(
            isinstance(schemas, dict)
            and all(
                isinstance(tables, list) and all(isinstance(one, str) for one in tables) for tables in schemas.values()
            )
            for schemas in found.values()
        ):
            raise ValueError('must be a JSON object like {"sales": {"gold": ["daily_sales"]}}')
        if len(found) > MOST_SHARES:
            raise ValueError(f"has more than {MOST_SHARES} shares")
        shares = cls(found)
        if sum(1 for name in found for _ in shares.tables(name)) > MOST_TABLES:
            raise ValueError(f"has more than {MOST_TABLES} tables")
        return shares

    def __bool__(self) -> bool:
        return bool(self._tables)

    def share(self, share: str) -> str:
        """The name of a share as it was declared; raises NotShared."""
        if share.lower() not in self._tables:
            raise NotShared("There is no such share.")
        return next(name for name in self.names if name.lower() == share.lower())

    def schemas(self, share: str) -> list[str]:
        """The schemas of a share that have tables; raises NotShared."""
        return list(dict.fromkeys(one.schema for one in self.tables(share)))

    def tables(self, share: str, schema: str | None = None) -> Iterator[SharedTable]:
        """The tables of a share, or of one of its schemas; raises NotShared."""
        by_schema = self._tables[self.share(share).lower()]
        if schema is not None and schema.lower() not in by_schema:
            raise NotShared("There is no such schema.")
        chosen = by_schema.values() if schema is None else [by_schema[schema.lower()]]
        return (table for tables in chosen for table in tables.values())

    def table(self, share: str, schema: str, name: str) -> SharedTable:
        """One table; raises NotShared."""
        for table in self.tables(share, schema):
            if table.name.lower() == name.lower():
                return table
        raise NotShared("There is no such table.")


def _checked(name: str, what: str, known: Collection[str], allowed: re.Pattern[str] = _NAME) -> None:
    if allowed.fullmatch(name) is None:
        raise ValueError(f"no {what} can be called {name[:80]!r}")
    if name.lower() in known:
        raise ValueError(f"the {what} {name} is there twice")
