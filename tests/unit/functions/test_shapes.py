"""The API in each shape in which the platform hands requests over: HTTP streams and classic, behind proxies."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote

import azure.functions as func
import pytest
from azure.functions.http import HttpRequestConverter

from local_azure.host.http.paths import read_path
from local_azure.host.trigger_data.http import request as sent
from shared.http import ClassicBridge
from shared.messages import Registry
from tests.unit.asgi import ask

from .conftest import ENVIRONMENT, Running
from .samples import order

KEYS = ["536365", "a/b", "a//b", "/a", "50%", "a b", "é/ü", "a+b?c#d", "日本", "%41/"]
PROXIES = {
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "gopher",
    "Forwarded": "host=evil.example;proto=gopher",
    "Host": "10.0.0.7:8080",
}
NOWHERE = SimpleNamespace(
    function_directory="", function_name="api", invocation_id="1", thread_local_storage=None, trace_context=None,
    retry_context=None,
)  # fmt: skip


async def over_streams(running: Running, raw: str) -> tuple[int, bytes]:
    answer = await ask(running.asgi, "GET", read_path(raw), headers=PROXIES)
    return answer.status, answer.body


async def classic(running: Running, raw: str, method: str = "GET") -> tuple[int, bytes]:
    datum = sent(
        method=method, host="10.0.0.7:8080", path=read_path(raw), query_string="", headers=list(PROXIES.items()),
        query=[], route_values={}, body=b"",
    )  # fmt: skip
    request = HttpRequestConverter.decode(datum, trigger_metadata={})
    answer = await ClassicBridge(running.asgi).answer(request, cast("func.Context", NOWHERE))
    return answer.status_code, answer.get_body()


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("shape", [over_streams, classic])
async def test_a_row_is_found_by_any_key(running: Running, shape: Any, key: str) -> None:
    """With slashes, percent signs, blanks and Unicode, however the platform decodes them."""
    running.views.rows["orders", key] = '{"found":true}'
    path = f"/api/orders/{quote(key, safe='')}"
    if shape is classic and key == "%41/":
        pytest.skip("the host itself hands %2541 over as %41, which nobody can tell from A")
    status, body = await shape(running, path)
    assert (status, b"found" in body) == (200, True), body


@pytest.mark.parametrize("shape", [over_streams, classic])
async def test_bytes_that_are_no_text_are_not_found(running: Running, shape: Any) -> None:
    assert (await shape(running, "/api/orders/%ff"))[0] == 404


@pytest.mark.parametrize("url", ["", "https://api.example.org", "https://api.example.org/shop/", "http://x:8080/a/b"])
async def test_links_are_relative_but_for_the_public_prefix(registry: Registry, url: str) -> None:
    """Whatever a request says of its way."""
    running = Running(registry, {**ENVIRONMENT, "SLUICE_PUBLIC_URL": url})
    prefix = url.rstrip("/").partition("://")[2].partition("/")[2]
    answer = await running.post("/api/orders", order(), PROXIES)
    location = answer.headers["location"]
    assert location.startswith(f"/{prefix}/api/operations/" if prefix else "/api/operations/")
    assert (await running.get(location.removeprefix(f"/{prefix}") if prefix else location)).status == 200
    for path in ("/api/docs", "/api/openapi.json", "/api/nowhere"):
        page = await ask(running.asgi, "GET", path, headers=PROXIES)
        assert b"evil" not in page.body + str(page.headers).encode()
    assert b'"openapi.json"' in (await running.get("/api/docs")).body
