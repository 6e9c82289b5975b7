"""Event Grid over HTTP: `/<topic>/api/events` for publishers; beneath `/-/` it is administered.

- `PUT`, `GET`, `DELETE /-/topics/<topic>`: properties as Resource Manager has them, with `keys`.
- `PUT`, `DELETE /-/topics/<topic>/eventSubscriptions/<name>`.
- `GET /-/validate?id=…`: the address of a handshake by hand.
- `POST /-/hurry`: what waits for its next try, or for its container, is done now.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from local_azure.eventgrid.access import Bearer, check_publisher
from local_azure.eventgrid.errors import EventGridError
from local_azure.eventgrid.topics import LARGEST
from local_azure.same_origin import refusal

if TYPE_CHECKING:
    from local_azure.eventgrid.running import RunningGrid

__all__ = ["serve"]

_API_VERSIONS: Final = ("2018-01-01",)


@asynccontextmanager
async def serve(running: RunningGrid, host: str, port: int, bearer: Bearer | None) -> AsyncIterator[str]:
    """Listen until the block ends; gives the address."""
    server = _Server(running, bearer)
    app = web.Application(client_max_size=2 * LARGEST, middlewares=[_errors])
    app.router.add_post("/{topic}/api/events", server.publish)
    app.router.add_get("/-/validate", server.validate)
    app.router.add_post("/-/hurry", server.hurry)
    app.router.add_get("/-/topics", server.topics)
    app.router.add_put("/-/topics/{topic}", server.put_topic)
    app.router.add_get("/-/topics/{topic}", server.show_topic)
    app.router.add_delete("/-/topics/{topic}", server.remove_topic)
    app.router.add_put("/-/topics/{topic}/eventSubscriptions/{name}", server.put_subscription)
    app.router.add_delete("/-/topics/{topic}/eventSubscriptions/{name}", server.remove_subscription)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    if reason := refusal(request.headers):
        return web.json_response({"error": {"code": "Forbidden", "message": reason}}, status=403)
    try:
        return await handler(request)
    except EventGridError as error:
        refused = error
    except web.HTTPRequestEntityTooLarge:
        refused = EventGridError(413, "RequestEntityTooLarge", f"The maximum size ({LARGEST}) has been exceeded.")
    except web.HTTPException as other:
        refused = EventGridError(other.status, other.reason.replace(" ", ""), f"{request.method} {request.path}")
    return web.json_response(refused.content(), status=refused.status)


class _Server:
    def __init__(self, running: RunningGrid, bearer: Bearer | None) -> None:
        self._running = running
        self._bearer = bearer

    async def publish(self, request: web.Request) -> web.Response:
        topic = self._running.grid.topic(request.match_info["topic"])
        # The SDKs sign the address with the version under another name than they send it with: only the path counts.
        await check_publisher(
            {name.lower(): value for name, value in request.headers.items()},
            f"{request.scheme}://{request.host}{request.path}",
            topic,
            now=datetime.fromtimestamp(self._running.now(), UTC),
            bearer=self._bearer,
        )
        version = request.query.get("api-version", "")
        if version not in _API_VERSIONS:
            raise EventGridError(400, "BadRequest", f"The api-version {version!r} isn't one of {_API_VERSIONS[0]}.")
        self._running.publish(topic.name, await request.read(), request.headers.get("Content-Type", ""))
        return web.Response(status=200)

    async def validate(self, request: web.Request) -> web.Response:
        if not self._running.validate(request.query.get("id", "")):
            raise EventGridError(404, "NotFound", "There is no such validation, or its ten minutes are over.")
        return web.Response(text="Webhook successfully validated as a subscription endpoint.")

    async def hurry(self, _: web.Request) -> web.Response:
        self._running.hurry()
        return web.Response(status=204)

    async def topics(self, _: web.Request) -> web.Response:
        return web.json_response([self._shown(one.name) for one in self._running.grid.topics()])

    async def put_topic(self, request: web.Request) -> web.Response:
        topic = self._running.put_topic(request.match_info["topic"], await _json(request))
        return web.json_response(self._shown(topic.name))

    async def show_topic(self, request: web.Request) -> web.Response:
        return web.json_response(self._shown(request.match_info["topic"]))

    async def remove_topic(self, request: web.Request) -> web.Response:
        self._running.remove_topic(request.match_info["topic"])
        return web.Response(status=204)

    async def put_subscription(self, request: web.Request) -> web.Response:
        topic, name = request.match_info["topic"], request.match_info["name"]
        in_force = await self._running.put_subscription(topic, name, await _json(request))
        state = "Succeeded" if in_force else "AwaitingManualAction"
        return web.json_response({"name": name, "properties": {"provisioningState": state}}, status=201)

    async def remove_subscription(self, request: web.Request) -> web.Response:
        self._running.remove_subscription(request.match_info["topic"], request.match_info["name"])
        return web.Response(status=204)

    def _shown(self, name: str) -> dict[str, Any]:
        grid, topic = self._running.grid, self._running.grid.topic(name)
        return {
            "name": topic.name,
            "endpoint": self._running.endpoint(name),
            "inputSchema": topic.schema,
            "keys": list(topic.keys),
            "eventSubscriptions": [one.name for one in grid.subscriptions(name)],
            "metrics": grid.counts(name),
        }


async def _json(request: web.Request) -> Any:
    try:
        return json.loads(await request.read() or b"{}")
    except (ValueError, RecursionError):
        raise EventGridError(400, "InvalidRequest", "The body is no JSON.") from None
