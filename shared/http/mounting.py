"""Mounts an ASGI app in one HTTP function: over HTTP streams, or over the classic bridge with the same paths.

Over streams, answers, and bodies without a length, come in pieces. A body with a Content-Length is read whole by the
host before the function is called, whoever sent it: only the host's limit on bodies bounds what that takes.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote, urlsplit

import azure.functions as func
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["ClassicBridge", "answer_with", "key_in_path"]

_PASSED_ON = (
    "type",
    "asgi",
    "http_version",
    "method",
    "scheme",
    "path",
    "raw_path",
    "query_string",
    "headers",
    "client",
    "server",
)
_BUFFERED = 8
_LONGEST_SECONDS = 280.0
"""Of an answer, whoever reads it: the host restarts the process of a call that lasts 5 minutes (`functionTimeout`)."""


async def answer_with(app: ASGIApp, request: Request) -> Response:
    """Run the app inside the invocation until its answer has begun, so that duration and trace are right.

    What the app streams after that is passed on as it comes; the client's pace holds it back.
    """
    scope: dict[str, Any] = {name: request.scope[name] for name in _PASSED_ON if name in request.scope}
    scope["root_path"] = ""
    ends = asyncio.get_running_loop().time() + _LONGEST_SECONDS
    messages: asyncio.Queue[Message] = asyncio.Queue(_BUFFERED)
    running = asyncio.create_task(_run(app, scope, request, messages), name="http-answer")
    try:
        start = await _next(messages, running)
        first = await _next(messages, running)
    except BaseException:  # the invocation was cancelled, or the app failed: nothing goes on behind it
        running.cancel()
        raise
    headers = [(name, value) for name, value in start["headers"]]
    if not first.get("more_body", False):
        await running
        answer = Response(first.get("body", b""), status_code=start["status"])
    else:
        answer = _Streamed(_rest(first, messages, running), running, ends, status_code=start["status"])
    answer.raw_headers = headers
    return answer


class _Streamed(StreamingResponse):
    """Ends the app's task with the answer, also where the client left before the first byte, or reads for too long."""

    def __init__(
        self, body: AsyncIterator[bytes], running: asyncio.Task[None], ends: float, *, status_code: int
    ) -> None:
        super().__init__(body, status_code=status_code)
        self._running = running
        self._ends = ends

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout_at(self._ends):
                await super().__call__(scope, receive, send)
        finally:
            self._running.cancel()


async def _run(app: ASGIApp, scope: dict[str, Any], request: Request, messages: asyncio.Queue[Message]) -> None:
    await app(scope, request.receive, messages.put)


async def _next(messages: asyncio.Queue[Message], running: asyncio.Task[None]) -> Message:
    """The app's next message, or its exception should it end without one."""
    getting = asyncio.ensure_future(messages.get())
    try:
        await asyncio.wait((getting, running), return_when=asyncio.FIRST_COMPLETED)
        if getting.done():
            return getting.result()
        if not messages.empty():
            return messages.get_nowait()
        await running
        raise RuntimeError("the app ended without an answer")
    finally:
        getting.cancel()


async def _rest(first: Message, messages: asyncio.Queue[Message], running: asyncio.Task[None]) -> AsyncIterator[bytes]:
    message = first
    try:
        while True:
            yield message.get("body", b"")
            if not message.get("more_body", False):
                break
            message = await _next(messages, running)
        await running
    finally:
        running.cancel()


def key_in_path(segment: str) -> str:
    """The key that a path's last segment names: the platform leaves an encoded slash encoded, in either shape.

    A key that has the three characters `%2F` itself looks like one with a slash.
    """
    return segment.replace("%2F", "/").replace("%2f", "/")


class ClassicBridge:
    """The library's bridge, which decodes a path once more: what would change its meaning is encoded before."""

    def __init__(self, app: ASGIApp) -> None:
        self._bridge = func.AsgiMiddleware(app)

    async def answer(self, request: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        """Run the app for one request."""
        path = urlsplit(request.url).path
        if (kept := _kept(path)) != path:
            request = func.HttpRequest(
                method=request.method or "GET",
                url=request.url.replace(path, kept, 1),
                headers=dict(request.headers),
                params=dict(request.params),
                route_params=dict(request.route_params),
                body=request.get_body(),
            )
        answer: func.HttpResponse = await self._bridge.handle_async(request, context)
        return answer


def _kept(path: str) -> str:
    """A path whose encoded slashes, and whose bytes that are no UTF-8, are still encoded after one decoding.

    A semicolon is encoded: the library takes what follows it for parameters of the path, and drops that.
    """
    path = path.replace(";", "%3B")
    if "%" not in path:
        return path
    try:
        unquote(path, errors="strict")
    except UnicodeDecodeError:
        return path.replace("%", "%25")
    return path.replace("%2F", "%252F").replace("%2f", "%252F")
