"""`AutoDeleteOnIdle`: what nobody uses goes, whatever counts as a use keeps it, and it is gone after a restart too."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from local_azure.broker.administration import EntityNotFoundError
from local_azure.broker.amqp.encode import encode
from local_azure.broker.amqp.performatives import Detach
from local_azure.broker.amqp.types import Described, Symbol, Timestamp, ULong
from local_azure.broker.config import ConfiguredSubscription, Namespace
from local_azure.broker.entities import QueueDescription, SubscriptionDescription, TopicDescription
from local_azure.broker.running import running_broker
from unit.broker.world import BrokerWorld, Client, body

IDLE = timedelta(minutes=5)
MINUTE = 60_000
DECLARED = Namespace(
    queues=(
        QueueDescription(name="queue", auto_delete_on_idle=IDLE),
        QueueDescription(name="forwarding", auto_delete_on_idle=IDLE, forward_to="kept"),
        QueueDescription(name="kept"),
    ),
    topics=(TopicDescription(name="topic", auto_delete_on_idle=IDLE),),
    subscriptions=(
        ConfiguredSubscription(description=SubscriptionDescription(topic_name="topic", name="kept")),
        ConfiguredSubscription(
            description=SubscriptionDescription(topic_name="topic", name="idle", auto_delete_on_idle=IDLE)
        ),
    ),
)


@pytest.fixture
def world() -> BrokerWorld:
    """A fresh broker."""
    return BrokerWorld(DECLARED)


def _exists(world: BrokerWorld, name: str) -> bool:
    try:
        if name == "topic/idle":
            world.catalogue.subscription("topic", "idle")
        elif name == "topic":
            world.catalogue.topic("topic")
        else:
            world.catalogue.queue(name)
    except EntityNotFoundError:
        return False
    return True


@pytest.mark.parametrize("name", ["queue", "topic", "topic/idle"])
def test_what_nobody_uses_is_deleted_when_its_time_is_over(world: BrokerWorld, name: str) -> None:
    """Not a millisecond before; with what it holds, and its subscriptions."""
    world.run()
    world.wait(5 * MINUTE - 1)
    assert _exists(world, name)
    world.wait(1)
    assert not _exists(world, name)
    assert _exists(world, "kept")
    assert _exists(world, "forwarding"), "it sends on, which is receiving"
    assert not any(store.path.lower().startswith("queue") for store in world.broker.namespace.stores())


def test_its_name_is_free_again_and_its_clients_hear_of_it(world: BrokerWorld) -> None:
    """A sender's link stays open in the service's way, and is refused with the next message."""
    client = world.connect()
    client.attach("queue", 0, receives=False)
    client.publish(0, body(), settled=True)
    world.wait(5 * MINUTE)
    assert not _exists(world, "queue")
    assert client.attach("queue", 1, receives=True).source is None


def _send(client: Client) -> None:
    client.publish(0, body(), settled=True)


def _peek(client: Client) -> None:
    client.request(8, "com.microsoft:peek-message", {"from-sequence-number": 0, "message-count": 1})


def _receive(client: Client) -> None:
    client.attach("queue", 1, receives=True)
    client.send(Detach(handle=1, closed=True))


def _update(client: Client) -> None:
    description = QueueDescription(name="queue", auto_delete_on_idle=IDLE, max_delivery_count=3)
    client.world.catalogue._update(description)


@pytest.mark.parametrize("use", [_send, _peek, _receive, _update])
def test_every_use_begins_the_time_anew(world: BrokerWorld, use: Callable[[Client], None]) -> None:
    """Sending, browsing, receiving and changing; then it is idle as ever."""
    client = world.connect()
    client.attach("queue", 0, receives=False)
    client.attach("queue/$management", 8, receives=False)
    client.attach("queue/$management", 9, receives=True)
    client.grant(9, 10)
    for _ in range(3):
        world.wait(4 * MINUTE)
        use(client)
        client.received.clear()
    world.wait(4 * MINUTE)
    assert _exists(world, "queue")
    world.wait(MINUTE)
    assert not _exists(world, "queue")


def test_a_receiver_that_waits_is_a_use(world: BrokerWorld) -> None:
    """For a queue, a subscription and its topic, and a queue's dead letters."""
    client = world.connect()
    client.attach("queue/$DeadLetterQueue", 0, receives=True)
    client.attach("topic/Subscriptions/idle", 1, receives=True)
    world.wait(60 * MINUTE)
    assert all(_exists(world, name) for name in ("queue", "topic", "topic/idle"))
    client.client.abort()
    world.run()
    world.wait(5 * MINUTE)
    assert not any(_exists(world, name) for name in ("queue", "topic", "topic/idle"))


def test_what_is_scheduled_keeps_its_queue(world: BrokerWorld) -> None:
    """Until it is due, and the time of idleness after that."""
    client = world.connect()
    client.attach("queue", 0, receives=False)
    due = encode(Described(ULong(0x72), {Symbol("x-opt-scheduled-enqueue-time"): Timestamp(world.now + 30 * MINUTE)}))
    client.publish(0, due + body(), settled=True)
    world.wait(29 * MINUTE)
    assert _exists(world, "queue")
    world.wait(MINUTE)
    assert _exists(world, "queue")
    world.wait(10 * MINUTE)
    assert not _exists(world, "queue")


async def test_it_is_gone_for_good(tmp_path: Path) -> None:
    """What was deleted at run time does not come back from storage."""
    async with running_broker(Namespace(), data=tmp_path) as broker:
        await broker.catalogue.create(QueueDescription(name="late", auto_delete_on_idle=IDLE))
        found = broker.catalogue._namespace.queue("late").queue
        broker.catalogue._delete_idle(found)
    async with running_broker(Namespace(), data=tmp_path) as broker:
        assert broker.catalogue.queues() == []
