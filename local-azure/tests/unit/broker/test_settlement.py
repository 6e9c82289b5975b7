"""Outcomes on the wire: what counts as a failed delivery, what a session's end does, what is merged."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from local_azure.broker.amqp.encode import encode
from local_azure.broker.amqp.outcomes import ACCEPTED, RELEASED
from local_azure.broker.amqp.performatives import Attach, Detach, Disposition, Terminus
from local_azure.broker.amqp.types import Described, Raw, Symbol, ULong
from local_azure.broker.config import ConfiguredSubscription, Namespace
from local_azure.broker.entities import QueueDescription, SubscriptionDescription, TopicDescription
from unit.broker.world import BrokerWorld, Client, body

DECLARED = Namespace(
    queues=(
        QueueDescription(name="queue", max_delivery_count=3, lock_duration=timedelta(seconds=30)),
        QueueDescription(name="sessions", requires_session=True, lock_duration=timedelta(seconds=30)),
    ),
    topics=(TopicDescription(name="topic"),),
    subscriptions=(
        ConfiguredSubscription(
            description=SubscriptionDescription(topic_name="topic", name="plain", max_delivery_count=3)
        ),
    ),
)

PLACES = [("queue", "queue"), ("topic", "topic/Subscriptions/plain")]


@pytest.fixture
def world() -> BrokerWorld:
    """A fresh broker."""
    return BrokerWorld(DECLARED)


@pytest.fixture
def client(world: BrokerWorld) -> Client:
    """A connected client."""
    return world.connect()


def _modified(*fields: Any) -> bytes:
    return encode(Described(ULong(0x27), list(fields)))


def _count(sections: Any) -> int:
    """The delivery count in a message's header."""
    from local_azure.broker.amqp.decode import decode_fields

    values, _ = decode_fields(sections.data, sections.header_at, len(sections.data))
    return int(values[4])


ABANDONS = {
    "no field at all": (),
    "delivery-failed": (True,),
    "not delivery-failed": (False,),
    "neither": (None, None),
    "as JavaScript": (None, False, {Symbol("a"): 2}),
    "as .NET": (None, None, {Symbol("a"): 2}),
}


@pytest.mark.parametrize(("target", "source"), PLACES)
@pytest.mark.parametrize("fields", ABANDONS.values(), ids=ABANDONS)
def test_modified_counts_as_an_abandon(client: Client, target: str, source: str, fields: tuple[Any, ...]) -> None:
    """Whatever it says of delivery-failed: the third is the last, and nothing spins."""
    client.attach(target, 0, receives=False)
    client.attach(source, 1, receives=True)
    client.grant(1, 100)
    client.publish(0, body(), settled=True)
    for count in range(3):
        ((transfer, sections),) = client.messages()
        assert _count(sections) == count
        client.settle(transfer, _modified(*fields))
        assert client.take(Disposition).state.descriptor == 0x27
    assert client.messages() == []
    client.attach(f"{source}/$DeadLetterQueue", 2, receives=True)
    client.grant(2, 10)
    ((_, dead),) = client.messages()
    assert dead.application_properties["DeadLetterReason"] == "MaxDeliveryCountExceeded"
    if len(fields) == 3:
        assert dead.application_properties["a"] == 2


@pytest.mark.parametrize(("target", "source"), PLACES)
def test_properties_to_modify_are_merged(client: Client, target: str, source: str) -> None:
    """By an abandon and by a deferral: known keys change, new ones are added, the others stay."""
    client.attach(target, 0, receives=False)
    client.attach(source, 1, receives=True)
    client.grant(1, 100)
    properties = encode(Described(ULong(0x74), {"a": 1, "b": 1}))
    client.publish(0, properties + body(), settled=True)
    ((transfer, _),) = client.messages()
    client.settle(transfer, _modified(None, None, {Symbol("a"): 2, Symbol("c"): "3"}))
    ((again, sections),) = client.messages()
    assert sections.application_properties == {"a": 2, "b": 1, "c": "3"}
    client.settle(again, _modified(False, True, {Symbol("b"): None}))
    client.attach(f"{source}/$management", 8, receives=False)
    client.attach(f"{source}/$management", 9, receives=True)
    client.grant(9, 10)
    peek = {"from-sequence-number": 0, "message-count": 1}
    (entry,) = client.request(8, "com.microsoft:peek-message", peek).value_body()["messages"]
    from local_azure.broker.amqp.message import scan

    deferred = scan(entry["message"])
    assert deferred.annotations["x-opt-message-state"] == 1
    assert deferred.application_properties == {"a": 2, "b": None, "c": "3"}


@pytest.mark.parametrize(("target", "source"), PLACES)
def test_released_does_not_count(client: Client, target: str, source: str) -> None:
    """The message comes back as if it had never been delivered."""
    client.attach(target, 0, receives=False)
    client.attach(source, 1, receives=True)
    client.grant(1, 100)
    client.publish(0, body(), settled=True)
    for _ in range(5):
        ((transfer, sections),) = client.messages()
        assert _count(sections) == 0
        client.settle(transfer, RELEASED)


def _session() -> Terminus:
    filters = {Symbol("com.microsoft:session-filter"): "s"}
    fields = ["sessions", None, None, None, None, None, None, filters]
    return Terminus(Raw(encode(Described(ULong(0x28), fields))), "sessions", filters)


@pytest.mark.parametrize("how", ["detach", "connection"])
def test_closing_a_session_counts_no_delivery(world: BrokerWorld, client: Client, how: str) -> None:
    """Three receivers in turn see a count of 0; only a lock that expires counts."""
    client.attach("sessions", 0, receives=False)
    client.publish(0, body(group_id="s"), settled=True)
    for _ in range(3):
        receiver = world.connect()
        receiver.attach("", 1, receives=True, source=_session())
        receiver.grant(1, 10)
        ((_, sections),) = receiver.messages()
        assert _count(sections) == 0
        if how == "detach":
            receiver.send(Detach(handle=1, closed=True))
        else:
            receiver.client.abort()
            world.run()
    receiver = world.connect()
    receiver.attach("", 1, receives=True, source=_session())
    receiver.grant(1, 10)
    receiver.messages()
    world.wait(30_000)
    again = world.connect()
    again.attach("", 1, receives=True, source=_session())
    again.grant(1, 10)
    ((_, sections),) = again.messages()
    assert _count(sections) == 1


def test_an_activated_message_gets_a_new_number_at_the_end(world: BrokerWorld, client: Client) -> None:
    """Behind all that came before it was due; the number it was scheduled under is free to be cancelled no more."""
    client.attach("queue", 0, receives=False)
    client.attach("queue/$management", 8, receives=False)
    client.attach("queue/$management", 9, receives=True)
    client.grant(9, 10)
    late = encode(Described(ULong(0x72), {Symbol("x-opt-scheduled-enqueue-time"): world.now + 10_000})) + body(b"late")
    answer = client.request(8, "com.microsoft:schedule-message", {"messages": [{"message": late}]})
    (scheduled,) = answer.value_body()["sequence-numbers"].items
    for _ in range(3):
        client.publish(0, body(), settled=True)
    world.wait(10_000)
    cancel = {"sequence-numbers": [scheduled]}
    reply = client.request(8, "com.microsoft:cancel-scheduled-message", cancel)
    assert reply.application_properties["statusCode"] == 404
    client.attach("queue", 1, receives=True)
    client.grant(1, 10)
    numbers = [sections.annotations["x-opt-sequence-number"] for _, sections in client.messages()]
    assert numbers == [scheduled + 1, scheduled + 2, scheduled + 3, scheduled + 4]
    queue = world.broker.namespace.queues["queue"].queue
    assert (queue.scheduled, queue.enqueued_total) == (0, 4)


def test_a_repeated_settlement_on_the_link_is_not_answered(client: Client) -> None:
    """The first one is confirmed; a delivery that is settled is forgotten (AMQP 2.6.12), so nothing more is said."""
    client.attach("queue", 0, receives=False)
    client.attach("queue", 1, receives=True)
    client.grant(1, 10)
    client.publish(0, body(), settled=True)
    ((transfer, _),) = client.messages()
    client.settle(transfer, ACCEPTED)
    assert client.take(Disposition).state.descriptor == 0x24
    client.settle(transfer, ACCEPTED)
    assert client.count(Disposition) == 0
    client.send(Attach(name="on", handle=3, role=True, source=_session()))
    assert client.count(Attach) == 1
