"""What an integration declares of the lake's gold layer: a table of aggregates over silver tables."""

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from shared.jobs import Schedule

__all__ = ["DAY", "Gold", "Source"]

DAY = "day"
"""The column that a source with a day has beside its own."""
MOST_DIGITS = 38

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_TYPES = {bool: "BOOLEAN", int: "BIGINT", float: "DOUBLE", str: "VARCHAR", date: "DATE", datetime: "TIMESTAMPTZ"}


@dataclass(frozen=True)
class Source:
    """A silver table that a gold table is computed from, and what of it.

    Attributes
    ----------
    table, columns:
        The silver table, and the columns that are read; no other is seen.
    day:
        The column whose day, in UTC, the rows belong to: a date, a time, or a time as text in UTC. It is read as the
        column `day`. What is computed is incremental where every source has one.
    latest:
        The column that names what a row is about: of its rows the one of the newest event counts, and no other.
    """

    table: str
    columns: Sequence[str]
    day: str | None = None
    latest: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.table):
            raise ValueError(f"silver table {self.table!r}: use lower-case letters, digits and underscores")
        if isinstance(self.columns, str) or not self.columns:
            raise ValueError(f"silver table {self.table}: name the columns that are read, in a list")
        if self.day is not None and DAY in self.columns:
            raise ValueError(f"silver table {self.table}: `day` is the day of {self.day}, and no column beside it")

    @property
    def stored(self) -> tuple[str, ...]:
        """The columns of the silver table that are read, each once."""
        return tuple(dict.fromkeys((*self.columns, *filter(None, (self.day, self.latest)))))


@dataclass(frozen=True, kw_only=True)
class Gold:
    """A table of aggregates that is kept up to date by the clock.

    Attributes
    ----------
    row:
        The model of a row: its fields are the columns, of exact types.
    keys:
        The columns that name a row; none of them may be empty.
    call:
        Returns SQL over the sources' names; with parameters it takes the Arrow tables of the sources that they name,
        and returns one.
    """

    integration: str
    name: str
    schedule: Schedule
    keys: tuple[str, ...]
    row: type[BaseModel]
    sources: tuple[Source, ...]
    call: Callable[..., Any]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"gold table {self.name!r}: use lower-case letters, digits and underscores")
        columns = dict(self.columns())
        if unknown := [key for key in self.keys if key not in columns]:
            raise TypeError(f"gold.{self.name}: {self.row.__name__} has no field {unknown[0]!r} for a key")
        if not self.keys:
            raise TypeError(f"gold.{self.name}: name the columns that name a row")
        tables = [one.table for one in self.sources]
        if not tables or len(set(tables)) != len(tables):
            raise TypeError(f"gold.{self.name}: name the silver tables that it reads, each once")
        if inspect.iscoroutinefunction(self.call):
            raise TypeError(f"gold.{self.name}: {self.call.__name__} must be a plain function: it does no I/O")
        if unknown := [name for name in self.parameters if name not in tables]:
            raise TypeError(f"gold.{self.name}: {self.call.__name__} takes {unknown[0]!r}, which isn't read")

    @property
    def table(self) -> str:
        """Layer and name."""
        return f"gold.{self.name}"

    @property
    def job(self) -> str:
        """The name of the job that keeps it."""
        return f"{self.integration}.gold-{self.name.replace('_', '-')}"

    @property
    def parameters(self) -> tuple[str, ...]:
        """The sources that its function takes; none where it returns SQL."""
        return tuple(inspect.signature(self.call).parameters)

    @property
    def by_day(self) -> bool:
        """Whether the days that changed are computed again, and no others."""
        return dict(self.columns())[self.keys[0]] == "DATE" and all(one.day is not None for one in self.sources)

    def columns(self) -> Iterator[tuple[str, str]]:
        """Name and SQL type of each column, in order.

        Raises
        ------
        TypeError
            A field has a type that no column has, or a decimal whose digits aren't stated.
        """
        for name, info in self.row.model_fields.items():
            yield info.alias or name, self._type_of(name, info)

    def _type_of(self, name: str, info: FieldInfo) -> str:
        annotation: Any = info.annotation
        if get_origin(annotation) in (typing.Union, types.UnionType):
            kinds = [one for one in get_args(annotation) if one is not type(None)]
            annotation = kinds[0] if len(kinds) == 1 else None
        if annotation is Decimal:
            digits, places = (
                next((value for one in info.metadata if (value := getattr(one, which, None)) is not None), None)
                for which in ("max_digits", "decimal_places")
            )
            if digits is None or places is None or not 1 <= digits <= MOST_DIGITS or not 0 <= places <= digits:
                raise TypeError(
                    f"gold.{self.name}.{name}: state `Field(max_digits=…, decimal_places=…)`, at most {MOST_DIGITS}"
                )
            return f"DECIMAL({digits},{places})"
        try:
            return _TYPES[annotation]
        except (KeyError, TypeError):
            raise TypeError(f"gold.{self.name}.{name}: a column is no {info.annotation}") from None
