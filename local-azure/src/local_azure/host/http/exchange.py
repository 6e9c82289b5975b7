"""One HTTP request and its response, between aiohttp's server and an ASGI application."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from mmap import mmap
from typing import Any

from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict

from local_azure.host.errors import SettingError
from local_azure.host.trigger_data.http import encoded_path

__all__ = ["BODY_LIMIT", "AsgiApplication", "AsgiExchange", "BodyFailed", "ConnectedRequest", "body_limit", "respond"]

# The platform's documented default (FUNCTIONS_REQUEST_BODY_SIZE_LIMIT).
BODY_LIMIT = 104_857_600

_SMALL = 262_144
# Kestrel's MinRequestBodyDataRate: so many bytes a second, once so many seconds have passed.
_SLOWEST = 240
GRACE_SECONDS = 5.0
_BAD_REQUEST = "Microsoft.AspNetCore.Server.Kestrel.Core.BadHttpRequestException"
_CUT_OFF = f"{_BAD_REQUEST}: Unexpected end of request content."
_TOO_SLOW = (
    f"{_BAD_REQUEST}: Reading the request body timed out due to data arriving too slowly. See MinRequestBodyDataRate."
)

# What the server itself decides about a connection.
_HOP_BY_HOP = frozenset(("keep-alive", "transfer-encoding", "upgrade"))
# What the proxy keeps from the worker's server; trace headers are its own, where there is a trace.
_NOT_FORWARDED = frozenset(
    (
        b"connection", b"keep-alive", b"upgrade", b"proxy-connection", b"proxy-authenticate",
        b"proxy-authentication-info", b"proxy-authorization", b"proxy-features", b"proxy-instruction",
        b"security-scheme", b"alpn", b"close", b"http2-settings", b"upgrade-insecure-requests", b"te", b"alt-svc",
        b"traceparent", b"tracestate", b"request-id", b"baggage", b"correlation-context",
    )
)  # fmt: skip
_BROKEN_BODY = (ConnectionError, ClientError, HttpProcessingError, web.PayloadAccessError, web.RequestPayloadError)

Message = MutableMapping[str, Any]
AsgiApplication = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


def body_limit(settings: Mapping[str, str]) -> int:
    """Bytes that a request body may have.

    Raises
    ------
    SettingError
        FUNCTIONS_REQUEST_BODY_SIZE_LIMIT is no positive whole number.
    """
    text = settings.get("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", "").strip()
    if not text:
        return BODY_LIMIT
    if not text.isdecimal() or int(text) < 1:
        raise SettingError(f"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT is {text!r}, it must be a number of bytes, 1 or more")
    return int(text)


def seconds_for(size: int) -> float:
    """How long a body may have taken when so many bytes of it are here."""
    return max(GRACE_SECONDS, size / _SLOWEST)


class BodyFailed(Exception):
    """A body that can't be had whole, in the real host's words: its client is to blame."""

    @classmethod
    def too_large(cls, limit: int) -> "BodyFailed":
        """More than the platform takes."""
        return cls(f"{_BAD_REQUEST}: Request body too large. The max request body size is {limit} bytes.")


class ConnectedRequest(web.BaseRequest):
    """A request that knows when its client has gone."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.gone = asyncio.Event()

    def _cancel(self, exc: BaseException) -> None:
        """aiohttp's server calls this when the connection is lost before the response was complete."""
        super()._cancel(exc)
        self.gone.set()

    async def confirm_continue(self) -> None:
        """Ask a client that waits for it to send the body (RFC 9110, 10.1.1)."""
        if self.headers.get("Expect", "").lower() == "100-continue" and self.transport is not None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def whole(self) -> mmap | bytes:
        """The whole body; a large one in memory of its own, which goes back to the system with the request.

        Raises
        ------
        BodyFailed
            The client left in the middle of it, or sends it too slowly.
        """
        await self.confirm_continue()
        if self.content.is_eof():
            return await self.content.read()
        buffer = mmap(-1, self.content_length or 1)
        begun = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(seconds_for(0)) as patience:
                async for chunk in self.content.iter_any():
                    buffer.write(chunk)
                    patience.reschedule(begun + seconds_for(buffer.tell()))
        except TimeoutError:
            raise BodyFailed(_TOO_SLOW) from None
        except _BROKEN_BODY:
            self.gone.set()
            raise BodyFailed(_CUT_OFF) from None
        return buffer[:] if len(buffer) <= _SMALL else buffer


async def respond(
    request: web.BaseRequest, status: int, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
) -> web.Response:
    """A complete response, without a body for HEAD requests and for statuses that have none.

    Raises
    ------
    ConnectionError
        The status is none that HTTP has: the real host fails over it, and the connection is closed without an answer.
    """
    if not 100 <= status <= 999:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionAbortedError(f"{status} is no status")
    response = web.Response(status=status, body=body or None, headers=_kept(headers, drop="content-length"))
    await response.prepare(request)
    await response.write_eof()
    return response


class AsgiExchange:
    """Carries one request through an ASGI application: the body in pieces, the answer as it comes.

    The client's pace is kept both ways: a body is read from the connection only as the application asks for
    it, and a send returns once the connection took it.
    """

    def __init__(
        self, request: ConnectedRequest, *, path: str, address: tuple[str, int], extra_headers: Mapping[str, str],
        body_limit: int,
    ) -> None:  # fmt: skip
        self._request = request
        self._path = path
        self._address = address
        self._extra = extra_headers
        self._limit = body_limit
        self._whole: mmap | bytes | None = None
        self._received = 0
        self._body_read = False
        self._asked = False
        self._start: Message | None = None
        self._response: web.StreamResponse | None = None
        self._complete = asyncio.Event()
        self._too_large = False

    def scope(self) -> dict[str, Any]:
        """The connection scope (ASGI HTTP 2.3) as the worker's own server makes it of what the host's proxy forwards.

        The path was decoded once and is encoded again, so that an encoded slash, which stays as it came, arrives
        encoded twice.
        """
        request = self._request
        query = request.message.path.partition("?")[2]
        peer = request.transport.get_extra_info("peername") if request.transport else None
        client = str(peer[0]) if peer else ""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": f"{request.version.major}.{request.version.minor}",
            "method": request.method,
            "scheme": "http",
            "path": self._path,
            "raw_path": encoded_path(self._path).encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": forwarded_headers(request.raw_headers, client, self._address, self._extra),
            "client": (client, 0) if client else None,
            "server": self._address,
            "state": {},
        }

    async def read_whole(self) -> None:
        """Read a body of a declared length into memory, as the host does before it calls the function.

        Raises
        ------
        BodyFailed
            The client left in the middle of it, or sends it too slowly.
        """
        if self._request.content_length:
            self._asked = True
            self._whole = await self._request.whole()

    async def receive(self) -> Message:
        """The next piece of the body; after its end, waits for the client to leave or the answer to be complete."""
        if self._body_read:
            await self._wait_for_end()
            return {"type": "http.disconnect"}
        if self._whole is not None:
            self._body_read = True
            whole, self._whole = self._whole, None
            return {"type": "http.request", "body": whole[:], "more_body": False}
        if not self._asked:
            self._asked = True
            await self._request.confirm_continue()
        try:
            chunk = await self._request.content.readany()
        except _BROKEN_BODY:
            self._body_read = True
            return {"type": "http.disconnect"}
        self._received += len(chunk)
        if self._received > self._limit:
            self._too_large = self._body_read = True
            return {"type": "http.disconnect"}
        self._body_read = not chunk or self._request.content.at_eof()
        return {"type": "http.request", "body": chunk, "more_body": not self._body_read}

    async def _wait_for_end(self) -> None:
        if self._request.gone.is_set() or self._complete.is_set():
            return
        waits = [asyncio.ensure_future(self._request.gone.wait()), asyncio.ensure_future(self._complete.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def send(self, message: Message) -> None:
        """Take the start or a piece of the answer; what is sent to a client that has gone is dropped."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        if message["type"] != "http.response.body" or self._complete.is_set():
            return
        more = bool(message.get("more_body", False))
        if not more:
            self._complete.set()
        if self._request.gone.is_set() or self._too_large:
            return
        try:
            await self._write(bytes(message.get("body", b"")), more)
        except ConnectionError:
            self._request.gone.set()

    async def _write(self, body: bytes, more: bool) -> None:
        assert self._start is not None, "a response body before its start"
        if self._response is None and not more:
            self._response = await respond(self._request, self._start["status"], _texts(self._start), body)
            return
        if self._response is None:
            self._response = web.StreamResponse(status=self._start["status"], headers=_kept(_texts(self._start)))
            await self._response.prepare(self._request)
        if body and self._request.method != "HEAD":
            await self._response.write(body)
        if not more:
            await self._response.write_eof()

    async def finish(self, error: BaseException | None) -> web.StreamResponse:
        """The response for the server to conclude with, once the application has returned or failed.

        An answer that broke off half-way breaks the connection too: its reader must not take it for whole.

        Raises
        ------
        BodyFailed
            A body without a length turned out too large, whatever the application made of it.
        """
        self._complete.set()
        if self._response is None and self._too_large:
            raise BodyFailed.too_large(self._limit)
        if self._response is None:
            return await respond(self._request, 500)
        if error is not None or not self._response._eof_sent:
            self._response.force_close()
            if self._request.transport is not None:
                self._request.transport.abort()
        return self._response


def _kept(headers: Iterable[tuple[str, str]], *, drop: str = "") -> CIMultiDict[str]:
    kept = CIMultiDict((name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP)
    kept.popall(drop, None)
    kept.setdefault("Server", "Kestrel")
    return kept


def forwarded_headers(
    headers: Iterable[tuple[bytes, bytes]], client: str, address: tuple[str, int], extra: Mapping[str, str]
) -> list[tuple[bytes, bytes]]:
    """Request headers as the host's proxy passes them on to the worker's server.

    Names in lower case, repeated ones joined; those of a single connection and of traces are dropped, and what the
    client says about forwarding and itself gives way to what the proxy knows.
    """
    joined: dict[bytes, bytes] = {}
    host = b""
    for name, value in headers:
        lowered = name.lower()
        if lowered == b"host":
            host = value
        elif lowered not in _NOT_FORWARDED:
            joined[lowered] = b"%s, %s" % (joined[lowered], value) if lowered in joined else value
    joined[b"host"] = f"{address[0]}:{address[1]}".encode()
    joined[b"x-forwarded-for"] = client.encode()
    joined[b"x-forwarded-host"] = host
    joined[b"x-forwarded-proto"] = b"http"
    joined.update((name.encode(), value.encode()) for name, value in extra.items())
    return list(joined.items())


def _texts(start: Message) -> list[tuple[str, str]]:
    """The answer's headers, as the worker's server would complete them."""
    given = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start.get("headers", ())]
    return given if any(name.lower() == "server" for name, _ in given) else [*given, ("Server", "uvicorn")]
