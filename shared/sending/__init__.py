"""Sending: commands to the lanes, events to the event hub."""

from .coalescing import BrokerMessage, CoalescingSender, Lanes, NotSent, broker_message, command
from .events import EventPublisher, OutgoingEvent

__all__ = [
    "BrokerMessage",
    "CoalescingSender",
    "EventPublisher",
    "Lanes",
    "NotSent",
    "OutgoingEvent",
    "broker_message",
    "command",
]
