"""The issuer's socket: HTTP requests in, the issuer's answers out."""

from __future__ import annotations

import asyncio
import socket
from urllib.parse import parse_qsl

from aiohttp import web

from local_azure.identity.issuer import Asked, Issuer
from local_azure.same_origin import refusal

__all__ = ["IdentityServer", "listen"]

_MAX_BODY = 64 * 1024
_SHUTDOWN_SECONDS = 2.0


class IdentityServer:
    """A running server; `close` it when done."""

    def __init__(self, server: asyncio.Server, runner: web.ServerRunner) -> None:
        self._server = server
        self._runner = runner

    async def close(self) -> None:
        """Stop listening and end open connections."""
        self._server.close()
        await self._runner.cleanup()


async def listen(issuer: Issuer, taken: socket.socket) -> IdentityServer:
    """Serve `issuer` on a socket that listens; it is closed with the server."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if reason := refusal(request.headers):
            return web.json_response({"error": "access_denied", "error_description": reason}, status=403)
        form = await _form(request)
        if form is None:
            return web.json_response({"error": "invalid_request"}, status=413)
        asked = Asked(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers={name.lower(): value for name, value in request.headers.items()},
            form=form,
        )
        found = issuer.answer(asked)
        cache = "max-age=86400, private" if found.cacheable else "no-store"
        return web.json_response(dict(found.content), status=found.status, headers={"Cache-Control": cache})

    web_server = web.Server(answer, access_log=None)
    runner = web.ServerRunner(web_server, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    server = await asyncio.get_running_loop().create_server(web_server, sock=taken)
    return IdentityServer(server, runner)


async def _form(request: web.BaseRequest) -> dict[str, str] | None:
    """The fields of the body; None if it is too long. What is no form has no fields."""
    if request.content_type != "application/x-www-form-urlencoded":
        return {}
    if (request.content_length or 0) > _MAX_BODY:
        return None
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > _MAX_BODY:
            return None
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
