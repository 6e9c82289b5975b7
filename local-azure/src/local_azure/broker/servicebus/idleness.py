"""`AutoDeleteOnIdle`: whether an entity was used within its time.

Source: "Message expiration (Time to Live)", temporary entities and idleness. A store's parts (its dead letters, a
topic's subscriptions) count as the store itself.
"""

from __future__ import annotations

from local_azure.broker.servicebus.store import Store

__all__ = ["is_idle"]


def is_idle(store: Store, now: int) -> bool:
    """Whether the time is over; if it isn't because of a use that goes on, its time of access is moved."""
    idle_ms = store.settings.idle_ms
    if idle_ms is None or now < store.accessed_at + idle_ms:
        return False
    store.accessed_at = _used_at(store, now)
    return now >= store.accessed_at + idle_ms


def _used_at(store: Store, now: int) -> int:
    used = now if store.is_used else store.accessed_at
    return max((used, *(_used_at(part, now) for part in store.parts)))
