"""`AutoDeleteOnIdle`: whether an entity was used within its time.

Source: "Message expiration (Time to Live)", temporary entities and idleness. A store's parts (its dead letters, a
topic's subscriptions) count as the store itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_azure.broker.servicebus.queue import Queue

__all__ = ["is_idle"]


def is_idle(queue: Queue, now: int) -> bool:
    """Whether the time is over; if it isn't because of a use that goes on, the queue's time of access is moved."""
    idle_ms = queue.settings.idle_ms
    if idle_ms is None or now < queue.accessed_at + idle_ms:
        return False
    queue.accessed_at = _used_at(queue, now)
    return now >= queue.accessed_at + idle_ms


def _used_at(queue: Queue, now: int) -> int:
    used = now if queue.is_used else queue.accessed_at
    return max((used, *(_used_at(part, now) for part in queue.parts())))
