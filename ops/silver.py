"""The rows of silver that lead to a person, table by table, and how they are taken out."""

import json
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any

from functions.composition import Composition
from functions.composition.lake import lake_store
from shared.lake.silver import SilverLine, SilverTable, erase_rows, lines_of
from shared.lake.silver.tables import SUBJECT_KEY
from shared.lake.tables import Layer, TableMissing
from shared.privacy import Person

from .places import Place

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = ["silver_places"]


async def silver_places(composition: Composition, person: Person) -> AsyncIterator[Place]:
    """A place for each table with rows that lead to the person; each row as the event that it was made of."""
    store = composition.get(lake_store)
    for line in lines_of(composition.registry.silvers):
        for table in line.tables:
            if table.subject is None:
                continue
            try:
                opened = await store.open(Layer.SILVER, table.name)
                found = await store.run(Layer.SILVER, table.name, _rows, opened, _condition(table, person))
            except TableMissing:
                continue
            forget = partial(erase_rows, store, [line], keys=(), tokens=person.tokens)
            events = [_event(line, table, row) for row in found]
            text = json.dumps(events, ensure_ascii=False, default=str)
            yield Place(table.name, text, forget)


def _condition(table: SilverTable, person: Person) -> str:
    """In the library's SQL: rows under a key of the person, with the token, or with the value where it is in clear."""
    token_column = dict(table.protected).get(table.subject or "")
    found = [f"{_name(table.subject or '')} = {_text(person.value)}"]
    for token in person.tokens:
        found.append(f"starts_with({SUBJECT_KEY}, {_text(f'{token}~')})")
        found += [f"{_name(token_column)} = {_text(token)}"] if token_column is not None else []
    return " OR ".join(found)


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _rows(table: "DeltaTable", condition: str) -> list[dict[str, Any]]:
    from deltalake import QueryBuilder

    found = QueryBuilder().register("rows", table).execute(f"SELECT * FROM rows WHERE {condition}").read_all()  # noqa: S608
    return list(found.to_struct_array().to_pylist()) if found.num_rows else []


def _event(line: SilverLine, table: SilverTable, row: dict[str, Any]) -> dict[str, Any]:
    """The event of a row, with its columns where their values stood: their encrypted fields are bound to that."""
    data: dict[str, Any] = {}
    for column in table.columns:
        holder = data
        for name in column.path[:-1]:
            holder = holder.setdefault(name, {})
        holder[column.path[-1]] = row.get(column.name)
    tokens = {token: row.get(token) for _, token in table.protected if token is not None}
    found = {"specversion": "1.0", "id": row["event_id"], "type": line.event_type, "time": str(row["event_time"])}
    return {**found, SUBJECT_KEY: row.get(SUBJECT_KEY), **tokens, "data": data}
