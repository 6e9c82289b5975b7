"""The HTTP front of the host: routes requests to functions, and to the platform's own endpoints."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web

from local_azure.host.errors import IndexingError, StartError
from local_azure.host.functions import Function
from local_azure.host.host_json import HttpOptions
from local_azure.host.http.classic import Answer, answer_of, request_datum
from local_azure.host.http.exchange import BODY_LIMIT, ConnectedRequest, respond
from local_azure.host.http.routes import RouteTable, RouteTemplate, decode_path
from local_azure.host.http.streams import HttpStreams
from local_azure.host.invocation import InvocationFailed, Invoker, decode
from local_azure.host.logs import HOST_LOGGER

__all__ = ["HttpServer", "PlatformHandler", "http_methods", "route_of"]

PlatformHandler = Callable[[ConnectedRequest, str], Awaitable[Answer]]

_REASON = "This function was programmatically called via the host APIs."
# How long an answer may still be on its way when the host ends.
_CLOSE_SECONDS = 5.0
# Of an idle connection, as Kestrel keeps it.
_KEEP_ALIVE_SECONDS = 130.0
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
    """

    def __init__(
        self, functions: Sequence[Function], invoker: Invoker, options: HttpOptions, platform: PlatformHandler,
        *, body_limit: int = BODY_LIMIT,
    ) -> None:  # fmt: skip
        self._table = _route_table(functions, options.route_prefix)
        self._invoker = invoker
        self._options = options
        self._platform = platform
        self._limit = body_limit
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
        server = web.Server(
            self._handle,
            request_factory=self._request,
            access_log=None,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            auto_decompress=False,  # the platform hands compressed bodies on as they are
        )
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
        path = decode_path(request.rel_url.raw_path)
        if path.startswith(("/admin/", "/runtime/")):
            return await self._respond(request, await self._platform(request, path))
        found = self._table.find(request.method, path)
        if found is None:
            home = path == "/" and request.method in ("GET", "HEAD")
            return await self._respond(
                request, Answer(200, [("Content-Type", "text/html")], _HOME) if home else Answer(404)
            )
        if (request.content_length or 0) > self._limit:
            return await self._respond(request, Answer(413, [("Connection", "close")]))
        if 0 < self._options.max_outstanding_requests <= self._outstanding:
            return await self._respond(request, Answer(429))
        self._outstanding += 1
        try:
            if self._slots is None:
                return await self._call(request, *found, path)
            async with self._slots:
                return await self._call(request, *found, path)
        finally:
            self._outstanding -= 1

    async def _call(
        self, request: ConnectedRequest, function: Function, route_values: dict[str, str], path: str
    ) -> web.StreamResponse:
        if function.streams_http and self._streams is not None:
            response: web.StreamResponse = await self._streams.handle(
                request, function, path=path, route_values=route_values,
                invocation_id=str(uuid.uuid4()), body_limit=self._limit,
            )  # fmt: skip
            return response
        return await self._respond(request, await self._classic(request, function, route_values))

    async def _classic(self, request: ConnectedRequest, function: Function, route_values: dict[str, str]) -> Answer:
        body = b""
        # A chunked body has no length, and the platform passes none on: it does not arrive in Azure either.
        if request.content_length:
            await request.confirm_continue()
            body = await request.content.read()
        datum = request_datum(
            method=request.method,
            url=f"http://{request.host}{request.message.path}",
            headers=request.headers.items(),
            query=request.rel_url.query.items(),
            route_values=route_values,
            body=body,
        )
        try:
            invocation = await self._invoker.invoke(
                function, lambda: decode(function.trigger, datum, {}), reason=_REASON,
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
