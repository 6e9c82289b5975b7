"""A command on its way from one handler to another: validated, addressed, and named so that it is done once."""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self
from uuid import UUID, uuid5

from pydantic import BaseModel

from .envelope import Headers
from .errors import InvalidMessage
from .registry import Handler
from .strict_json import rfc3339

__all__ = ["OutgoingCommand", "address"]

_NAMESPACE = UUID("0d8f6f0a-55e2-5a7d-9a54-5a0b5c6f2a41")
"""Own namespace for the ids of commands that handlers send; fixed for good."""

MAX_BYTES = 192 * 1024
"""Largest body: 256 KiB of a Service Bus message (standard tier) less the 64 KiB that its properties may take."""


@dataclass(frozen=True, slots=True)
class OutgoingCommand:
    """Headers and body of a command."""

    headers: Headers
    body: bytes

    def follow(self, sender: Headers, *, number: int, traceparent: str | None) -> Self:
        """The command as a message sends it: its id follows from the sender's, so sending it again changes nothing."""
        message_id = uuid5(_NAMESPACE, f"{sender.message_id}:{number}")
        headers = replace(
            self.headers, message_id=message_id, correlation_id=sender.correlation_id, traceparent=traceparent
        )
        body = json.loads(self.body) | {"messageId": str(message_id)}
        return replace(self, headers=headers, body=json.dumps(body, separators=(",", ":")).encode())

    def to_json(self) -> bytes:
        """Headers and body as one JSON object, as the outbox keeps them."""
        whole = {"properties": self.headers.to_properties(), "body": self.body.decode()}
        return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a command back from the outbox."""
        whole: dict[str, Any] = json.loads(text)
        return cls(Headers.from_properties(whole["properties"]), whole["body"].encode())


def address(handler: Handler, data: BaseModel, *, source: str, now: datetime) -> OutgoingCommand:
    """A command to the handler of a contract.

    Raises
    ------
    InvalidMessage
        The data isn't what the handler takes, or more than a queue takes.
    """
    envelope = {
        "messageId": str(UUID(int=0)),
        "timestamp": rfc3339(now),
        "source": source,
        "eventType": handler.event_type,
        "version": handler.version,
        "data": data.model_dump(mode="json", by_alias=True),
    }
    body = json.dumps(envelope, separators=(",", ":")).encode()
    try:
        decoded = handler.decode(body).data
    except InvalidMessage as error:
        raise InvalidMessage(f"{handler.event_type} can't be sent: {error.message}", details=error.details) from None
    if len(body) > MAX_BYTES:  # in the outbox it would hold up everything behind it
        raise InvalidMessage(f"{handler.event_type} can't be sent: {len(body)} bytes, a command takes {MAX_BYTES}")
    headers = Headers(
        message_id=UUID(int=0),
        event_type=handler.event_type,
        version=handler.version,
        source=source,
        key=handler.key_of(decoded),
        lane=handler.lane_of(decoded),
        correlation_id="",
        first_attempt_at=now,
    )
    return OutgoingCommand(headers, body)
