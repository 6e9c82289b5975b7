"""Small things that an integration declares, each as a value."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Declaration", "Notification", "Rotation"]


class Declaration:
    """Base of what a module of an integration declares at its top level beside its `Integration`: a partner."""


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """Makes the next value of a secret, before the current version expires."""

    secret: str
    call: Callable[[Any], Awaitable[str]]


@dataclass(frozen=True, kw_only=True)
class Notification:
    """An event type that goes to the topic for notifications, with its data or without."""

    event_type: str
    with_data: bool = False
