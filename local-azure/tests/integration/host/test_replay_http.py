"""The recorded HTTP requests, sent again: equal answers, and equal values at the worker's converters."""

import base64
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from . import recorded as records
from .conftest import HostStarter, RunningHost, wait_for

Exchange = tuple[str, dict[str, str], bytes]

_LEFT_OUT = ("date", "content-length", "transfer-encoding")
_NUMBERS = re.compile(r"(?<=:)\d{4,5}(?=/)|(?<=\"processUptime\":)\d+")
_OWN_ID = re.compile(r'(?<="id":")[^"]*(?=","state")')

STREAMS = """
import json, logging
import azure.functions as func
from azurefunctions.extensions.http.fastapi import JSONResponse, Request, Response

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.route("{*path}")
async def api(req: Request) -> Response:
    if req.query_params.get("kind") == "fail":
        raise ValueError("boom")
    body = await req.body()
    return JSONResponse({
        "params": dict(req.path_params), "headers": dict(req.headers), "client": req.client.host, "url": str(req.url),
        "path": req.scope["path"], "raw_path": req.scope["raw_path"].decode(), "length": len(body),
    })
"""


def send(
    port: int, method: str, path: str, headers: list[str], body: bytes | None, *, chunked: bool = False
) -> Exchange:
    """One request as it is, and its status, headers and body; the status is NO ANSWER where the connection ends."""
    lines = [f"{method} {path} HTTP/1.1"]
    if not any(line.lower().startswith("host:") for line in headers):
        lines.append(f"Host: 127.0.0.1:{port}")
    lines += headers
    if chunked:
        lines.append("Transfer-Encoding: chunked")
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body or b""), body or b"")
    elif body is not None:
        lines.append(f"Content-Length: {len(body)}")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        return read(client, method)


def read(client: socket.socket, method: str) -> Exchange:
    received = b""
    try:
        while b"\r\n\r\n" not in received:
            if not (chunk := client.recv(65536)):
                return "NO ANSWER", {}, b""
            received += chunk
    except ConnectionResetError:
        return "NO ANSWER", {}, b""
    head, _, rest = received.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = 0 if method == "HEAD" else int(headers.get("content-length", "0"))
    while len(rest) < length:
        rest += client.recv(65536)
    return status.partition(" ")[2], headers, rest


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def host(start_host: HostStarter, azurite: Any, keys: Path) -> RunningHost:
    bus = "Endpoint=sb://localhost:1;SharedAccessKeyName=x;SharedAccessKey=x;UseDevelopmentEmulator=true"
    settings = {
        "ServiceBus": bus,
        "EventHubs": bus,
        "AzureWebJobsStorage": azurite.connection_string,
        "AzureFunctionsWebHost__hostid": "replay-http",
    }
    return start_host.again(records.FOLDER / "app", "--keys", str(keys), **settings)


def answers(host: RunningHost, key: str) -> list[str]:
    """Every difference between the recorded answers and the host's."""
    found: list[str] = []
    for each in records.recorded("http-answers"):
        request, expected = each["request"], each["answer"]
        body = request["body"].encode() if "body" in request else None
        headers = [line.replace("KEY", key) for line in request["headers"]]
        status, given, content = send(host.port, request["method"], request["path"].replace("KEY", key), headers, body)
        where = f"{request['method']} {request['path']} {request.get('body', '')}"
        kept = {name: value for name, value in given.items() if name not in _LEFT_OUT}
        if status != "NO ANSWER" or expected["status"] != status:
            found += records.differences(f"{where}: status", expected["status"], status)
            found += records.differences(f"{where}: headers", expected["headers"], kept)
        wanted, mine = bodies(expected, content)
        if "/api/items/" in request["path"] and wanted and mine:  # the order of names in a map is nobody's
            wanted, mine = json.loads(wanted), json.loads(mine)
        found += records.differences(f"{where}: body", wanted, mine)
    return found


def bodies(expected: dict[str, Any], content: bytes) -> tuple[Any, Any]:
    """Both bodies without ports and ids; a recorded one that was cut is compared up to there."""
    if "body_hex" in expected:
        return expected["body_hex"], content.hex()
    wanted = expected["body"].replace("HOST_ID", "ID")
    text = _OWN_ID.sub("ID", _NUMBERS.sub("#", content.decode().replace("localhost:", "127.0.0.1:")))
    wanted = _NUMBERS.sub("#", wanted)
    if '"script_root_path_href"' in wanted:
        text = text[: len(wanted)]
    return wanted, text


def test_the_recorded_requests_are_answered_as_recorded(host: RunningHost, keys: Path) -> None:
    found = answers(host, json.loads(keys.read_text())["master"])
    assert records.unexplained(found, "unknown method").splitlines() == []


def of_http(host: RunningHost) -> list[dict[str, Any]]:
    """What HTTP functions were handed, in order."""
    return [each for each in records.handed_over(host.log) if each["function"].startswith("http_")]


def test_http_functions_are_handed_what_was_recorded(host: RunningHost) -> None:
    found: list[str] = []
    for number, record in enumerate(records.recorded("http")):
        request = records.input_of(record)["http"]
        if record["function"] == "http_ctx":
            continue
        sent = {name: value for name, value in request["headers"].items()
                if name not in ("content-length", "transfer-encoding")}  # fmt: skip
        spelled = json.loads(record["trigger_metadata"]["Headers"]["json_text"])
        values = {name: sent[name.lower()] for name in spelled if name.lower() in sent}
        headers = [f"{name}: {part}" for name, value in values.items()
                   for part in (value.split(",") if name == "X-Multi" else [value])]  # fmt: skip
        body = base64.b64decode(request["body"]["bytes_base64"]) if "body" in request else None
        chunked = "transfer-encoding" in request["headers"]
        if body is None and (chunked or "content-length" in request["headers"]):
            body = b'{"chunked":true}' if chunked else b""  # a chunked body reaches nobody
        path = request["url"].removeprefix("http://host.example:7071")
        before = len(of_http(host))
        send(host.port, request["method"], path, headers, body, chunked=chunked)
        (handed,) = wait_for(lambda before=before: of_http(host)[before:])  # type: ignore[misc]
        expected = {"body": {"bytes_base64": ""}, "params": {}, "query": {}, **request}
        expected.pop("identities")
        where = f"http[{number}]"
        found += records.differences(where, records.comparable(expected), records.comparable(handed["input"]["http"]))
        found += records.differences(
            f"{where}.metadata", records.comparable(record["trigger_metadata"]), records.comparable(handed["metadata"])
        )
    assert records.unexplained(found).splitlines() == []


def test_a_trace_comes_with_application_insights_alone(start_host: HostStarter, azurite: Any) -> None:
    bus = "Endpoint=sb://localhost:1;SharedAccessKeyName=x;SharedAccessKey=x;UseDevelopmentEmulator=true"
    host = start_host.again(
        records.FOLDER / "app", ServiceBus=bus, EventHubs=bus, AzureWebJobsStorage=azurite.connection_string,
        AzureFunctionsWebHost__hostid="replay-trace", APPLICATIONINSIGHTS_CONNECTION_STRING="InstrumentationKey=x",
    )  # fmt: skip
    found: list[str] = []
    for number, record in enumerate(each for each in records.recorded("http") if each["function"] == "http_ctx"):
        request = records.input_of(record)["http"]
        headers = [f"{name}: {value}" for name, value in request["headers"].items() if name != "host"]
        send(host.port, "GET", "/api/ctx", headers, None)
        contexts = host.records("called")
        assert len([each for each in contexts if each["function"] == "http_ctx"]) == number + 1
        last = [each for each in contexts if each["function"] == "http_ctx"][-1]
        found += records.context_differences(f"http_ctx[{number}]", record, last)
    assert records.unexplained(found).splitlines() == []


def test_streams_are_forwarded_as_the_real_host_forwards_them(start_host: HostStarter) -> None:
    host = start_host(STREAMS, None, PYTHON_ENABLE_INIT_INDEXING="1")
    sent: list[tuple[str, str, list[str], bytes | None, bool]] = [
        ("GET", "/api/a%2Fb/%C3%A9/x?q=1&q=2&e=", [], None, False),
        ("POST", "/api/c", ["Content-Type: application/json", "X-Multi: one", "X-Multi: two", "X-Empty:",
                            "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Host: evil", "Forwarded: host=evil"],
         b'{"a":1}', False),
        ("POST", "/api/c", ["Content-Type: application/x-www-form-urlencoded"], b"a=1", True),
        ("GET", "/api/c?kind=fail", [], None, False),
    ]  # fmt: skip
    seen: list[dict[str, Any]] = []
    for (method, path, headers, body, chunked), record in zip(sent, records.recorded("http-streams"), strict=True):
        status, given, content = send(host.port, method, path, headers, body, chunked=chunked)
        assert given["server"] == "uvicorn"
        if "kind=fail" in path:
            assert status == "500 Internal Server Error"
            continue
        assert json.loads(content)["params"] == records.input_of(record)["http"]["params"]
        seen.append(json.loads(content))
    first, second, third = seen
    assert first["raw_path"] == "/api/a%252Fb/%C3%A9/x"
    assert first["path"] == "/api/a%2Fb/é/x"
    assert first["headers"]["host"] != f"127.0.0.1:{host.port}"
    assert first["url"].startswith(f"http://{first['headers']['host']}/api/a%2Fb/")
    forwarded = {name: second["headers"].get(f"x-forwarded-{name}") for name in ("for", "host", "proto")}
    assert forwarded == {"for": "127.0.0.1", "host": f"127.0.0.1:{host.port}", "proto": "http"}
    assert (second["headers"]["x-multi"], second["headers"]["x-empty"]) == ("one, two", "")
    assert (second["client"], second["length"], third["length"]) == ("127.0.0.1", 7, 3)
