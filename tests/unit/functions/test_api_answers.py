"""Every answer: one format for what goes wrong, headers for browsers, and the id to send a message again with."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import azure.functions as func
import pytest
from azure.core.exceptions import ServiceRequestError

from functions.composition.authentication import authenticator
from shared.authentication import Caller, Role
from shared.http import ClassicBridge, intake
from shared.sending import NotSent
from shared.state import bucket_of
from tests.unit.asgi import Answer, ask

from .conftest import ENVIRONMENT, Running
from .samples import envelope, line, order

FORM = {"messageId", "status", "timestamp", "error", "retryable", "retryAfter"}
SENT: list[tuple[str, str, dict[str, str]]] = [
    ("GET", "/api/docs", {}),
    ("GET", "/api/openapi.json", {}),
    ("GET", "/api/health", {}),
    ("GET", "/api/health/ready", {}),
    ("GET", "/api/orders/1", {}),
    ("GET", "/api/orders", {}),
    ("GET", "/api/nowhere", {}),
    ("POST", "/api/orders", {"Content-Type": "text/plain"}),
    ("BREW", "/api/orders", {}),
]


def browser_headers(answer: Answer) -> tuple[str, str, bool]:
    """Type sniffing, caching, and whether scripts from elsewhere are refused."""
    policy = answer.headers["content-security-policy"]
    return answer.headers["x-content-type-options"], answer.headers["cache-control"], "default-src 'none'" in policy


@pytest.mark.parametrize(("method", "path", "headers"), SENT)
async def test_every_answer_says_how_a_browser_may_treat_it(
    running: Running, method: str, path: str, headers: dict[str, str]
) -> None:
    """No guessed types, nothing kept, nothing loaded; found, refused and not there alike."""
    answer = await ask(running.asgi, method, path, headers=headers)
    assert browser_headers(answer) == ("nosniff", "no-store", True)


async def test_a_stranger_and_a_failure_get_the_headers_too(running: Running) -> None:
    """What is answered before and beside the routes."""

    async def nobody(_: Any) -> Any:
        raise RuntimeError("broken")

    stranger = Running(running.composition.registry, _with_keys())
    broken = Running(running.composition.registry, _with_keys(), {authenticator: SimpleNamespace(caller=nobody)})
    for app, status in ((stranger, 401), (broken, 500)):
        answer = await app.get("/api/orders/1")
        assert (answer.status, *browser_headers(answer)) == (status, "nosniff", "no-store", True)
        assert answer.json.keys() == FORM


def _with_keys() -> dict[str, str]:
    settings = {name: value for name, value in ENVIRONMENT.items() if name != "SLUICE_AUTH"}
    return {**settings, "SLUICE_API_KEYS": "[]"}


async def test_the_documentation_loads_nothing(running: Running) -> None:
    """No script, no picture, no style from anywhere; what is shown of the document is escaped."""
    page = (await running.get("/api/docs")).body.decode()
    assert re.findall(r"<script|<img|<iframe|<link|@import|url\(|https?://[^<\s]*\.(?:js|css)|\son\w+=", page) == []
    for path in ("/api/orders", "/api/credit-notes/{key}", "/api/operations/{operationId}"):
        assert f"<code>{path}</code>" in page


@pytest.fixture
def masking(running: Running) -> Running:
    """The app as a reader sees it: rows are parsed and masked."""

    async def reader(_: Any) -> Caller:
        return Caller(client="reader", roles=frozenset({Role.READER}))

    return Running(running.composition.registry, _with_keys(), {authenticator: SimpleNamespace(caller=reader)})


@pytest.mark.parametrize("row", ["{", "", '{"total":'])
async def test_a_row_that_is_no_json_is_answered_in_the_error_format(masking: Running, row: str) -> None:
    """The app's fault, and told so."""
    masking.views.rows["orders", "1"] = row
    expect_internal_error(await masking.get("/api/orders/1"))


@pytest.mark.parametrize("failure", [AttributeError("get"), KeyError("status"), RecursionError(), AssertionError()])
async def test_what_nobody_expected_is_answered_in_the_error_format(running: Running, failure: Exception) -> None:
    """The library would answer in plain text."""
    running.views.broken = failure
    expect_internal_error(await running.get("/api/orders/1"))


async def test_an_inbox_row_without_a_status_is_answered_in_the_error_format(running: Running) -> None:
    """Whatever wrote it."""
    answer = await running.post("/api/orders", order())
    running.state.put(bucket_of("536365", 4), f"inbox:{answer.json['messageId']}", {})
    expect_internal_error(await running.get(answer.headers["location"]))


def expect_internal_error(answer: Answer) -> None:
    """In the format, telling nothing."""
    assert (answer.status, answer.headers["content-type"]) == (500, "application/json")
    assert answer.json.keys() == FORM
    assert answer.json["error"] == {"code": "INTERNAL_ERROR", "message": "Something went wrong here.", "details": {}}
    assert answer.headers["x-correlation-id"]


async def test_over_the_classic_bridge_an_unexpected_exception_has_the_format_too(masking: Running) -> None:
    """The second shape in which requests come."""
    masking.views.rows["orders", "1"] = "{"
    request = func.HttpRequest(method="GET", url="http://localhost/api/orders/1", body=b"")
    nowhere = SimpleNamespace(
        function_directory="", function_name="api", invocation_id="1", thread_local_storage=None, trace_context=None,
        retry_context=None,
    )  # fmt: skip
    answer = await ClassicBridge(masking.asgi).answer(request, cast("func.Context", nowhere))
    assert (answer.status_code, answer.mimetype) == (500, "application/json")


@pytest.mark.parametrize("failure", [NotSent("no"), TimeoutError(), ServiceRequestError("x")])
@pytest.mark.parametrize("body", [order(), envelope()])
async def test_what_is_not_kept_is_answered_with_its_message_id(
    running: Running, failure: Exception, body: dict[str, Any]
) -> None:
    """Also one that was made here: sent again under another, the order might be done twice."""
    running.lanes.failures = [failure]
    refused = await running.post("/api/orders", body)
    assert refused.status == 503
    message_id = str(UUID(refused.json["messageId"]))
    assert message_id == body.get("messageId", message_id)
    again = await running.post("/api/orders", body, {"Idempotency-Key": message_id})
    assert (again.status, again.json["messageId"]) == (202, message_id)


async def test_a_claim_that_is_not_taken_in_time_is_not_waited_for(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like every other call: the sender is told to try again."""
    monkeypatch.setattr(intake, "CLAIM_SECONDS", 0.0)

    async def hang(*_: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(running.claims, "put", hang)
    answer = await running.post("/api/orders", order(lines=[line()] * 500))
    assert (answer.status, answer.json["error"]["code"]) == (503, "UNAVAILABLE")
    assert answer.json["messageId"]
    assert running.lanes.sent == []
