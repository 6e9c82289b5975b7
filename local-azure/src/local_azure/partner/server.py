"""The simulated partner over HTTP. Beneath `/-/` it is administered: `script`, `calls`, `made`, `webhooks`."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from local_azure.partner.book import Answer, Asked, Book
from local_azure.partner.journal import kept_in
from local_azure.partner.script import Behaviour, Script, WrongScript
from local_azure.partner.webhooks import Webhook, WebhookSender, webhooks_of

__all__ = ["RunningPartner", "running_partner"]

_PIECE: Final = 64 * 1024
_MOST: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RunningPartner:
    """A partner that listens, to be changed in the loop that runs it."""

    url: str
    script: Script
    book: Book
    sender: WebhookSender
    seconds: Callable[[], float]
    """Since it began, as its requests are timed."""


@asynccontextmanager
async def running_partner(
    *,
    script: Script,
    clock: Callable[[], float],
    host: str = "127.0.0.1",
    port: int = 0,
    webhooks: Sequence[Webhook] = (),
    apps: Sequence[str] = (),
    journal: Path | None = None,
) -> AsyncIterator[RunningPartner]:
    """Run a partner until the block ends; a port of 0 is any free one.

    Parameters
    ----------
    clock:
        Seconds, monotonic: rules count from now on.
    webhooks, apps:
        What is sent when something was made, and the addresses of the app that it is sent to.
    journal:
        A file that what was made survives in.

    Raises
    ------
    OSError
        The port is taken, or the journal can't be written.
    """
    book = Book()
    sender = WebhookSender(book, apps, script.random, webhooks)
    book.on_made = sender.made
    server = _Server(script, book, sender, clock)
    app = web.Application(client_max_size=_MOST)
    app.router.add_get("/-/calls", server.calls)
    app.router.add_get("/-/made", server.made)
    app.router.add_get("/-/webhooks", server.webhooks)
    app.router.add_put("/-/script", server.change)
    app.router.add_delete("/-/calls", server.forget)
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    async with AsyncExitStack() as resources:
        if journal is not None:
            resources.enter_context(kept_in(journal, book))
        await runner.setup()
        resources.push_async_callback(runner.cleanup)
        resources.push_async_callback(sender.stop)
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = runner.addresses[0][1]
        yield RunningPartner(f"http://{host}:{bound}", script, book, sender, server.seconds)


class _Server:
    def __init__(self, script: Script, book: Book, sender: WebhookSender, clock: Callable[[], float]) -> None:
        self.script = script
        self.book = book
        self.sender = sender
        self._clock = clock
        self._began = clock()

    def seconds(self) -> float:
        return self._clock() - self._began

    async def answer(self, request: web.Request) -> web.StreamResponse:
        seconds = self.seconds()
        asked = Asked(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
            at=seconds,
        )
        self.book.asked.append(asked)
        behaviour = self.script.behaviour(asked.method, asked.path, seconds, asked.headers)
        if behaviour.reset == "before":
            return _broken(request)
        await asyncio.sleep(self.script.delay(behaviour))
        done = self.book.do(asked) if behaviour.status is None else None
        if behaviour.reset == "after":
            return _broken(request)
        asked.status = done.status if done else behaviour.status or 200
        return await _answered(request, asked.status, behaviour, done)

    async def calls(self, _: web.Request) -> web.Response:
        return web.json_response(
            [
                {
                    "method": one.method,
                    "path": one.path,
                    "query": dict(one.query),
                    "headers": dict(one.headers),
                    "body": one.body.decode("utf-8", "replace"),
                    "at": one.at,
                    "status": one.status,
                }
                for one in self.book.asked
            ]
        )

    async def webhooks(self, _: web.Request) -> web.Response:
        sent = self.sender
        return web.json_response({"pending": sent.pending, "delivered": sent.delivered, "failed": sent.failed})

    async def made(self, _: web.Request) -> web.Response:
        return web.json_response(self.book.made)

    async def change(self, request: web.Request) -> web.Response:
        text = await request.read()
        try:
            self.script.read(text)
            self.sender.webhooks = webhooks_of(text) or self.sender.webhooks
        except WrongScript as error:
            return web.json_response({"error": str(error)}, status=400)
        self._began = self._clock()
        return web.json_response({"rules": len(self.script.rules)})

    async def forget(self, _: web.Request) -> web.Response:
        self.book.clear()
        return web.Response(status=204)


def _broken(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)  # which nobody gets


async def _answered(request: web.Request, status: int, behaviour: Behaviour, done: Answer | None) -> web.StreamResponse:
    headers = dict(behaviour.headers)
    body = behaviour.body
    if body is None and done is not None:
        body = json.dumps(done.content).encode()
        headers.setdefault("Content-Type", "application/json")
    if behaviour.size is None and not behaviour.drip:
        return web.Response(status=status, headers=headers, body=body or b"")
    if behaviour.gzip:
        headers["Content-Encoding"] = "gzip"
    response = web.StreamResponse(status=status, headers=headers)
    await response.prepare(request)
    pieces = _large(behaviour) if behaviour.size is not None else (bytes([one]) for one in body or b"")
    for piece in pieces:
        await response.write(piece)
        await asyncio.sleep(behaviour.drip)
    await response.write_eof()
    return response


def _large(behaviour: Behaviour) -> Iterator[bytes]:
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    left = behaviour.size or 0
    while left:
        piece = b" " * min(_PIECE, left)
        left -= len(piece)
        packed = packer.compress(piece) if behaviour.gzip else piece
        if packed:
            yield packed
    if behaviour.gzip:
        yield packer.flush()
