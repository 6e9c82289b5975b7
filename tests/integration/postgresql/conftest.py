"""A PostgreSQL server for the tests of a module."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from tests.integration.postgresql.server import Server, running


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A running server; skipped where PostgreSQL isn't installed."""
    with running() as found:
        asyncio.run(found.start())
        yield found


@pytest.fixture
async def database(server: Server) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database without tables, publications and slots."""
    connection = await server.connect()
    yield connection
    await connection.close()
    connection = await server.connect()
    await connection.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active")
    for name in await connection.fetch("select pubname from pg_publication"):
        await connection.execute(f'drop publication "{name[0]}"')
    await connection.execute("drop schema public cascade; create schema public")
    await connection.close()
