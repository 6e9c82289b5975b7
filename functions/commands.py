"""Commands over HTTP: accepted, each with the address of its operation."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from shared.claim_check import LARGEST_UPLOAD
from shared.http import (
    PRODUCERS,
    BadBody,
    Intake,
    Operation,
    OperationSigner,
    Refused,
    Route,
    accepted,
    caller_of,
    content_encoding,
    contract_version,
    correlation_id,
    count_messages,
    declared_length,
    error,
    id_under,
    idempotency_key,
    media_type,
    named_upload,
    read_body,
)
from shared.messages import ErrorCode, Handler, MessageError

from .openapi import command_docs
from .operations import Operations
from .unavailable import FAILURES, failed
from .uploads import UploadEndpoints

__all__ = ["Commands"]

LARGE_BODY = 256 * 1024
_LOOK_SECONDS = 1.0
"""What looking a key up may take; the message is taken without, since it is looked up again before it is handled."""


class Commands:
    """The endpoints of commands. Each returns a Response; what goes wrong on purpose is answered in the one format.

    Parameters
    ----------
    intake:
        Called with the first request, so that nothing connects before.
    operations:
        Tells whether a key was used before for another payload.
    max_body:
        Bytes of the largest body that is read.
    public_path:
        What a proxy before the app has in front of its paths; links are relative, but for this.
    """

    def __init__(
        self,
        intake: Callable[[], Intake],
        signer: OperationSigner,
        operations: Operations,
        uploads: UploadEndpoints,
        *,
        max_body: int,
        public_path: str = "",
        now: Callable[[], datetime],
    ) -> None:
        self._intake = intake
        self._signer = signer
        self._operations = operations
        self._uploads = uploads
        self._max_body = max_body
        self._operations_path = f"{public_path}/api/operations"
        self._now = now

    def routes(self, handlers: Mapping[str, Handler], commands: Sequence[Handler] = ()) -> list[Route]:
        """One for any command, and one for each handler that has a path of its own.

        Parameters
        ----------
        handlers:
            By path under the prefix.
        commands:
            The handlers of all commands, for the description.
        """
        paths: Mapping[str, Handler | None] = {"messages": None, **handlers}
        return [
            Route(
                method="POST",
                path=path,
                endpoint=self._taking(handler),
                access=PRODUCERS,
                docs=command_docs(handler, commands),
                direct=True,
            )
            for path, handler in paths.items()
        ]

    def _taking(self, handler: Handler | None) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return await self.command(request, handler)

        return endpoint

    async def command(self, request: Request, route: Handler | None) -> Response:
        """Take a command in."""
        started = time.perf_counter()
        message_id: UUID | None = None
        try:
            caller = caller_of(request)
            client = None if caller is None else caller.client
            key = idempotency_key(request.headers.getlist("idempotency-key"))
            event_type = "" if route is None else route.event_type
            asked_id = message_id = None if key is None else id_under(key, client or "", event_type)
            operations = await self._signer.ids()  # what can't be signed isn't accepted
            kind, given = media_type(request), request.headers
            is_named = "message-version" in given or ";" in given["content-type"]
            version = contract_version(request) if is_named else None
            content_encoding(request)
            # Few at once: a large body costs many times its size in memory.
            async with nullcontext() if _is_small(request) else self._intake().large:
                body = await read_body(request, limit=self._max_body)
                named = named_upload(body, largest=LARGEST_UPLOAD)
                async with nullcontext(body) if named is None else self._uploads.taken(named, client or "") as whole:
                    command = await self._intake().read(
                        whole, kind=kind, route=route, asked_id=asked_id, version=version
                    )
                    message_id = command.message_id
                    operation = self._intake().operation_of(command, client=client)
                    if message_id == asked_id and await self._is_known_otherwise(operation):
                        raise Refused(_used_before(), str(message_id))
                    await self._intake().accept(command, operation, correlation_id=correlation_id(), client=client)
                    count_messages(request, 1)
        except MessageError as refused:
            return error(refused.code, refused.message, now=self._now(), details=refused.details)
        except Refused as refused:
            return error(
                refused.error.code,
                refused.error.message,
                now=self._now(),
                message_id=refused.message_id,
                details=refused.error.details,
            )
        except FAILURES as failure:
            return failed(failure, now=self._now(), message_id=message_id)
        milliseconds = round((time.perf_counter() - started) * 1_000)
        location = f"{self._operations_path}/{operations.address(operation)}"
        return accepted(operation.message_id, location=location, now=self._now(), milliseconds=milliseconds)

    async def _is_known_otherwise(self, operation: Operation) -> bool:
        """Whether the key was used for another payload, as far as a quick look tells: the worker finds out for sure."""
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                return await self._operations.conflicts(operation)
        except FAILURES:
            return False


def _used_before() -> MessageError:
    return BadBody(
        ErrorCode.MESSAGE_ID_CONFLICT, "This key was used before for another payload; a new message needs a new key."
    )


def _is_small(request: Request) -> bool:
    """What doesn't say how long it is may be long."""
    declared = declared_length(request)
    return declared is not None and declared <= LARGE_BODY
