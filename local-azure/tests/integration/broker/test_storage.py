"""The journal over a real SQLite file: what shares a commit, what runs after it, what a failure stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local_azure.broker.eventhubs.partition import Event
from local_azure.broker.servicebus.message import Message
from local_azure.broker.storage import Database, DurableJournal, StorageError
from local_azure.broker.storage.restoring import stored_events, stored_messages


class _Store:
    """A journal in the running loop, and the batches that its database got."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.perf_counter) -> None:
        loop = asyncio.get_running_loop()
        self.database = Database(folder)
        self.failures: list[StorageError] = []
        self.batches: list[Any] = []
        write = self.database.write

        def spying(batch: Any) -> None:
            self.batches.append(batch)
            write(batch)

        self.database.write = spying  # type: ignore[method-assign]

        def in_loop(action: Callable[[], None]) -> None:
            loop.call_soon_threadsafe(action)

        self.journal = DurableJournal(self.database, run_in_loop=in_loop, on_failure=self.failures.append, clock=clock)

    def put(self, body: bytes, queue: int = 64) -> Message:
        message = Message(body)
        message.row = self.journal.next_row()
        self.journal.put_message(queue, message)
        return message

    async def committed(self) -> None:
        """Wait until all that was noted is durable."""
        done = asyncio.Event()
        self.journal.after_commit(done.set)
        self.journal.flush()
        await asyncio.wait_for(done.wait(), 5)


def _bodies(folder: Path) -> list[bytes]:
    database = Database(folder)
    try:
        return [message.bare for _, message in stored_messages(database)]
    finally:
        database.close()


async def test_changes_that_pile_up_share_a_commit_in_order(tmp_path: Path) -> None:
    """While the first batch is written, all others become one: nothing is idle on a clock that stands."""
    store = _Store(tmp_path, clock=lambda: 0.0)
    order: list[int] = []
    for number in range(500):
        store.put(b"%d" % number)
        store.journal.after_commit(lambda number=number: order.append(number))  # type: ignore[misc]
        store.journal.flush()
    await store.committed()
    assert order == list(range(500))
    assert len(store.batches) <= 3
    store.journal.close()
    assert _bodies(tmp_path) == [b"%d" % number for number in range(500)]


async def test_what_comes_and_goes_within_a_batch_is_never_written(tmp_path: Path) -> None:
    """A message that was written before is deleted, one that was not is forgotten."""
    store = _Store(tmp_path)
    kept = store.put(b"kept")
    await store.committed()
    brief = store.put(b"brief")
    store.journal.delete_message(brief)
    store.journal.delete_message(kept)
    store.put(b"last")
    await store.committed()
    assert [len(batch.messages) for batch in store.batches] == [1, 1]
    assert [batch.deleted_messages for batch in store.batches] == [[], [kept.row]]
    store.journal.close()
    assert _bodies(tmp_path) == [b"last"]


async def test_a_message_is_written_as_it_is_at_the_commit(tmp_path: Path) -> None:
    """Everything that receivers see comes back; the lock does not."""
    store = _Store(tmp_path)
    message = store.put(b"body")
    message.sequence, message.enqueue_sequence, message.delivery_count = 7, 3, 2
    message.enqueued_at, message.expires_at, message.dead_letter_source = 10, 20, "queue"
    message.annotations, message.annotations_count = b"\xa3\x01a\x40", 2
    message.lock_token, message.locked_until = b"t" * 16, 99
    await store.committed()
    store.journal.close()
    database = Database(tmp_path)
    ((queue, found),) = stored_messages(database)
    database.close()
    assert queue == 64
    assert (found.sequence, found.enqueue_sequence, found.delivery_count) == (7, 3, 2)
    assert (found.enqueued_at, found.expires_at, found.dead_letter_source) == (10, 20, "queue")
    assert (found.annotations, found.annotations_count) == (b"\xa3\x01a\x40", 2)
    assert (found.lock_token, found.locked_until) == (None, 0)


async def test_events_come_back_in_order_without_those_trimmed(tmp_path: Path) -> None:
    """By partition and number."""
    store = _Store(tmp_path)
    for number in range(5):
        event = Event(b"%d" % number)
        event.sequence, event.offset = number, number * 100
        store.journal.put_event(70, event)
    store.journal.trim_events(70, 2)
    await store.committed()
    store.journal.close()
    database = Database(tmp_path)
    found = [(partition, event.bare, event.offset) for partition, event in stored_events(database)]
    database.close()
    assert found == [(70, b"2", 200), (70, b"3", 300), (70, b"4", 400)]


async def test_removing_an_entity_removes_all_that_is_its_own(tmp_path: Path) -> None:
    """Its sub-queues too, written or not; others stay."""
    store = _Store(tmp_path)
    store.put(b"old", queue=64)
    store.put(b"dead", queue=65)
    store.put(b"other", queue=128)
    await store.committed()
    store.put(b"fresh", queue=64)
    store.journal.put_counters(64, 9, 9)
    store.journal.delete_entity(64)
    await store.committed()
    store.journal.close()
    assert _bodies(tmp_path) == [b"other"]


async def test_nothing_is_acknowledged_after_a_failed_commit(tmp_path: Path) -> None:
    """The owner is told once; actions that waited for the commit never run."""
    store = _Store(tmp_path)
    await store.committed()
    store.database.close()
    acknowledged: list[int] = []
    store.put(b"lost")
    store.journal.after_commit(lambda: acknowledged.append(1))
    store.journal.flush()
    for _ in range(100):
        if store.failures:
            break
        await asyncio.sleep(0.01)
    store.journal.flush()
    assert len(store.failures) == 1
    assert acknowledged == []


def test_a_directory_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    """A file in its place, and a database of another version."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot be used"):
        Database(tmp_path / "file")
    database = Database(tmp_path)
    database._connection.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StorageError, match="another version"):
        Database(tmp_path)
