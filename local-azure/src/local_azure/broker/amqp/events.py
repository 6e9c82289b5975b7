"""What the engine tells its owner about: one small record per thing that the peer did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from local_azure.broker.amqp.outcomes import Outcome
from local_azure.broker.amqp.performatives import Open

if TYPE_CHECKING:
    from local_azure.broker.amqp.link import IncomingLink, Link, OutgoingLink

__all__ = [
    "ConnectionClosed",
    "ConnectionOpened",
    "CreditChanged",
    "DeliveryReceived",
    "DeliverySettled",
    "Event",
    "LinkAttached",
    "LinkDetached",
]


@dataclass(frozen=True, slots=True)
class ConnectionOpened:
    """The client sent `open`; the answer is on its way."""

    open: Open


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """The connection is over, by either side's `close`; every link was reported detached before."""


@dataclass(frozen=True, slots=True)
class LinkAttached:
    """The client asks for a link: answer with `link.accept(...)` or `link.refuse(...)`."""

    link: Link


@dataclass(frozen=True, slots=True)
class LinkDetached:
    """The link is over: nothing more arrives on it, and nothing more may be sent."""

    link: Link


@dataclass(frozen=True, slots=True)
class CreditChanged:
    """The receiver granted credit, took it away, or wants what is there (`link.drain`)."""

    link: OutgoingLink


@dataclass(frozen=True, slots=True)
class DeliveryReceived:
    """A whole message arrived. Unless `settled`, it waits for `link.settle(delivery_id, ...)`.

    `oversized` messages exceeded the link's limit: their payload was thrown away. `transaction` is the id of the
    transaction that the message belongs to, if any.
    """

    link: IncomingLink
    delivery_id: int
    payload: bytes
    message_format: int
    settled: bool
    oversized: bool = False
    transaction: bytes | None = None


@dataclass(frozen=True, slots=True)
class DeliverySettled:
    """The receiver gave an outcome. Unless `settled`, it waits for `link.settle(delivery_id, ...)`."""

    link: OutgoingLink
    delivery_id: int
    tag: bytes
    outcome: Outcome
    settled: bool


Event: TypeAlias = (
    ConnectionOpened
    | ConnectionClosed
    | LinkAttached
    | LinkDetached
    | CreditChanged
    | DeliveryReceived
    | DeliverySettled
)
