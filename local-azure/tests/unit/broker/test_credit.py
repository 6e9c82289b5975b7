"""Credit on the wire: no receiver of any entity, in any mode, is sent more than it asked for."""

from __future__ import annotations

from typing import Any

import pytest

from local_azure.broker.amqp.encode import encode
from local_azure.broker.amqp.performatives import Attach, Flow, Terminus
from local_azure.broker.amqp.types import Described, Raw, Symbol, ULong
from local_azure.broker.config import ConfiguredSubscription, Namespace
from local_azure.broker.entities import EventHubDescription, QueueDescription, SubscriptionDescription, TopicDescription
from unit.broker.world import BrokerWorld, Client, body

DECLARED = Namespace(
    queues=(
        QueueDescription(name="queue"),
        QueueDescription(name="sessions", requires_session=True),
        QueueDescription(name="dying", max_delivery_count=1),
    ),
    topics=(TopicDescription(name="topic"),),
    subscriptions=(
        ConfiguredSubscription(description=SubscriptionDescription(topic_name="topic", name="plain")),
        ConfiguredSubscription(
            description=SubscriptionDescription(topic_name="topic", name="sessions", requires_session=True)
        ),
    ),
    event_hubs=(EventHubDescription(name="hub"),),
)

BACKLOG = 50

ENTITIES = [
    ("queue", "queue", False),
    ("sessions", "sessions", True),
    ("topic", "topic/Subscriptions/plain", False),
    ("topic", "topic/Subscriptions/sessions", True),
    ("dying", "dying/$DeadLetterQueue", False),
    ("hub", "hub/ConsumerGroups/$Default/Partitions/0", False),
]
"""Where to send, where to receive, and whether it takes a session."""


@pytest.fixture
def client() -> Client:
    """A connected client of a fresh broker."""
    return BrokerWorld(DECLARED).connect()


def _source(address: str, in_session: bool) -> Terminus:
    filters = {Symbol("com.microsoft:session-filter"): "s"} if in_session else {}
    fields = [address, None, None, None, None, None, None, filters]
    return Terminus(Raw(encode(Described(ULong(0x28), fields))), address, filters)


def _fill(client: Client, address: str, source: str) -> None:
    client.attach(address, 0, receives=False)
    for number in range(BACKLOG):
        client.publish(0, body(b"%d" % number, group_id="s"), settled=True)
    if source.startswith("dying"):
        client.attach("dying", 7, receives=True)
        client.grant(7, BACKLOG)
        for transfer, _ in client.messages():
            client.settle(transfer, Raw(encode(Described(ULong(0x27), [True]))), settled=True)


@pytest.mark.parametrize("credit", [1, 10])
@pytest.mark.parametrize("mode", [0, 1], ids=["peek-lock", "receive-and-delete"])
@pytest.mark.parametrize(("target", "source", "in_session"), ENTITIES, ids=[entry[1] for entry in ENTITIES])
def test_no_more_is_sent_than_the_credit(
    client: Client, target: str, source: str, in_session: bool, mode: int, credit: int
) -> None:
    """Each grant below the backlog brings just as many, in order, and the rest stays in the broker."""
    _fill(client, target, source)
    client.attach("", 1, receives=True, snd_settle_mode=mode, source=_source(source, in_session))
    got: list[Any] = []
    for granted in range(3):
        client.credit(1, credit, delivery_count=granted * credit)
        batch = client.messages()
        assert len(batch) == credit
        got += batch
    assert [sections.data[-len(str(number)) :] for number, (_, sections) in enumerate(got)] == [
        str(number).encode() for number in range(3 * credit)
    ]


@pytest.mark.parametrize("granted_at_once", [True, False])
def test_what_was_not_asked_for_is_still_there(client: Client, granted_at_once: bool) -> None:
    """A hundred messages, ten taken for good: ninety are left for another receiver."""
    client.attach("queue", 0, receives=False)
    for number in range(100):
        client.publish(0, body(b"%d" % number), settled=True)
    client.attach("queue", 1, receives=True, snd_settle_mode=1)
    if granted_at_once:
        client.grant(1, 10)
    else:
        for number in range(10):
            client.credit(1, 1, delivery_count=number)
    assert len(client.messages()) == 10
    assert len(client.world.broker.namespace.queues["queue"].queue.messages) == 90
    other = client.world.connect()
    other.attach("queue", 1, receives=True)
    other.grant(1, 1000)
    assert len(other.messages()) == 90


def test_a_drain_is_answered_behind_what_is_on_its_way(client: Client) -> None:
    """The messages come first, then the flow that says that the rest of the credit is used up."""
    client.attach("queue", 0, receives=False)
    for _ in range(3):
        client.publish(0, body(), settled=True)
    client.attach("queue", 1, receives=True, snd_settle_mode=1)
    client.received.clear()
    client.credit(1, 10, drain=True)
    kinds = [type(performative).__name__ for performative, _ in client.received]
    assert kinds == ["Transfer", "Transfer", "Transfer", "Flow"]
    flow = client.take(Flow)
    assert (flow.delivery_count, flow.link_credit, flow.drain) == (10, 0, True)


def test_a_reader_for_good_that_does_not_read_loses_little(client: Client) -> None:
    """Six megabytes wait and the credit is for all: what is deleted is what fits the output, and goes on with it."""
    client.attach("queue", 0, receives=False)
    for _ in range(200):
        client.publish(0, body(b"x" * 30_000), settled=True)
    client.attach("queue", 1, receives=True, snd_settle_mode=1)
    client.is_reading = False
    client.grant(1, 1000)
    queue = client.world.broker.namespace.queues["queue"].queue
    assert 200 - len(queue.messages) < 100
    client.is_reading = True
    for _ in range(10):
        client.pull()
        client.client.unblock()
        client.world.run()
    assert len(client.messages()) == 200


def test_two_receivers_share_what_there_is(client: Client) -> None:
    """Each keeps to its own credit."""
    client.attach("queue", 0, receives=False)
    for _ in range(BACKLOG):
        client.publish(0, body(), settled=True)
    for handle in (1, 2):
        client.send(
            Attach(name=f"r{handle}", handle=handle, role=True, snd_settle_mode=1, source=_source("queue", False))
        )
        client.grant(handle, 5 * handle)
    handles = [transfer.handle for transfer, _ in client.messages()]
    assert (handles.count(1), handles.count(2)) == (5, 10)
