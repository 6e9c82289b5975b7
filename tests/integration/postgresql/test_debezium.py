"""The Debezium Engine and our reader on one server, through slots of their own: the same changes in the same order."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from tests.integration.postgresql.day import BEFORE, DAY, RESTART_BEFORE, TABLES, assert_same, told_last
from tests.integration.postgresql.debezium_engine import class_path, started
from tests.integration.postgresql.memory import Captured
from tests.integration.postgresql.server import Server, over_tcp
from tests.scale import SCALE


@pytest.mark.timeout(600)
@pytest.mark.skipif(SCALE <= 1, reason="resolving a Maven project takes a minute; what the engine wrote is recorded")
async def test_debezium_tells_the_same_changes_in_the_same_order(
    server: Server, database: asyncpg.Connection, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A day of everything, with a restart of the server in its middle, and our slot behind until its end."""
    paths = class_path(request.config.cache.mkdir("debezium"))
    await database.execute(BEFORE)
    captured = Captured(server.address, *TABLES)
    await captured.run()
    async with over_tcp(server) as port:
        options = {
            "table.include.list": ",".join(TABLES),
            "snapshot.mode": "initial",
            "errors.retry.delay.initial.ms": "100",
        }
        async with started(paths, tmp_path, port, options) as engine:
            await engine.until(lambda found: len(found) >= len(captured.sent))
            for statement in DAY:
                if statement == RESTART_BEFORE:
                    await database.close()
                    server.stop()
                    await server.start()
                    database = await server.connect()
                await database.execute(statement)
            theirs = await engine.until(lambda found: told_last(found[-1]))
        await captured.run()
    assert_same(captured.sent, theirs)
    await database.close()
