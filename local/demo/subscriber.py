"""A customer who is notified when an order ships: a receiver on this machine, and its subscription."""

from __future__ import annotations

import base64
import hmac
import json
from contextlib import AsyncExitStack
from types import TracebackType

import aiohttp
from aiohttp import web

from local.demo.target import Target

__all__ = ["EVENT_TYPE", "Subscriber"]

EVENT_TYPE = "order.shipped"
_NAME = "the demonstration"


class Subscriber:
    """Subscribed for as long as the block lasts.

    Attributes
    ----------
    received:
        Orders that were delivered, by the id of their event: each counts once, however often it came.
    forged:
        Requests whose signature isn't that of the subscription; they aren't received.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._open = AsyncExitStack()
        self._session: aiohttp.ClientSession | None = None
        self._key = b""
        self._url = ""
        self.received: dict[str, str] = {}
        self.forged = 0

    async def __aenter__(self) -> Subscriber:
        """Subscribe, in place of what an earlier demonstration has left.

        Raises
        ------
        aiohttp.ClientError
            The app takes no subscriptions.
        """
        try:
            await self._subscribe()
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._forget()
        except (aiohttp.ClientError, TimeoutError):
            return  # the next demonstration does
        finally:
            await self._open.aclose()

    async def pending(self) -> int:
        """Deliveries that are still under way, 100 where there are more."""
        assert self._session is not None
        async with self._session.get(f"{self._url}/deliveries", params={"status": "pending", "top": "100"}) as answer:
            return int((await answer.json())["count"])

    async def _subscribe(self) -> None:
        headers = {"Authorization": f"Bearer {self._target.token}"}
        self._session = await self._open.enter_async_context(
            aiohttp.ClientSession(headers=headers, raise_for_status=True, timeout=aiohttp.ClientTimeout(total=30))
        )
        app = web.Application()
        app.router.add_post("/orders", self._take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        self._open.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        subscriptions = f"{self._target.urls[0]}/api/subscriptions"
        async with self._session.get(subscriptions) as answer:
            known = (await answer.json())["value"]
        for one in known:
            if one["description"] == _NAME:
                await self._session.delete(f"{subscriptions}/{one['id']}")
        wanted = {
            "url": f"http://127.0.0.1:{runner.addresses[0][1]}/orders",
            "eventTypes": [EVENT_TYPE],
            "description": _NAME,
        }
        async with self._session.post(subscriptions, json=wanted) as answer:
            made = await answer.json()
        self._key = base64.b64decode(made["secret"].removeprefix("whsec_"))
        self._url = f"{subscriptions}/{made['id']}"

    async def _forget(self) -> None:
        if self._session is not None and self._url:
            await self._session.delete(self._url)

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        identity, seconds = (request.headers.get(f"webhook-{name}", "") for name in ("id", "timestamp"))
        signed = hmac.digest(self._key, f"{identity}.{seconds}.".encode() + body, "sha256")
        expected = f"v1,{base64.b64encode(signed).decode()}"
        if expected not in request.headers.get("webhook-signature", "").split(" "):
            self.forged += 1
            return web.Response(status=401)
        event = json.loads(body)
        self.received[event["id"]] = event["subject"]
        return web.Response(status=204)
