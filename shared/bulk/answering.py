"""The answer to a bulk: begun as soon as its status is certain, and kept alive while there is nothing to say.

The reader's pace is the sender's: a few windows' answers wait here, and nothing more is sent until they are read.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from contextvars import Context

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from shared.http import status_of
from shared.messages import ErrorCode
from shared.telemetry import log_event

from .errors import CannotGoOn
from .lines import NDJSON
from .progress import Progress, Status
from .running import Bulk

__all__ = ["Answering", "BulkAnswer", "status_code"]

HEARTBEAT_SECONDS = 10.0
"""Silence that no proxy takes for the end: the shortest that they allow is half a minute."""
UNREAD_SECONDS = 120.0
"""How long an answer waits for its reader before it is given up; meanwhile nothing is sent."""
NOTE_SECONDS = 1.0
_BUFFERED_WINDOWS = 2

Keep = Callable[[Progress], Awaitable[None]]


def status_code(progress: Progress) -> int:
    """The HTTP status of a bulk that has ended: 202 where all was accepted, 207 where some, else why nothing was."""
    if progress.accepted:
        is_all = progress.status is Status.COMPLETED and not progress.refused
        return 202 if is_all else 207
    if progress.failed:
        return 207 if progress.refused else 503
    if progress.error is not None:
        return status_of(progress.error["code"])
    return 400 if progress.refused else 202


class Answering:
    """A bulk under way and its answer.

    Parameters
    ----------
    location:
        Where is asked how far it came.
    keep:
        Keeps that; never raises.
    completed:
        Called once all of it was read and sent; never raises. What was read isn't needed any more.
    free:
        Called when nothing more is sent of it.
    ends:
        The loop's time from which on it waits for its reader no more: its source has ended too, and little is left.
    """

    def __init__(
        self,
        bulk: Bulk,
        location: str,
        keep: Keep,
        completed: Callable[[], Awaitable[None]],
        free: Callable[[], None],
        *,
        ends: float,
    ) -> None:
        self.bulk = bulk
        self.location = location
        self._keep = keep
        self._completed = completed
        self._ends = ends
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._unread = asyncio.Semaphore(_BUFFERED_WINDOWS)
        self._buffered: list[bytes] = []
        self._has_ended = False
        self._sending = asyncio.create_task(self._send(), name="bulk")
        self._sending.add_done_callback(lambda _: free())
        self._noting = asyncio.create_task(self._note(), name="bulk-progress")

    async def _send(self) -> None:
        try:
            async with aclosing(self.bulk.answers()) as answers:
                async for piece in answers:
                    await self._until_read()
                    self._pieces.put_nowait(piece)
        except TimeoutError:
            self.bulk.interrupt()
        except Exception as failure:
            log_event("bulk failed", level=logging.ERROR, error=failure)
            self.bulk.stop(CannotGoOn(ErrorCode.INTERNAL_ERROR, "Something went wrong here."))
        self._noting.cancel()
        await asyncio.gather(self._noting, return_exceptions=True)
        await self._close()
        self._pieces.put_nowait(self._summary())
        self._pieces.put_nowait(None)

    async def _until_read(self) -> None:
        """Wait until few pieces are unread; raise TimeoutError where nobody reads."""
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(min(now + UNREAD_SECONDS, max(now, self._ends))):
                await self._unread.acquire()
        except TimeoutError:
            if asyncio.get_running_loop().time() < self._ends:
                raise

    async def _close(self) -> None:
        """Keep the last word."""
        await self._keep(self.bulk.progress)
        if self.bulk.progress.status is Status.COMPLETED:
            await self._completed()

    async def _note(self) -> None:
        """Keep how far it came, again and again: what writes nothing any more has died."""
        kept: Progress | None = None
        while True:
            for _ in range(round(HEARTBEAT_SECONDS / NOTE_SECONDS)):
                await asyncio.sleep(NOTE_SECONDS)
                if self.bulk.progress is not kept:
                    break
            kept = self.bulk.progress
            await self._keep(self.bulk.alive())

    def _summary(self) -> bytes:
        """A line that tells of the bulk as a whole."""
        whole = {"bulk": {**self.bulk.progress.to_dict(), "operation": self.location}}
        return json.dumps(whole, separators=(",", ":")).encode() + b"\n"

    async def hold(self, most: int | None, seconds: float | None) -> bool:
        """Hold the answer back until it is whole (True), or has so many bytes, or so long has passed (False)."""
        size = 0
        try:
            async with asyncio.timeout(seconds):
                while most is None or size < most:
                    piece = await self._pieces.get()
                    if piece is None:
                        self._has_ended = True
                        return True
                    self._unread.release()
                    self._buffered.append(piece)
                    size += len(piece)
        except TimeoutError:
            pass
        return False

    async def read(self) -> AsyncGenerator[bytes, None]:
        """The whole answer, as it comes."""
        while self._buffered:
            yield self._buffered.pop(0)
        while not self._has_ended:
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    piece = await self._pieces.get()
            except TimeoutError:
                yield self._summary()
                continue
            if piece is None:
                return
            self._unread.release()
            yield piece

    def leave(self) -> None:
        """Nobody reads on: nothing more is sent, and how far it came is kept."""
        if self._sending.done():
            return
        self._sending.cancel()
        self._noting.cancel()
        self.bulk.interrupt()
        last = asyncio.create_task(self._last(), name="bulk-left", context=Context())
        _LEFT.add(last)
        last.add_done_callback(_LEFT.discard)

    async def _last(self) -> None:
        await asyncio.gather(self._sending, self._noting, return_exceptions=True)
        await self._close()


_LEFT: set[asyncio.Task[None]] = set()
"""The loop itself holds its tasks weakly."""


class BulkAnswer(StreamingResponse):
    """Streams an answer; a client that leaves ends its bulk.

    Parameters
    ----------
    count:
        Called with the number of messages that were accepted.
    """

    def __init__(
        self, answering: Answering, *, status: int, headers: dict[str, str], count: Callable[[int], None]
    ) -> None:
        super().__init__(answering.read(), status_code=status, media_type=NDJSON, headers=headers)
        self._answering = answering
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answering.leave()
            self._count(self._answering.bulk.progress.accepted)
