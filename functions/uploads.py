"""Uploads: payloads over the limit of a body, brought before the message that names them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from uuid import UUID

from azure.core.exceptions import AzureError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.claim_check import LARGEST_UPLOAD, UPLOAD_LIVES, Uploads
from shared.http import PRODUCERS, BadBody, NamedUpload, OperationSigner, Route, caller_of, error, read_body
from shared.messages import ErrorCode, rfc3339

from .openapi import block_docs, upload_docs
from .unavailable import FAILURES, failed

__all__ = ["MOST_BLOCKS", "UploadEndpoints"]

_BLOCKS_AT_ONCE = 4
MOST_BLOCKS = 50_000
"""Of one blob: the storage's own limit, and the only one that a bulk's upload has."""
_WAIT_SECONDS = 30.0
"""How long a message waits for its upload to be read, those before it included."""
_NOT_KEPT = "This could not be kept just now. Send it again."

Endpoint = Callable[[Request], Awaitable[Response]]


class UploadEndpoints:
    """Opens uploads, takes their blocks, and reads what a message names.

    Parameters
    ----------
    uploads:
        Called with the first request, so that nothing connects before.
    block:
        Bytes of the largest block: what a body may have.
    keeps:
        An upload whose message is kept waits for its end, so that the message can be sent again; without, it is
        deleted at once: where payloads are encrypted no plain copy stays.
    """

    def __init__(
        self,
        uploads: Callable[[], Uploads],
        signer: OperationSigner,
        *,
        block: int,
        keeps: bool,
        public_path: str = "",
        now: Callable[[], datetime],
        new_id: Callable[[], UUID],
    ) -> None:
        self._uploads = uploads
        self._signer = signer
        self._block = block
        self._last = (LARGEST_UPLOAD - 1) // block
        self.largest_bulk = MOST_BLOCKS * block
        self._keeps = keeps
        self._path = f"{public_path}/api/uploads"
        self._now = now
        self._new_id = new_id
        self._blocks = asyncio.Semaphore(_BLOCKS_AT_ONCE)
        self._reading = asyncio.Semaphore(1)

    def routes(self) -> list[Route]:
        """One opens an upload, one takes its blocks."""
        return [
            Route(
                method="POST",
                path="uploads",
                endpoint=self.open,
                access=PRODUCERS,
                query=frozenset({"for"}),
                docs=upload_docs(),
            ),
            *(
                Route(
                    method="PUT",
                    path=path,
                    endpoint=partial(self.put_block, bulk=bulk),
                    access=PRODUCERS,
                    docs=block_docs(self._last_of(bulk=bulk), bulk=bulk),
                )
                for path, bulk in (
                    ("uploads/{uploadId}/blocks/{number}", False),
                    ("uploads/bulk/{uploadId}/blocks/{number}", True),
                )
            ),
        ]

    async def open(self, request: Request) -> Response:
        """Open an upload, of a message or of a bulk; nothing is stored yet."""
        now, name = self._now(), self._new_id()
        ends, wanted = now + UPLOAD_LIVES, request.query_params.get("for", "message")
        if wanted not in ("message", "bulk"):
            return error(ErrorCode.BAD_REQUEST, "for: must be message or bulk.", now=now)
        bulk = wanted == "bulk"
        try:
            upload_id = (await self._signer.ids()).make_upload(name, _client_of(request), ends=ends, bulk=bulk)
            link = await self._uploads().link(str(name), now=now)
        except FAILURES as failure:
            return failed(failure, _NOT_KEPT, now=now)
        body = {
            "uploadId": upload_id,
            "status": "open",
            "timestamp": rfc3339(now),
            "expires": rfc3339(ends),
            "largest": self.largest_bulk if bulk else LARGEST_UPLOAD,
            "blocks": {
                "path": f"{self._path}/{'bulk/' if bulk else ''}{upload_id}/blocks/{{number}}",
                "size": self._block,
            },
            "link": None,
        }
        if link is not None:
            headers = {"x-ms-blob-type": "BlockBlob"}
            body["link"] = {"url": link[0], "method": "PUT", "headers": headers, "expires": rfc3339(link[1])}
        return JSONResponse(body, status_code=201)

    async def put_block(self, request: Request, *, bulk: bool) -> Response:
        """Keep a block of an upload; the same number again replaces it."""
        now = self._now()
        try:
            name = await self._name(request.path_params["uploadId"], _client_of(request), bulk=bulk)
            number = _number(request.path_params["number"], self._last_of(bulk=bulk))
            async with self._blocks:
                block = await read_body(request, limit=self._block)
                if not block:
                    raise BadBody(ErrorCode.BAD_REQUEST, "A block has bytes.")
                await self._uploads().put_block(name, number, block)
        except BadBody as refused:
            return error(refused.code, refused.message, now=now)
        except FAILURES as failure:
            return failed(failure, _NOT_KEPT, now=now)
        return Response(status_code=204)

    @asynccontextmanager
    async def taken(self, named: NamedUpload, client: str) -> AsyncIterator[bytes]:
        """The upload that a message of this client names; within the block the message is kept.

        One at a time: each is held whole.

        Raises
        ------
        BadBody
            The client has no such upload.
        ClaimMissing, ClaimChanged
            Nothing was uploaded, or not what the message says. Errors of Blob storage are passed on.
        """
        name = await self._name(named.id, client, bulk=False)
        async with asyncio.timeout(_WAIT_SECONDS) as waiting, self._reading:
            payload = await self._uploads().get(name, size=named.size, sha256=named.sha256)
            waiting.reschedule(None)
            yield payload
        if not self._keeps:
            with suppress(AzureError, TimeoutError):  # the message is kept: the sweep deletes it then
                await self._uploads().delete(name)

    async def streamed(self, named: NamedUpload, client: str) -> AsyncGenerator[bytes, None]:
        """The same in pieces, as a bulk reads it, whose size doesn't matter then.

        It is read twice: nothing is done with what isn't what the client says.

        Raises
        ------
        BadBody
            The client has no such upload. Once it is read, what `taken` raises.
        """
        name = await self._name(named.id, client, bulk=True)

        async def pieces() -> AsyncGenerator[bytes, None]:
            for pass_on in (False, True):
                async with aclosing(self._uploads().stream(name, size=named.size, sha256=named.sha256)) as opened:
                    async for piece in opened:
                        if pass_on:
                            yield piece

        return pieces()

    async def ended(self, named: NamedUpload, client: str) -> None:
        """Delete the upload of a bulk that is kept, where payloads are encrypted."""
        if not self._keeps:
            with suppress(AzureError, TimeoutError):  # the sweep deletes it then
                await self._uploads().delete(await self._name(named.id, client, bulk=True))

    async def _name(self, upload_id: str, client: str, *, bulk: bool) -> str:
        name = (await self._signer.ids()).read_upload(upload_id, client, now=self._now(), bulk=bulk)
        if name is None:
            raise BadBody(ErrorCode.NOT_FOUND, "There is no such upload, or it has ended.")
        return str(name)

    def _last_of(self, *, bulk: bool) -> int:
        """The number of the last block."""
        return MOST_BLOCKS - 1 if bulk else self._last


def _number(text: str, last: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= last):
        raise BadBody(ErrorCode.BAD_REQUEST, f"A block's number is 0 to {last}.")
    return int(text)


def _client_of(request: Request) -> str:
    """The caller's name; empty where callers aren't checked at all."""
    caller = caller_of(request)
    return "" if caller is None else caller.client
