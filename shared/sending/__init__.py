"""Sending: commands to the lanes, facts to the event hub."""

from .coalescing import CoalescingSender, NotSent
from .commands import Lanes, command
from .events import EventPublisher, Fact

__all__ = ["CoalescingSender", "EventPublisher", "Fact", "Lanes", "NotSent", "command"]
