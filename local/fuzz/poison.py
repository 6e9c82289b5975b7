"""Good orders as the API's senders put them on a lane, and messages that nobody can process, made from a seed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

from azure.servicebus import ServiceBusMessage
from azure.servicebus.amqp import AmqpAnnotatedMessage, AmqpMessageProperties

__all__ = ["LANES", "Poison", "Sendable", "good_order", "poison"]

LANES: Mapping[str, str] = {
    "high": "lane-high",
    "normal": "lane-normal",
    "low": "lane-low",
    "ordered": "lane-ordered",
}
"""The queue of each lane."""

Sendable: TypeAlias = ServiceBusMessage | AmqpAnnotatedMessage

_NAMES = uuid.UUID("6f6f3c62-6a3f-5ad4-9d3e-4b3f5a7e9f10")
_NOW = "2026-11-30T09:00:00+00:00"


@dataclass(frozen=True, kw_only=True)
class Poison:
    """A message that must become exactly one dead letter; `kind` says what is wrong with it."""

    kind: str
    message_id: str
    message: Sendable


def good_order(run: str, number: int, lane: str, *, session: str | None = None) -> tuple[str, ServiceBusMessage]:
    """An order that can be processed, with its message id."""
    identity = str(uuid.uuid5(_NAMES, f"{run}:good:{number}"))
    key = f"fuzz-{run}-{number}"
    return identity, _command(identity, key, lane, _envelope(identity, key), session=session or key)


def poison(chance: Random, run: str, number: int, lane: str, *, session: str | None = None) -> Poison:
    """One bad message; the same for the same chance, run and number."""
    kind = chance.choice(list(_MAKERS))
    identity = str(uuid.uuid5(_NAMES, f"{run}:poison:{number}"))
    key = f"poison-{run}-{number}"
    session = (session or key) if lane == "ordered" else None
    made = _MAKERS[kind](chance, identity, key, lane, session)
    return Poison(kind=kind, message_id=identity, message=made)


def _envelope(identity: str, key: str, **changed: Any) -> bytes:
    data: dict[str, Any] = {
        "orderId": key,
        "placedAt": "2026-05-01T08:26:00Z",
        "customerId": "17850",
        "country": "United Kingdom",
        "lines": [{"sku": "85123A", "description": None, "quantity": 6, "unitPrice": 2.55}],
    }
    envelope = {"messageId": identity, "timestamp": _NOW, "source": "fuzz", "eventType": "order.placed"}
    return json.dumps({**envelope, "version": "1.0", "data": data, **changed}).encode()


def _properties(identity: str, key: str, lane: str) -> dict[str | bytes, Any]:
    return {
        "messageId": identity,
        "eventType": "order.placed",
        "version": "1.0",
        "source": "fuzz",
        "key": key,
        "priority": lane,
        "attempt": 1,
        "firstAttemptAt": _NOW,
        "correlationId": identity,
    }


def _command(
    identity: str,
    key: str,
    lane: str,
    body: bytes,
    *,
    session: str | None = None,
    properties: Mapping[str | bytes, Any] | None = None,
) -> ServiceBusMessage:
    return ServiceBusMessage(
        body,
        message_id=identity,
        content_type="application/json",
        session_id=session if lane == "ordered" else None,
        application_properties=dict(_properties(identity, key, lane) if properties is None else properties),
    )


Maker = Callable[[Random, str, str, str, str | None], Sendable]


def _amqp(**body: Any) -> Maker:
    """A body that isn't data: from a client that knows nothing of the app, so without its properties."""

    def make(chance: Random, identity: str, key: str, lane: str, session: str | None) -> Sendable:
        return AmqpAnnotatedMessage(
            properties=AmqpMessageProperties(message_id=identity, group_id=session),
            application_properties={"JMSType": b"text"} if chance.random() < 0.5 else None,
            **body,
        )

    return make


def _data(make_body: Callable[[Random, str, str], bytes]) -> Maker:
    """Data that can't be read, under properties that can."""

    def make(chance: Random, identity: str, key: str, lane: str, session: str | None) -> Sendable:
        return _command(identity, key, lane, make_body(chance, identity, key), session=session)

    return make


def _wrong_properties(change: Callable[[dict[str | bytes, Any]], Any]) -> Maker:
    def make(chance: Random, identity: str, key: str, lane: str, session: str | None) -> Sendable:
        properties = _properties(identity, key, lane)
        change(properties)
        return _command(identity, key, lane, _envelope(identity, key), session=session, properties=properties)

    return make


_MAKERS: Mapping[str, Maker] = {
    "value: text": _amqp(value_body="a JMS text"),
    "value: map": _amqp(value_body={"a": 1, "b": [True, None, 2.5], "c": b"\x00\xff"}),
    "value: number": _amqp(value_body=7),
    "value: binary": _amqp(value_body=b"\x00\xff"),
    "value: char": _amqp(value_body={"TYPE": "CHAR", "VALUE": "A"}),
    "value: null": _amqp(value_body=None),
    "value: list": _amqp(value_body=[1, "two", [3]]),
    "value: id": _amqp(value_body=uuid.UUID(int=7)),
    "sequence": _amqp(sequence_body=[[1, 2], ["three"]]),
    "data: not JSON": _data(lambda chance, *_: chance.randbytes(chance.randrange(1, 400))),
    "data: empty": _data(lambda *_: b""),
    "data: nested": _data(lambda *_: b"[" * 100_000),
    "data: null": _data(lambda *_: b"null"),
    "data: other id": _data(lambda _, __, key: _envelope(str(uuid.UUID(int=1)), key)),
    "data: wrong model": _data(lambda _, identity, key: _envelope(identity, key, data={"orderId": key, "lines": 7})),
    "properties: none": _wrong_properties(dict.clear),
    "properties: unknown type": _wrong_properties(lambda known: known.update({"eventType": "nobody.knows"})),
    "properties: no lane": _wrong_properties(lambda known: known.update({"priority": "urgent"})),
    "properties: numbers": _wrong_properties(lambda known: known.update({"attempt": -1, "key": 2**30})),
    # a key of its own each: on the ordered lane those of one key would wait behind the first, which blocks it
    "properties: binary": _wrong_properties(lambda known: known.update({"key": b"\x00" + known["key"].encode()})),
    "properties: returns": _wrong_properties(lambda known: known.update({"version": "9", "returns": "many"})),
}
