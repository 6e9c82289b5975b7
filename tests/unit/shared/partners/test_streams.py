"""Answers that come piece by piece; FastAPI writes events for us to read."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web
from fastapi.sse import format_sse_event
from hypothesis import given
from hypothesis import strategies as st

from shared.partners import (
    ApiKey,
    EventStream,
    InvalidAnswer,
    Lines,
    Partner,
    PartnerFailed,
    PartnerRefused,
    PartnerUnavailable,
    ServerEvent,
    Timeouts,
)
from shared.partners.streams import TooLong
from shared.resilience import BreakerPolicy, Concurrency
from shared.testing import AnsweringPartner
from shared.testing.partners import partners_of
from tests.unit.memory import MemoryState
from tests.unit.shared.partners.test_auth import Vault, accepting, served
from tests.unit.shared.partners.world import NOW, Label, World, world

GRAMMAR: list[tuple[str, list[ServerEvent]]] = [
    ("data: one\n\n", [ServerEvent("one")]),
    ("data:one\r\n\r\ndata: two\r\rdata: three\n\n", [ServerEvent("one"), ServerEvent("two"), ServerEvent("three")]),
    ("data: YHOO\ndata: +2\ndata: 10\n\n", [ServerEvent("YHOO\n+2\n10")]),
    (
        ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        [ServerEvent("first event", id="1"), ServerEvent("second event"), ServerEvent(" third event")],
    ),
    ("data\n\ndata\ndata\n\ndata:", [ServerEvent(""), ServerEvent("\n")]),
    ("data:test\n\ndata: test\n\n", [ServerEvent("test"), ServerEvent("test")]),
    ("event: add\ndata: 73857293\n\nevent: gone\n\ndata: x\n\n", [ServerEvent("73857293", "add"), ServerEvent("x")]),
    ("id: a\ndata: x\n\nid: b\0\ndata: y\n\n", [ServerEvent("x", id="a"), ServerEvent("y", id="a")]),
    ("\ufeffdata: x\n\n\ufeffdata: y\n\n", [ServerEvent("x")]),
    ("data: x\nunknown: y\n:comment\nretry: soon\n\n", [ServerEvent("x")]),
    ("data: never dispatched\n", []),
    ("id: 7\n\ndata: x\n\n", [ServerEvent("x", id="7")]),
    ("data: é€😀\n\n", [ServerEvent("é€😀")]),
]


def events_of(*pieces: bytes) -> list[ServerEvent]:
    """Of bytes that came so."""
    stream = EventStream()
    return [event for piece in pieces for event in stream.feed(piece)]


@pytest.mark.parametrize(("text", "events"), GRAMMAR, ids=[str(number) for number in range(len(GRAMMAR))])
def test_events_are_read_by_the_grammar(text: str, events: list[ServerEvent]) -> None:
    """Whole, and byte by byte: among them the examples of the standard (WHATWG HTML, 9.2.6)."""
    body = text.encode()
    assert events_of(body) == events
    assert events_of(*(body[at : at + 1] for at in range(len(body)))) == events


@given(st.text(alphabet="da:t\r\n \ufeffxid", max_size=60), st.lists(st.integers(0, 80), max_size=6))
def test_events_are_the_same_however_they_are_cut(text: str, cuts: list[int]) -> None:
    """Also between the two halves of a line's end."""
    body = text.encode()
    bounds = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    assert events_of(*(body[a:b] for a, b in pairwise(bounds))) == events_of(body)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(body: bytes) -> None:
    """What is no text is read with replacement characters."""
    assert all(isinstance(one, ServerEvent) for one in events_of(body))


@given(st.text(min_size=1).filter(lambda one: "\r" not in one and "\ufeff" not in one))
def test_events_of_fastapi_are_read_back(data: str) -> None:
    """Whatever text they hold."""
    body = format_sse_event(data_str=data, event="moved", id="7", retry=1_500)
    stream = EventStream()
    (event,) = stream.feed(body)
    assert event == ServerEvent("\n".join(data.split("\n")), "moved", "7")
    assert (stream.last_id, stream.retry) == ("7", 1.5)


@pytest.mark.parametrize("body", [b"data: " + b"x" * 200, b"data: xxxxxxxxxx\n" * 20, b"x" * 200])
def test_events_are_bounded(body: bytes) -> None:
    """A line without end, and data of many lines."""
    stream = EventStream(largest=100)
    with pytest.raises(TooLong, match="more than 100 bytes"):
        stream.feed(body)


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"a\nb\n"], [b"a", b"b"]),
        ([b"a", b"b\r\n", b"\n\nc"], [b"ab", b"c"]),
        ([b"\n", b""], []),
    ],
)
def test_lines_are_cut_at_newlines(pieces: list[bytes], lines: list[bytes]) -> None:
    """Empty ones are passed over, and the last needs no end."""
    reader = Lines(largest=10)
    assert [one for piece in pieces for one in reader.feed(piece)] + reader.end() == lines


def test_lines_are_bounded() -> None:
    """However they come."""
    reader = Lines(largest=10)
    reader.feed(b"12345")
    with pytest.raises(TooLong):
        reader.feed(b"678901")


Body = Callable[[web.Request, web.StreamResponse], Awaitable[None]]


@asynccontextmanager
async def streaming(kind: str, *bodies: Body, **options: Any) -> AsyncIterator[tuple[World, list[web.Request]]]:
    """A partner that streams these bodies, one for each request, and then answers 204."""
    came: list[web.Request] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        came.append(request)
        if len(came) > len(bodies):
            return web.Response(status=204)
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        await bodies[len(came) - 1](request, response)
        return response

    async with served(answer) as url, world(urls={"carrier": url}, **options) as carrier:
        yield carrier, came


def text(body: str, *, breaks: bool = False) -> Body:
    """A body, after which the connection may break."""

    async def write(request: web.Request, response: web.StreamResponse) -> None:
        await response.write(body.encode())
        if breaks:
            assert request.transport is not None
            await asyncio.sleep(0.01)
            request.transport.abort()

    return write


LINES = "".join(f'{{"id": "{number}"}}\n' for number in range(5))


async def test_lines_come_as_models() -> None:
    """The last without its end; headers are there with the first."""
    async with streaming("application/x-ndjson; charset=utf-8", text(LINES + '{"id": "5"}')) as (carrier, came):
        calls = carrier.calls()
        async with calls.lines("/labels", Label, query={"all": True}) as labels:
            assert [one.id async for one in labels] == [str(number) for number in range(6)]
        assert calls.headers["content-type"].startswith("application/x-ndjson")
        assert came[0].query_string == "all=true"
        assert came[0].headers["Accept"] == "application/x-ndjson"


async def test_a_stream_is_read_no_faster_than_it_is_used() -> None:
    """A partner that has more than the buffers hold waits; who leaves closes the connection."""
    written = 0

    async def endless(_: web.Request, response: web.StreamResponse) -> None:
        nonlocal written
        line = json.dumps({"id": "x" * 1_000}).encode() + b"\n"
        while True:
            await response.write(line * 64)
            written += len(line) * 64

    async with streaming("application/x-ndjson", endless) as (carrier, _):
        async with carrier.calls().lines("/labels", Label) as labels:
            await anext(labels)
            before = -1
            while before != written:
                before = written
                await asyncio.sleep(0.1)
            assert 0 < written < 32 * 1024 * 1024
        session = carrier.partners._clients[carrier.partner, None]._session
        assert session._open.users == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "body", "says"),
    [
        ("application/x-ndjson", '{"id": "1"}\n{"id": \n', "broke its contract: body"),
        ("application/x-ndjson", '{"no": "id"}\n', "broke its contract: id"),
        ("application/x-ndjson", '{"id": "' + "x" * 2_000_000, "a line of more than 1048576 bytes"),
        ("application/json", LINES, "answered 200 with application/json"),
        ("application/x-ndjson; charset=utf-16", LINES, "answered 200 with application/x-ndjson"),
    ],
)
async def test_lines_that_were_not_agreed_break_the_contract(kind: str, body: str, says: str) -> None:
    """By the partner's name."""
    async with streaming(kind, text(body)) as (carrier, _):
        with pytest.raises(InvalidAnswer, match=f"^carrier: labels: .*{says}"):
            async with carrier.calls().lines("/labels", Label) as labels:
                [one async for one in labels]


async def test_a_stream_that_stops_is_a_failure_of_its_partner() -> None:
    """And opens its breaker, as a call does; its place is given back."""

    async def stops(_: web.Request, response: web.StreamResponse) -> None:
        await response.write(b'{"id": "1"}\n')
        await asyncio.sleep(5)

    options: dict[str, Any] = {"timeouts": Timeouts(total=0.3), "breaker": BreakerPolicy(failures=1)}
    async with streaming("application/x-ndjson", stops, concurrency=Concurrency(most=1), **options) as (carrier, _):
        seen = []
        with pytest.raises(PartnerFailed, match=r"carrier: labels: nothing more within 0\.3 s"):
            async with carrier.calls().lines("/labels", Label) as labels:
                seen.extend([one.id async for one in labels])
        with pytest.raises(PartnerUnavailable, match="its breaker is open"):
            async with carrier.calls().lines("/labels", Label):
                pass
        assert carrier.partners._clients[carrier.partner, None]._guard._bulkhead.running == 0


async def test_a_stream_ends_with_the_messages_time() -> None:
    """Which says nothing of the partner."""

    async def slowly(_: web.Request, response: web.StreamResponse) -> None:
        while True:
            await response.write(b'{"id": "1"}\n')
            await asyncio.sleep(0.05)

    options: dict[str, Any] = {"timeouts": Timeouts(total=0.2), "breaker": BreakerPolicy(failures=1)}
    async with streaming("application/x-ndjson", slowly, **options) as (carrier, _):
        soon = asyncio.get_running_loop().time() + 0.5
        with pytest.raises(PartnerFailed, match=r"no time left|nothing more"):
            async with carrier.calls(deadline=soon).lines("/labels", Label) as labels:
                [one async for one in labels]
        async with carrier.calls().events("/labels") as events:
            assert [one async for one in events] == []


async def test_what_else_fails_while_a_stream_is_read_is_not_its_partners() -> None:
    """Another partner's failure opens no breaker here."""
    options: dict[str, Any] = {"breaker": BreakerPolicy(failures=1)}
    async with streaming("application/x-ndjson", text(LINES), text(LINES), **options) as (carrier, _):
        async with AsyncExitStack() as stack:
            stack.enter_context(pytest.raises(PartnerFailed, match=r"^other: "))
            labels = await stack.enter_async_context(carrier.calls().lines("/labels", Label))
            await anext(labels)
            raise PartnerFailed("other", "labels", "answered 500", status=500)
        async with carrier.calls().lines("/labels", Label) as labels:
            assert len([one async for one in labels]) == 5


async def test_a_failure_that_is_swallowed_counts_all_the_same() -> None:
    """The partner failed, whatever the handler makes of it."""
    options: dict[str, Any] = {"breaker": BreakerPolicy(failures=1)}
    async with streaming("application/x-ndjson", text(LINES, breaks=True), **options) as (carrier, _):
        async with carrier.calls().lines("/labels", Label) as labels:
            with pytest.raises(PartnerFailed):
                [one async for one in labels]
        with pytest.raises(PartnerUnavailable, match="its breaker is open"):
            async with carrier.calls().lines("/labels", Label):
                pass


@pytest.mark.parametrize("seconds", [0.2, 0.05])
async def test_a_stream_that_had_less_than_its_time_blames_nobody(seconds: float) -> None:
    """Its message had no more of it, since other calls took theirs."""

    async def late(request: web.Request) -> web.Response:
        await asyncio.sleep(2 * seconds)
        return web.Response(status=204)

    options: dict[str, Any] = {"timeouts": Timeouts(total=5), "breaker": BreakerPolicy(failures=1)}
    async with served(late) as url, world(urls={"carrier": url}, **options) as carrier:
        calls = carrier.calls(deadline=asyncio.get_running_loop().time() + seconds)
        calls._numbers["an earlier call"] = 1
        with pytest.raises(PartnerFailed, match=r"no answer within|nothing more|no time left"):
            async with calls.lines("/labels", Label):
                pass
        async with carrier.calls().events("/labels") as events:
            assert [one async for one in events] == []


async def test_a_refused_stream_is_a_refusal() -> None:
    """With the partner's words; a key that was rotated is met once, as for a call."""
    async with world() as carrier:
        carrier.says("GET", status=403, json={"code": "NO"})
        with pytest.raises(PartnerRefused, match="answered 403") as raised:
            async with carrier.calls().lines("/labels", Label):
                pass
        assert raised.value.body == b'{"code": "NO"}'
    vault = Vault(key="v1")
    vault.rotate("key", "v2")
    vault.cached["key"] = 0
    options: dict[str, Any] = {"given": {"secrets": vault}, "auth": ApiKey(secret="key")}
    async with accepting("v2") as (url, _, came), world(urls={"carrier": url}, **options) as carrier:
        with pytest.raises(InvalidAnswer, match="answered 200 with application/json"):
            async with carrier.calls().lines("/labels", Label):
                pass
        assert came == ["v1", "v2"]


async def test_events_go_on_where_the_connection_broke() -> None:
    """After the time that the partner asked for, with the last id; 204 is the end."""
    first = "retry: 20\nid: 1\ndata: one\n\nid: 2\ndata: two\n\ndata: half of"
    second = "id: 3\ndata: three\n\n"
    async with streaming("text/event-stream", text(first, breaks=True), text(second)) as (carrier, came):
        async with carrier.calls().events("/progress") as events:
            assert [one.data async for one in events] == ["one", "two", "three"]
        assert [one.headers.get("Last-Event-ID") for one in came] == [None, "2"]
        assert came[0].headers["Accept"] == "text/event-stream"
        assert came[0].headers["Idempotency-Key"] == came[1].headers["Idempotency-Key"]


async def test_events_are_followed_where_that_is_wanted() -> None:
    """As browsers do: until 204."""
    bodies = [text(f"retry: 10\nid: {number}\ndata: {number}\n\n") for number in range(3)]
    async with streaming("text/event-stream", *bodies) as (carrier, came):
        async with carrier.calls().events("/progress", follow=True, last_id="x") as events:
            assert [one.data async for one in events] == ["0", "1", "2"]
        assert [one.headers.get("Last-Event-ID") for one in came] == ["x", "0", "1", "2"]


async def test_events_that_never_come_are_left() -> None:
    """So many connections in a row without one, and none that the message has no time for."""
    bodies = [text("retry: 10\n\n", breaks=True)] * 9
    async with streaming("text/event-stream", *bodies, breaker=None) as (carrier, came):
        with pytest.raises(PartnerFailed, match="the connection broke"):
            async with carrier.calls().events("/progress", reconnects=2) as events:
                [one async for one in events]
        assert len(came) == 3
    async with streaming("text/event-stream", *bodies) as (carrier, came):
        soon = asyncio.get_running_loop().time() + 10.005
        with pytest.raises(PartnerFailed, match="the connection broke"):
            async with carrier.calls(deadline=soon).events("/progress") as events:
                [one async for one in events]
        assert len(came) == 1


async def test_a_stream_is_answered_in_a_test() -> None:
    """By text of the test's own."""
    api = AnsweringPartner(Partner("carrier"))
    api.answers("GET", "/labels", text=LINES, headers={"Content-Type": "application/x-ndjson"})
    partners = partners_of([api], MemoryState(), lambda: NOW)
    async with world() as carrier:
        caller = carrier.caller
    async with partners.calls(api.partner, caller, Counter()).lines("/labels", Label) as labels:
        assert [one.id async for one in labels] == ["0", "1", "2", "3", "4"]
