"""Messages of topics and of entities made at run time, through the official clients."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusSubQueue
from azure.servicebus.exceptions import MessagingEntityNotFoundError, ServiceBusError
from azure.servicebus.management import (
    CorrelationRuleFilter,
    EntityStatus,
    ServiceBusAdministrationClient,
    SqlRuleAction,
    SqlRuleFilter,
)

from integration.broker.process import EmulatorProcess
from integration.broker_admin.certificate import Certificate


def body(message: object) -> bytes:
    return b"".join(message.body)  # type: ignore[attr-defined]


def test_every_subscription_gets_its_own_copy_and_settles_it_alone(
    admin: ServiceBusAdministrationClient, client: ServiceBusClient, name: str
) -> None:
    admin.create_topic(name)
    admin.create_subscription(name, "one")
    admin.create_subscription(name, "two", max_delivery_count=1)
    with client.get_topic_sender(name) as sender:
        sender.send_messages([ServiceBusMessage("a"), ServiceBusMessage("b")])
    with client.get_subscription_receiver(name, "one", max_wait_time=5) as receiver:
        for message in receiver.receive_messages(max_message_count=2, max_wait_time=5):
            receiver.complete_message(message)
    with client.get_subscription_receiver(name, "two", max_wait_time=5) as receiver:
        first, second = receiver.receive_messages(max_message_count=2, max_wait_time=5)
        receiver.abandon_message(first)
        receiver.dead_letter_message(second, reason="R", error_description="D")
    with client.get_subscription_receiver(name, "two", sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
        dead = receiver.receive_messages(max_message_count=5, max_wait_time=5)
        while len(dead) < 2:
            dead += receiver.receive_messages(max_message_count=5, max_wait_time=5)
        reasons = {body(message): message.dead_letter_reason for message in dead}
    assert reasons == {b"a": "MaxDeliveryCountExceeded", b"b": "R"}
    assert admin.get_subscription_runtime_properties(name, "one").total_message_count == 0
    assert admin.get_subscription_runtime_properties(name, "two").dead_letter_message_count == 2


def test_a_topic_drops_duplicates_and_keeps_scheduled_messages(
    admin: ServiceBusAdministrationClient, client: ServiceBusClient, name: str
) -> None:
    admin.create_topic(name, requires_duplicate_detection=True)
    admin.create_subscription(name, "s")
    with client.get_topic_sender(name) as sender:
        for _ in range(3):
            sender.send_messages(ServiceBusMessage("same", message_id="1"))
        soon, late = datetime.now(UTC) + timedelta(seconds=1), datetime.now(UTC) + timedelta(hours=1)
        sender.schedule_messages(ServiceBusMessage("soon", message_id="2"), soon)
        (number,) = sender.schedule_messages(ServiceBusMessage("late", message_id="3"), late)
        assert admin.get_topic_runtime_properties(name).scheduled_message_count == 2
        sender.cancel_scheduled_messages(number)
    with client.get_subscription_receiver(name, "s", max_wait_time=3) as receiver:
        assert [body(message) for message in receiver] == [b"same", b"soon"]
    assert admin.get_topic_runtime_properties(name).scheduled_message_count == 0


def test_a_subscription_can_have_sessions(
    admin: ServiceBusAdministrationClient, client: ServiceBusClient, name: str
) -> None:
    admin.create_topic(name)
    admin.create_subscription(name, "s", requires_session=True)
    with client.get_topic_sender(name) as sender:
        sender.send_messages([ServiceBusMessage(str(n), session_id="AB"[n % 2]) for n in range(4)])
    with client.get_subscription_receiver(name, "s", session_id="B", max_wait_time=1) as receiver:
        assert [body(message) for message in receiver] == [b"1", b"3"]


def test_forwarding_runs_through_topics_and_dead_letters(
    admin: ServiceBusAdministrationClient, client: ServiceBusClient, name: str
) -> None:
    """queue -> topic -> subscription -> queue; what is dead-lettered there goes to another queue."""
    admin.create_queue(f"{name}-dead")
    admin.create_queue(f"{name}-end", forward_dead_lettered_messages_to=f"{name}-dead")
    admin.create_topic(f"{name}-topic")
    admin.create_subscription(f"{name}-topic", "s", forward_to=f"{name}-end")
    admin.create_queue(f"{name}-start", forward_to=f"{name}-topic")
    with client.get_queue_sender(f"{name}-start") as sender:
        sender.send_messages(ServiceBusMessage("far", message_id="far"))
    with client.get_queue_receiver(f"{name}-end") as receiver:
        (message,) = receiver.receive_messages(max_wait_time=5)
        receiver.dead_letter_message(message, reason="enough")
    with client.get_queue_receiver(f"{name}-dead") as receiver:
        (message,) = receiver.receive_messages(max_wait_time=5)
        assert (message.message_id, message.dead_letter_reason) == ("far", "enough")


def test_status_decides_who_is_served(
    admin: ServiceBusAdministrationClient, client: ServiceBusClient, name: str
) -> None:
    queue = admin.create_queue(name)
    admin.update_queue(queue, status=EntityStatus.RECEIVE_DISABLED)
    with client.get_queue_sender(name) as sender:
        sender.send_messages(ServiceBusMessage("kept"))
    with pytest.raises(ServiceBusError), client.get_queue_receiver(name, max_wait_time=1) as receiver:
        receiver.receive_messages(max_wait_time=1)
    admin.update_queue(queue, status=EntityStatus.ACTIVE)
    with client.get_queue_receiver(name) as receiver:
        assert len(receiver.receive_messages(max_wait_time=5)) == 1


def test_deleting_an_entity_ends_its_links_with_a_reason(
    admin: ServiceBusAdministrationClient, client: ServiceBusClient, name: str
) -> None:
    admin.create_queue(name)
    with client.get_queue_sender(name) as sender:
        sender.send_messages(ServiceBusMessage("x"))
        admin.delete_queue(name)
        with pytest.raises(MessagingEntityNotFoundError):
            sender.send_messages(ServiceBusMessage("y"))
    admin.create_queue(name)
    with client.get_queue_receiver(name) as receiver:
        assert receiver.receive_messages(max_wait_time=1) == []


def test_a_changed_lock_duration_counts_for_the_next_lock(
    admin: ServiceBusAdministrationClient, client: ServiceBusClient, name: str
) -> None:
    queue = admin.create_queue(name, lock_duration=timedelta(minutes=5))
    admin.update_queue(queue, lock_duration=timedelta(seconds=30))
    with client.get_queue_sender(name) as sender, client.get_queue_receiver(name) as receiver:
        sender.send_messages(ServiceBusMessage("x"))
        (message,) = receiver.receive_messages(max_wait_time=5)
        assert message.locked_until_utc is not None
        assert message.locked_until_utc < datetime.now(UTC) + timedelta(seconds=31)


@pytest.fixture
def restarting(tmp_path: Path, certificate: Certificate) -> Iterator[EmulatorProcess]:
    """A durable emulator of its own."""
    tls = ("--tls-cert", str(certificate.certificate), "--tls-key", str(certificate.key))
    with EmulatorProcess(tmp_path / "emulator", [], *tls) as running:
        yield running


def test_entities_made_at_run_time_survive_a_kill(
    restarting: EmulatorProcess, certificate: Certificate, name: str
) -> None:
    def connect() -> ServiceBusAdministrationClient:
        string = restarting.connection_string.replace(f":{restarting.port};", f":{restarting.admin_port};")
        return ServiceBusAdministrationClient.from_connection_string(
            string, connection_verify=str(certificate.certificate)
        )

    values: dict[str, Any] = {"n": 1, "t": "é", "b": True, "f": 1.5, "d": timedelta(days=1)}
    values["w"] = datetime(2026, 1, 1, tzinfo=UTC)
    with connect() as admin:
        admin.create_queue(name, max_delivery_count=7, user_metadata="kept")
        admin.create_queue(f"{name}-gone")
        admin.delete_queue(f"{name}-gone")
        admin.create_topic(f"{name}-topic")
        admin.create_subscription(f"{name}-topic", "s", lock_duration=timedelta(seconds=20))
        admin.create_rule(f"{name}-topic", "s", "equal", filter=CorrelationRuleFilter(label="x", properties=values))
        admin.create_rule(
            f"{name}-topic", "s", "sql", filter=SqlRuleFilter("a = @p", {"@p": 1}), action=SqlRuleAction("SET b = 1")
        )
        admin.delete_rule(f"{name}-topic", "s", "$Default")
    restarting.kill()
    restarting.start()
    with connect() as admin:
        queue = admin.get_queue(name)
        assert (queue.max_delivery_count, queue.user_metadata) == (7, "kept")
        with pytest.raises(ResourceNotFoundError):
            admin.get_queue(f"{name}-gone")
        assert admin.get_subscription(f"{name}-topic", "s").lock_duration == timedelta(seconds=20)
        equal, sql = admin.list_rules(f"{name}-topic", "s")
        assert isinstance(equal.filter, CorrelationRuleFilter)
        assert equal.filter.properties == values
        assert isinstance(sql.filter, SqlRuleFilter)
        assert sql.filter.parameters == {"@p": 1}
        assert sql.action is not None
        assert sql.action.sql_expression == "SET b = 1"
