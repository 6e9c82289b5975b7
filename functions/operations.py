"""Operations over HTTP: what became of one request, asked for by its address, at once or as soon as it is known.

It is in the inbox record of the message id: several requests may have come under one id.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from shared.authentication import Caller, Role
from shared.http import (
    EVERY_ROLE,
    Operation,
    OperationSigner,
    Route,
    Submission,
    caller_of,
    error,
    mark_of,
    success,
)
from shared.messages import ErrorCode, PayloadHash, Registry, UnknownEventType, UnknownVersion, rfc3339, stored_hashes
from shared.state import StateStore, inbox_key, retry_key

from .openapi import operation_docs

__all__ = [
    "ACCEPTED",
    "CONFLICT",
    "LONGEST_WAIT",
    "MIN_VERSION",
    "VERSION",
    "Became",
    "Operations",
    "became",
    "confined_to",
    "until",
    "wanted_wait",
]

T = TypeVar("T")

LONGEST_WAIT = 20
"""Seconds for which a caller may wait for an end: well below what gateways and clients allow."""
_WAITING_AT_ONCE = 32
"""Of an instance, half of what it lets in when it has most to do; whoever comes then is answered at once."""
_FIRST_LOOK, _SLOWEST_LOOK = 0.1, 1.0
"""Seconds between two looks: a quick end is seen quickly, a slow one costs a read a second."""
RETRY_AFTER = "1"
VERSION, MIN_VERSION = "Sluice-Version", "Sluice-Min-Version"
"""Header of an answer: the number of the newest event that it has. Header of a read: the least one that will do."""
_STATUS = {"done": "succeeded", "dead": "failed"}
"""Inbox status → what an operation says; not there, or open again for a replay, is accepted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Became:
    """Status of an operation, why it failed, and whether another request had brought the same message before.

    Attributes
    ----------
    results:
        Where what was made is read.
    version:
        From which version on the result has what this message changed: the greatest number of its events there; 0
        where nobody knows.
    attempt, next_try:
        The attempt that comes, and when, of a message that was tried before; `now` tells whether that is to come.
    """

    status: str
    code: str = ""
    reason: str = ""
    duplicate: bool = False
    results: Sequence[str] = ()
    version: int = 0
    attempt: int = 1
    next_try: datetime | None = None
    now: datetime | None = None

    @property
    def state(self) -> str:
        """The status in more words."""
        if self.next_try is not None and self.now is not None:
            return "retrying" if self.next_try > self.now else "processing"
        if self.status != "failed":
            return self.status
        return "conflict" if self.code == ErrorCode.MESSAGE_ID_CONFLICT else "deadLettered"

    @property
    def is_final(self) -> bool:
        """Nothing more becomes of it, unless an operator replays it."""
        return self.status in ("succeeded", "failed")

    def columns(self) -> dict[str, Any]:
        """What an answer says beside its status."""
        found: dict[str, Any] = {"state": self.state}
        if self.next_try is not None:
            found |= {"attempt": self.attempt, "nextTry": rfc3339(self.next_try)}
        if self.duplicate:
            found["duplicate"] = True
        if self.results:
            found["links"] = {"results": list(self.results)}
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


@dataclass(kw_only=True)
class Operations:
    """The endpoint of operations.

    Attributes
    ----------
    state:
        Called with the first request, so that nothing connects before.
    protect:
        From the hash of a payload with protected fields to what the inbox keeps of it, and kept under earlier keys.
    public_path:
        What a proxy before the app has in front of its paths; links are relative, but for this.
    """

    state: Callable[[], StateStore]
    signer: OperationSigner
    registry: Registry
    protect: Callable[[str], Awaitable[Sequence[str]]] | None = None
    public_path: str = ""
    now: Callable[[], datetime]
    _waiting: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_WAITING_AT_ONCE))

    def routes(self) -> list[Route]:
        """One, for operations of any command."""
        return [
            Route(
                method="GET",
                path="operations/{operationId}",
                endpoint=self.operation,
                query=frozenset({"request"}),
                access=EVERY_ROLE,  # a producer sees its own: what the operation's id says decides
                docs=operation_docs(),
                seconds=LONGEST_WAIT + 10,
            )
        ]

    async def operation(self, request: Request) -> Response:
        """What became of a message: a point read or two, or as many a second while the caller waits for an end."""
        started = time.perf_counter()
        ids = await self.signer.ids()
        beside = request.query_params.get("request")
        operation = ids.read(request.path_params["operationId"] + ("" if beside is None else f"?request={beside}"))
        caller = caller_of(request)
        if operation is None or not _may_see(caller, operation):  # another client's looks like none
            return self._no_operation()
        seconds, headers = wanted_wait(request.headers.getlist("prefer")), {}
        if seconds and not self._waiting.locked():
            async with self._waiting:
                found = await self._waited(operation, caller, seconds)
            headers["Preference-Applied"] = f"wait={seconds}"
        else:
            found = await self.look(operation, caller)
        if found is None:
            return self._no_operation()
        if not found.is_final:
            headers["Retry-After"] = RETRY_AFTER
        if found.version:
            headers[VERSION] = str(found.version)
        return success(
            found.status,
            message_id=operation.message_id,
            now=self.now(),
            milliseconds=round((time.perf_counter() - started) * 1_000),
            processed=found.status != "accepted",
            headers=headers,
            more=found.columns(),
        )

    async def _waited(self, operation: Operation, caller: Caller | None, seconds: float) -> Became | None:
        """What became of it as soon as it is final, or what it is after some seconds."""
        return await until(lambda found: found is None or found.is_final, lambda: self.look(operation, caller), seconds)

    async def look(self, operation: Operation, caller: Caller | None) -> Became | None:
        """What became of it by now; None where the caller may not know of it."""
        key = inbox_key(operation.message_id)
        row = (await self.state().find(operation.bucket, [key])).get(key)
        if row is None:
            return await self._not_yet(operation)
        own = _sent_by(caller, row)
        if not own and operation.submission is None:
            return None
        found = became(row, operation.submission, await self._hashes(operation, row), own=own)
        if found.status != "succeeded":
            return found
        results = self._results(row)
        version = self._version(row) if results else 0
        return Became(status=found.status, duplicate=found.duplicate, results=results, version=version)

    async def _not_yet(self, operation: Operation) -> Became:
        """Accepted; or tried before, and waiting for the next attempt or in the middle of it."""
        key = retry_key(operation.message_id)
        row = (await self.state().find(operation.bucket, [key])).get(key)
        if row is None:
            return ACCEPTED
        return Became(status="accepted", attempt=int(row["attempt"]), next_try=row["nextTry"], now=self.now())

    async def conflicts(self, operation: Operation) -> bool:
        """Whether a record is there already, of another payload under the same message id."""
        key = inbox_key(operation.message_id)
        row = (await self.state().find(operation.bucket, [key])).get(key)
        if row is None:
            return False
        return became(row, operation.submission, await self._hashes(operation, row), own=False) == CONFLICT

    def _results(self, row: Mapping[str, Any]) -> list[str]:
        """Where what was made is read: the read model that has the name of the path to which commands are posted."""
        try:
            handler = self.registry.handler(str(row.get("eventType")), str(row.get("version")))
        except (UnknownEventType, UnknownVersion):
            return []
        if not handler.route or handler.route not in self.registry.views or not row.get("key"):
            return []
        return [f"{self.public_path}/api/{handler.route}/{quote(str(row['key']), safe='')}"]

    def _version(self, row: Mapping[str, Any]) -> int:
        """The version of the result's row that has everything that the message published."""
        view = self.registry.handler(str(row["eventType"]), str(row["version"])).route
        published: dict[str, int] = from_json(row.get("published") or "{}")
        shown = {one.event_type for one in self.registry.projections_into(view or "")}
        return max((number for event_type, number in published.items() if event_type in shown), default=0)

    async def _hashes(self, operation: Operation, row: Mapping[str, Any]) -> tuple[PayloadHash, ...]:
        """The hash of what a request submitted in every form; keys are asked only where the plain one doesn't fit."""
        if operation.submission is None:
            return ()
        payload = operation.submission.payload
        if payload.is_in(row) or self.protect is None:
            return (payload,)
        return await stored_hashes(payload, self.protect)

    def _no_operation(self) -> Response:
        return error(ErrorCode.NOT_FOUND, "There is no such operation.", now=self.now())


_WAIT = re.compile(r"\s*wait\s*=\s*\"?(\d{1,4})\"?\s*", re.IGNORECASE)


async def until(holds: Callable[[T], bool], look: Callable[[], Awaitable[T]], seconds: float) -> T:
    """What is found when it is as it should be, or after some seconds."""
    loop = asyncio.get_running_loop()
    ends, pause = loop.time() + seconds, _FIRST_LOOK
    while True:
        found = await look()
        left = ends - loop.time()
        if holds(found) or left <= 0:
            return found
        await asyncio.sleep(min(pause, left))
        pause = min(2 * pause, _SLOWEST_LOOK)


def wanted_wait(preferences: Sequence[str]) -> int:
    """The seconds of `Prefer: wait=…` (RFC 7240, 4.3), at most `LONGEST_WAIT`; 0 where nobody wants to wait."""
    for one in ",".join(preferences)[:1_024].split(","):
        if found := _WAIT.fullmatch(one):
            return min(int(found[1]), LONGEST_WAIT)
    return 0


def _may_see(caller: Caller | None, operation: Operation) -> bool:
    client = confined_to(caller)
    return client is None or operation.is_of(client)


def _sent_by(caller: Caller | None, row: Mapping[str, Any]) -> bool:
    """Whether a caller may see a record: an id that another client had used before shows nothing of its message."""
    client = confined_to(caller)
    return client is None or bool(row.get("sender") == mark_of(client).hex())


def confined_to(caller: Caller | None) -> str | None:
    """The client whose operations alone the caller sees: its own, where it only produces; None where it sees all."""
    return caller.client if caller is not None and caller.roles == {Role.PRODUCER} else None
