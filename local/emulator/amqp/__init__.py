"""AMQP 1.0 without I/O: types and codec, frames, and the server's side of connections, sessions and links."""

from local.emulator.amqp.connection import Connection, Limits
from local.emulator.amqp.errors import AmqpError, Condition, DecodeError
from local.emulator.amqp.events import (
    ConnectionClosed,
    ConnectionOpened,
    CreditChanged,
    DeliveryReceived,
    DeliverySettled,
    Event,
    LinkAttached,
    LinkDetached,
)
from local.emulator.amqp.link import IncomingLink, Link, OutgoingLink
from local.emulator.amqp.performatives import ACCEPTED, RELEASED, Outcome, Terminus, rejected

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
]
