"""Deleting many messages unread, over the wire: how many, which, and what stays."""

from __future__ import annotations

from typing import Any

import pytest

from local_azure.broker.amqp.encode import encode
from local_azure.broker.amqp.types import Described, Int, Symbol, Timestamp, ULong
from local_azure.broker.config import ConfiguredSubscription, Namespace
from local_azure.broker.entities import QueueDescription, SubscriptionDescription, TopicDescription
from unit.broker.world import BrokerWorld, Client, body

DECLARED = Namespace(
    queues=(
        QueueDescription(name="queue"),
        QueueDescription(name="premium", max_message_size_in_kilobytes=1_024),
        QueueDescription(name="sessions", requires_session=True),
    ),
    topics=(TopicDescription(name="topic"),),
    subscriptions=(ConfiguredSubscription(description=SubscriptionDescription(topic_name="topic", name="s")),),
)


@pytest.fixture
def world() -> BrokerWorld:
    """A fresh broker."""
    return BrokerWorld(DECLARED)


@pytest.fixture
def client(world: BrokerWorld) -> Client:
    """A connected client."""
    return world.connect()


def _delete(client: Client, entity: str, count: int, **more: Any) -> tuple[int, Any]:
    client.attach(f"{entity}/$management", 8, receives=False)
    client.attach(f"{entity}/$management", 9, receives=True)
    client.credit(9, 10)
    value = {"message-count": Int(count), **{key.replace("_", "-"): each for key, each in more.items()}}
    reply = client.request(8, "com.microsoft:batch-delete-messages", value)
    answered = reply.value_body()
    return reply.application_properties["statusCode"], answered.get("message-count")


@pytest.mark.parametrize(("entity", "address", "most"), [("queue", "queue", 500), ("premium", "premium", 4_000)])
def test_a_call_deletes_as_many_as_the_tier_allows(client: Client, entity: str, address: str, most: int) -> None:
    """The oldest first; what is left is counted and peeked as before."""
    client.attach(address, 0, receives=False)
    for _ in range(most + 10):
        client.publish(0, body(), settled=True)
    status, deleted = _delete(client, entity, 5_000)
    assert (status, deleted, type(deleted)) == (200, most, Int)
    queue = client.world.broker.namespace.queues[entity].queue
    assert sorted(queue.messages) == list(range(most + 1, most + 11))
    assert queue.size_bytes == sum(message.size for message in queue.messages.values())


@pytest.mark.parametrize(("target", "entity"), [("queue", "queue"), ("topic", "topic/Subscriptions/s")])
def test_only_what_is_ready_and_old_enough_goes(world: BrokerWorld, client: Client, target: str, entity: str) -> None:
    """A locked, a scheduled and a deferred message stay, and those sent since."""
    client.attach(target, 0, receives=False)
    for _ in range(3):
        client.publish(0, body(), settled=True)
    client.attach(entity, 1, receives=True)
    client.grant(1, 2)
    (_, _), (second, _) = client.messages()
    client.settle(second, encode(Described(ULong(0x27), [None, True])))
    late = encode(Described(ULong(0x72), {Symbol("x-opt-scheduled-enqueue-time"): Timestamp(world.now + 60_000)}))
    client.publish(0, late + body(), settled=True)
    world.wait(1_000)
    cutoff = world.now
    client.publish(0, body(), settled=True)
    assert _delete(client, entity, 100, enqueued_time_utc=Timestamp(cutoff)) == (200, 1)
    assert client.request(8, "com.microsoft:batch-delete-messages", {"message-count": Int(100)}).value_body() == {
        "message-count": 1
    }
    reply = client.request(8, "com.microsoft:batch-delete-messages", {"message-count": Int(100)})
    assert reply.application_properties["statusCode"] == 204


def test_a_session_is_deleted_alone(client: Client) -> None:
    """The session's name comes with the request."""
    client.attach("sessions", 0, receives=False)
    for name in ("a", "b", "a"):
        client.publish(0, body(group_id=name), settled=True)
    assert _delete(client, "sessions", 10, session_id="a") == (200, 2)
    assert [
        message.session_id for message in client.world.broker.namespace.queues["sessions"].queue.messages.values()
    ] == ["b"]


@pytest.mark.parametrize(
    "value", [{}, {"message-count": Int(0)}, {"message-count": "1"}, {"message-count": 1, "enqueued-time-utc": "now"}]
)
def test_wrong_requests_are_refused(client: Client, value: Any) -> None:
    """With a status, and nothing is deleted."""
    _delete(client, "queue", 1)
    client.attach("queue", 0, receives=False)
    client.publish(0, body(), settled=True)
    reply = client.request(8, "com.microsoft:batch-delete-messages", value)
    assert reply.application_properties["statusCode"] == 400
    assert len(client.world.broker.namespace.queues["queue"].queue.messages) == 1
