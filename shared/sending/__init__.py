"""Sending: commands to the lanes, events to the event hub."""

from .coalescing import CoalescingSender, NotSent
from .commands import Lanes, command
from .events import EventPublisher, OutgoingEvent

__all__ = ["CoalescingSender", "EventPublisher", "Lanes", "NotSent", "OutgoingEvent", "command"]
