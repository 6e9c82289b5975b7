"""What the summary counts is read from where it is kept."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient

from local.azurite import AzuriteEndpoints
from local.demo.stores import BatchLogs, Inbox, Queues, Stores
from local.demo.target import Target


def target(azurite: AzuriteEndpoints, status_url: str = "") -> Target:
    return Target(urls=(), token="", storage=azurite.connection_string, broker="", status_url=status_url, logs=())


@pytest.fixture
async def empty_storage(azurite: AzuriteEndpoints) -> AsyncIterator[AzuriteEndpoints]:
    await _forget_everything(azurite)  # other tests of the session have used it
    yield azurite
    await _forget_everything(azurite)


async def _forget_everything(azurite: AzuriteEndpoints) -> None:
    async with TableServiceClient.from_connection_string(azurite.connection_string) as tables:
        for name in ("state", "deadletters", "readmodels"):
            await tables.delete_table(name)
    async with BlobServiceClient.from_connection_string(azurite.connection_string) as blobs:
        async for container in blobs.list_containers(name_starts_with="claims"):
            await blobs.delete_container(container.name)


async def test_stores_that_the_app_has_not_made_yet_are_empty(empty_storage: AzuriteEndpoints) -> None:
    async with Stores(target(empty_storage)) as stores:
        kept = await stores.look()
        assert (kept.inbox, kept.unpublished, kept.dead_letters, kept.views) == ({}, set(), set(), set())
        assert await stores.claims() == set()


async def test_each_kind_of_row_is_found_among_the_others(empty_storage: AzuriteEndpoints) -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    done = {"status": "done", "lane": "high", "acceptedAt": began, "processedAt": began + timedelta(seconds=2)}
    done |= {"eventType": "order.placed", "key": "1"}
    async with TableServiceClient.from_connection_string(empty_storage.connection_string) as tables:
        state = await tables.create_table_if_not_exists("state")
        await state.create_entity({"PartitionKey": "0001", "RowKey": "inbox:a", **done})
        await state.create_entity({"PartitionKey": "0001", "RowKey": "state:order:1", "value": "{}"})
        await state.create_entity({"PartitionKey": "0001", "RowKey": "outbox:B:000000000001", "messageId": "b"})
        letters = await tables.create_table_if_not_exists("deadletters")
        await letters.create_entity({"PartitionKey": "x", "RowKey": "y", "messageId": "c", "status": "open"})
        await letters.create_entity({"PartitionKey": "x", "RowKey": "z", "messageId": "d", "status": "replayed"})
        views = await tables.create_table_if_not_exists("readmodels")
        await views.create_entity({"PartitionKey": "credit-notes:07", "RowKey": "C1"})
    async with BlobServiceClient.from_connection_string(empty_storage.connection_string) as blobs:
        container = await blobs.create_container("claims")
        await container.upload_blob("a/1", b"{}", metadata={"messageid": "a"})
    async with Stores(target(empty_storage)) as stores:
        kept = await stores.look()
        assert kept.inbox == {"a": Inbox("done", "high", 2.0, "order.placed", "1")}
        assert kept.unpublished == {"b"}
        assert kept.dead_letters == {"c"}
        assert kept.views == {("credit-notes", "C1")}
        assert await stores.claims() == {"a"}


async def test_a_queue_is_empty_when_nothing_waits_in_any_state(azurite: AzuriteEndpoints) -> None:
    nothing = {"active": 0, "locked": 0, "scheduled": 0, "deferred": 0, "deadLetter": 0, "enqueuedTotal": 9}

    async def status(request: web.Request) -> web.Response:
        queues = {
            "d": nothing | {"deadLetter": 8},
            "a": nothing | {"active": 1},
            "b": nothing | {"locked": 2},
            "c": nothing | {"scheduled": 4},
        }
        return web.json_response({"queues": queues})

    app = web.Application()
    app.router.add_get("/status.json", status)
    async with TestServer(app) as server, Stores(target(azurite, f"http://127.0.0.1:{server.port}")) as stores:
        assert await stores.queues() == Queues(waiting=7, dead=8)


def test_batches_are_counted_from_now_on_and_other_lines_are_passed_over(tmp_path: Path) -> None:
    """A data directory keeps the logs of earlier runs."""

    def batch(duplicates: int) -> str:
        return json.dumps({"event": "batch", "lane": "high", "duplicates": duplicates}) + "\n"

    log, late = tmp_path / "host-0.log", tmp_path / "host-1.log"
    log.write_text(batch(5))
    logs = BatchLogs([log, late])
    with log.open("a") as sink:
        sink.write("ready http=1\n" + batch(3) + '{"event": "other", "duplicates": 50}\n{"event": "ba')
    late.write_text(batch(4))
    assert logs.duplicates() == 7
