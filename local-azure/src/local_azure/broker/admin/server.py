"""Serves the management API and the status page on one port, plain and, given a certificate, TLS alike."""

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime

from aiohttp import web

from local_azure.broker.admin.api import AdminApi, AdminRequest, AdminResponse
from local_azure.broker.admin.websocket import is_amqp, serve_amqp
from local_azure.broker.catalogue import Catalogue
from local_azure.broker.sniffing import Sniffer
from local_azure.broker.status import render_status
from local_azure.same_origin import refusal

__all__ = ["AdminServer", "start_admin"]

_MAX_BODY = 1024 * 1024
_SHUTDOWN_SECONDS = 2.0
_STATUS_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}

_HEALTHY = {"status": "healthy", "message": "Service is healthy."}
"""What the official emulators answer, for whoever waits for them with `/health`."""


class AdminServer:
    """A running HTTP server; `close` it when done."""

    def __init__(self, server: asyncio.Server, runner: web.ServerRunner, web_server: web.Server) -> None:
        self._server = server
        self._runner = runner
        self._web_server = web_server
        self.port: int = server.sockets[0].getsockname()[1]

    def protocol(self) -> asyncio.Protocol:
        """What goes on with an HTTP connection that came in elsewhere."""
        return self._web_server()

    async def close(self) -> None:
        """Stop listening and end open connections."""
        self._server.close()
        await self._runner.cleanup()


async def start_admin(
    catalogue: Catalogue,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    ssl_context: ssl.SSLContext | None = None,
    name: str = "emulator",
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    amqp: Callable[[], asyncio.Protocol] | None = None,
) -> AdminServer:
    """Listen on `port` (0: any free one); with `ssl_context`, clients that begin with TLS get TLS.

    `amqp` makes what goes on with a client that asks for AMQP over WebSockets; without it there is none.

    Raises
    ------
    OSError
        The port cannot be had.
    """
    site = _Site(catalogue, AdminApi(catalogue, name=name, started_at=now()), now, amqp)
    web_server = web.Server(site.answer, access_log=None)
    runner = web.ServerRunner(web_server, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()

    def connection() -> asyncio.BaseProtocol:
        return web_server() if ssl_context is None else Sniffer(lambda data: web_server(), ssl_context)

    try:
        server = await asyncio.get_running_loop().create_server(connection, host, port)
    except OSError:
        await runner.cleanup()
        raise
    return AdminServer(server, runner, web_server)


class _Site:
    """Sorts requests: status page, its JSON and health for people and scripts, all else for the API."""

    def __init__(
        self,
        catalogue: Catalogue,
        api: AdminApi,
        now: Callable[[], datetime],
        amqp: Callable[[], asyncio.Protocol] | None,
    ) -> None:
        self._amqp = amqp
        self._catalogue = catalogue
        self._api = api
        self._now = now

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one HTTP request, or go on with AMQP if that is asked for."""
        speaks_amqp = self._amqp is not None and is_amqp(request)
        if reason := refusal(request.headers, local_origins=speaks_amqp):
            return web.Response(status=403, text=reason)
        if self._amqp is not None and speaks_amqp:
            return await serve_amqp(request, self._amqp())
        is_status = request.method in ("GET", "HEAD") and "api-version" not in request.query
        if is_status and request.path == "/":
            page = render_status(self._catalogue.snapshot(), self._now())
            return web.Response(text=page, content_type="text/html", headers=_STATUS_HEADERS)
        if is_status and request.path == "/status.json":
            return web.json_response(self._catalogue.snapshot(), headers=_STATUS_HEADERS)
        if is_status and request.path == "/health":
            return web.json_response(_HEALTHY, headers=_STATUS_HEADERS)
        return await self._api_answer(request)

    async def _api_answer(self, request: web.BaseRequest) -> web.Response:
        body = await _read(request)
        if body is None:
            return web.Response(status=413, text=f"A request has at most {_MAX_BODY} bytes")
        answer = await self._api.handle(
            AdminRequest(
                method=request.method,
                path=request.path,
                query={name.lower(): value for name, value in request.query.items()},
                headers={name.lower(): value for name, value in request.headers.items()},
                body=body,
                host=request.host,
                scheme="https" if request.secure else "http",
            )
        )
        return _to_http(answer)


async def _read(request: web.BaseRequest) -> bytes | None:
    """The body; None if it is too long."""
    parts: list[bytes] = []
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > _MAX_BODY:
            return None
        parts.append(chunk)
    return b"".join(parts)


def _to_http(answer: AdminResponse) -> web.Response:
    headers = {"Content-Type": f"{answer.content_type};charset=utf-8"} if answer.body else {}
    return web.Response(status=answer.status, body=answer.body, headers=headers)
