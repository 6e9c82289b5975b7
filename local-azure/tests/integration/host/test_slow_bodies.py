"""A body that hardly comes: the host gives up before any function is called."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from local_azure.host.http import exchange
from local_azure.host.http.exchange import BodyFailed, ConnectedRequest, respond
from local_azure.host.http.kestrel import KestrelServer
from local_azure.host.http.server import HttpServer


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that answers how many bytes came, or why they didn't."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, ConnectedRequest)
        try:
            return await respond(request, 200, body=b"%d" % len(await request.whole()))
        except BodyFailed as failure:
            return await respond(request, 500, [("Connection", "close")], str(failure).encode())

    runner = web.ServerRunner(KestrelServer(handle, request_factory=HttpServer._request, keepalive_timeout=5))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def sent(port: int, length: int, *pieces: bytes) -> bytes:
    """The answer to a body of which only these pieces come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length)
    for piece in pieces:
        await asyncio.sleep(0)
        writer.write(piece)
        await writer.drain()
    answer = await reader.readuntil(b"\r\n\r\n")
    size = int(answer.lower().partition(b"content-length: ")[2].split()[0])
    answer += await reader.readexactly(size)
    writer.close()
    return answer


@pytest.mark.parametrize("size", [10, 300_000])
async def test_a_body_that_hardly_comes_is_given_up(port: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With hardly any patience, since nothing more comes."""
    monkeypatch.setattr(exchange, "GRACE_SECONDS", 0.01)
    answer = await sent(port, size, b"x")
    assert answer.startswith(b"HTTP/1.1 500")
    assert b"BadHttpRequestException: Reading the request body timed out due to data arriving too slowly" in answer


@pytest.mark.parametrize("size", [10, 300_000])
async def test_a_body_that_comes_is_whole(port: int, size: int) -> None:
    """Small or large, in pieces."""
    pieces = (b"x" * (size // 2), b"x" * (size - size // 2))
    assert (await sent(port, size, *pieces)).endswith(b"%d" % size)


def test_what_came_already_buys_time() -> None:
    """240 bytes a second, once the grace is over."""
    assert [exchange.seconds_for(size) for size in (0, 1_200, 2_400)] == [5.0, 5.0, 10.0]
