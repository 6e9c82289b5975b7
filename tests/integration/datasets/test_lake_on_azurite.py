"""Datasets of a lake in Blob storage, composed as in production, and read by clients that nobody here wrote."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import uuid4

import polars
import pytest
from aiohttp import web
from arro3.core import Table
from azure.storage.blob.aio import ContainerClient
from deltalake import write_deltalake

import integrations
from shared.azure_clients import Credentials
from shared.environment import Connection
from shared.lake.tables import storage_options
from shared.messages import discover
from tests.npm import installed
from tests.unit.asgi import ask
from tests.unit.functions.conftest import ENVIRONMENT, Running
from tests.unit.functions.test_datasets import SALES

if TYPE_CHECKING:
    from local.azurite import AzuriteEndpoints

PROJECT = Path(__file__).parents[3]
CLIENTS = PROJECT / "tests/integration/queries/clients"


@pytest.fixture
async def lake(azurite: AzuriteEndpoints) -> AsyncIterator[Running]:
    """The app with the table gold/sales of two commits, a partition of which has a name to be encoded."""
    container = f"lake-{uuid4().hex[:8]}"
    async with ContainerClient.from_connection_string(azurite.connection_string, container) as client:
        await client.create_container()
    options = await storage_options(Connection(connection_string=azurite.connection_string), Credentials())()
    import duckdb

    def write() -> None:
        for first, last in ((1, 7), (7, 13)):
            rows = SALES.replace("'France'", "'La France'").replace("range(1, 13)", f"range({first}, {last})")
            table = Table.from_arrow(duckdb.connect().sql(rows))
            address = f"az://{container}/gold/sales"
            write_deltalake(address, table, mode="append", partition_by=["country"], storage_options=options)

    await asyncio.to_thread(write)
    settings = {"Lake": azurite.connection_string, "SLUICE_LAKE_CONTAINER": container, "SLUICE_DATASETS": "true"}
    running = Running(discover(integrations), {**ENVIRONMENT, **settings})
    yield running
    await running.composition.close()


async def test_rows_pages_and_versions_are_read(lake: Running) -> None:
    """As from a folder: copies are fetched once, and an older version's are looked for again."""
    catalogue = (await lake.get("/api/datasets")).json["value"]
    assert [(one["layer"], one["name"], one["version"], one["rows"]) for one in catalogue] == [("gold", "sales", 1, 12)]
    apply = quote("filter(country eq 'La France')/aggregate(orders with sum as s,$count as n)")
    for _ in range(2):
        assert (await lake.get(f"/api/datasets/gold/sales?$apply={apply}")).json["value"] == [{"s": 30, "n": 4}]
    page = await lake.get("/api/datasets/gold/sales?$top=5&asOf=0&$orderby=orders&$select=orders")
    rest = await lake.get(page.json["nextLink"])
    assert [row["orders"] for row in (*page.json["value"], *rest.json["value"])] == [1, 2, 3, 4, 5, 6]
    changed = await lake.get("/api/datasets/gold/sales?changesSince=0&$count=true")
    assert changed.json["totalCount"] == 6
    answer = await lake.get("/api/datasets/gold/sales?format=arrow&$orderby=orders")
    assert polars.read_ipc_stream(io.BytesIO(answer.body))["orders"].to_list() == list(range(1, 13))
    assert (await lake.get("/api/datasets/gold/nothing")).status == 404


async def test_a_client_of_odata_from_npm_reads_a_dataset(lake: Running) -> None:
    """`@odata/client` filters, counts and sorts."""
    node, folder = await asyncio.to_thread(installed, PROJECT, CLIENTS, "odata-clients")
    script = folder / "dataset.cjs"
    script.write_text((Path(__file__).parent / "dataset.cjs").read_text(encoding="utf-8"), encoding="utf-8")

    async def handle(request: web.Request) -> web.Response:
        query = request.query_string.replace(" ", "+")
        answer = await ask(lake.asgi, request.method, request.path, headers=dict(request.headers), query=query)
        headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
        return web.Response(status=answer.status, headers=headers, body=answer.body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}/api/datasets/gold/"
    process = await asyncio.create_subprocess_exec(
        node, str(script), address, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    await runner.cleanup()
    assert process.returncode == 0, err.decode()
    found = json.loads(out)
    assert [row["orders"] for row in found["filtered"]] == [12, 9]
    assert found["count"] == 4
