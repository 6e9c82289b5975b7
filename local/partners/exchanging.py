"""A recorder between the app and a partner, a partner made of what was recorded, and today's answers beside it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from local.partners.drift import drift
from shared.testing.recordings import Exchange

__all__ = ["compared", "recorder", "replayer"]

_MOST = 32 * 1024 * 1024
_HOP_BY_HOP = frozenset(
    {
        *("connection", "host", "content-length", "content-encoding", "transfer-encoding", "keep-alive", "te"),
        *("trailer", "upgrade", "proxy-authorization", "proxy-authenticate", "accept-encoding"),
    }
)
_READS = frozenset({"GET", "HEAD"})
_SECONDS = 60.0


@asynccontextmanager
async def recorder(base_url: str, keep: Callable[[Exchange], None], *, port: int = 0) -> AsyncIterator[str]:
    """Hands every request on to a partner until the block ends, and what was exchanged to `keep`; yields its URL.

    Proofs go through, and redirects aren't followed: the app sees what the partner answers.
    """
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def answer(request: web.Request) -> web.Response:
            body = await request.read()
            began = time.monotonic()
            headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP]
            try:
                async with session.request(
                    request.method,
                    base_url.rstrip("/") + request.raw_path,
                    headers=headers,
                    data=body or None,
                    allow_redirects=False,
                ) as found:
                    content = await found.content.read(_MOST + 1)
                    more = b"" if found.content.at_eof() else await found.content.read(1)
                    answered = {name: value for name, value in found.headers.items() if name.lower() not in _HOP_BY_HOP}
                    status = found.status
            except (aiohttp.ClientError, TimeoutError) as error:
                return web.Response(status=502, text=f"the recorder got no answer: {type(error).__name__}")
            if len(content) > _MOST or more:
                return web.Response(status=502, text="the recorder takes answers of 32 MiB at most")
            keep(
                Exchange(
                    method=request.method,
                    path=request.path,
                    query=dict(request.query),
                    request=_content(body),
                    status=status,
                    headers={name.lower(): value for name, value in answered.items()},
                    answer=_content(content),
                    seconds=round(time.monotonic() - began, 3),
                )
            )
            return web.Response(status=status, headers=answered, body=content)

        async with _listening(answer, port) as url:
            yield url


@asynccontextmanager
async def replayer(exchanges: Sequence[Exchange], *, port: int = 0) -> AsyncIterator[str]:
    """A partner that answers as was recorded, in order for each request and then the last again; yields its URL."""
    replayed = Replayed(exchanges)

    async def answer(request: web.Request) -> web.Response:
        found = replayed.next(request.method, request.path, dict(request.query))
        if found is None:
            return web.json_response({"error": "nothing like this was recorded"}, status=404)
        body = b"" if found.answer is None else _written(found.answer)
        return web.Response(status=found.status, headers=dict(found.headers), body=body)

    async with _listening(answer, port) as url:
        yield url


class Replayed:
    """Which of the recorded exchanges comes next: of the same query where there is one, else of the same path."""

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        self._left: dict[tuple[Any, ...], list[Exchange]] = {}
        for one in exchanges:
            for key in self._keys(one.method, one.path, one.query):
                self._left.setdefault(key, []).append(one)

    @staticmethod
    def _keys(method: str, path: str, query: Mapping[str, str]) -> Iterator[tuple[Any, ...]]:
        yield method, path, tuple(sorted(query.items()))
        yield method, path

    def next(self, method: str, path: str, query: Mapping[str, str]) -> Exchange | None:
        """The answer to a request; None where nothing like it was recorded."""
        for key in self._keys(method, path, query):
            if left := self._left.get(key):
                return left.pop(0) if len(left) > 1 else left[0]
        return None


async def compared(
    exchanges: Sequence[Exchange], base_url: str, headers: Mapping[str, str], *, all_methods: bool = False
) -> AsyncIterator[tuple[Exchange, list[str] | None]]:
    """Each exchange with how today's answer differs; None where it wasn't asked, since it may change something."""
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        for one in exchanges:
            if one.method not in _READS and not all_methods:
                yield one, None
                continue
            body = None if one.request is None else _written(one.request)
            try:
                async with session.request(
                    one.method,
                    base_url.rstrip("/") + one.path,
                    params=dict(one.query) or None,
                    data=body,
                    headers={"Content-Type": "application/json"} if body else None,
                    allow_redirects=False,
                ) as found:
                    content = _content(await found.content.read(_MOST))
                    status = found.status
            except (aiohttp.ClientError, TimeoutError) as error:
                yield one, [f"no answer: {type(error).__name__}"]
                continue
            differs = [] if status == one.status else [f"answered {one.status}, answers {status}"]
            yield one, [*differs, *(drift(one.answer, content) if status == one.status else ())]


@asynccontextmanager
async def _listening(answer: Any, port: int) -> AsyncIterator[str]:
    app = web.Application(client_max_size=_MOST)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)


def _content(body: bytes) -> Any:
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def _written(content: Any) -> bytes:
    return content.encode() if isinstance(content, str) else json.dumps(content).encode()


def is_http(url: str) -> bool:
    """Whether it is an address to call."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query
