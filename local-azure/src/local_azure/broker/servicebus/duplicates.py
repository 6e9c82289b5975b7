"""Duplicate detection: which message ids a queue has seen within its window."""

from __future__ import annotations

from collections import OrderedDict

from local_azure.broker.journal import Journal
from local_azure.broker.servicebus.message import Message

__all__ = ["DuplicateHistory"]


class DuplicateHistory:
    """Ids in the order in which they will be forgotten. An id of another AMQP type is another id."""

    def __init__(self, queue: int, journal: Journal) -> None:
        self._queue = queue
        self._journal = journal
        self._seen: OrderedDict[str, int] = OrderedDict()

    def admit(self, message: Message, now: int, window_ms: int) -> bool:
        """Whether the message is new; if so its id is remembered. One without an id is always new."""
        identifier = message.sections.properties.message_id
        if identifier is None:
            return True
        key = f"{type(identifier).__name__}:{identifier}"
        if self._seen.get(key, 0) > now:
            return False
        self._seen[key] = now + window_ms
        self._seen.move_to_end(key)
        self._journal.put_duplicate(self._queue, key, now + window_ms)
        return True

    def restore(self, key: str, forget_at: int) -> None:
        """Take back an entry that storage kept; call it in order of `forget_at`."""
        self._seen[key] = forget_at

    def next_time(self) -> int | None:
        """When the next id is to be forgotten."""
        return next(iter(self._seen.values()), None)

    def forget(self, now: int) -> None:
        """Forget the ids whose time is over."""
        forgotten = []
        while self._seen and next(iter(self._seen.values())) <= now:
            forgotten.append(self._seen.popitem(last=False)[0])
        if forgotten:
            self._journal.delete_duplicates(self._queue, forgotten)
