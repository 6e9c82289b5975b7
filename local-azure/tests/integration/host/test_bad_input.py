"""Nothing that comes in, or that a function gives out, brings the host down: it stays bounded, and answers others."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from itertools import islice, product
from pathlib import Path
from string import ascii_letters
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from integration.broker.process import EmulatorProcess

from .conftest import HostStarter, RunningHost, wait_for

CLASSIC = """
import json, logging, typing
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)

@app.route("headers")
def headers(req: func.HttpRequest) -> func.HttpResponse:
    count, size = int(req.params["count"]), int(req.params["size"])
    return func.HttpResponse("x", headers={f"X-{n}": "v" * size for n in range(count)})

@app.route("open", auth_level=func.AuthLevel.ANONYMOUS)
def open(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("ok")

@app.service_bus_queue_trigger(
    arg_name="msgs", queue_name="work", connection="ServiceBus", data_type="binary", cardinality="many"
)
async def many(msgs: typing.List[func.ServiceBusMessage]) -> None:
    logging.info(json.dumps({"event": "many", "properties": [len(m.application_properties) for m in msgs]}))

@app.service_bus_queue_trigger(
    arg_name="msgs", queue_name="more", connection="ServiceBus", cardinality="many"
)
async def texts(msgs: typing.List[func.ServiceBusMessage]) -> None:
    logging.info(json.dumps({"event": "texts", "bodies": [m.get_body().decode() for m in msgs]}))
"""

STREAMS = """
import asyncio
import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request, Response, StreamingResponse

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.route("open", methods=["GET"])
async def open(req: Request) -> Response:
    return Response("ok")

@app.route("slow", methods=["GET"])
async def slow(req: Request) -> StreamingResponse:
    async def pieces():
        yield b"begun"
        await asyncio.sleep(600)
    return StreamingResponse(pieces())
"""


def get(host: RunningHost, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=20)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def first_line(host: RunningHost, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", host.port), timeout=20) as client:
        client.sendall(request)
        return client.recv(4096).partition(b"\r\n")[0]


@pytest.fixture
def classic(start_host: HostStarter, broker: EmulatorProcess) -> RunningHost:
    return start_host(CLASSIC, None, ServiceBus=broker.connection_string)


def test_megabytes_of_headers_go_out_and_the_host_goes_on(classic: RunningHost) -> None:
    with socket.create_connection(("127.0.0.1", classic.port), timeout=20) as client:
        client.sendall(b"GET /api/headers?count=4000&size=1000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = 0
        while chunk := client.recv(1 << 20):
            received += len(chunk)
    assert received > 4_000_000
    assert get(classic, "/api/open") == (200, b"ok")


def test_paths_and_headers_have_bounds(classic: RunningHost) -> None:
    """A long path, a long header, too many of them, bytes that are no ASCII, no host, no method that anybody has."""
    cases = {
        b"GET /api/" + b"a" * 65_536 + b" HTTP/1.1\r\nHost: x\r\n\r\n": b"HTTP/1.1 414",
        b"GET /api/open HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 40_960 + b"\r\n\r\n": b"HTTP/1.1 431",
        b"GET /api/open HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 150 + b"\r\n": b"HTTP/1.1 431",
        b"GET /api/open HTTP/1.1\r\nHost: x\r\nX-B: \xc3\xa9\r\n\r\n": b"HTTP/1.1 400",
        b"GET /api/open HTTP/1.1\r\n\r\n": b"HTTP/1.1 400",
        b"GET /api/%00 HTTP/1.1\r\nHost: x\r\n\r\n": b"HTTP/1.1 400",
        b"GET /api/x/../open HTTP/1.1\r\nHost: x\r\n\r\n": b"HTTP/1.1 200",
        b"GET /api/x/%2e%2e/%2E%2E/%2e%2e/etc HTTP/1.1\r\nHost: x\r\n\r\n": b"HTTP/1.1 404",
        b"GET /api//open HTTP/1.1\r\nHost: x\r\n\r\n": b"HTTP/1.1 404",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n": b"HTTP/1.",
    }
    for request, answer in cases.items():
        line = first_line(classic, request)
        assert line.startswith(answer), (request[:60], line)
    assert get(classic, "/api/open") == (200, b"ok")


def test_ten_thousand_properties_arrive(classic: RunningHost, broker: EmulatorProcess) -> None:
    names = map("".join, product(ascii_letters, repeat=3))
    many: dict[str | bytes, Any] = dict.fromkeys(islice(names, 10_000))  # 60 KB of the 64 that a message may have

    async def send() -> None:
        async with (
            ServiceBusClient.from_connection_string(broker.connection_string) as client,
            client.get_queue_sender("work") as sender,
        ):
            await sender.send_messages(ServiceBusMessage(b"x", application_properties=many))

    asyncio.run(send())
    wait_for(lambda: [10_000] in [each["properties"] for each in classic.records("many")])
    assert get(classic, "/api/open") == (200, b"ok")


def test_one_text_that_is_no_json_fails_a_batch_without_data_type(
    classic: RunningHost, broker: EmulatorProcess
) -> None:
    """Before the function is called; the broker gives the innocent up with it."""

    async def send(*bodies: bytes) -> None:
        async with (
            ServiceBusClient.from_connection_string(broker.connection_string) as client,
            client.get_queue_sender("more") as sender,
        ):
            await sender.send_messages([ServiceBusMessage(body) for body in bodies])

    deep = b"[" * 100_000
    asyncio.run(send(b"not json", b"", deep))
    wait_for(lambda: classic.log.count("Executed 'Functions.texts' (Failed") >= 3)
    asyncio.run(send(b'{"a":1}'))
    wait_for(lambda: classic.records("texts"))
    assert [each["bodies"] for each in classic.records("texts")] == [['{"a": 1}']]
    assert get(classic, "/api/open") == (200, b"ok")


def test_a_thousand_open_streams(start_host: HostStarter) -> None:
    host = start_host(STREAMS, None, PYTHON_ENABLE_INIT_INDEXING="1")
    process = psutil.Process(host.pid)
    before = process.memory_info().rss
    clients = []
    try:
        for _ in range(1_000):
            client = socket.create_connection(("127.0.0.1", host.port), timeout=30)
            client.sendall(b"GET /api/slow HTTP/1.1\r\nHost: x\r\n\r\n")
            clients.append(client)
        for client in clients:
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        assert get(host, "/api/open") == (200, b"ok")
        assert process.memory_info().rss - before < 200_000_000
    finally:
        for client in clients:
            client.close()
    assert get(host, "/api/open") == (200, b"ok")


def test_a_forged_invocation_id_is_refused_or_hangs(start_host: HostStarter) -> None:
    settings = {"PYTHON_ENABLE_INIT_INDEXING": "1"}
    host = start_host(STREAMS, None, **settings)
    assert get(host, "/api/open", **{"x-ms-invocation-id": "forged"})[0] == 400
    hanging = start_host(STREAMS, {"functionTimeout": "00:00:02"}, "--hang-forged-ids", **settings)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        get(hanging, "/api/open", **{"X-MS-Invocation-Id": "forged"})
    assert get(hanging, "/api/open") == (200, b"ok")


def test_keys_are_asked_for_where_azure_asks(start_host: HostStarter, broker: EmulatorProcess, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    host = start_host(CLASSIC, None, "--keys", str(file), ServiceBus=broker.connection_string)
    keys: dict[str, Any] = json.loads(file.read_text())
    assert file.stat().st_mode & 0o077 == 0
    assert f"key default={keys['default']}" in host.log
    guarded = "/api/headers?count=1&size=1"
    assert get(host, guarded)[0] == 401
    assert get(host, guarded, **{"x-functions-key": "wrong"})[0] == 401
    assert get(host, guarded, **{"x-functions-key": keys["default"]})[0] == 200
    assert get(host, f"{guarded}&code={keys['master']}")[0] == 200
    assert get(host, "/api/open")[0] == 200
    assert get(host, "/admin/host/status", **{"x-functions-key": keys["default"]})[0] == 401
    assert get(host, "/admin/host/status", **{"x-functions-key": keys["master"]})[0] == 200
    assert get(host, "/admin/host/ping")[0] == 200
    assert get(host, "/runtime/webhooks/eventgrid?functionName=x")[0] == 401
    assert (
        get(host, f"/runtime/webhooks/eventgrid?functionName=x&code={keys['system']['eventgrid_extension']}")[0] == 404
    )
