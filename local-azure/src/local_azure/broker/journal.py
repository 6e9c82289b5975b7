"""What the broker asks of its storage: note changes, and learn when they are durable."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from local_azure.broker.eventhubs.partition import Event
    from local_azure.broker.servicebus.message import Message

__all__ = ["Journal", "VolatileJournal", "run_actions"]

_log = logging.getLogger("emulator")


class Journal(Protocol):
    """Notes changes in memory; `flush` makes what was noted durable as one unit, in order.

    An action given to `after_commit` runs once everything noted before it is durable.
    """

    def next_row(self) -> int:
        """A number that no message row ever had."""
        ...

    def put_message(self, queue: int, message: Message) -> None:
        """Write the message as it is when the flush happens."""
        ...

    def delete_message(self, message: Message) -> None: ...
    def put_lock(self, queue: int, message: Message) -> None:
        """The message is under a lock from now on, up to its next `put_message` or `delete_message`.

        Noted for a crash: it is written with `flush_locks`, unless the lock has ended by then.
        """
        ...

    @property
    def has_locks(self) -> bool:
        """Whether `flush_locks` has something to do."""
        ...

    def flush_locks(self) -> None: ...
    def put_counters(self, entity: int, next_sequence: int, enqueued_total: int) -> None: ...
    def put_session_state(self, queue: int, session_id: str, state: bytes | None) -> None: ...
    def put_duplicate(self, queue: int, message_id: str, forget_at: int) -> None: ...
    def delete_duplicates(self, queue: int, message_ids: list[str]) -> None: ...
    def put_event(self, partition: int, event: Event) -> None: ...
    def trim_events(self, partition: int, first_kept: int) -> None: ...
    def put_entity(self, entity: int, kind: str, path: str, description: str, created_at: int) -> None: ...
    def delete_entity(self, entity: int) -> None: ...
    def after_commit(self, action: Callable[[], None]) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


def run_actions(actions: Iterable[Callable[[], None]]) -> None:
    """Run what waited for a commit; one that fails is logged and keeps none of the others from running."""
    for action in actions:
        try:
            action()
        except Exception:
            _log.exception("What followed a commit failed inside the emulator: the rest goes on")


class VolatileJournal:
    """Keeps nothing: actions run at the next flush. For unit tests and `--volatile`."""

    def __init__(self) -> None:
        self._row = 0
        self._actions: list[Callable[[], None]] = []

    def next_row(self) -> int:
        """A number that no message row ever had."""
        self._row += 1
        return self._row

    def put_message(self, queue: int, message: Message) -> None:
        """Nothing to do."""

    def delete_message(self, message: Message) -> None:
        """Nothing to do."""

    has_locks = False

    def put_lock(self, queue: int, message: Message) -> None:
        """Nothing to do."""

    def flush_locks(self) -> None:
        """Nothing to do."""

    def put_counters(self, entity: int, next_sequence: int, enqueued_total: int) -> None:
        """Nothing to do."""

    def put_session_state(self, queue: int, session_id: str, state: bytes | None) -> None:
        """Nothing to do."""

    def put_duplicate(self, queue: int, message_id: str, forget_at: int) -> None:
        """Nothing to do."""

    def delete_duplicates(self, queue: int, message_ids: list[str]) -> None:
        """Nothing to do."""

    def put_event(self, partition: int, event: Event) -> None:
        """Nothing to do."""

    def trim_events(self, partition: int, first_kept: int) -> None:
        """Nothing to do."""

    def put_entity(self, entity: int, kind: str, path: str, description: str, created_at: int) -> None:
        """Nothing to do."""

    def delete_entity(self, entity: int) -> None:
        """Nothing to do."""

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run the action at the next flush."""
        self._actions.append(action)

    def flush(self) -> None:
        """Run what waits, and what that brings about."""
        while self._actions:
            actions, self._actions = self._actions, []
            run_actions(actions)

    def close(self) -> None:
        """Nothing to do."""
