"""Takes a command in: claim check where it is large, then its lane. Nothing else is written on the way."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any
from uuid import UUID

from opentelemetry.trace import Span, SpanKind

from shared.claim_check import ClaimStore
from shared.messages import Handler, Headers, Lane, Registry, write_json
from shared.sending import Lanes, NotSent, Together
from shared.state import bucket_of
from shared.telemetry import Name, current_traceparent, hiding, log_event, messaging, span

from .commands import Command, read_command, wrapped
from .operations import Operation, Submission, mark_of

__all__ = ["Intake"]

_IN_THREAD = 256 * 1024
"""Larger bodies are parsed outside the event loop."""
_LARGE_AT_ONCE = 2
CLAIM_SECONDS, CLAIM_PACE = 10.0, 4 * 1024 * 1024
"""What the upload of a claim may take: so long, and a second more for each so many bytes."""


class Intake:
    """From body to broker."""

    def __init__(
        self,
        *,
        registry: Registry,
        claims: ClaimStore,
        lanes: Lanes,
        claim_threshold: int,
        buckets: int,
        now: Callable[[], datetime],
        new_id: Callable[[], UUID],
        refuse_unknown_fields: bool = False,
    ) -> None:
        self._registry = registry
        self._claims = claims
        self._lanes = lanes
        self._threshold = claim_threshold
        self._buckets = buckets
        self._now = now
        self._new_id = new_id
        self._refuse = refuse_unknown_fields
        self.large = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def read(
        self, body: bytes, *, kind: str, route: Handler | None, asked_id: UUID | None, version: str | None = None
    ) -> Command:
        """Validate a body; raises Refused. `version` is that of bare data, where its sender says one."""
        fallback, now = asked_id or self._new_id(), self._now()

        def read() -> Command:
            return read_command(
                body,
                kind=kind,
                registry=self._registry,
                route=route,
                fallback_id=fallback,
                now=now,
                refuse=self._refuse,
                version=version,
            )

        return read() if len(body) <= _IN_THREAD else await asyncio.to_thread(read)

    def operation_of(self, command: Command, *, client: str | None) -> Operation:
        """The operation of a command that a client is sending, with the number of this very request."""
        bucket = bucket_of(command.handler.key_of(command.data), self._buckets)
        submission = Submission(self._new_id().hex[:16], command.payload)
        return Operation(command.message_id, bucket, client or "", submission=submission)

    async def accept(
        self,
        command: Command,
        operation: Operation | None = None,
        *,
        correlation_id: str,
        client: str | None = None,
    ) -> Operation:
        """Return when the command is kept.

        Raises
        ------
        NotSent
            The broker doesn't confirm it.
        TimeoutError
            Blob storage doesn't take the payload in time; its own errors are passed on.
        """
        key = command.handler.key_of(command.data)
        operation = operation or self.operation_of(command, client=client)
        lane, key = _lane_of(command), command.handler.key_of(command.data)
        with _sending(command.handler, command.message_id, command.body, key=key, lane=lane, about=correlation_id):
            headers, body = await self._of_request(command, operation, correlation_id, client)
            await self._lanes.send(headers, body)
        return operation

    async def prepare(
        self, command: Command, operation: Operation, *, correlation_id: str, client: str | None
    ) -> tuple[Headers, bytes]:
        """A command as `send_all` takes it; a large payload is kept beside it.

        Raises
        ------
        KeysUnavailable, TimeoutError
            As `accept`; errors of Blob storage are passed on.
        """
        return await self._lanes.encrypted(*await self._of_request(command, operation, correlation_id, client))

    async def _of_request(
        self, command: Command, operation: Operation, correlation_id: str, client: str | None
    ) -> tuple[Headers, bytes]:
        return await self._addressed(
            command.handler,
            command.message_id,
            command.body,
            key=command.handler.key_of(command.data),
            lane=_lane_of(command),
            source=command.source,
            correlation_id=correlation_id,
            client=client,
            request=None if operation.submission is None else operation.submission.request,
            former_id=command.former_id,
        )

    async def send_all(self, prepared: Sequence[tuple[Headers, bytes]], together: Together) -> list[NotSent | None]:
        """Send prepared commands in their order; None for each that its lane has taken."""
        return await self._lanes.send_all(prepared, together)

    async def take(
        self,
        handler: Handler,
        message_id: UUID,
        content: Mapping[str, Any],
        raw: bytes | None = None,
        *,
        source: str,
        correlation_id: str,
        client: str,
    ) -> None:
        """Return when data is kept that nobody sends a second time in another form: what its handler can't read
        becomes a dead letter, under the message's id as its key.

        Parameters
        ----------
        content, raw:
            The data, and its bytes where they are there.

        Raises
        ------
        MalformedJson
            It is nested too deep.
        NotSent, TimeoutError
            As `accept`.
        """
        data = write_json(content).encode() if raw is None else raw
        body, _ = wrapped(data, content, handler, message_id=message_id, source=source, now=self._now())
        lane = handler.priority if isinstance(handler.priority, Lane) else Lane.NORMAL
        try:
            read = handler.decode(body).data
            key = handler.key_of(read)
            with hiding(read):
                lane = handler.lane_of(read)
        except Exception as failure:  # a model's own code may raise anything
            log_event("not readable", level=logging.WARNING, source=source, reason=type(failure).__name__)
            key = str(message_id)
        with _sending(handler, message_id, body, key=key, lane=lane, about=correlation_id):
            headers, body = await self._addressed(
                handler,
                message_id,
                body,
                key=key,
                lane=lane,
                source=source,
                correlation_id=correlation_id,
                client=client,
            )
            await self._lanes.send(headers, body)

    async def _addressed(
        self,
        handler: Handler,
        message_id: UUID,
        body: bytes,
        *,
        key: str,
        lane: Lane,
        source: str,
        correlation_id: str,
        client: str | None,
        request: str | None = None,
        former_id: UUID | None = None,
    ) -> tuple[Headers, bytes]:
        claim = None
        if len(body) > self._threshold:
            with span("put claim", kind=SpanKind.CLIENT) as putting:
                async with asyncio.timeout(CLAIM_SECONDS + len(body) / CLAIM_PACE):
                    claim, body = await self._claims.put(message_id, body), b""
                putting.set_attribute(Name.CLAIM_SIZE, claim.size)
        headers = Headers(
            message_id=message_id,
            event_type=handler.event_type,
            version=handler.version,
            source=source,
            key=key,
            lane=lane,
            correlation_id=correlation_id,
            first_attempt_at=self._now(),
            traceparent=current_traceparent(),
            claim=claim.name if claim else None,
            claim_sha256=claim.sha256 if claim else None,
            claim_size=claim.size if claim else None,
            claim_encoding=claim.encoding if claim else None,
            sender=None if client is None else mark_of(client).hex(),
            request=request,
            former_id=former_id,
        )
        return headers, body


def _sending(
    handler: Handler, message_id: UUID, body: bytes, *, key: str, lane: Lane, about: str
) -> AbstractContextManager[Span]:
    attributes = messaging(
        "send",
        lane.value,
        MESSAGE_ID=str(message_id),
        CONVERSATION_ID=about,
        KEY=key,
        EVENT_TYPE=handler.event_type,
        BODY_SIZE=len(body),
    )
    return span(f"send {lane.value}", kind=SpanKind.PRODUCER, attributes=attributes)


def _lane_of(command: Command) -> Lane:
    with hiding(command.data):
        return command.handler.lane_of(command.data)
