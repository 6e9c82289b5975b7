"""What whoever administers the broker gets from it besides descriptions: errors, and live counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = [
    "AdministrationError",
    "EntityAlreadyExistsError",
    "EntityNotFoundError",
    "InvalidOperationError",
    "RuntimeCounts",
]


class AdministrationError(Exception):
    """A request about entities that cannot be met; the message is fit to be shown to the caller."""


class EntityNotFoundError(AdministrationError):
    """No entity has that name (HTTP 404)."""


class EntityAlreadyExistsError(AdministrationError):
    """An entity, of whatever kind, has that name already (HTTP 409)."""


class InvalidOperationError(AdministrationError):
    """The change is not allowed, such as turning sessions on after creation (HTTP 400)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RuntimeCounts:
    """Live counts of a queue, topic or subscription; fields that a kind does not have are 0.

    `active` are messages ready for delivery or `locked`; `locked` is the part of them under a lock.
    `enqueued_total` counts every message ever taken (scheduled ones when they become active) and
    survives restarts. `size_bytes` counts all messages kept, dead letters included.
    """

    active: int = 0
    locked: int = 0
    scheduled: int = 0
    deferred: int = 0
    dead_letter: int = 0
    transfer: int = 0
    transfer_dead_letter: int = 0
    enqueued_total: int = 0
    size_bytes: int = 0
    subscriptions: int = 0
    created_at: datetime
    updated_at: datetime
    accessed_at: datetime
