"""Commands over HTTP: accepted, and asked about by the id of their operation.

What became of one request is in the inbox record of its message id: several requests may have come under one id.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from shared.authentication import Caller, Role
from shared.claim_check import LARGEST_UPLOAD
from shared.http import (
    EVERY_ROLE,
    PRODUCERS,
    BadBody,
    Intake,
    Operation,
    OperationSigner,
    Refused,
    Route,
    Submission,
    accepted,
    caller_of,
    correlation_id,
    declared_length,
    error,
    mark_of,
    media_type,
    named_upload,
    read_body,
    success,
)
from shared.messages import ErrorCode, Handler, MessageError, PayloadHash, stored_hashes
from shared.state import StateStore, inbox_key

from .openapi import command_docs, operation_docs
from .unavailable import FAILURES, failed
from .uploads import UploadEndpoints

__all__ = ["ACCEPTED", "CONFLICT", "Became", "Commands", "became"]

_STATUS = {"done": "succeeded", "dead": "failed"}
"""Inbox status → what an operation says; not there, or open again for a replay, is accepted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Became:
    """Status of an operation, why it failed, and whether another request had brought the same message before."""

    status: str
    code: str = ""
    reason: str = ""
    duplicate: bool = False

    def columns(self) -> dict[str, Any]:
        """What an answer says beside its status."""
        found: dict[str, Any] = {"duplicate": True} if self.duplicate else {}
        if self.status == "failed":
            found["error"] = {"code": self.code, "message": self.reason, "details": {}}
        return found


ACCEPTED = Became(status="accepted")
CONFLICT = Became(
    status="failed",
    code=ErrorCode.MESSAGE_ID_CONFLICT,
    reason="This message id was used before for another payload; a new message needs a new id.",
)


def became(
    row: Mapping[str, Any], submission: Submission | None, hashes: Sequence[PayloadHash], *, own: bool
) -> Became:
    """What became of a request.

    Parameters
    ----------
    submission:
        What it submitted; None where its address doesn't say, as those of earlier releases.
    hashes:
        Its payload's hash in every form in which the record may have it.
    own:
        Whether the asking client may read the record: the reason of a failure may quote what another one sent.
    """
    known = bool(row.get("payloadSha256") or row.get("payloadHash"))
    own_request = submission is not None and row.get("request") == submission.request
    if submission is not None and known and not own_request and not any(one.is_in(row) for one in hashes):
        return CONFLICT  # of its own request another payload is what an operator edited
    duplicate = submission is not None and row.get("request", submission.request) != submission.request
    status = _STATUS.get(row["status"], "accepted")
    if status != "failed":
        return Became(status=status, duplicate=duplicate)
    reason = str(row.get("reason", "")) if own else "The same message was refused before."
    return Became(status=status, code=str(row.get("code", "")), reason=reason, duplicate=duplicate)


LARGE_BODY = 256 * 1024


class Commands:
    """The endpoints of commands. Each returns a Response; what goes wrong on purpose is answered in the one format.

    Parameters
    ----------
    intake, state:
        Called with the first request, so that nothing connects before.
    max_body:
        Bytes of the largest body that is read.
    public_path:
        What a proxy before the app has in front of its paths; links are relative, but for this.
    protect:
        From the hash of a payload with protected fields to what the inbox keeps of it, and kept under earlier keys.
    """

    def __init__(
        self,
        intake: Callable[[], Intake],
        state: Callable[[], StateStore],
        signer: OperationSigner,
        uploads: UploadEndpoints,
        *,
        max_body: int,
        public_path: str = "",
        protect: Callable[[str], Awaitable[Sequence[str]]] | None = None,
        now: Callable[[], datetime],
    ) -> None:
        self._intake = intake
        self._state = state
        self._signer = signer
        self._uploads = uploads
        self._max_body = max_body
        self._operations_path = f"{public_path}/api/operations"
        self._protect = protect
        self._now = now

    def routes(self, handlers: Mapping[str, Handler], commands: Sequence[Handler] = ()) -> list[Route]:
        """One for any command, one for each handler that has a path of its own, and one for operations.

        Parameters
        ----------
        handlers:
            By path under the prefix.
        commands:
            The handlers of all commands, for the description.
        """
        paths: Mapping[str, Handler | None] = {"messages": None, **handlers}
        return [
            *(
                Route(
                    method="POST",
                    path=path,
                    endpoint=self._taking(handler),
                    access=PRODUCERS,
                    docs=command_docs(handler, commands),
                    direct=True,
                )
                for path, handler in paths.items()
            ),
            Route(
                method="GET",
                path="operations/{operationId}",
                endpoint=self.operation,
                query=frozenset({"request"}),
                access=EVERY_ROLE,  # a producer sees its own: what the operation's id says decides
                docs=operation_docs(),
            ),
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
            message_id = _asked_id(request)
            operations = await self._signer.ids()  # what can't be signed isn't accepted
            kind = media_type(request)
            caller = caller_of(request)
            client = None if caller is None else caller.client
            # Few at once: a large body costs many times its size in memory.
            async with nullcontext() if _is_small(request) else self._intake().large:
                body = await read_body(request, limit=self._max_body)
                named = named_upload(body, largest=LARGEST_UPLOAD)
                async with nullcontext(body) if named is None else self._uploads.taken(named, client or "") as whole:
                    command = await self._intake().read(whole, kind=kind, route=route, asked_id=message_id)
                    message_id = command.message_id
                    operation = await self._intake().accept(command, correlation_id=correlation_id(), client=client)
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

    async def operation(self, request: Request) -> Response:
        """What became of a message: one point read."""
        started = time.perf_counter()
        ids = await self._signer.ids()
        beside = request.query_params.get("request")
        operation = ids.read(request.path_params["operationId"] + ("" if beside is None else f"?request={beside}"))
        if operation is None or not _may_see(caller_of(request), operation):  # another client's looks like none
            return self._no_operation()
        key = inbox_key(operation.message_id)
        row = (await self._state().find(operation.bucket, [key])).get(key)
        found = ACCEPTED
        if row is not None:
            own = _sent_by(caller_of(request), row)
            if not own and operation.submission is None:
                return self._no_operation()
            found = became(row, operation.submission, await self._hashes(operation, row), own=own)
        return success(
            found.status,
            message_id=operation.message_id,
            now=self._now(),
            milliseconds=round((time.perf_counter() - started) * 1_000),
            processed=found.status != "accepted",
            more=found.columns(),
        )

    async def _hashes(self, operation: Operation, row: Mapping[str, Any]) -> tuple[PayloadHash, ...]:
        """The hash of what a request submitted in every form; keys are asked only where the plain one doesn't fit."""
        if operation.submission is None:
            return ()
        payload = operation.submission.payload
        if payload.is_in(row) or self._protect is None:
            return (payload,)
        return await stored_hashes(payload, self._protect)

    def _no_operation(self) -> Response:
        return error(ErrorCode.NOT_FOUND, "There is no such operation.", now=self._now())


def _may_see(caller: Caller | None, operation: Operation) -> bool:
    client = _confined_to(caller)
    return client is None or operation.is_of(client)


def _sent_by(caller: Caller | None, row: Mapping[str, Any]) -> bool:
    """Whether a caller may see a record: an id that another client had used before shows nothing of its message."""
    client = _confined_to(caller)
    return client is None or bool(row.get("sender") == mark_of(client).hex())


def _confined_to(caller: Caller | None) -> str | None:
    """The client whose operations alone the caller sees: its own, where it only produces; None where it sees all."""
    return caller.client if caller is not None and caller.roles == {Role.PRODUCER} else None


def _is_small(request: Request) -> bool:
    """What doesn't say how long it is may be long."""
    declared = declared_length(request)
    return declared is not None and declared <= LARGE_BODY


def _asked_id(request: Request) -> UUID | None:
    text = request.headers.get("idempotency-key")
    if text is None:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise BadBody(ErrorCode.BAD_REQUEST, "Idempotency-Key must be a UUID.") from None
