"""Server-sent events (HTML standard, "Server-sent events"): heartbeats, an end, and nobody who never reads."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

__all__ = ["EventStream"]

HEARTBEAT = 15.0
"""Seconds: the load balancer before the app ends a connection on which nothing was sent for 230."""
LONGEST = 240.0
"""Seconds after which the stream ends without saying that it is complete, so that the client comes again.

Below the host's time-out of a call, 5 minutes."""
PATIENCE = 30.0
"""Seconds that a piece may wait for its reader."""
Event = tuple[str, bytes]


class EventStream(Response):
    """Answers with events, `next` for each and `complete` behind the last one.

    Parameters
    ----------
    events:
        Id and data of each; an empty id is left out. A TimeoutError cuts the stream: the client comes again.
    places:
        Bounds how many there are at once.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[Event, None], *, places: asyncio.Semaphore) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end, until the client has gone, or until it doesn't read any more."""

        async def write(body: bytes, *, more: bool = True) -> None:
            async with asyncio.timeout(PATIENCE):
                await send({"type": "http.response.body", "body": body, "more_body": more})

        async with self._places:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            sending = asyncio.create_task(self._send(write), name="event stream")
            leaving = asyncio.create_task(_gone(receive), name="event stream's reader")
            try:
                await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (sending, leaving):
                    task.cancel()
                (ended, _) = await asyncio.gather(sending, leaving, return_exceptions=True)
                await self._events.aclose()
        if isinstance(ended, Exception) and not isinstance(ended, TimeoutError):
            raise ended

    async def _send(self, write: Callable[..., Awaitable[None]]) -> None:
        coming: asyncio.Task[Event | None] | None = None
        loop = asyncio.get_running_loop()
        ends = loop.time() + LONGEST
        try:
            await write(b":\n\n")  # the answer begins now, and not with the first event
            while (left := ends - loop.time()) > 0:
                coming = coming or asyncio.create_task(_next(self._events))
                done, _ = await asyncio.wait((coming,), timeout=min(HEARTBEAT, left))
                if not done:
                    await write(b":\n\n")
                    continue
                event, coming = coming.result(), None
                if event is None:
                    await write(b"event: complete\ndata:\n\n", more=False)
                    return
                identity, data = event
                await write((f"id: {identity}\n" if identity else "").encode() + b"event: next\ndata: %s\n\n" % data)
            await write(b"", more=False)
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)


async def _next(events: AsyncGenerator[Event, None]) -> Event | None:
    return await anext(events, None)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
