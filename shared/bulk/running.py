"""Brings the lines of a bulk to their lanes, a window at a time, and tells what became of each.

While one window is on its way the next is read and validated; no more is in memory, however long the bulk. Windows go
one behind the other through one sender, which fills its batches across them: the order of a key holds.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from azure.core.exceptions import AzureError
from opentelemetry.trace import SpanKind

from shared.encryption import KeysUnavailable
from shared.http import Intake, Operation, Refused, status_of
from shared.messages import CLOUD_EVENT_TYPE, ErrorCode, Handler, Headers
from shared.sending import Together
from shared.telemetry import Name, log_event, span

from .errors import CannotGoOn
from .expanding import Expander
from .lines import BATCH_TYPE, LARGEST_LINE, Line, Splitter
from .progress import Progress, Status

__all__ = ["Bulk", "Source"]

WINDOW_LINES, WINDOW_BYTES = 500, 512 * 1024
"""What is sent together: about two full batches of the broker's, in a few MiB of memory."""
_TURN = 8
"""Lines that are validated without letting others have the event loop: some milliseconds."""
_RETRY_AFTER = 2
MOST_REFUSED = 10_000
"""Lines that may be refused, if they are most of all: whoever sent such a file has sent the wrong one."""
_AWAY = (KeysUnavailable, AzureError, TimeoutError)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a bulk comes from.

    Attributes
    ----------
    pieces:
        The body, as it came; its errors are CannotGoOn.
    after:
        Lines up to this number are passed over.
    ends:
        The loop's time from which on nothing more is read.
    """

    pieces: AsyncIterator[bytes]
    expander: Expander
    splitter: Splitter
    kind: str
    route: Handler | None
    client: str | None
    correlation_id: str
    id_of: Callable[[int], UUID]
    ends: float
    after: int = 0
    most: int | None = None


@dataclass(kw_only=True)
class _Answered:
    """A line and what became of it: an answer that is certain, or a command on its way."""

    number: int
    message_id: str | None = None
    error: dict[str, Any] | None = None
    operation: Operation | None = None
    failed: bool = False


@dataclass
class _Window:
    lines: list[_Answered] = field(default_factory=list)
    commands: list[tuple[Headers, bytes]] = field(default_factory=list)
    size: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.lines) >= WINDOW_LINES or self.size >= WINDOW_BYTES


class Bulk:
    """One bulk under way.

    Parameters
    ----------
    address:
        From an operation to where it is asked about.
    room:
        For how many windows there is room at the broker, of all bulks together.
    """

    def __init__(
        self,
        source: Source,
        intake: Intake,
        address: Callable[[Operation], str],
        *,
        room: asyncio.Semaphore,
        now: Callable[[], datetime],
    ) -> None:
        self._source = source
        self._intake = intake
        self._address = address
        self._room = room
        self._now = now
        self._together = Together()
        self._stopped: CannotGoOn | None = None
        self.progress = Progress(through=source.after, updated=now())

    async def answers(self) -> AsyncGenerator[bytes, None]:
        """What became of the lines, as lines of JSON, in their order; `progress` is what they say together.

        Whoever takes them slowly slows the sending.
        """
        sending: deque[asyncio.Task[_Window]] = deque()
        try:
            async with aclosing(self._windows()) as windows:
                async for window in windows:
                    await self._room.acquire()
                    task = asyncio.create_task(self._sent(window), name="bulk-window")
                    task.add_done_callback(lambda _: self._room.release())
                    sending.append(task)
                    del window
                    if len(sending) > 1:
                        yield self._counted(await sending.popleft())
                    if self._together.is_broken:
                        break
            while sending:
                yield self._counted(await sending.popleft())
        finally:
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)
        self._end()

    def _end(self) -> None:
        """The last word: all was read, or why it wasn't."""
        if self._stopped is None and self.progress.failed:
            self._stopped = CannotGoOn(
                ErrorCode.UNAVAILABLE,
                "Not all could be kept just now. Send the rest again, from the line after `through`.",
                retry_after=_RETRY_AFTER,
            )
        status, error = Status.COMPLETED, None
        if self._stopped is not None:
            stopped = self._stopped
            status = Status.STOPPED
            error = {"code": stopped.code.value, "message": stopped.message, "retryAfter": stopped.retry_after}
        self._update(status=status, error=error)

    def stop(self, why: CannotGoOn) -> None:
        """Nothing more is read."""
        self._stopped = why
        self._end()

    def alive(self) -> Progress:
        """The progress as of now."""
        return replace(self.progress, updated=self._now())

    def interrupt(self) -> None:
        """Nobody reads on: what is known stays."""
        if self.progress.status is Status.PROCESSING:
            self._update(status=Status.INTERRUPTED)

    def _update(self, **changed: Any) -> None:
        self.progress = replace(self.progress, **changed, updated=self._now())

    async def _windows(self) -> AsyncGenerator[_Window, None]:
        window = _Window()
        refused = count = 0
        try:
            async with aclosing(self._lines()) as lines:
                async for line in lines:
                    count += 1
                    if count % _TURN == 0:
                        await asyncio.sleep(0)
                    if self._source.most is not None and count > self._source.most:
                        raise CannotGoOn(
                            ErrorCode.PAYLOAD_TOO_LARGE,
                            f"So many lines are taken only where answers are streamed; here it is {self._source.most}.",
                            retry_after=0,
                        )
                    answered = await self._taken(line, window)
                    window.lines.append(answered)
                    window.size += len(line.content or b"")
                    refused += answered.error is not None
                    if answered.failed:
                        break
                    if refused > max(MOST_REFUSED, count // 2):
                        raise CannotGoOn(
                            ErrorCode.BAD_REQUEST, f"{refused} messages of {count} were refused: nothing more was read."
                        )
                    if window.is_full:
                        yield window
                        window = _Window()
        except CannotGoOn as stopped:
            self._stopped = stopped
        if window.lines:
            yield window

    async def _lines(self) -> AsyncGenerator[Line, None]:
        after, last = self._source.after, 0
        async with aclosing(self._all_lines()) as lines:
            async for line in lines:
                last = line.number
                if last > after:
                    yield line
        if last < after:
            raise CannotGoOn(ErrorCode.BAD_REQUEST, f"after: the bulk ends with message {last}.")

    async def _all_lines(self) -> AsyncGenerator[Line, None]:
        source, number = self._source, 0
        try:
            async with aclosing(self._pieces()) as pieces:
                async for piece in pieces:
                    for expanded in source.expander.feed(piece):
                        for line in source.splitter.feed(expanded):
                            self._check_time()
                            yield line
                            number = line.number
                        await asyncio.sleep(0)
        except TimeoutError:
            if number > source.after:
                message = "The time of one request is over. Send the rest again, from the line after `through`."
                raise CannotGoOn(ErrorCode.UNAVAILABLE, message, retry_after=0) from None
            message = "Not one message was reached in the time of one request; send it in parts."
            raise CannotGoOn(ErrorCode.PAYLOAD_TOO_LARGE, message) from None
        source.expander.finish()
        for line in source.splitter.finish():
            yield line

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        """The body's, as long as there is time; TimeoutError then."""
        pieces = aiter(self._source.pieces)
        while True:
            async with asyncio.timeout_at(self._source.ends):
                piece = await anext(pieces, None)
            if piece is None:
                return
            self._check_time()  # a piece that is there at once is no wait, which no time-out ends
            yield piece

    def _check_time(self) -> None:
        if asyncio.get_running_loop().time() >= self._source.ends:
            raise TimeoutError

    async def _taken(self, line: Line, window: _Window) -> _Answered:
        """Validate a line, and put its command into the window."""
        if line.content is None:
            message = f"A message of a bulk has {LARGEST_LINE} bytes at most; send it alone, or as an upload."
            return _Answered(number=line.number, error=_error(ErrorCode.PAYLOAD_TOO_LARGE, message))
        source = self._source
        kind = CLOUD_EVENT_TYPE if source.kind == BATCH_TYPE else "application/json"
        try:
            command = await self._intake.read(
                line.content, kind=kind, route=source.route, asked_id=source.id_of(line.number)
            )
        except Refused as refused:
            error = _error(refused.error.code, refused.error.message, refused.error.details)
            return _Answered(number=line.number, message_id=refused.message_id, error=error)
        operation = self._intake.operation_of(command, client=source.client)
        answered = _Answered(number=line.number, message_id=str(command.message_id), operation=operation)
        try:
            prepared = await self._intake.prepare(
                command, operation, correlation_id=source.correlation_id, client=source.client
            )
        except _AWAY as failure:
            log_event("not sent", level=logging.WARNING, reason=f"{type(failure).__name__}: {failure}"[:500])
            answered.failed = True
            return answered
        window.commands.append(prepared)
        return answered

    async def _sent(self, window: _Window) -> _Window:
        """Send a window, and say which of its lines weren't taken."""
        commands, window.commands = window.commands, []
        with span("send bulk", kind=SpanKind.PRODUCER, plain={Name.BATCH_COUNT: len(commands)}):
            taken = await self._intake.send_all(commands, self._together)
        for reason in {str(one) for one in taken if one is not None}:
            log_event("not sent", level=logging.WARNING, reason=reason)
        waiting = (one for one in window.lines if one.operation is not None and not one.failed)
        for line, error in zip(waiting, taken, strict=True):
            line.failed = error is not None
        return window

    def _counted(self, window: _Window) -> bytes:
        """The lines of an answer; counts them."""
        accepted = refused = failed = 0
        through = self.progress.through
        written: list[str] = []
        for line in window.lines:
            answer: dict[str, Any] = {"line": line.number, "status": 202, "messageId": line.message_id}
            if line.failed:
                failed += 1
                error = _error(ErrorCode.UNAVAILABLE, "The message could not be kept just now. Send it again.")
                answer |= {"status": 503, "error": error, "retryable": True}
            elif line.error is not None:
                refused += 1
                answer |= {"status": status_of(line.error["code"]), "error": line.error, "retryable": False}
            elif line.operation is not None:
                accepted += 1
                answer["operation"] = self._address(line.operation)
            if not (failed or self.progress.failed):
                through = line.number
            written.append(json.dumps(answer, ensure_ascii=False, separators=(",", ":")))
        self._update(
            through=through,
            accepted=self.progress.accepted + accepted,
            refused=self.progress.refused + refused,
            failed=self.progress.failed + failed,
        )
        return "".join(f"{one}\n" for one in written).encode("utf-8", "replace")


def _error(code: str, message: str, details: Any = None) -> dict[str, Any]:
    return {"code": str(code), "message": message, "details": dict(details or {})}
