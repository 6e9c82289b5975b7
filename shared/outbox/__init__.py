"""Outbox: what was committed leaves for the event hub and the lanes, at least once, in the order of its keys."""

from .outbox import Outbox, OutboxRows

__all__ = ["Outbox", "OutboxRows"]
