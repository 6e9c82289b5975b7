"""Group commit: changes pile up while the writer thread commits those before, then go together.

The loop's thread notes changes and takes the actions that follow a commit; one thread of its own writes. So the
loop never waits for the disk, and the busier the emulator is, the more changes share a commit. Only when nothing
else goes on is a small commit made at once: it does not wait for the disk, and is shorter than changing threads.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Final

from local_azure.broker.amqp.encode import encode
from local_azure.broker.eventhubs.partition import Event
from local_azure.broker.journal import run_actions
from local_azure.broker.servicebus.message import Message
from local_azure.broker.storage.database import Batch, Database, Row, StorageError

__all__ = ["DurableJournal", "encode_extra"]

_IDLE_SECONDS: Final = 0.0003
_QUICK_CHANGES: Final = 8
"""A commit of a few rows appends to a file without waiting for the disk: some 30 microseconds."""

_ENTITY_SPAN: Final = 64
"""Identities that belong to one entity, its sub-queues and partitions included."""


class DurableJournal:
    """A `Journal` over a `Database`.

    `run_in_loop` has to call what it is given in the loop's thread, from any thread. `on_failure` is called
    there once when a commit fails; nothing is acknowledged after that.
    """

    def __init__(
        self,
        database: Database,
        *,
        run_in_loop: Callable[[Callable[[], None]], None],
        on_failure: Callable[[StorageError], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._database = database
        self._clock = clock
        self._run_in_loop = run_in_loop
        self._on_failure = on_failure
        self._row = database.last_message_row()
        self._is_writing = False
        self._is_closed = False
        self._young_locks: dict[int, int] = {}
        self._old_locks: dict[int, int] = {}
        self._written_locks = {row for row, _ in database.rows("locks")}
        self._committed_at = 0.0
        self._work: queue.SimpleQueue[tuple[Batch, list[Callable[[], None]]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_batches, name="storage", daemon=True)
        self._reset()
        self._thread.start()

    def _reset(self) -> None:
        self._messages: dict[int, tuple[int, Message] | None] = {}
        self._counters: dict[int, tuple[int, int]] = {}
        self._sessions: dict[tuple[int, str], bytes | None] = {}
        self._duplicates: dict[tuple[int, str], int | None] = {}
        self._events: list[Row] = []
        self._trims: dict[int, int] = {}
        self._entities: dict[int, Row] = {}
        self._deleted_entities: list[tuple[int, int]] = []
        self._locks: list[Row] = []
        self._ended_locks: list[int] = []
        self._actions: list[Callable[[], None]] = []
        self._fresh: set[int] = set()

    # -- noting ------------------------------------------------------------------------------------
    def next_row(self) -> int:
        """A number that no message row ever had."""
        self._row += 1
        self._fresh.add(self._row)
        return self._row

    def put_message(self, queue: int, message: Message) -> None:
        """Write the message as it is when the flush happens."""
        self._messages[message.row] = (queue, message)
        self._end_lock(message.row)

    def delete_message(self, message: Message) -> None:
        """Delete the message; one that was never written is just forgotten."""
        self._end_lock(message.row)
        if message.row in self._fresh:
            self._messages.pop(message.row, None)
        else:
            self._messages[message.row] = None

    def put_lock(self, queue: int, message: Message) -> None:
        """Note a lock. Most end soon, so it costs no row until `flush_locks` has come twice."""
        self._young_locks[message.row] = queue

    def _end_lock(self, row: int) -> None:
        if self._young_locks.pop(row, None) is not None or self._old_locks.pop(row, None) is not None:
            return
        if row in self._written_locks:
            self._written_locks.discard(row)
            self._ended_locks.append(row)

    @property
    def has_locks(self) -> bool:
        """Whether locks are noted that are not written yet."""
        return bool(self._young_locks or self._old_locks)

    def flush_locks(self) -> None:
        """Write the locks that were there at the last call already; to be called every tenth of a second or so."""
        self._write_locks()
        self.flush()

    def _write_locks(self) -> None:
        self._locks += self._old_locks.items()
        self._written_locks.update(self._old_locks)
        self._old_locks, self._young_locks = self._young_locks, {}

    def put_counters(self, entity: int, next_sequence: int, enqueued_total: int) -> None:
        """Write an entity's counters."""
        self._counters[entity] = (next_sequence, enqueued_total)

    def put_session_state(self, queue: int, session_id: str, state: bytes | None) -> None:
        """Write or delete a session's state."""
        self._sessions[queue, session_id] = state

    def put_duplicate(self, queue: int, message_id: str, forget_at: int) -> None:
        """Write an entry of the duplicate detection's history."""
        self._duplicates[queue, message_id] = forget_at

    def delete_duplicates(self, queue: int, message_ids: list[str]) -> None:
        """Delete entries of the duplicate detection's history."""
        for message_id in message_ids:
            self._duplicates[queue, message_id] = None

    def put_event(self, partition: int, event: Event) -> None:
        """Append an event to a partition."""
        self._events.append(
            (
                partition,
                event.sequence,
                event.offset,
                event.enqueued_at,
                event.annotations or None,
                event.annotations_count,
                event.bare,
            )
        )

    def trim_events(self, partition: int, first_kept: int) -> None:
        """Delete a partition's events before a number."""
        self._trims[partition] = first_kept

    def put_entity(self, entity: int, kind: str, path: str, description: str, created_at: int) -> None:
        """Write an entity's description, and when it was made."""
        self._entities[entity] = (entity, kind, path, description, created_at)

    def delete_entity(self, entity: int) -> None:
        """Delete an entity and all that belongs to it."""
        self._entities.pop(entity, None)
        last = entity + _ENTITY_SPAN - 1
        self._deleted_entities.append((entity, last))
        for row in [row for row, put in self._messages.items() if put and entity <= put[0] <= last]:
            del self._messages[row]
        self._young_locks = {row: put for row, put in self._young_locks.items() if not entity <= put <= last}
        self._old_locks = {row: put for row, put in self._old_locks.items() if not entity <= put <= last}
        self._locks = [row for row in self._locks if not entity <= row[1] <= last]
        self._counters = {each: put for each, put in self._counters.items() if not entity <= each <= last}

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run the action once everything noted so far is durable."""
        self._actions.append(action)

    # -- committing --------------------------------------------------------------------------------
    def flush(self) -> None:
        """Hand what was noted to the writer, unless it is busy: then it goes with the next commit."""
        while not self._is_writing and not self._is_closed and self._has_work:
            batch, actions = self._take_batch(), self._actions
            self._reset()
            if batch is None:
                run_actions(actions)
            elif self._is_quick(batch):
                self._write_now(batch, actions)
            else:
                self._is_writing = True
                self._work.put((batch, actions))

    def _is_quick(self, batch: Batch) -> bool:
        """Whether nothing else goes on and the batch is small: then a commit takes less than handing it over."""
        idle = self._clock() - self._committed_at > _IDLE_SECONDS
        return (
            idle
            and not self._database.waits_for_disk
            and batch.changes <= _QUICK_CHANGES
            and not self._database.wants_checkpoint
        )

    def _write_now(self, batch: Batch, actions: list[Callable[[], None]]) -> None:
        try:
            self._database.write(batch)
        except StorageError as error:
            self._is_writing = True  # nothing is committed, and so nothing acknowledged, from now on
            self._on_failure(error)
            return
        self._committed_at = self._clock()
        run_actions(actions)

    @property
    def _has_work(self) -> bool:
        return bool(self._actions or self._noted)

    @property
    def _noted(self) -> bool:
        return bool(
            self._messages
            or self._counters
            or self._sessions
            or self._duplicates
            or self._events
            or self._trims
            or self._entities
            or self._deleted_entities
            or self._locks
            or self._ended_locks
        )

    def _take_batch(self) -> Batch | None:
        if not self._noted:
            return None
        return Batch(
            entities=list(self._entities.values()),
            counters=[(entity, *counters) for entity, counters in self._counters.items()],
            messages=[_row(*put) for put in self._messages.values() if put is not None],
            sessions=[(*key, state) for key, state in self._sessions.items() if state is not None],
            duplicates=[(*key, until) for key, until in self._duplicates.items() if until is not None],
            events=self._events,
            locks=self._locks,
            deleted_locks=self._ended_locks,
            deleted_messages=[row for row, put in self._messages.items() if put is None],
            deleted_sessions=[key for key, state in self._sessions.items() if state is None],
            deleted_duplicates=[key for key, until in self._duplicates.items() if until is None],
            trimmed_events=list(self._trims.items()),
            deleted_entities=self._deleted_entities,
        )

    def _write_batches(self) -> None:
        while (work := self._work.get()) is not None:
            batch, actions = work
            try:
                self._database.write(batch)
                if self._database.wants_checkpoint:
                    self._database.checkpoint()
            except StorageError as error:
                self._run_in_loop(lambda error=error: self._on_failure(error))  # type: ignore[misc]
                return
            self._run_in_loop(lambda actions=actions: self._committed(actions))  # type: ignore[misc]

    def _committed(self, actions: list[Callable[[], None]]) -> None:
        self._is_writing = False
        self._committed_at = self._clock()
        run_actions(actions)
        self.flush()

    def close(self) -> None:
        """Commit what is noted and stop the thread (waits for it); the actions that follow are left to the loop.

        What they note in their turn is not kept.
        """
        for _ in range(2):
            self._write_locks()
        batch, actions = self._take_batch() or Batch(), self._actions
        self._is_closed = True
        self._reset()
        self._work.put((batch, actions))
        self._work.put(None)
        self._thread.join(timeout=30)
        self._database.close()


def _row(queue: int, message: Message) -> Row:
    return (
        message.row,
        queue,
        message.sequence,
        int(message.state),
        message.enqueued_at,
        message.visible_at,
        message.expires_at,
        message.delivery_count,
        encode_extra(message),
        message.annotations or None,
        message.bare,
    )


def encode_extra(message: Message) -> bytes | None:
    """What few messages have, in one AMQP list; None when there is nothing."""
    header = message.header
    values = [
        header.durable,
        header.priority,
        header.ttl,
        message.enqueue_sequence,
        message.dead_letter_source,
        message.annotations_count,
    ]
    return encode(values) if any(values) or header.durable is False else None
