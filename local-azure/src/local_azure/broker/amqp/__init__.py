"""AMQP 1.0 without I/O: types and codec, frames, and the server's side of connections, sessions and links."""

from local_azure.broker.amqp.connection import Connection, Limits
from local_azure.broker.amqp.errors import AmqpError, Condition, DecodeError
from local_azure.broker.amqp.events import (
    ConnectionClosed,
    ConnectionOpened,
    CreditChanged,
    DeliveryReceived,
    DeliverySettled,
    Event,
    LinkAttached,
    LinkDetached,
)
from local_azure.broker.amqp.link import IncomingLink, Link, OutgoingLink
from local_azure.broker.amqp.outcomes import ACCEPTED, RELEASED, Outcome, rejected, transactional
from local_azure.broker.amqp.performatives import Terminus

__all__ = [
    "ACCEPTED",
    "RELEASED",
    "AmqpError",
    "Condition",
    "Connection",
    "ConnectionClosed",
    "ConnectionOpened",
    "CreditChanged",
    "DecodeError",
    "DeliveryReceived",
    "DeliverySettled",
    "Event",
    "IncomingLink",
    "Limits",
    "Link",
    "LinkAttached",
    "LinkDetached",
    "Outcome",
    "OutgoingLink",
    "Terminus",
    "rejected",
    "transactional",
]
