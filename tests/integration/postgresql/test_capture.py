"""Changes of a real PostgreSQL, captured: what is told, in which order, and what happens when something ends."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest

from shared.postgresql import ChangeRecord
from tests.integration.postgresql.memory import Captured
from tests.integration.postgresql.server import Server

Database = asyncpg.Connection


def told(records: list[ChangeRecord]) -> list[tuple[Any, ...]]:
    """Operation, key, before and after of each."""
    return [(one.value["op"], dict(one.key), one.value.get("before"), one.value.get("after")) for one in records]


async def test_a_table_is_read_and_then_its_changes_in_their_order(server: Server, database: Database) -> None:
    """Rows that are there first, then each change once: insertion, update, key change, deletion, truncation."""
    await database.execute(
        "create table customers (id int primary key, name text, credit numeric);"
        "insert into customers values (1, 'Ada', 1.10), (2, null, 'NaN')"
    )
    captured = Captured(server.address, "public.customers")
    assert told(await captured.run()) == [
        ("r", {"id": 1}, None, {"id": 1, "name": "Ada", "credit": "1.10"}),
        ("r", {"id": 2}, None, {"id": 2, "name": None, "credit": "NaN"}),
    ]
    await database.execute("insert into customers values (3, 'Grace', 12345678901234567890.123)")
    await database.execute("update customers set name = 'Bo' where id = 2; update customers set id = 4 where id = 1")
    await database.execute("delete from customers where id = 3")
    await database.execute("truncate customers")
    assert told(await captured.run()) == [
        ("c", {"id": 3}, None, {"id": 3, "name": "Grace", "credit": "12345678901234567890.123"}),
        ("u", {"id": 2}, None, {"id": 2, "name": "Bo", "credit": "NaN"}),
        ("d", {"id": 1}, {"id": 1}, None),
        ("c", {"id": 4}, None, {"id": 4, "name": "Ada", "credit": "1.10"}),
        ("d", {"id": 3}, {"id": 3}, None),
        ("t", {}, None, None),
    ]
    assert await captured.run() == []
    positions = [one.position for one in captured.sent if one.value["op"] != "r"]
    assert positions == sorted(set(positions))
    json.dumps([one.value for one in captured.sent], allow_nan=False)
