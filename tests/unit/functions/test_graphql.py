"""GraphQL over HTTP: forms of requests and answers, roles and masks, streams and their bounds."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import quote

import pytest
from azure.core.exceptions import ServiceRequestError

from functions.event_stream import EventStream
from shared.authentication import api_key_entry
from shared.messages import Registry
from tests.unit.asgi import Answer, ask, scope_of
from tests.unit.virtual_time import VirtualTime

from .conftest import ENVIRONMENT, Running
from .samples import order
from .test_api_reading import work_off

GRAPH = {**ENVIRONMENT, "SLUICE_GRAPHQL": "true", "PYTHON_ENABLE_INIT_INDEXING": "1"}
ORDER = '{orderByKey(key:"536365"){orderId customerId total _masked}}'


@pytest.fixture
def graph(registry: Registry) -> Running:
    """The app with a graph, and one order."""
    running = Running(registry, GRAPH)
    running.views.rows["orders", "536365"] = json.dumps({"orderId": "536365", "customerId": "17850", "total": "3.20"})
    return running


async def query(app: Running, text: str, *, headers: dict[str, str] | None = None, **more: Any) -> Answer:
    """One query by POST."""
    return await app.post("/api/graphql", {"query": text, **more}, headers)


async def test_it_is_not_there_without_its_setting(running: Running) -> None:
    """Nor described; a gateway knows the addresses all the same."""
    for path in ("/api/graphql", "/api/graphql/stream"):
        answer = await running.post(path, {"query": "{__typename}"})
        assert (answer.status, answer.json["error"]["code"]) == (404, "NOT_FOUND")
    assert "/api/graphql" not in (await running.get("/api/openapi.json")).json["paths"]


async def test_it_is_described_where_it_is(graph: Running) -> None:
    paths = (await graph.get("/api/openapi.json")).json["paths"]
    assert {"/api/graphql", "/api/graphql/stream"} <= paths.keys()


async def test_a_query_by_post_and_by_get(graph: Running) -> None:
    """The same answer, with its cost, in the form that was asked for."""
    posted = await query(graph, ORDER)
    got = await graph.get(f"/api/graphql?query={quote(ORDER)}")
    assert (posted.status, got.status) == (200, 200)
    assert posted.json == got.json
    assert posted.json["data"]["orderByKey"]["total"] == "3.20"
    assert posted.json["extensions"]["cost"] == {"requested": 5, "lists": 0, "maximum": 10_000}
    assert posted.headers["content-type"] == "application/json"
    named = await query(graph, ORDER, headers={"Accept": "application/graphql-response+json, application/json;q=0.9"})
    assert named.headers["content-type"] == "application/graphql-response+json"


async def test_variables_by_get(graph: Running) -> None:
    asked = "query A($key:String!){orderByKey(key:$key){total}} query B{__typename}"
    variables = quote('{"key":"536365"}')
    got = await graph.get(f"/api/graphql?query={quote(asked)}&operationName=A&variables={variables}")
    assert got.json["data"] == {"orderByKey": {"total": "3.20"}}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'{"query":7}', 400),
        (b'{"query":"{__typename}","variables":[]}', 400),
        (b'{"query":"{__typename}","operationName":{}}', 400),
        (b'{"query":"{__typename}","extensions":"x"}', 400),
        (b'{"extensions":{"persistedQuery":{"version":2,"sha256Hash":"x"}}}', 400),
        (b'{"query":"query($k:String!){orderByKey(key:$k){id}}"}', 400),
        (b'{"query":"query($k:String!){orderByKey(key:$k){id}}","variables":{"k":{"deep":[1]}}}', 400),
        (b'{"query":"subscription{orderChanged(keys:[\\"1\\"]){id}}"}', 400),
        (b'{"variables":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        (b'{"query":"{__typename}","variables":{"x":"' + b"y" * 300_000 + b'"}}', 413),
        (b'{"query":"\\ud800"}', 400),
        (b'{"query":"{__typename}","variables":{"x":NaN}}', 400),
    ],
    ids=range(16),
)
async def test_what_is_no_request_is_refused(graph: Running, body: bytes, status: int) -> None:
    """As a GraphQL error, or in the one format."""
    answer = await graph.post("/api/graphql", body)
    assert answer.status == status
    assert {"errors", "error"} & answer.json.keys()
    assert len(answer.body) < 5_000


async def test_only_json_is_taken_and_only_streams_are_streamed(graph: Running) -> None:
    assert (await graph.post("/api/graphql", b"{__typename}", kind="text/plain")).status == 415
    assert (await graph.post("/api/graphql", b"{__typename}", kind=None)).status == 415
    assert (await graph.post("/api/graphql/stream", {"query": "{__typename}"})).status == 406


async def test_roles_and_masks_are_those_of_rest(registry: Registry) -> None:
    """A reader sees null and is told so, an operator the value, a producer and a stranger nothing."""
    keys = {role: secrets.token_urlsafe(32) for role in ("producer", "reader", "operator")}
    entries = ",".join(api_key_entry(role, key, [role]) for role, key in keys.items())
    running = Running(registry, {**GRAPH, "SLUICE_AUTH": "required", "SLUICE_API_KEYS": f"[{entries}]"})
    assert (await running.post("/api/orders", order(), {"x-api-key": keys["producer"]})).status == 202
    await work_off(running)
    seen = {}
    for role in ("reader", "operator"):
        found = (await query(running, ORDER, headers={"x-api-key": keys[role]})).json["data"]["orderByKey"]
        rest = (await running.get("/api/orders/536365", **{"x-api-key": keys[role]})).json
        assert (found["customerId"], found["_masked"]) == (rest["customerId"], rest.get("$masked", []))
        seen[role] = found["customerId"]
    assert seen["reader"] is None
    assert seen["operator"]
    assert (await query(running, ORDER, headers={"x-api-key": keys["producer"]})).status == 403
    assert (await query(running, ORDER)).status == 401
    assert (await running.post("/api/graphql/stream", {"query": ORDER})).status == 401


async def test_a_store_that_is_away_is_told_field_by_field(graph: Running) -> None:
    graph.views.broken = ServiceRequestError("an address of ours")
    answer = await query(graph, ORDER)
    assert (answer.status, answer.json["data"]) == (200, {"orderByKey": None})
    assert answer.json["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
    assert "address of ours" not in answer.body.decode()


async def test_a_query_comes_as_one_event_and_an_end(graph: Running) -> None:
    """As a subscription that ends at once."""
    answer = await graph.post("/api/graphql/stream", {"query": ORDER}, {"Accept": "text/event-stream"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    _, first, last, rest = answer.body.decode().split("\n\n")
    assert first.startswith("event: next\ndata: {")
    assert (last, rest) == ("event: complete\ndata:", "")


async def test_wrong_keys_are_told_and_end_the_stream(graph: Running) -> None:
    """As an answer of the subscription."""
    wrong = {"query": "subscription{orderChanged(keys:[]){id}}"}
    answer = await graph.post("/api/graphql/stream", wrong, {"Accept": "text/event-stream"})
    assert b"Follow 1 to 20 keys" in answer.body
    assert answer.body.endswith(b"event: complete\ndata:\n\n")


class Reader:
    """The other end of a stream: takes pieces, or doesn't, and may leave."""

    def __init__(self, *, reads: int = 10**6) -> None:
        self.pieces: list[bytes] = []
        self.left = asyncio.Event()
        self._reads = reads

    async def send(self, message: Any) -> None:
        """Take a piece, or let it wait for ever."""
        if len(self.pieces) == self._reads:
            await asyncio.Event().wait()
        self.pieces.append(message.get("body", b""))

    async def receive(self) -> Any:
        """Wait until the reader leaves."""
        await self.left.wait()
        return {"type": "http.disconnect"}


class Source:
    """Events every so many seconds, and whether they were closed."""

    def __init__(self, every: float, many: int = 10**6) -> None:
        self.closed = False
        self._every = every
        self._many = many

    async def events(self) -> AsyncGenerator[tuple[str, bytes], None]:
        """Numbered ones."""
        try:
            for number in range(self._many):
                await asyncio.sleep(self._every)
                yield str(number), b"{}"
        finally:
            self.closed = True


def streamed(source: Source, reader: Reader, *, leaves: float | None = None) -> tuple[list[bytes], float]:
    """What the reader got, and how long it took."""
    time = VirtualTime()

    async def run() -> float:
        places = asyncio.Semaphore(1)
        if leaves is not None:
            asyncio.get_running_loop().call_later(leaves, reader.left.set)
        await EventStream(source.events(), places=places)(scope_of("POST", "/"), reader.receive, reader.send)
        assert not places.locked()
        return time.clock()

    seconds = time.run(run())
    time.close()
    assert source.closed
    assert reader.pieces[:2] == [b"", b":\n\n"]
    return reader.pieces[2:], seconds


def test_a_silent_stream_is_kept_alive_and_ends_in_time() -> None:
    """A comment every 15 s; after 4 minutes it ends without saying that all is said."""
    pieces, seconds = streamed(Source(every=10_000), Reader())
    assert set(pieces[:-1]) == {b":\n\n"}
    assert (len(pieces), pieces[-1], seconds) == (17, b"", 240)


def test_events_have_ids_and_an_end() -> None:
    pieces, _ = streamed(Source(every=1, many=2), Reader())
    assert pieces == [
        b"id: 0\nevent: next\ndata: {}\n\n",
        b"id: 1\nevent: next\ndata: {}\n\n",
        b"event: complete\ndata:\n\n",
    ]


def test_a_reader_that_never_reads_is_cut() -> None:
    """Half a minute after it took the last piece."""
    pieces, seconds = streamed(Source(every=1), Reader(reads=4))
    assert (len(pieces), seconds) == (2, 33)


def test_a_reader_that_leaves_ends_what_it_followed() -> None:
    pieces, seconds = streamed(Source(every=1), Reader(), leaves=5.5)
    assert (len(pieces), seconds) == (5, 5.5)


async def test_no_more_follow_than_there_are_places(graph: Running) -> None:
    """The next one is asked to come again."""
    follow = {"query": 'subscription{orderChanged(keys:["none"]){id}}'}
    body, headers = json.dumps(follow).encode(), {"Accept": "text/event-stream", "Content-Type": "application/json"}
    following = [asyncio.create_task(ask(graph.asgi, "POST", "/api/graphql/stream", body, headers)) for _ in range(100)]
    for _ in range(20):
        await asyncio.sleep(0)
    while True:
        answer = await asyncio.wait_for(ask(graph.asgi, "POST", "/api/graphql/stream", body, headers), 5)
        assert answer.status == 503
        assert answer.headers["retry-after"] == "30"
        break
    for one in following:
        one.cancel()
    await asyncio.gather(*following, return_exceptions=True)
