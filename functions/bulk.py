"""Bulks over HTTP: many messages in one request, answered line by line while they are sent."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from functools import partial
from uuid import UUID

from azure.core.exceptions import AzureError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.bulk import (
    BATCH_TYPE,
    ENCODINGS,
    NDJSON,
    Answering,
    Bulk,
    BulkAnswer,
    CannotGoOn,
    Progress,
    Source,
    Status,
    expander,
    splitter,
    status_code,
)
from shared.claim_check import Uploads
from shared.http import (
    EVERY_ROLE,
    PRODUCERS,
    BadBody,
    Intake,
    NamedUpload,
    OperationSigner,
    Route,
    caller_of,
    content_encoding,
    correlation_id,
    count_messages,
    declared_length,
    error,
    id_of_line,
    idempotency_key,
    mark_of,
    media_type,
    named_upload,
    read_body,
)
from shared.messages import ErrorCode, Handler, MessageError
from shared.telemetry import log_event

from .openapi import bulk_docs, bulk_operation_docs
from .operations import confined_to
from .unavailable import FAILURES, failed
from .uploads import UploadEndpoints

__all__ = ["Bulks"]

_AT_ONCE = 4
"""Bulks that an instance takes side by side; each needs some MiB."""
_WINDOWS_AT_ONCE = 2
"""Windows of all bulks that wait for the broker: single messages find room beside them."""
_WAIT_SECONDS = 5.0
"""How long a bulk waits for its turn, and its answer for its status."""
_HELD_BYTES = 256 * 1024
"""Of an answer that are held back until its status is certain."""
_MOST_WHOLE = 10_000
"""Lines of a bulk whose answer can't be streamed, and so is held whole."""
_EXPANDED = 16
"""How many times the largest body a compressed one may become, whatever its ratio."""
_RETRY_AFTER = 2
_LONGEST_SECONDS = 240.0
"""From the request on; what is on its way then is still sent and answered for, before the host ends the call."""
_KEEP_SECONDS = 2.0
"""What keeping how far a bulk has come may take: its answer waits for that once, at its end."""
_NOT_KEPT = "This could not be kept just now. Send it again."


class Bulks:
    """The endpoints of bulks.

    Parameters
    ----------
    intake, kept:
        Called with the first request, so that nothing connects before; `kept` keeps how far bulks have come.
    streams:
        Whether answers are streamed; one that isn't is held whole, so that its bulk is short.
    """

    def __init__(
        self,
        intake: Callable[[], Intake],
        kept: Callable[[], Uploads],
        signer: OperationSigner,
        uploads: UploadEndpoints,
        *,
        max_body: int,
        streams: bool,
        public_path: str = "",
        now: Callable[[], datetime],
        new_id: Callable[[], UUID],
    ) -> None:
        self._intake = intake
        self._kept = kept
        self._signer = signer
        self._uploads = uploads
        self._max_body = max_body
        self._streams = streams
        self._path = f"{public_path}/api/operations"
        self._now = now
        self._new_id = new_id
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._room = asyncio.Semaphore(_WINDOWS_AT_ONCE)

    def routes(self, handlers: Mapping[str, Handler], commands: Sequence[Handler] = ()) -> list[Route]:
        """One for any commands, one for each handler that has a path of its own, and one that tells how far it came."""
        paths: Mapping[str, Handler | None] = {"messages": None, **handlers}
        return [
            *(
                Route(
                    method="POST",
                    path=f"{path}/bulk",
                    endpoint=self._taking(handler),
                    access=PRODUCERS,
                    query=frozenset({"after"}),
                    docs=bulk_docs(handler, commands),
                    streams=True,
                    direct=True,
                )
                for path, handler in paths.items()
            ),
            Route(
                method="GET",
                path="operations/bulk/{bulkId}",
                endpoint=self.progress,
                access=EVERY_ROLE,  # a producer sees its own: what the id says decides
                docs=bulk_operation_docs(),
            ),
        ]

    def _taking(self, handler: Handler | None) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return await self.take(request, handler)

        return endpoint

    async def take(self, request: Request, route: Handler | None) -> Response:
        """Take a bulk; the answer goes on while its lines are sent."""
        place = _Place(self._places)
        ends = asyncio.get_running_loop().time() + _LONGEST_SECONDS
        try:
            await place.take()
            answer = await self._begin(request, route, place, ends)
        except TimeoutError:
            answer = failed(TimeoutError("no place for a bulk"), _NOT_KEPT, now=self._now())
        except MessageError as refused:
            status = 411 if refused.code == ErrorCode.INCOMPLETE_BODY and self._has_no_length(request) else None
            answer = error(refused.code, refused.message, now=self._now(), details=refused.details, status=status)
        except FAILURES as failure:
            answer = failed(failure, _NOT_KEPT, now=self._now())
        except BaseException:
            place.free()
            raise
        if not isinstance(answer, BulkAnswer):
            place.free()
        return answer

    async def _begin(self, request: Request, route: Handler | None, place: "_Place", ends: float) -> Response:
        kind = media_type(request, (NDJSON, BATCH_TYPE))
        encoding = content_encoding(request, ENCODINGS)
        after = _after(request.query_params.get("after", "0"))
        key = idempotency_key(request.headers.getlist("idempotency-key"))
        caller = caller_of(request)
        client = None if caller is None else caller.client
        if self._has_no_length(request):
            raise BadBody(ErrorCode.INCOMPLETE_BODY, "Send a Content-Length: bodies aren't streamed here.")
        # Whole, since who sends may not read before it has sent all; of what is larger only an upload's id comes.
        body = await read_body(request, limit=self._max_body)
        named = None
        if encoding == "identity":
            named = named_upload(body, largest=self._uploads.largest_bulk, encodings=ENCODINGS)
        if named is None:
            pieces, largest = _once(body), _EXPANDED * self._max_body
        else:
            pieces, largest = _without_errors(await self._uploads.streamed(named, client or "")), 1 << 62
            encoding, key = named.encoding, key or f"upload:{named.id}"
        del body
        ids = await self._signer.ids()
        id_of = self._id_of(key, client or "", "" if route is None else route.event_type)
        name = id_of(0)
        bulk = Bulk(
            Source(
                pieces=pieces,
                expander=expander(encoding, largest=largest),
                splitter=splitter(kind),
                kind=kind,
                route=route,
                client=client,
                correlation_id=correlation_id(),
                id_of=id_of,
                after=after,
                most=None if self._streams else _MOST_WHOLE,
                ends=ends,
            ),
            self._intake(),
            lambda operation: f"{self._path}/{ids.address(operation)}",
            room=self._room,
            now=self._now,
        )
        answering = Answering(
            bulk,
            f"{self._path}/bulk/{ids.make_bulk(name, client or '')}",
            partial(self._keep, str(name)),
            partial(self._ended, named, client or ""),
            place.free,
            ends=ends,
        )
        return await self._answer(answering, count=partial(count_messages, request))

    def _id_of(self, key: str | None, client: str, command: str) -> Callable[[int], UUID]:
        """The id of the bulk, for 0, and of each of its lines."""
        if key is None:
            return lambda _: self._new_id()
        return lambda line: id_of_line(key, client, command, line)

    async def _answer(self, answering: Answering, *, count: Callable[[int], None]) -> Response:
        """The answer, as soon as its status is certain or it is too long to wait for that."""
        most, seconds = (_HELD_BYTES, _WAIT_SECONDS) if self._streams else (None, None)
        try:
            is_whole = await answering.hold(most, seconds)
        except BaseException:
            answering.leave()
            raise
        progress = answering.bulk.progress
        is_nothing = not (progress.accepted or progress.refused or progress.failed)
        if is_whole and is_nothing and (progress.error is not None or not progress.through):
            return self._nothing(progress)
        status = status_code(progress) if is_whole else 207
        headers = {"Location": answering.location, "Operation-Id": answering.location.rpartition("/")[2]}
        if status == 503:
            headers["Retry-After"] = str(_RETRY_AFTER)
        return BulkAnswer(answering, status=status, headers=headers, count=count)

    def _nothing(self, progress: Progress) -> Response:
        """Why not a single line was read, in the form of all errors."""
        found = progress.error or {"code": ErrorCode.VALIDATION_ERROR, "message": "The bulk has no message."}
        return error(found["code"], found["message"], now=self._now(), retry_after=found.get("retryAfter"))

    def _has_no_length(self, request: Request) -> bool:
        return not self._streams and declared_length(request) is None and "transfer-encoding" in request.headers

    async def _keep(self, name: str, progress: Progress) -> None:
        """Keep how far a bulk has come; where that fails it is only unknown."""
        try:
            async with asyncio.timeout(_KEEP_SECONDS):
                await self._kept().keep_progress(name, progress.to_json())
        except (AzureError, TimeoutError) as failure:
            log_event("bulk progress not kept", reason=type(failure).__name__)

    async def _ended(self, named: NamedUpload | None, client: str) -> None:
        """All of a bulk is kept; where its upload can't be deleted now, the sweep does it."""
        if named is not None:
            with suppress(MessageError, *FAILURES):
                async with asyncio.timeout(_KEEP_SECONDS):
                    await self._uploads.ended(named, client)

    async def progress(self, request: Request) -> Response:
        """How far a bulk came."""
        found = (await self._signer.ids()).read_bulk(request.path_params["bulkId"])
        client = confined_to(caller_of(request))
        if found is None or (client is not None and found[1] != mark_of(client)):
            return error(ErrorCode.NOT_FOUND, "There is no such bulk.", now=self._now())
        kept = await self._kept().progress(str(found[0]))
        if kept is None:
            progress = Progress(status=Status.UNKNOWN, updated=self._now())
        else:
            progress = Progress.from_json(kept).seen(self._now())
        headers = {"Retry-After": "1"} if progress.status is Status.PROCESSING else {}
        return JSONResponse(progress.to_dict(), headers=headers)


class _Place:
    """One of the few places for bulks, given back once."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places
        self._is_taken = False

    async def take(self) -> None:
        """Raise TimeoutError where none becomes free soon."""
        async with asyncio.timeout(_WAIT_SECONDS):
            await self._places.acquire()
        self._is_taken = True

    def free(self) -> None:
        """Give it back."""
        if self._is_taken:
            self._is_taken = False
            self._places.release()


def _after(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise BadBody(ErrorCode.BAD_REQUEST, "after: must be the number of a line.")
    return int(text)


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


async def _without_errors(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """An upload's pieces; what is wrong with it ends the bulk."""
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece
    except MessageError as wrong:
        raise CannotGoOn(ErrorCode(wrong.code), wrong.message) from None
    except (AzureError, TimeoutError) as failure:
        log_event("storage failed", level=logging.WARNING, reason=f"{type(failure).__name__}: {failure}"[:500])
        raise CannotGoOn(ErrorCode.UNAVAILABLE, _NOT_KEPT, retry_after=_RETRY_AFTER) from None
