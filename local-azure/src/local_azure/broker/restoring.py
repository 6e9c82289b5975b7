"""Brings back what storage kept in entities that exist again."""

from __future__ import annotations

from collections.abc import Mapping

from local_azure.broker.broker import Broker
from local_azure.broker.eventhubs.partition import Event
from local_azure.broker.servicebus.queue import Queue
from local_azure.broker.servicebus.sessions import SessionQueue
from local_azure.broker.storage.database import Database
from local_azure.broker.storage.restoring import stored_events, stored_messages

__all__ = ["restore_contents"]


def restore_contents(broker: Broker, database: Database) -> None:
    """Fill queues and partitions: messages, session states, histories of duplicates, events."""
    counters = {row[0]: (row[1], row[2]) for row in database.rows("counters")}
    stores = {queue.identity: queue for queue in broker.namespace.stores()}
    for identity, queue in stores.items():
        queue.next_sequence, queue.enqueued_total = counters.get(identity, (1, 0))
    _restore_messages(stores, database, broker.now())
    for queue in stores.values():
        broker.services.wake(queue)
    events: dict[int, list[Event]] = {}
    for identity, event in stored_events(database):
        events.setdefault(identity, []).append(event)
    for hub in broker.hubs.values():
        for log in hub.partitions:
            log.restore(events.get(log.identity, ()), *counters.get(log.identity, (0, 0)))


def _restore_messages(stores: Mapping[int, Queue], database: Database, now: int) -> None:
    locked = {row for row, _ in database.rows("locks")}
    for identity, message in stored_messages(database):
        if identity not in stores:
            continue
        if message.row in locked:
            stores[identity].restore_locked(message, now)
        else:
            stores[identity].restore(message)
    for identity, session_id, state in database.rows("sessions"):
        queue = stores.get(identity)
        if isinstance(queue, SessionQueue):
            queue.restore_state(session_id, state)
    for identity, key, forget_at in database.rows("duplicates"):
        if identity in stores:
            stores[identity].history.restore(key, forget_at)
