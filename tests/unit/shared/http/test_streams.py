"""Answers that stream: passed on as they come, ended when they end, and no task left behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http import answer_with
from tests.unit.asgi import Answer, ask, scope_of
from tests.unit.virtual_time import VirtualTime


def left_behind() -> list[str]:
    """Names of the answer tasks that still run."""
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "http-answer" and not task.done()]


def mounted(app: ASGIApp) -> ASGIApp:
    """The platform's side: calls the function with a request, then runs the response it returned."""

    async def platform(scope: Scope, receive: Receive, send: Send) -> None:
        answer = await answer_with(app, Request(scope, receive))
        await answer(scope, receive, send)

    return platform


async def get(app: ASGIApp) -> Answer:
    """Ask the mounted app."""
    return await ask(mounted(app), "GET", "/api/x", headers={"X-Given": "1"})


async def test_a_whole_answer_is_passed_on_with_its_status_and_headers() -> None:
    """Repeated headers too."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = PlainTextResponse("fine", status_code=418, headers={"X-One": "1"})
        response.raw_headers += [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
        await response(scope, receive, send)

    answer = await get(app)
    assert (answer.status, answer.body, answer.complete) == (418, b"fine", True)
    assert answer.headers["x-one"] == "1"
    assert answer.headers.getlist("set-cookie") == ["a=1", "b=2"]
    assert left_behind() == []


async def test_pieces_are_passed_on_as_they_come() -> None:
    """The first before the last was made."""
    go_on = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await go_on.wait()
        yield b"last"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await StreamingResponse(pieces())(scope, receive, send)

    seen: list[bytes] = []

    async def send(message: Message) -> None:
        if message.get("body"):
            seen.append(message["body"])
            go_on.set()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    await mounted(app)(scope_of("GET", "/"), receive, send)
    assert seen == [b"first", b"last"]
    assert left_behind() == []


async def test_the_request_reaches_the_app_with_its_path_headers_and_body() -> None:
    """As the platform gave it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        told = f"{request.method} {request.url.path} {request.headers['x-given']} {(await request.body()).decode()}"
        await PlainTextResponse(told)(scope, receive, send)

    answer = await ask(mounted(app), "POST", "/api/x", b"body", {"X-Given": "1"})
    assert answer.body == b"POST /api/x 1 body"


async def fails_before(scope: Scope, receive: Receive, send: Send) -> None:
    """No answer at all."""
    raise RuntimeError("before")


async def ends_without(scope: Scope, receive: Receive, send: Send) -> None:
    """Neither answer nor error."""


async def fails_after_start(scope: Scope, receive: Receive, send: Send) -> None:
    """A status, then an error."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise RuntimeError("after")


async def fails_in_the_middle(scope: Scope, receive: Receive, send: Send) -> None:
    """Some of the body, then an error."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"some", "more_body": True})
    raise RuntimeError("middle")


@pytest.mark.parametrize("app", [fails_before, ends_without, fails_after_start, fails_in_the_middle])
async def test_a_failing_app_fails_the_answer_and_leaves_no_task(app: ASGIApp) -> None:
    """A cut answer must not look whole."""
    with pytest.raises((RuntimeError, ExceptionGroup)):
        await get(app)
    await asyncio.sleep(0)
    assert left_behind() == []


async def never(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that hangs before its answer."""
    await asyncio.Event().wait()


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    """An app whose answer never ends."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"x" * 1_000, "more_body": True})
        await asyncio.sleep(0)


async def test_a_cancelled_invocation_ends_the_app() -> None:
    """Nothing goes on behind it."""
    running = asyncio.create_task(get(never))
    for _ in range(5):
        await asyncio.sleep(0)
    assert left_behind()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.sleep(0)
    assert left_behind() == []


def test_an_answer_that_nobody_reads_ends_before_the_host_ends_its_call() -> None:
    """The host restarts the process of a call that lasts too long, and fails its neighbours with it."""
    host = Path(__file__).parents[4] / "host.json"
    hours, minutes, seconds = map(int, json.loads(host.read_text())["functionTimeout"].split(":"))
    time = VirtualTime()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(_: Message) -> None:
        await asyncio.sleep(3_600)

    async def story() -> None:
        with pytest.raises(TimeoutError):
            await mounted(endless)(scope_of("GET", "/"), receive, send)
        assert time.clock() < hours * 3_600 + minutes * 60 + seconds
        await asyncio.sleep(0)
        assert left_behind() == []

    time.run(story())
    time.close()


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_a_client_that_leaves_ends_an_endless_answer(after: int) -> None:
    """Before the first byte, after it, or later."""
    sent = 0

    async def send(message: Message) -> None:
        nonlocal sent
        if sent >= after:
            raise OSError("the client has gone")
        sent += 1

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    scope = {**scope_of("GET", "/"), "asgi": {"version": "3.0", "spec_version": "2.4"}}
    with pytest.raises(Exception):  # noqa: B017, PT011 - which one is Starlette's business
        await mounted(endless)(scope, receive, send)
    for _ in range(3):
        await asyncio.sleep(0)
    assert left_behind() == []
