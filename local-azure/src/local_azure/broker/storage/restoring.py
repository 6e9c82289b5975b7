"""Reading a data directory back into messages and events."""

from __future__ import annotations

from collections.abc import Iterator

from local_azure.broker.amqp.decode import decode_one
from local_azure.broker.amqp.message import Header
from local_azure.broker.eventhubs.partition import Event
from local_azure.broker.servicebus.message import Message, MessageState
from local_azure.broker.storage.database import Database, Row

__all__ = ["stored_events", "stored_messages"]


def stored_messages(database: Database) -> Iterator[tuple[int, Message]]:
    """Every message with its queue's identity. No lock outlives a process, only that there was one."""
    for row in database.rows("messages"):
        yield row[1], _message(row)


def _message(row: Row) -> Message:
    identity, _, sequence, state, enqueued_at, visible_at, expires_at, count, extra, annotations, bare = row
    message = Message(bare)
    message.row = identity
    message.sequence = sequence
    message.state = MessageState(state)
    message.enqueued_at = enqueued_at
    message.visible_at = visible_at
    message.expires_at = expires_at
    message.delivery_count = count
    message.annotations = annotations or b""
    if extra is not None:
        durable, priority, ttl, enqueue_sequence, source, annotations_count = decode_one(extra)
        if (durable, priority, ttl) != (None, None, None):
            message.header = Header(durable, priority, ttl)
        message.enqueue_sequence = enqueue_sequence
        message.dead_letter_source = source
        message.annotations_count = annotations_count
    return message


def stored_events(database: Database) -> Iterator[tuple[int, Event]]:
    """Every event with its partition's identity, in order."""
    for row in database.rows("events"):
        partition, sequence, offset, enqueued_at, pairs, pairs_count, bare = row
        event = Event(bare, pairs or b"", pairs_count)
        event.sequence = sequence
        event.offset = offset
        event.enqueued_at = enqueued_at
        yield partition, event
