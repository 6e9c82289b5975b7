"""The synchronous SDKs through their main operations; runs under any SDK version: `sync_scenario.py STRING [CA]`.

Prints one line per step, the SDK versions first. With a certificate, the connection is TLS: SDKs before 7.14 know
no development emulator.
"""

from __future__ import annotations

import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import azure.eventhub
import azure.servicebus
from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusClient, ServiceBusMessage
from azure.servicebus.exceptions import MessageLockLostError, ServiceBusError, SessionCannotBeLockedError


def main(connection_string: str, certificate: str | None = None) -> None:
    """Run every step; an assertion or exception ends it."""
    options: dict[str, Any] = {"connection_verify": certificate} if certificate else {}
    _report(f"azure-servicebus {azure.servicebus.__version__}, azure-eventhub {azure.eventhub.__version__}")
    with ServiceBusClient.from_connection_string(connection_string, retry_total=0, **options) as client:
        for step in (batches, settlement, locks, deferral, scheduling, sessions, subscriptions, mistakes):
            step(client)
            _report(step.__name__)
    events(connection_string, options)
    _report("events")


def _report(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _receive(receiver: Any, count: int) -> list[Any]:
    got: list[Any] = []
    while len(got) < count:
        batch = receiver.receive_messages(max_message_count=count, max_wait_time=10)
        assert batch, f"only {len(got)} of {count} came"
        got += batch
    return got


def batches(client: ServiceBusClient) -> None:
    """Several hundred messages in batches, received in order and completed."""
    with client.get_queue_sender("plain") as sender, client.get_queue_receiver("plain") as receiver:
        batch = sender.create_message_batch()
        for number in range(200):
            batch.add_message(ServiceBusMessage(str(number), application_properties={"n": number}))
        sender.send_messages(batch)
        got = _receive(receiver, 200)
        assert [str(message) for message in got] == [str(number) for number in range(200)]
        for message in got:
            receiver.complete_message(message)


def settlement(client: ServiceBusClient) -> None:
    """Abandon, then dead-letter; the reason is kept."""
    with client.get_queue_sender("plain") as sender, client.get_queue_receiver("plain") as receiver:
        sender.send_messages(ServiceBusMessage("x"))
        (message,) = _receive(receiver, 1)
        receiver.abandon_message(message)
        (message,) = _receive(receiver, 1)
        assert message.delivery_count == 1
        receiver.dead_letter_message(message, reason="r", error_description="d")
    with client.get_queue_receiver("plain", sub_queue="deadletter") as receiver:
        (message,) = _receive(receiver, 1)
        assert (message.dead_letter_reason, message.dead_letter_error_description) == ("r", "d")
        receiver.complete_message(message)


def locks(client: ServiceBusClient) -> None:
    """A renewed lock lasts, one that is not is lost."""
    with client.get_queue_sender("short-locks") as sender, client.get_queue_receiver("short-locks") as receiver:
        sender.send_messages(ServiceBusMessage("x"))
        (message,) = _receive(receiver, 1)
        for _ in range(3):
            time.sleep(0.5)
            receiver.renew_message_lock(message)
        time.sleep(1.3)
        try:
            receiver.complete_message(message)
            assert azure.servicebus.__version__ < "7.15", "the lost lock was not told"
        except MessageLockLostError:
            pass
        (message,) = _receive(receiver, 1)
        receiver.complete_message(message)


def deferral(client: ServiceBusClient) -> None:
    """Deferred messages are received by number."""
    with client.get_queue_sender("plain") as sender, client.get_queue_receiver("plain") as receiver:
        sender.send_messages(ServiceBusMessage("later"))
        (message,) = _receive(receiver, 1)
        receiver.defer_message(message)
        (message,) = receiver.receive_deferred_messages(message.sequence_number)
        receiver.complete_message(message)


def scheduling(client: ServiceBusClient) -> None:
    """One scheduled message is cancelled, the other comes."""
    due = datetime.now(timezone.utc) + timedelta(seconds=4)  # noqa: UP017  older interpreters run this as well
    with client.get_queue_sender("plain") as sender, client.get_queue_receiver("plain") as receiver:
        numbers = sender.schedule_messages([ServiceBusMessage("keep"), ServiceBusMessage("drop")], due)
        assert len(receiver.peek_messages(10, sequence_number=numbers[0])) == 2
        sender.cancel_scheduled_messages(numbers[1])
        (message,) = _receive(receiver, 1)
        assert str(message) == "keep"
        receiver.complete_message(message)


def sessions(client: ServiceBusClient) -> None:
    """By name and next available; state; a lock is exclusive."""
    with client.get_queue_sender("sessions") as sender:
        sender.send_messages([ServiceBusMessage(str(number), session_id="sync") for number in range(3)])
    with client.get_queue_receiver("sessions", session_id=NEXT_AVAILABLE_SESSION) as receiver:
        assert receiver.session.session_id == "sync"
        receiver.session.set_state("done")
        receiver.session.renew_lock()
        try:
            with client.get_queue_receiver("sessions", session_id="sync"):
                raise AssertionError("two receivers hold one session")
        except SessionCannotBeLockedError:
            pass
        for message in _receive(receiver, 3):
            receiver.complete_message(message)
    with client.get_queue_receiver("sessions", session_id="sync") as receiver:
        assert receiver.session.get_state() == b"done"
        receiver.session.set_state(None)


def subscriptions(client: ServiceBusClient) -> None:
    """A topic's message comes to the subscription whose rule takes it."""
    with client.get_topic_sender("topic") as sender:
        sender.send_messages(ServiceBusMessage("r", application_properties={"colour": "red", "size": 3}))
    for name in ("all", "red"):
        with client.get_subscription_receiver("topic", name) as receiver:
            (message,) = _receive(receiver, 1)
            receiver.complete_message(message)


def mistakes(client: ServiceBusClient) -> None:
    """Entities that are not there raise."""
    try:
        with client.get_queue_sender("nowhere") as sender:
            sender.send_messages(ServiceBusMessage("x"))
        raise AssertionError("a queue that does not exist took a message")
    except ServiceBusError:
        pass


def events(connection_string: str, options: dict[str, Any]) -> None:
    """Events with a key come to one partition, and are read from the start."""
    with EventHubProducerClient.from_connection_string(connection_string, eventhub_name="hub", **options) as producer:
        assert producer.get_partition_ids() == ["0", "1", "2", "3"]
        batch = producer.create_batch(partition_key="key")
        for number in range(20):
            batch.add(EventData(f"sync-{number}"))
        producer.send_batch(batch)
    got: list[str] = []
    done = threading.Event()

    def take(partition: Any, event: Any) -> None:
        if event is not None and event.body_as_str().startswith("sync-"):
            got.append(event.body_as_str())
        if len(got) >= 20:
            done.set()

    consumer = EventHubConsumerClient.from_connection_string(
        connection_string, consumer_group="$Default", eventhub_name="hub", **options
    )
    with consumer:
        thread = threading.Thread(
            target=consumer.receive, args=(take,), kwargs={"starting_position": "-1"}, daemon=True
        )
        thread.start()
        assert done.wait(30), f"only {len(got)} events came"
    assert got[-20:] == [f"sync-{number}" for number in range(20)]


if __name__ == "__main__":
    main(*sys.argv[1:])
