"""From a request's body to a command: strict parsing, the envelope made where it is missing, validation."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from shared.messages import (
    CLOUD_EVENT_TYPE,
    EVERY_INTEGER,
    MAX_DEPTH,
    Envelope,
    Handler,
    InvalidMessage,
    MessageError,
    PayloadHash,
    Registry,
    UnknownEventType,
    check_depth,
    envelope_from,
    former_id_of,
    in_attributes,
    parse_strict,
    payload_hash,
    refuse_named_twice,
    refuse_unknown,
    rfc3339,
    unknown_fields,
    write_json,
)

__all__ = ["Command", "Refused", "read_command", "wrapped"]


class Refused(Exception):
    """A body that is no command; carries the message id where one could be read."""

    def __init__(self, error: MessageError, message_id: str | None) -> None:
        super().__init__(error.message)
        self.error = error
        self.message_id = message_id


@dataclass(frozen=True, slots=True)
class Command:
    """A validated command and its bytes as they will travel."""

    handler: Handler
    message_id: UUID
    source: str
    data: BaseModel
    body: bytes
    payload: PayloadHash
    former_id: UUID | None = None


def read_command(
    body: bytes,
    *,
    kind: str,
    registry: Registry,
    route: Handler | None,
    fallback_id: UUID,
    now: datetime,
    refuse: bool = False,
    version: str | None = None,
) -> Command:
    """Read a command.

    Parameters
    ----------
    kind:
        Media type: an envelope in JSON, or a CloudEvent.
    route:
        The handler whose path was posted to; then the bare data is taken too, under `fallback_id`.
    refuse:
        Whether fields that no contract has are refused for every handler, not only where a handler says so itself.
    version:
        That of bare data, where the sender says one; else it is of the route's own.

    Raises
    ------
    Refused
        Says what is wrong with the body; nothing was sent.
    """
    message_id: str | None = None
    former_id: UUID | None = None
    try:
        parsed = parse_strict(body)
        if not isinstance(parsed, dict):
            raise InvalidMessage("The body must be a JSON object.")
        if kind == CLOUD_EVENT_TYPE:
            former_id = former_id_of(parsed)
            parsed = envelope_from(parsed, now=now)
            body = write_json(parsed).encode()
        elif route is not None and parsed.keys().isdisjoint(("eventType", "messageId", "data")):
            bare = route if version is None else registry.handler(route.event_type, version)
            body, parsed = wrapped(body, parsed, bare, message_id=fallback_id, source=f"/{route.route}", now=now)
        if isinstance(parsed.get("messageId"), str):
            message_id = parsed["messageId"][:64]
        handler = _handler(parsed, registry, route)
        body, envelope = _decoded(handler, body, parsed)
        sent = handler.as_sent(body) if handler.upcasters else envelope
        if sent is not None and handler.may_be_named_twice(body):
            refuse_named_twice(sent, parsed)
        if sent is not None and (refuse or handler.refuses_unknown_fields):
            refuse_unknown(list(unknown_fields(sent, parsed)))
        handler.new_key_of(envelope.data)
        payload = payload_hash(handler.event_type, handler.version, parsed["data"])
        return Command(handler, envelope.message_id, envelope.source, envelope.data, body, payload, former_id)
    except InvalidMessage as error:
        raise Refused(in_attributes(error) if kind == CLOUD_EVENT_TYPE else error, message_id) from error
    except MessageError as error:
        raise Refused(error, message_id) from error


def _decoded(handler: Handler, body: bytes, parsed: Any) -> tuple[bytes, Envelope[Any]]:
    """The envelope, and the body that says the same; 3.0 is written as 3 where a whole number is wanted (JSON Schema,
    "integer"): a worker of the release before refuses the one and reads the other.
    """
    try:
        return body, handler.decode(body)
    except InvalidMessage:
        if not any(mark in body for mark in (b".0", b"e", b"E")):
            raise
        whole = write_json(_whole(parsed)).encode()
        with suppress(InvalidMessage):
            return whole, handler.decode(whole)
        raise


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < EVERY_INTEGER else value


def wrapped(
    body: bytes, parsed: Mapping[str, Any], handler: Handler, *, message_id: UUID, source: str, now: datetime
) -> tuple[bytes, dict[str, Any]]:
    """An envelope around bare data, which stays as it was sent, byte for byte: numbers aren't rewritten.

    Raises
    ------
    MalformedJson
        It is nested too deep.
    """
    head = {
        "messageId": str(message_id),
        "timestamp": rfc3339(now),
        "source": source,
        "eventType": handler.event_type,
        "version": handler.version,
    }
    text = json.dumps(head, separators=(",", ":"))
    if body.count(b"{") + body.count(b"[") >= MAX_DEPTH:
        check_depth([parsed])  # the envelope adds a level, and the worker counts it
    return text[:-1].encode() + b',"data":' + body + b"}", {**head, "data": parsed}


def _handler(parsed: Mapping[str, Any], registry: Registry, route: Handler | None) -> Handler:
    event_type, version = parsed.get("eventType"), parsed.get("version")
    if not isinstance(event_type, str) or not isinstance(version, str):
        missing = [
            {"field": name, "message": "must be a text"}
            for name, value in (("eventType", event_type), ("version", version))
            if not isinstance(value, str)
        ]
        fields = " and ".join(item["field"] for item in missing)
        raise InvalidMessage(f"{fields}: must be a text", details={"errors": missing, "count": len(missing)})
    if route is not None and event_type != route.event_type:
        finding = {"field": "eventType", "message": f"must be {route.event_type!r} on this path"}
        raise InvalidMessage(f"eventType: {finding['message']}", details={"errors": [finding], "count": 1})
    handler = registry.handler(event_type, version)
    if handler.webhook is not None or handler.internal:  # its sender's signature, or the app itself, vouches for it
        raise UnknownEventType("No integration takes this event type as a command.")
    return handler
