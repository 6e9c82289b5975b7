"""Clients that others wrote use the graph as they always do: gql, Apollo's, graphql-sse."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from gql import Client, GraphQLRequest
from gql import gql as parsed
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportQueryError
from graphql import print_schema

import integrations
from functions.composition.graphql import graph_engine
from functions.composition.read_models import read_models
from shared.messages import discover
from tests.npm import installed
from tests.unit.functions.conftest import ENVIRONMENT, Running
from tests.unit.memory import MemoryViews

CLIENTS = Path(__file__).parent / "clients"
ORDER = "query Order($key: String!) { orderByKey(key: $key) { id orderId country total units } }"


class RestlessViews(MemoryViews):
    """One of its rows is another each time."""

    reads = 0

    async def get(self, view: str, key: str) -> str | None:
        """A row's JSON."""
        if key != "restless":
            return await super().get(view, key)
        self.reads += 1
        self.sequences[view, key] = self.reads
        return f'{{"orderId":"restless","units":{self.reads}}}'


@pytest.fixture
async def served() -> AsyncIterator[tuple[Running, str]]:
    """The app with memory at its edges on a free port, and its address."""
    environment = {**ENVIRONMENT, "SLUICE_GRAPHQL": "true", "PYTHON_ENABLE_INIT_INDEXING": "1"}
    views = RestlessViews()
    running = Running(discover(integrations), environment, {read_models: views})
    views.rows["orders", "1"] = '{"orderId":"1","country":"France","total":"3.20","units":3}'
    server = uvicorn.Server(uvicorn.Config(running.asgi, host="127.0.0.1", port=0, lifespan="off", log_level="error"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    yield running, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


async def ask(project: Path, address: str, asked: Sequence[tuple[str, list[Any]]]) -> list[dict[str, Any]]:
    """What JavaScript's clients find."""
    node, folder = installed(project, CLIENTS, "graphql-clients")
    command = [node, str(CLIENTS / "clients.mjs"), str(folder), address]
    done = await asyncio.to_thread(
        subprocess.run, command, input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=True
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


async def test_gql_reads_the_schema_and_asks(served: tuple[Running, str]) -> None:
    """It checks the query by the schema that it was told, and raises what the answer says is wrong."""
    running, address = served
    transport = AIOHTTPTransport(url=f"{address}/api/graphql")
    async with Client(transport=transport, fetch_schema_from_transport=True) as session:
        found = await session.execute(GraphQLRequest(ORDER, variable_values={"key": "1"}))
        assert found["orderByKey"] == {
            "id": "b3JkZXJzOjE",
            "orderId": "1",
            "country": "France",
            "total": "3.20",
            "units": 3,
        }
        assert session.client.schema is not None
        assert "type Order implements Node" in print_schema(session.client.schema)
    async with Client(transport=AIOHTTPTransport(url=f"{address}/api/graphql")) as session:
        with pytest.raises(TransportQueryError, match="Cannot query field 'nothing'"):
            await session.execute(parsed("{ nothing }"))
    assert "orderByKey" in print_schema(running.composition.get(graph_engine).schema)


async def test_javascripts_clients(served: tuple[Running, str], project: Path) -> None:
    """Apollo's plainly, by persisted queries and by GET; graphql-sse follows a row and ends a query."""
    _, address = served
    followed = "subscription Follow($keys: [String!]!) { orderChanged(keys: $keys) { orderId units } }"
    key = {"key": "1"}
    plain, first, again, address_only, wrong, query, events = await ask(
        project,
        address,
        [
            ("apollo", ["plain", ORDER, key]),
            ("apollo", ["persisted", ORDER, key]),
            ("apollo", ["persisted", ORDER, key]),
            ("apollo", ["address", ORDER, key]),
            ("apollo", ["plain", "{ nothing }", {}]),
            ("follow", [ORDER, key, 99]),
            ("follow", [followed, {"keys": ["none", "restless"]}, 2]),
        ],
    )
    for one in (plain, first, again, address_only):
        order = one["answer"]["data"]["orderByKey"]
        assert (order["total"], order["units"], order["__typename"]) == ("3.20", 3, "Order")
        assert one["answer"]["error"] is None
    assert plain["answer"]["sent"] == [["POST", 200]]
    assert first["answer"]["sent"] == [["POST", 200], ["POST", 200]]
    assert again["answer"]["sent"] == [["POST", 200]]
    assert address_only["answer"]["sent"] == [["GET", 200]]
    assert "Cannot query field" in json.dumps(wrong)
    assert query.get("answer", {}).get("complete"), query
    assert query["answer"]["found"][0]["data"]["orderByKey"]["orderId"] == "1"
    first_seen, then_seen = (one["data"]["orderChanged"]["units"] for one in events["answer"]["found"])
    assert first_seen < then_seen
