"""HTTP functions of a running host: the classic binding, streams, the host's own endpoints."""

import gzip
import http.client
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from integration.host.conftest import HostStarter, RunningHost, wait_for

CLASSIC = """
import asyncio, json, logging
import azure.functions as func

app = func.FunctionApp()

@app.route("echo/{id:int?}", methods=["GET", "POST"])
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    seen = {"route": dict(req.route_params), "query": dict(req.params), "length": len(req.get_body()), "url": req.url}
    headers = {"X-Seen": req.headers.get("x-a", "")}
    return func.HttpResponse(json.dumps(seen), mimetype="application/json", headers=headers)

@app.route("text")
def text(req: func.HttpRequest) -> str:
    return "plain"

@app.route("nothing")
def nothing(req: func.HttpRequest) -> func.HttpResponse:
    return None

@app.route("boom")
async def boom(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("secret detail")

@app.route("slow")
async def slow(req: func.HttpRequest) -> func.HttpResponse:
    logging.info(json.dumps({"event": "begun"}))
    await asyncio.sleep(1)
    logging.info(json.dumps({"event": "done"}))
    return func.HttpResponse("late")

@app.route("off")
async def off(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("on")
"""

STREAMS = """
import asyncio, json, logging
import azure.functions as func
from azurefunctions.extensions.http.fastapi import JSONResponse, Request, Response, StreamingResponse
from fastapi import HTTPException

app = func.FunctionApp()

@app.route("up", methods=["POST"])
async def up(req: Request) -> Response:
    length = 0
    async for chunk in req.stream():
        length += len(chunk)
    return JSONResponse({"length": length, "invocation": "x-ms-invocation-id" in req.headers})

@app.route("down/{count:int}", methods=["GET", "HEAD"])
async def down(req: Request) -> StreamingResponse:
    async def pieces():
        try:
            for number in range(int(req.path_params["count"])):
                logging.info(json.dumps({"event": "piece", "number": number}))
                yield b"x" * 65536
                await asyncio.sleep(0.01)
        finally:
            logging.info(json.dumps({"event": "closed"}))
    return StreamingResponse(pieces(), media_type="application/octet-stream")

@app.route("breaks", methods=["GET"])
async def breaks(req: Request) -> StreamingResponse:
    async def pieces():
        yield b"begin"
        raise RuntimeError("in the middle")
    return StreamingResponse(pieces())

@app.route("object", methods=["GET"])
async def object(req: Request) -> dict:
    return {"a": 1}

@app.route("missing", methods=["GET"])
async def missing(req: Request) -> dict:
    raise HTTPException(410, "gone")

@app.route("boom", methods=["GET"])
async def boom(req: Request) -> dict:
    raise RuntimeError("secret detail")
"""


def call(
    host: RunningHost, path: str, data: bytes | None = None, method: str | None = None, **headers: str
) -> tuple[int, Any, bytes]:
    request = urllib.request.Request(host.url + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


@pytest.fixture
def classic(start_host: HostStarter) -> RunningHost:
    host_json = {"extensions": {"http": {"customHeaders": {"X-Frame-Options": "DENY"}}}}
    return start_host(CLASSIC, host_json, **{"AzureWebJobs.off.Disabled": "true"})


@pytest.fixture
def streams(start_host: HostStarter) -> RunningHost:
    return start_host(STREAMS, None, PYTHON_ENABLE_INIT_INDEXING="1")


def test_the_classic_binding(classic: RunningHost) -> None:
    """Routes, queries, bodies, answers and failures, and the end of the process, as in Azure."""
    status, headers, body = call(classic, "/api/echo/7?a=1&b=", b"hello", **{"X-A": "b"})
    assert status == 200
    assert json.loads(body) == {
        "route": {"id": "7"},
        "query": {"a": "1"},
        "length": 5,
        "url": f"{classic.url}/api/echo/7?a=1&b=",
    }
    assert (headers["X-Seen"], headers["X-Frame-Options"]) == ("b", "DENY")
    assert call(classic, "/api/text")[2] == b"plain"
    assert call(classic, "/api/nothing")[0] == 500
    assert call(classic, "/api/boom")[::2] == (500, b"")
    assert call(classic, "/api/echo/x")[0] == 404
    assert call(classic, "/api/echo", method="DELETE")[0] == 404
    assert call(classic, "/api/off")[0] == 404
    assert call(classic, "/")[0] == 200
    assert "secret detail" in classic.log


def test_a_chunked_body_does_not_arrive_in_the_classic_binding(classic: RunningHost) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", classic.port, timeout=20)
    connection.request(
        "POST", "/api/echo", iter([b"a", b"b"]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
    )
    assert json.loads(connection.getresponse().read())["length"] == 0


def test_a_compressed_body_is_handed_on_as_it_is(classic: RunningHost) -> None:
    squeezed = gzip.compress(bytes(1_000_000))
    body = call(classic, "/api/echo", squeezed, **{"Content-Encoding": "gzip"})[2]
    assert json.loads(body)["length"] == len(squeezed)


def test_a_body_over_the_limit_is_refused_before_it_is_read(classic: RunningHost) -> None:
    with socket.create_connection(("127.0.0.1", classic.port), timeout=20) as client:
        client.sendall(
            b"POST /api/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 104857601\r\nExpect: 100-continue\r\n\r\n"
        )
        answer = client.recv(1000)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"Connection: close" in answer


def test_the_hosts_own_endpoints(classic: RunningHost) -> None:
    assert json.loads(call(classic, "/admin/host/status")[2])["state"] == "Running"
    functions = {each["name"]: each for each in json.loads(call(classic, "/admin/functions")[2])}
    assert functions["off"]["isDisabled"]
    assert call(classic, "/admin/nonsense")[0] == 404
    assert call(classic, "/runtime/webhooks/eventgrid?functionName=echo", b"[]")[0] == 404


def test_no_web_page_starts_a_function(classic: RunningHost) -> None:
    """Not from another site, and not by a name of its own that was pointed here; functions answer by any name."""
    json_body: dict[str, Any] = {"Content-Type": "application/json"}
    pages: list[dict[str, Any]] = [{"Origin": "https://evil.example"}, {"Host": "evil.example"}]
    for foreign in pages:
        for path in ("/admin/functions/echo", "/runtime/webhooks/eventgrid?functionName=echo"):
            assert call(classic, path, b'{"input": ""}', **json_body, **foreign)[0] == 403
        assert call(classic, "/admin/functions", **foreign)[0] == 403
        assert call(classic, "/api/echo", **foreign)[0] == 200


def test_sigterm_lets_running_invocations_finish(classic: RunningHost) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", classic.port, timeout=20)
    connection.request("GET", "/api/slow")
    wait_for(lambda: classic.records("begun"))
    assert classic.stop() == 0
    assert connection.getresponse().read() == b"late"
    assert classic.records("done")


def test_bodies_stream_in_at_bounded_memory(streams: RunningHost) -> None:
    process = psutil.Process(streams.pid)
    before = process.memory_info().rss
    chunks = (bytes(65536) for _ in range(640))
    connection = http.client.HTTPConnection("127.0.0.1", streams.port, timeout=60)
    connection.request("POST", "/api/up", chunks, encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    assert json.loads(connection.getresponse().read()) == {"length": 640 * 65536, "invocation": True}
    assert process.memory_info().rss - before < 25_000_000


def test_a_body_with_a_length_is_whole_before_the_function_is_called(streams: RunningHost) -> None:
    """The real host reads it into memory, streams or not; a client that leaves half-way calls nothing."""
    head = b"POST /api/up HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
    with socket.create_connection(("127.0.0.1", streams.port), timeout=20) as left:
        left.sendall(head + b"12345")
    with socket.create_connection(("127.0.0.1", streams.port), timeout=20) as client:
        client.sendall(head + b"12345")
        assert call(streams, "/api/object")[0] == 200
        assert "Executing 'Functions.up'" not in streams.log
        client.sendall(b"67890")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
    assert streams.log.count("Executing 'Functions.up'") == 1


def test_answers_stream_out_and_a_client_that_leaves_is_noticed(streams: RunningHost) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", streams.port, timeout=20)
    connection.request("GET", "/api/down/100000")
    response = connection.getresponse()
    assert len(response.read(65536)) == 65536
    assert not streams.records("closed")
    connection.close()
    response.close()
    wait_for(lambda: streams.records("closed"))


def test_a_slow_reader_holds_the_producer_back(streams: RunningHost) -> None:
    with socket.create_connection(("127.0.0.1", streams.port), timeout=20) as client:
        client.sendall(b"GET /api/down/2000 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: len(streams.records("piece")) >= 5)
        seen = -1
        while seen != (now := len(streams.records("piece"))):
            seen = now
            time.sleep(0.5)
        assert seen < 500  # of 2,000 pieces of 64 KiB: what sockets and buffers hold


def test_an_answer_that_breaks_off_breaks_the_connection(streams: RunningHost) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        call(streams, "/api/breaks")


def test_whatever_a_streams_function_returns_is_answered_as_in_azure(streams: RunningHost) -> None:
    assert json.loads(call(streams, "/api/object")[2]) == {"a": 1}
    assert call(streams, "/api/missing")[0] == 410
    status, _, body = call(streams, "/api/boom")
    assert (status, body) == (500, b"Internal Server Error")
    status, headers, body = call(streams, "/api/down/3", method="HEAD")
    assert (status, headers["content-type"], body) == (200, "application/octet-stream", b"")


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the worker of Python 3.13 needs no setting for it")
def test_streams_need_init_indexing(start_host: HostStarter) -> None:
    host = start_host.spawn(start_host.write(STREAMS), PYTHON_ENABLE_INIT_INDEXING="0")
    assert host.wait() == 2
    assert host.log.splitlines()[-1].startswith("error: the app uses HTTP streams")


def test_a_taken_port_stops_the_start_with_one_line(start_host: HostStarter, project: Path) -> None:
    folder = start_host.write(CLASSIC)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        arguments = [sys.executable, "-m", "local_azure.host", "--app", str(folder), "--port", port]
        ended = subprocess.run(arguments, cwd=project, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: port {port} on 127.0.0.1 cannot be used")
    assert ended.stderr.count("\n") == 1


def test_a_wrong_app_stops_the_start_with_one_line(start_host: HostStarter) -> None:
    host = start_host.spawn(start_host.write("import azure.functions\nx = 1 / 0\n"))
    assert host.wait() == 2
    assert (
        host.log
        == "error: function_app.py cannot be imported at function_app.py:2: ZeroDivisionError: division by zero\n"
    )


def test_a_second_interrupt_is_not_needed(classic: RunningHost) -> None:
    assert classic.stop(signal.SIGINT) == 0
