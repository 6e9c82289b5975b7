"""The vault's sockets: HTTPS for the service, plain HTTP for its administration, faults in between."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from local_azure.keyvault.admin import Administration
from local_azure.keyvault.errors import VaultError
from local_azure.keyvault.operations import Operation, find_operation
from local_azure.keyvault.requests import Counters, Fault, FaultKind, Faults, throttled
from local_azure.keyvault.vault import Vault
from local_azure.keyvault.wire import Answer, Asked
from local_azure.same_origin import refusal

__all__ = ["HttpServer", "bind", "serve_administration", "serve_vault"]

_MAX_BODY: Final = 256 * 1024
_SHUTDOWN_SECONDS: Final = 2.0
_BACKLOG: Final = 256

_HEADERS: Final = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}


class HttpServer:
    """A running server; `close` it when done."""

    def __init__(self, server: asyncio.Server, runner: web.ServerRunner) -> None:
        self._server = server
        self._runner = runner

    async def close(self) -> None:
        """Stop listening and end open connections."""
        self._server.close()
        await self._runner.cleanup()


def bind(port: int) -> socket.socket:
    """A socket on a port of the loopback address, 0 for any free one: its number is known before anyone comes.

    Raises
    ------
    OSError
        If the port is taken.
    """
    return socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)


async def serve_vault(
    vault: Vault, faults: Faults, counters: Counters, taken: socket.socket, tls: ssl.SSLContext
) -> HttpServer:
    """Serve the vault."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        operation, unfit = _operation(request)
        label = operation.label if operation is not None else "unknown"
        item = operation.item if operation is not None else ""
        fault = faults.strike(label, item)
        if fault is not None and fault.kind is not FaultKind.LATENCY:
            counters.count(label, item, fault.kind)
            return await _fail(request, fault)
        if fault is not None:
            await asyncio.sleep(fault.seconds)
        body = await _read(request)
        if body is None:
            return _respond(Answer(413, {"error": {"code": "RequestTooLarge", "message": "The body is too large."}}))
        asked = Asked(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body,
            base=f"https://{request.host}",
        )
        found = unfit or await vault.answer(asked, operation)
        counters.count(label, item, str(found.status))
        return _respond(found)

    return await _serve(answer, taken, tls)


async def serve_administration(administration: Administration, taken: socket.socket) -> HttpServer:
    """Serve the administration."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if reason := refusal(request.headers):
            return _respond(Answer(403, {"error": reason}))
        body = await _read(request)
        if body is None:
            return _respond(Answer(413))
        return _respond(administration.answer(request.method, request.path, body, request.content_type))

    return await _serve(answer, taken, None)


async def _serve(
    answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    taken: socket.socket,
    tls: ssl.SSLContext | None,
) -> HttpServer:
    web_server = web.Server(answer, access_log=None)
    runner = web.ServerRunner(web_server, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    server = await asyncio.get_running_loop().create_server(web_server, sock=taken, ssl=tls, backlog=_BACKLOG)
    return HttpServer(server, runner)


def _operation(request: web.BaseRequest) -> tuple[Operation | None, Answer | None]:
    try:
        return find_operation(request.method, request.path), None
    except VaultError as error:
        return None, Answer(error.status, error.body())


async def _fail(request: web.BaseRequest, fault: Fault) -> web.StreamResponse:
    match fault.kind:
        case FaultKind.THROTTLE:
            error = throttled(round(fault.seconds))
            return _respond(Answer(error.status, error.body(), error.headers))
        case FaultKind.MALFORMED:
            return web.Response(body=b'{"value": ', content_type="application/json")
        case FaultKind.HANG:
            await asyncio.sleep(fault.seconds)
            if request.transport is not None:
                request.transport.abort()
    return _respond(Answer(fault.status, {"error": {"code": "ServiceUnavailable", "message": "A fault on purpose."}}))


async def _read(request: web.BaseRequest) -> bytes | None:
    """The body; None if it is too long."""
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > _MAX_BODY:
            return None
    return bytes(body)


def _respond(answer: Answer) -> web.Response:
    headers = {**_HEADERS, **dict(answer.headers)}
    if answer.content is None:
        return web.Response(status=answer.status, headers=headers)
    body = json.dumps(answer.content).encode()
    return web.Response(status=answer.status, body=body, content_type="application/json", headers=headers)
