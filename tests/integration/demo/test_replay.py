"""Every message gets a final answer, whatever the API is going through meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from local.demo.invoices import Message
from local.demo.replay import CONCURRENCY, Replay, replay

Handler = Callable[[web.Request], Awaitable[web.Response]]


def messages(count: int) -> list[Message]:
    return [Message(f"id-{n}", str(n), is_credit_note=n % 2 == 1, body=b'{"n":%d}' % n) for n in range(count)]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Handler], Awaitable[str]]]:
    servers: list[TestServer] = []

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.router.add_post("/api/{kind}", handler)
        server = TestServer(app)
        servers.append(server)
        await server.start_server()
        return f"http://127.0.0.1:{server.port}"

    yield start
    for server in servers:
        await server.close()


async def test_orders_and_credit_notes_are_posted_once_each_over_all_hosts(
    serve: Callable[[Handler], Awaitable[str]],
) -> None:
    seen: Counter[tuple[int, str]] = Counter()

    async def accept(request: web.Request) -> web.Response:
        assert request.content_type == "application/json"
        seen[(request.url.port or 0, request.path)] += 1
        return web.json_response({}, status=202)

    urls = [await serve(accept), await serve(accept)]
    answers = Replay()
    await replay(messages(200), urls, "a-token", answers)
    assert len(answers.accepted) == answers.answered == 200
    assert {path for _, path in seen} == {"/api/orders", "/api/credit-notes"}
    by_host = Counter[int]()
    for (port, _), times in seen.items():
        by_host[port] += times
    assert sorted(by_host.values()) == [100, 100]


async def test_no_more_than_the_bound_are_under_way_at_once(serve: Callable[[Handler], Awaitable[str]]) -> None:
    under_way = most = 0
    full = asyncio.Event()

    async def accept(request: web.Request) -> web.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == CONCURRENCY:
            full.set()
        await full.wait()
        under_way -= 1
        return web.json_response({}, status=202)

    await replay(messages(2 * CONCURRENCY), [await serve(accept)], "a-token", Replay())
    assert most == CONCURRENCY


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_api_is_asked_again_when_it_said(serve: Callable[[Handler], Awaitable[str]], status: int) -> None:
    asked: Counter[str] = Counter()

    async def busy_first(request: web.Request) -> web.Response:
        body = await request.text()
        asked[body] += 1
        if asked[body] == 1:
            return web.json_response({}, status=status, headers={"Retry-After": "0"})
        return web.json_response({}, status=202)

    answers = Replay()
    await replay(messages(5), [await serve(busy_first)], "a-token", answers)
    assert len(answers.accepted) == 5
    assert set(asked.values()) == {2}


async def test_an_api_that_is_away_is_waited_for() -> None:
    """As while a host that was killed is being started again."""
    port = unused_port()
    answers = Replay()
    posting = asyncio.create_task(replay(messages(3), [f"http://127.0.0.1:{port}"], "a-token", answers))
    await asyncio.sleep(0.3)

    async def accept(request: web.Request) -> web.Response:
        return web.json_response({}, status=202)

    app = web.Application()
    app.router.add_post("/api/{kind}", accept)
    async with TestServer(app, port=port):
        await asyncio.wait_for(posting, 20)
    assert len(answers.accepted) == 3


async def test_a_refusal_is_told_by_kind_with_the_line_of_its_example(
    serve: Callable[[Handler], Awaitable[str]],
) -> None:
    async def refuse(request: web.Request) -> web.Response:
        errors = [{"field": "data.lines.3.quantity", "message": "line 4: must be above 0", "line": 4}]
        error = {"code": "VALIDATION_ERROR", "message": "wrong", "details": {"errors": errors}}
        return web.json_response({"status": "error", "error": error}, status=400)

    answers = Replay()
    await replay(messages(2), [await serve(refuse)], "a-token", answers)
    assert {refusal.reason for refusal in answers.refused} == {"lines.quantity: must be above 0"}
    assert sorted(refusal.detail for refusal in answers.refused) == ["invoice 0, line 4", "invoice 1, line 4"]


@pytest.mark.parametrize(
    ("status", "text", "reason"),
    [
        (413, '{"error": {"code": "PAYLOAD_TOO_LARGE", "message": "over 100 MB"}}', "PAYLOAD_TOO_LARGE: over 100 MB"),
        (422, "not ours", "422"),
        (400, '{"error": {"details": {"errors": [7]}, "code": "A", "message": "b"}}', "A: b"),
    ],
)
async def test_a_refusal_in_any_form_is_counted(
    serve: Callable[[Handler], Awaitable[str]], status: int, text: str, reason: str
) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(text=text, status=status)

    answers = Replay()
    await replay(messages(1), [await serve(refuse)], "a-token", answers)
    assert [refusal.reason for refusal in answers.refused] == [reason]


async def test_where_nothing_takes_invoices_none_is_refused_for_its_content(
    serve: Callable[[Handler], Awaitable[str]],
) -> None:
    """Without the sample's integration each is a 404: that is counted as a failure of the whole."""

    async def refuse(request: web.Request) -> web.Response:
        return web.Response(text="not ours", status=404)

    answers = Replay()
    await replay(messages(1), [await serve(refuse)], "a-token", answers)
    assert answers.refused == []
    assert [failure.reason for failure in answers.failed] == ["neither accepted nor refused (last: 404)"]


async def test_an_error_of_the_server_is_neither_acceptance_nor_refusal(
    serve: Callable[[Handler], Awaitable[str]],
) -> None:
    async def break_down(request: web.Request) -> web.Response:
        return web.Response(text="broken", status=500)

    answers = Replay()
    await replay(messages(1), [await serve(break_down)], "a-token", answers)
    assert (len(answers.accepted), len(answers.refused), len(answers.failed)) == (0, 0, 1)
