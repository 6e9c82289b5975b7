"""Sending: commands to the lanes, events to the event hub."""

from .backlog import Backlog
from .coalescing import BrokerMessage, CoalescingSender, Lanes, NotSent, Together, broker_message, command
from .events import EventPublisher, OutgoingEvent

__all__ = [
    "Backlog",
    "BrokerMessage",
    "CoalescingSender",
    "EventPublisher",
    "Lanes",
    "NotSent",
    "OutgoingEvent",
    "Together",
    "broker_message",
    "command",
]
