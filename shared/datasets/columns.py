"""The columns of a dataset, as a question sees them, from the schema in a Delta table's log."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.classification import Classification
from shared.query import Kind, Property

__all__ = ["CLASSIFICATION", "Column", "ColumnLevel", "column_of", "declared_level", "levels_in"]

CLASSIFICATION = "sluice.classification"
"""In the metadata of a table's field: how sensitive its values are."""
ColumnLevel = Callable[[str, Mapping[str, Any]], Classification]
"""From a column's name and its metadata to how sensitive its values are."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_SCALARS: Mapping[str, tuple[Kind, str]] = {
    "string": (Kind.TEXT, "VARCHAR"),
    "long": (Kind.INTEGER, "BIGINT"),
    "integer": (Kind.INTEGER, "INTEGER"),
    "short": (Kind.INTEGER, "SMALLINT"),
    "byte": (Kind.INTEGER, "TINYINT"),
    "double": (Kind.DOUBLE, "DOUBLE"),
    "float": (Kind.DOUBLE, "FLOAT"),
    "boolean": (Kind.BOOLEAN, "BOOLEAN"),
    "date": (Kind.DAY, "DATE"),
    "timestamp": (Kind.MOMENT, "TIMESTAMPTZ"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column.

    Attributes
    ----------
    kind:
        What it is to a question; what can't be compared, such as lists and bytes, is JSON.
    type:
        The engine's type; empty where the column is taken as it lies in the files.
    level:
        A caller whose access level is lower sees nulls, and can't filter, sort or group by it.
    partition:
        Its values are in the table's log, not in its files.
    """

    name: str
    kind: Kind
    type: str = ""
    level: Classification = Classification.INTERNAL
    nullable: bool = True
    partition: bool = False

    @property
    def shown(self) -> Property:
        """As the options of a query know it."""
        return Property(name=self.name, kind=self.kind)


def declared_level(name: str, metadata: Mapping[str, Any]) -> Classification:
    """The level that the field's own metadata tells; a word that isn't known hides the column from readers."""
    declared = metadata.get(CLASSIFICATION)
    if declared is None:
        return Classification.INTERNAL
    return Classification.__members__.get(str(declared).upper(), Classification.RESTRICTED)


def levels_in(schema: Any, level: ColumnLevel, path: str = "") -> Iterator[tuple[str, Classification]]:
    """How sensitive every column of a schema, or of a type, is: within structs, lists and maps too.

    Parameters
    ----------
    level:
        Of the columns themselves; those within a column say it in their metadata alone.
    """
    if not isinstance(schema, Mapping):
        return
    for one in schema.get("fields", ()):
        name = f"{path}{one['name']}"
        yield name, level(one["name"], one.get("metadata") or {})
        yield from levels_in(one["type"], declared_level, f"{name}.")
    for inner in ("elementType", "keyType", "valueType"):
        yield from levels_in(schema.get(inner), declared_level, path)


def column_of(field: Mapping[str, Any], level: ColumnLevel, *, partition: bool) -> Column | None:
    """A field of the log's schema, as sensitive as the most that is within it; None where no question could name it."""
    name, kind = str(field["name"]), field["type"]
    if not _NAME.fullmatch(name):
        return None
    found, sql = Kind.JSON, ""
    if isinstance(kind, str):
        found, sql = _SCALARS.get(kind, (Kind.JSON, ""))
        if re.fullmatch(r"decimal\(\d{1,2},\d{1,2}\)", kind):
            found, sql = Kind.DECIMAL, kind.upper()
    return Column(
        name=name,
        kind=found,
        type=sql,
        level=max(one for _, one in levels_in({"fields": [field]}, level)),
        nullable=bool(field.get("nullable", True)),
        partition=partition,
    )
