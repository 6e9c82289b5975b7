"""The broker behind its AMQP engine: addresses, refusals, requests, sessions, hubs and forwarding, all in memory."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest

from local_azure.broker.administration import EntityAlreadyExistsError, EntityNotFoundError
from local_azure.broker.amqp.encode import encode
from local_azure.broker.amqp.message import BATCH_FORMAT, Properties, encode_message
from local_azure.broker.amqp.outcomes import ACCEPTED
from local_azure.broker.amqp.performatives import Detach, Disposition, Terminus
from local_azure.broker.amqp.types import Array, Described, Raw, Symbol, Timestamp, UInt, ULong
from local_azure.broker.client import node_path
from local_azure.broker.config import Namespace
from local_azure.broker.entities import EntityStatus, EventHubDescription, QueueDescription, TopicDescription
from unit.broker.world import BrokerWorld, Client, body

DECLARED = Namespace(
    queues=(
        QueueDescription(name="queue", lock_duration=timedelta(seconds=30)),
        QueueDescription(name="sessions", requires_session=True, lock_duration=timedelta(seconds=30)),
        QueueDescription(name="a", forward_to="b"),
        QueueDescription(name="b", forward_to="c"),
        QueueDescription(name="c", forward_to="d"),
        QueueDescription(name="d", forward_to="e"),
        QueueDescription(name="e", forward_to="f"),
        QueueDescription(name="f"),
        QueueDescription(name="disabled", status=EntityStatus.DISABLED),
    ),
    topics=(TopicDescription(name="topic"),),
    event_hubs=(EventHubDescription(name="hub", partition_count=2, retention_hours=1),),
)


@pytest.fixture
def world() -> BrokerWorld:
    """A fresh broker."""
    return BrokerWorld(DECLARED)


@pytest.fixture
def client(world: BrokerWorld) -> Client:
    """A connected client."""
    return world.connect()


def _refusal(client: Client) -> str:
    detach = client.take(Detach)
    assert isinstance(detach.error, Described)
    return str(detach.error.value[0])


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("queue", "queue"),
        ("amqps://localhost:5672/queue", "queue"),
        ("amqp://host/topic/Subscriptions/s", "topic/Subscriptions/s"),
        ("sb://host/hub/ConsumerGroups/$Default/Partitions/0/", "hub/ConsumerGroups/$Default/Partitions/0"),
        ("/queue/$management", "queue/$management"),
    ],
)
def test_addresses_are_read_with_and_without_a_host(address: str, path: str) -> None:
    """The SDKs send both kinds."""
    assert node_path(address) == path


@pytest.mark.parametrize(
    ("address", "receives", "condition"),
    [
        ("nowhere", False, "amqp:not-found"),
        ("nowhere", True, "amqp:not-found"),
        ("nowhere/$management", False, "amqp:not-found"),
        ("topic", True, "amqp:not-found"),
        ("disabled", False, "com.microsoft:entity-disabled"),
        ("disabled", True, "com.microsoft:entity-disabled"),
        ("sessions", True, "amqp:not-allowed"),
        ("hub/Partitions/7", False, "com.microsoft:argument-out-of-range"),
        ("hub/ConsumerGroups/none/Partitions/0", True, "amqp:not-found"),
        ("hub/else/where", True, "amqp:not-found"),
    ],
)
def test_what_is_not_there_is_refused_at_attach(client: Client, address: str, receives: bool, condition: str) -> None:
    """With a null terminus, and the reason in a closing detach; the session goes on."""
    answer = client.attach(address, 0, receives=receives)
    assert (answer.source if receives else answer.target) is None
    assert _refusal(client) == condition
    client.send(Detach(handle=0, closed=True))
    assert client.attach("queue", 0, receives=False).target is not None


def test_names_are_compared_without_case(client: Client) -> None:
    """As the service does, for entities and sub-queues."""
    assert client.attach("QUEUE", 0, receives=False).target is not None
    assert client.attach("Queue/$deadletterQUEUE", 1, receives=True).source is not None


def test_a_receiver_without_credit_gets_nothing(client: Client) -> None:
    """Messages wait for credit, and no longer."""
    client.attach("queue", 0, receives=False)
    client.attach("queue", 1, receives=True)
    client.publish(0, body())
    assert client.messages() == []
    client.grant(1, 1)
    assert len(client.messages()) == 1


def test_settlements_are_confirmed_with_what_was_asked(client: Client) -> None:
    """Accepted for accepted, rejected without an error for a dead letter, modified for an abandon."""
    client.attach("queue", 0, receives=False)
    client.attach("queue", 1, receives=True)
    client.grant(1, 10)
    dead = encode(
        Described(
            ULong(0x25),
            [Described(ULong(0x1D), [Symbol("com.microsoft:dead-letter"), None, {Symbol("DeadLetterReason"): "r"}])],
        )
    )
    abandoned = encode(Described(ULong(0x27), [True, False, {Symbol("tries"): 1}]))
    for state, code in ((ACCEPTED, 0x24), (dead, 0x25), (abandoned, 0x27)):
        client.publish(0, body())
        client.take(Disposition)
        ((transfer, _),) = client.messages()
        client.settle(transfer, state)
        answer = client.take(Disposition)
        assert (answer.role, answer.settled, answer.state.descriptor) == (False, True, code)
        if code == 0x25:
            assert answer.state.value == [None]
    ((_, again),) = client.messages()
    assert again.application_properties == {"tries": 1}
    client.attach("queue/$deadletterqueue", 2, receives=True)
    client.grant(2, 1)
    ((_, buried),) = client.messages()
    assert buried.application_properties == {"DeadLetterReason": "r"}


def test_a_late_settlement_is_told_that_the_lock_is_lost(world: BrokerWorld, client: Client) -> None:
    """After the lock's end the answer is rejected, with the reason."""
    client.attach("queue", 0, receives=False)
    client.attach("queue", 1, receives=True)
    client.grant(1, 1)
    client.publish(0, body())
    client.take(Disposition)
    ((transfer, _),) = client.messages()
    world.wait(30_000)
    client.settle(transfer, ACCEPTED)
    answer = client.take(Disposition)
    assert answer.state.descriptor == 0x25
    assert answer.state.value[0].value[0] == "com.microsoft:message-lock-lost"


def test_locks_outlive_the_connection(world: BrokerWorld, client: Client) -> None:
    """A client that vanishes holds its messages until the locks expire."""
    client.attach("queue", 0, receives=False)
    client.attach("queue", 1, receives=True)
    client.grant(1, 1)
    client.publish(0, body())
    assert len(client.messages()) == 1
    client.client.abort()
    other = world.connect()
    other.attach("queue", 1, receives=True)
    other.grant(1, 5)
    assert other.messages() == []
    world.wait(30_000)
    ((_, sections),) = other.messages()
    assert sections.header is not None
    assert world.broker.connections == 1


def _management(client: Client, entity: str = "queue") -> None:
    client.attach(f"{entity}/$management", 8, receives=False)
    client.attach(f"{entity}/$management", 9, receives=True)
    client.grant(9, 100)


@pytest.mark.parametrize(
    ("operation", "value"),
    [
        ("com.microsoft:renew-lock", {}),
        ("com.microsoft:renew-lock", None),
        ("com.microsoft:renew-lock", {"lock-tokens": "text"}),
        ("com.microsoft:renew-lock", {"lock-tokens": Array(0x98, (uuid.uuid4(),))}),
        ("com.microsoft:peek-message", {"from-sequence-number": "one"}),
        ("com.microsoft:receive-by-sequence-number", {"sequence-numbers": Array(0x81, (99,))}),
        ("com.microsoft:schedule-message", {"messages": [{"message": b"garbage"}]}),
        ("com.microsoft:schedule-message", {"messages": []}),
        ("com.microsoft:cancel-scheduled-message", {"sequence-numbers": [1]}),
        ("com.microsoft:update-disposition", {"disposition-status": "eaten", "lock-tokens": [uuid.uuid4()]}),
        ("com.microsoft:get-session-state", {"session-id": "s"}),
        ("com.microsoft:enumerate-rules", {"top": 1, "skip": 0}),
        ("com.microsoft:no-such-thing", {}),
    ],
)
def test_requests_that_cannot_be_met_get_a_status(client: Client, operation: str, value: Any) -> None:
    """4xx or 501 with a condition, and the node goes on answering."""
    _management(client)
    reply = client.request(8, operation, value)
    assert 400 <= reply.application_properties["statusCode"] <= 501
    assert ":" in reply.application_properties["errorCondition"]
    assert reply.properties.correlation_id == "r"
    peek = {"from-sequence-number": 0, "message-count": 1}
    assert client.request(8, "com.microsoft:peek-message", peek).application_properties["statusCode"] == 204


def test_answers_that_are_not_taken_are_bounded(client: Client) -> None:
    """Without credit for answers, requests are refused after a while, and the answers come with the credit."""
    client.attach("queue/$management", 8, receives=False)
    client.attach("queue/$management", 9, receives=True)
    request = encode_message(
        properties=Properties(message_id="r"),
        application_properties={"operation": "com.microsoft:peek-message"},
        body={"from-sequence-number": 0, "message-count": 1},
    )
    for _ in range(1200):
        client.publish(8, request)
    states = [each.state.descriptor for each, _ in client.received if isinstance(each, Disposition)]
    assert (states.count(0x24), states.count(0x25)) == (1000, 200)
    client.grant(9, 5000)
    assert len(client.messages()) == 1000


def test_tokens_are_accepted_and_answered_first(client: Client) -> None:
    """`$cbs` answers 202 over the link to the same node."""
    client.attach("$cbs", 8, receives=False)
    client.attach("$cbs", 9, receives=True)
    client.grant(9, 10)
    reply = client.request(8, "put-token", "token", type="jwt", name="amqp://localhost/queue")
    assert reply.application_properties["status-code"] == 202


def _session_source(session_id: object) -> Terminus:
    filters = {Symbol("com.microsoft:session-filter"): session_id}
    fields = ["sessions", None, None, None, None, None, None, filters]
    return Terminus(Raw(encode(Described(ULong(0x28), fields))), "sessions", filters)


def test_a_waiting_receiver_is_granted_the_session_that_comes(world: BrokerWorld, client: Client) -> None:
    """The link opens with the session's name in it, and in time; else it is refused with a time-out."""
    client.attach("sessions", 0, receives=False)
    wait = {Symbol("com.microsoft:timeout"): UInt(5000)}
    assert client.attach("", 1, receives=True, source=_session_source(None), properties=wait) is None
    client.publish(0, body(group_id="s-1"))
    from local_azure.broker.amqp.performatives import Attach

    granted = client.take(Attach)
    assert granted.source.filters["com.microsoft:session-filter"] == "s-1"
    assert granted.properties["com.microsoft:locked-until-utc"] > 621_355_968_000_000_000
    assert client.attach("", 2, receives=True, source=_session_source(None), properties=wait) is None
    world.wait(5000)
    client.pull()
    assert _refusal(client) == "com.microsoft:timeout"
    named = client.attach("", 3, receives=True, source=_session_source("s-1"), properties=wait)
    assert named.source is None
    assert _refusal(client) == "com.microsoft:session-cannot-be-locked"


@pytest.mark.parametrize("asked", ["s", None])
def test_a_session_is_named_in_the_form_of_the_filter(client: Client, asked: str | None) -> None:
    """Go's client sends a described value, as AMQP's filters are, and reads no other; the others send a bare one."""
    client.attach("sessions", 0, receives=False)
    client.publish(0, body(group_id="s"))
    code = ULong(0x137000000C)
    granted = client.attach("", 1, receives=True, source=_session_source(Described(code, asked)))
    assert granted.source.filters["com.microsoft:session-filter"] == Described(code, "s")


def test_a_session_passes_on_in_order_when_its_receiver_goes(world: BrokerWorld, client: Client) -> None:
    """Unsettled messages come first again."""
    client.attach("sessions", 0, receives=False)
    for number in range(3):
        client.publish(0, body(b"%d" % number, group_id="s"))
    client.attach("", 1, receives=True, source=_session_source("s"))
    client.grant(1, 2)
    assert len(client.messages()) == 2
    client.send(Detach(handle=1, closed=True))
    client.attach("", 1, receives=True, source=_session_source(None))
    client.grant(1, 5)
    assert [sections.data[-1:] for _, sections in client.messages()] == [b"0", b"1", b"2"]


def test_a_lost_session_detaches_its_receiver(world: BrokerWorld, client: Client) -> None:
    """With the reason; the session is free for the next."""
    client.attach("sessions", 0, receives=False)
    client.publish(0, body(group_id="s"))
    client.attach("", 1, receives=True, source=_session_source("s"))
    world.wait(30_000)
    client.pull()
    assert _refusal(client) == "com.microsoft:session-lock-lost"


def test_forwarding_ends_after_four_hops(world: BrokerWorld, client: Client) -> None:
    """The message is kept in the transfer dead-letter queue of the entity that could not send it on."""
    client.attach("a", 0, receives=False)
    client.publish(0, body())
    stores = {queue.path: len(queue.messages) for queue in world.broker.namespace.stores() if queue.messages}
    assert stores == {"e/$Transfer/$DeadLetterQueue": 1}


def test_events_of_one_send_stay_together_and_keys_decide(world: BrokerWorld, client: Client) -> None:
    """Without key and partition, sends take turns."""
    client.attach("hub", 0, receives=False)
    batch = b"".join(encode(Described(ULong(0x75), body(b"%d" % number))) for number in range(3))
    for _ in range(2):
        client.publish(0, batch, message_format=BATCH_FORMAT)
    assert [len(log.events) for log in world.broker.hubs["hub"].partitions] == [3, 3]


def _reader_source(selector: str) -> Terminus:
    address = "hub/ConsumerGroups/$Default/Partitions/0"
    name = Symbol("apache.org:selector-filter:string")
    filters = {name: Described(name, selector)}
    fields = [address, None, None, None, None, None, None, filters]
    return Terminus(Raw(encode(Described(ULong(0x28), fields))), address, filters)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("amqp.annotation.x-opt-offset > '-1'", [0, 1, 2]),
        ("amqp.annotation.x-opt-offset > '@latest'", []),
        ("amqp.annotation.x-opt-sequence-number > '0'", [1, 2]),
        ("amqp.annotation.x-opt-sequence-number >= '1'", [1, 2]),
        ("amqp.annotation.x-opt-enqueued-time > '1000100'", [2]),
        ("amqp.annotation.x-opt-enqueued-time >= '1000100'", [1, 2]),
        ("amqp.annotation.x-opt-enqueued-time >= '99999999'", []),
    ],
)
def test_readers_start_where_their_selector_says(
    world: BrokerWorld, client: Client, selector: str, expected: list[int]
) -> None:
    """Positions by offset, number and time, inclusive or not."""
    client.attach("hub/Partitions/0", 0, receives=False)
    for _ in range(3):
        client.publish(0, body())
        world.wait(100)
    client.attach("", 1, receives=True, source=_reader_source(selector))
    client.grant(1, 10)
    numbers = [sections.annotations["x-opt-sequence-number"] for _, sections in client.messages()]
    assert numbers == expected


@pytest.mark.parametrize("selector", ["nonsense", "amqp.annotation.x-opt-offset > 'x'", "1=1; DROP"])
def test_a_selector_that_is_no_position_is_refused(client: Client, selector: str) -> None:
    """With `amqp:invalid-field`."""
    assert client.attach("", 1, receives=True, source=_reader_source(selector)).source is None
    assert _refusal(client) == "amqp:invalid-field"


def test_a_reader_without_a_selector_reads_all(client: Client) -> None:
    """From the oldest event that is kept."""
    client.attach("hub/Partitions/0", 0, receives=False)
    client.publish(0, body())
    client.attach("hub/ConsumerGroups/$default/Partitions/0", 1, receives=True)
    client.grant(1, 10)
    assert len(client.messages()) == 1


def test_epochs_decide_who_reads(world: BrokerWorld) -> None:
    """A higher one evicts, a lower one and none at all are refused, an equal one evicts too."""
    source = _reader_source("amqp.annotation.x-opt-offset > '-1'")

    def attach(epoch: int | None) -> tuple[Client, Any]:
        reader = world.connect()
        properties = None if epoch is None else {Symbol("com.microsoft:epoch"): epoch}
        return reader, reader.attach("", 1, receives=True, source=source, properties=properties)

    plain, _ = attach(None)
    low, _ = attach(1)
    plain.pull()
    assert _refusal(plain) == "amqp:link:stolen"
    high, _ = attach(5)
    low.pull()
    assert _refusal(low) == "amqp:link:stolen"
    for epoch in (1, None):
        refused, answer = attach(epoch)
        assert answer.source is None
        assert _refusal(refused) == "amqp:link:stolen"
    _, answer = attach(5)
    assert answer.source is not None
    high.pull()
    assert _refusal(high) == "amqp:link:stolen"


async def test_a_removed_hub_sends_its_clients_away(world: BrokerWorld, client: Client) -> None:
    """A new one of the name has none of its events."""
    client.attach("hub/Partitions/0", 0, receives=False)
    client.publish(0, body())
    client.take(Disposition)
    reader = world.connect()
    reader.attach("hub/ConsumerGroups/$default/Partitions/0", 1, receives=True)
    world.broker.on_change = world.run
    await world.catalogue.delete(world.catalogue.event_hub("HUB"))
    reader.pull()
    assert _refusal(reader) == "amqp:not-found"
    assert client.attach("hub", 2, receives=False).target is None
    client.publish(0, body())
    assert client.take(Disposition).state.value[0].value[0] == "amqp:not-found"
    with pytest.raises(EntityNotFoundError):
        await world.catalogue.delete(world.catalogue.event_hub("hub"))
    await world.catalogue.create(EventHubDescription(name="hub"))
    assert [len(log.events) for log in world.broker.hubs["hub"].partitions] == [0]


async def test_queues_topics_and_hubs_share_their_names(world: BrokerWorld) -> None:
    """One port serves them all."""
    with pytest.raises(EntityAlreadyExistsError):
        await world.catalogue.create(QueueDescription(name="Hub"))
    with pytest.raises(EntityAlreadyExistsError):
        await world.catalogue.create(TopicDescription(name="hub"))
    with pytest.raises(EntityAlreadyExistsError):
        await world.catalogue.create(EventHubDescription(name="queue"))


def test_events_leave_when_their_retention_is_over(world: BrokerWorld, client: Client) -> None:
    """One hour here; numbers go on, and what management says follows."""
    client.attach("hub/Partitions/0", 0, receives=False)
    client.publish(0, body())
    world.wait(1_800_000)
    client.publish(0, body())
    world.wait(1_800_000 + 20_000)
    client.attach("$management", 8, receives=False)
    client.attach("$management", 9, receives=True)
    client.grant(9, 5)
    request = {"type": "com.microsoft:partition", "name": "hub", "partition": "0"}
    found = client.request(8, "READ", None, **request).value_body()
    assert (found["begin_sequence_number"], found["last_enqueued_sequence_number"]) == (1, 1)
    world.wait(3_600_000)
    found = client.request(8, "READ", None, **request).value_body()
    assert found["is_partition_empty"] is True
    assert found["last_enqueued_sequence_number"] == 1


def test_presettled_messages_need_no_answer(client: Client) -> None:
    """They are taken all the same."""
    client.attach("queue", 0, receives=False)
    client.publish(0, body(), settled=True)
    assert client.count(Disposition) == 0
    client.attach("queue", 1, receives=True)
    client.grant(1, 1)
    assert len(client.messages()) == 1


def test_requests_without_a_reply_link_are_rejected(client: Client) -> None:
    """The outcome says what is missing."""
    client.attach("queue/$management", 8, receives=False)
    client.publish(8, body())
    answer = client.take(Disposition)
    assert answer.state.value[0].value[0] == "amqp:not-found"


@pytest.mark.parametrize("work", ["dispatch", "tick"])
def test_an_entity_that_fails_keeps_no_other_one_from_its_work(
    world: BrokerWorld, client: Client, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    """Handing out, and what time brings about: two are due in the same moment, the failing one first."""
    broken, other = (world.broker.namespace.queues[name].queue for name in ("queue", "f"))
    later = encode(Described(ULong(0x72), {Symbol("x-opt-scheduled-enqueue-time"): Timestamp(world.now + 1_000)}))
    for handle, name in enumerate(("queue", "f")):
        client.attach(name, handle, receives=False)
        client.publish(handle, later + body(), settled=True)
    called: list[str] = []
    whole = getattr(other, work)

    def fail(now: int) -> None:
        called.append("broken")
        raise RuntimeError("a fault of the emulator's own")

    def note(now: int) -> None:
        called.append("other")
        whole(now)

    monkeypatch.setattr(broken, work, fail)
    monkeypatch.setattr(other, work, note)
    for queue in (broken, other):
        queue.services.wake(queue)
    world.wait(2_000)
    assert called[:2] == ["broken", "other"]
    assert [message.state for message in other.messages.values()] == [0]
    world.wait(3_600_000)  # what failed is not tried for ever
    assert called.count("broken") < 10
