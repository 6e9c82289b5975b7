"""The HTTP front of the host: routes requests to functions, and to the platform's own endpoints."""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

from aiohttp import web

from local_azure.host.errors import IndexingError, StartError
from local_azure.host.functions import Function
from local_azure.host.host_json import HttpOptions
from local_azure.host.http.classic import Answer, answer_of
from local_azure.host.http.exchange import BODY_LIMIT, BodyFailed, ConnectedRequest, respond
from local_azure.host.http.kestrel import KestrelServer, refusal
from local_azure.host.http.paths import BadPath, read_path
from local_azure.host.http.routes import RouteTable, RouteTemplate
from local_azure.host.http.streams import INVOCATION_HEADER, HttpStreams
from local_azure.host.invocation import InvocationFailed, Invoker, decode
from local_azure.host.keys import Keys, key_of
from local_azure.host.logs import HOST_LOGGER
from local_azure.host.trigger_data.http import request as sent
from local_azure.host.trigger_data.http import request_metadata
from local_azure.same_origin import refusal as foreign

__all__ = ["HttpServer", "PlatformHandler", "http_methods", "route_of"]

PlatformHandler = Callable[[ConnectedRequest, str], Awaitable[Answer]]

_REASON = "This function was programmatically called via the host APIs."
# How long an answer may still be on its way when the host ends.
_CLOSE_SECONDS = 5.0
_CLOSED = [("Connection", "close")]
# Of an idle connection, as Kestrel keeps it.
_KEEP_ALIVE_SECONDS = 130.0
_PLAIN = [("Content-Type", "text/plain; charset=utf-8")]
_HOME = b"<!doctype html><title>Functions host</title><p>Your functions host is up and running.</p>\n"


def route_of(function: Function, prefix: str) -> str:
    """A function's whole route with the prefix, without a slash in front."""
    route = (function.setting("route") or function.name).strip("/")
    return "/".join(part for part in (prefix, route) if part)


def http_methods(function: Function) -> frozenset[str] | None:
    """The methods that a function takes, None for every one."""
    methods = function.trigger.binding.get("methods")
    return frozenset(str(method).upper() for method in methods) if methods else None


def _route_table(functions: Sequence[Function], prefix: str) -> RouteTable[Function]:
    routes = []
    for function in functions:
        try:
            template = RouteTemplate(route_of(function, prefix))
        except ValueError as error:
            raise IndexingError(f"function {function.name}: {error}") from None
        routes.append((template, http_methods(function), function))
    return RouteTable(routes)


class HttpServer:
    """Serves the app's HTTP functions on one port.

    Parameters
    ----------
    functions
        HTTP functions only, in the order in which the platform lists them.
    platform
        Answers the paths under `/admin/` and `/runtime/`.
    keys
        None to ask for none, as Core Tools do.
    hang_forged_ids
        How long a streams request with an invocation id of the client's own is left unanswered, as in Azure; None
        refuses it with 400.
    """

    def __init__(
        self, functions: Sequence[Function], invoker: Invoker, options: HttpOptions, platform: PlatformHandler,
        *, body_limit: int = BODY_LIMIT, keys: Keys | None = None, hang_forged_ids: timedelta | None = None,
    ) -> None:  # fmt: skip
        self._table = _route_table(functions, options.route_prefix)
        self._invoker = invoker
        self._options = options
        self._platform = platform
        self._limit = body_limit
        self._keys = keys
        self._hang = hang_forged_ids
        self._streams = HttpStreams(invoker) if any(function.streams_http for function in functions) else None
        self._outstanding = 0
        slots = options.max_concurrent_requests
        self._slots = asyncio.Semaphore(slots) if slots > 0 else None
        self._runner: web.ServerRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which is any free one for 0.

        Raises
        ------
        StartError
            The port is taken.
        """
        server = KestrelServer(self._handle, request_factory=self._request, keepalive_timeout=_KEEP_ALIVE_SECONDS)
        self._runner = web.ServerRunner(server, shutdown_timeout=_CLOSE_SECONDS)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise StartError(
                f"port {port} on {host} cannot be used: {error.strerror}; choose another with --port"
            ) from None
        return int(self._runner.addresses[0][1])

    async def stop_accepting(self) -> None:
        """Close the listening socket; requests that have begun go on."""
        if self._runner is not None:
            for site in list(self._runner.sites):
                await site.stop()

    async def stop(self) -> None:
        """Let the open responses end within a short time, then close every connection."""
        if self._runner is not None:
            await self._runner.cleanup()

    @staticmethod
    def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> ConnectedRequest:
        return ConnectedRequest(message, payload, protocol, writer, task, asyncio.get_running_loop())

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, ConnectedRequest)
        try:
            return await self._answer(request)
        except ConnectionError:
            raise  # the client has gone; the server ends the connection
        except Exception:
            HOST_LOGGER.exception("The host itself failed to answer %s %s", request.method, request.path)
            return await respond(request, 500)

    async def _answer(self, request: ConnectedRequest) -> web.StreamResponse:
        raw, _, query_string = request.message.path.partition("?")
        try:
            path = read_path(raw)
        except BadPath:
            return await respond(request, 400, _CLOSED)
        if status := refusal(request):
            return await respond(request, status, _CLOSED)
        if path[:7].lower() in ("/admin/", "/runtim"):
            if reason := foreign(request.headers):
                return await self._respond(request, Answer(403, _PLAIN, reason.encode()))
            return await self._respond(request, await self._platform(request, path))
        found = self._table.find(request.method, path)
        if found is None:
            home = path == "/" and request.method in ("GET", "HEAD")
            return await self._respond(
                request, Answer(200, [("Content-Type", "text/html")], _HOME) if home else Answer(404)
            )
        level = found[0].setting("authLevel", "FUNCTION")
        if self._keys is not None and not self._keys.opens_function(level, key_of(request)):
            return await self._respond(request, Answer(401))
        if (request.content_length or 0) > self._limit:
            return await self._failed(request, found[0], BodyFailed.too_large(self._limit))
        if 0 < self._options.max_outstanding_requests <= self._outstanding:
            return await self._respond(request, Answer(429))
        self._outstanding += 1
        try:
            async with self._slots or contextlib.nullcontext():
                return await self._call(request, *found, path, query_string)
        except BodyFailed as failure:
            return await self._failed(request, found[0], failure)
        finally:
            self._outstanding -= 1

    async def _failed(self, request: ConnectedRequest, function: Function, failure: BodyFailed) -> web.StreamResponse:
        """The platform failed over a body before it called the function: a failed invocation, whoever's fault it is."""
        self._invoker.never_called(function, failure)
        if request.gone.is_set():
            raise ConnectionResetError("the client has gone") from failure
        return await self._respond(request, Answer(500, _CLOSED))

    async def _call(
        self, request: ConnectedRequest, function: Function, route_values: dict[str, str], path: str, query_string: str
    ) -> web.StreamResponse:
        if function.streams_http and self._streams is not None:
            if INVOCATION_HEADER in request.headers:
                return await self._forged(request)
            response: web.StreamResponse = await self._streams.handle(
                request, function, path=path, route_values=route_values,
                invocation_id=str(uuid.uuid4()), body_limit=self._limit,
            )  # fmt: skip
            return response
        return await self._respond(request, await self._classic(request, function, route_values, path, query_string))

    async def _forged(self, request: ConnectedRequest) -> web.StreamResponse:
        """A client's own invocation id: in Azure it wins over the host's, and nothing ever answers the request."""
        if self._hang is None:
            reason = (
                f"the header {INVOCATION_HEADER} is the host's own; in Azure this request would never be answered\n"
            )
            return await respond(request, 400, [("Content-Type", "text/plain; charset=utf-8")], reason.encode())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._hang.total_seconds()):
                await request.gone.wait()
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionAbortedError("nobody answers a forged invocation id")

    async def _classic(
        self, request: ConnectedRequest, function: Function, route_values: dict[str, str], path: str, query_string: str
    ) -> Answer:
        body = b""
        # A chunked body has no length, and the platform passes none on: it does not arrive in Azure either.
        if request.content_length:
            body = (await request.whole())[:]
        headers, query = request.headers.items(), request.rel_url.query.items()
        datum = sent(
            method=request.method, host=request.headers.get("Host", ""), path=path, query_string=query_string,
            headers=headers, query=query, route_values=route_values, body=body,
        )  # fmt: skip
        metadata = request_metadata(headers=headers, query=query, route_values=route_values, body=body)
        try:
            invocation = await self._invoker.invoke(
                function, lambda: decode(function.trigger, datum, metadata), reason=_REASON,
                trace=self._invoker.trace(incoming=request.headers),
            )  # fmt: skip
        except InvocationFailed:
            return Answer(500)
        given = [invocation.outputs[each.name] for each in function.outputs
                 if each.binding["type"] == "http" and each.name in invocation.outputs]  # fmt: skip
        return answer_of(invocation.returned if function.returns is not None or not given else given[0])

    async def _respond(self, request: ConnectedRequest, answer: Answer) -> web.StreamResponse:
        headers = [*answer.headers, *self._options.custom_headers.items()]
        return await respond(request, answer.status, headers, answer.body)
