"""Transactions over the wire: declare, sends and settlements within, discharge; and every way to go wrong."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from local_azure.broker.amqp.encode import encode
from local_azure.broker.amqp.frames import frame
from local_azure.broker.amqp.message import BATCH_FORMAT, Properties, encode_message
from local_azure.broker.amqp.outcomes import ACCEPTED
from local_azure.broker.amqp.performatives import Attach, Begin, Detach, Disposition, Terminus
from local_azure.broker.amqp.types import Array, Described, Raw, Symbol, Timestamp, ULong
from local_azure.broker.config import ConfiguredSubscription, Namespace
from local_azure.broker.entities import (
    EntityStatus,
    EventHubDescription,
    QueueDescription,
    SubscriptionDescription,
    TopicDescription,
)
from unit.broker.peer import source, target
from unit.broker.world import BrokerWorld, Client, body

DECLARED = Namespace(
    queues=(
        QueueDescription(name="a"),
        QueueDescription(name="b"),
        QueueDescription(name="sessions", requires_session=True),
        QueueDescription(name="once", requires_duplicate_detection=True),
    ),
    topics=(TopicDescription(name="topic"),),
    subscriptions=(ConfiguredSubscription(description=SubscriptionDescription(topic_name="topic", name="s")),),
    event_hubs=(EventHubDescription(name="hub"),),
)
COORDINATOR = 30


@pytest.fixture
def world() -> BrokerWorld:
    """A fresh broker."""
    return BrokerWorld(DECLARED)


@pytest.fixture
def client(world: BrokerWorld) -> Client:
    """A client with a coordinator link."""
    connected = world.connect()
    _coordinate(connected)
    return connected


def _coordinate(client: Client) -> None:
    coordinator = Terminus(Raw(encode(Described(ULong(0x30), [None]))))
    client.send(Attach(name="tx", handle=COORDINATOR, role=False, target=coordinator, initial_delivery_count=0))
    assert client.take(Attach).target.is_coordinator


def _control(client: Client, descriptor: int, *fields: Any) -> Any:
    """Send to the coordinator, and give the outcome."""
    client.received.clear()
    value = Described(ULong(0x77), Described(ULong(descriptor), list(fields)))
    client.publish(COORDINATOR, encode(value))
    answer = client.take(Disposition)
    assert answer.settled
    return answer.state


def _declare(client: Client) -> bytes:
    state = _control(client, 0x31, None)
    assert state.descriptor == 0x33
    identity = state.value[0]
    assert isinstance(identity, bytes)
    return identity


def _discharge(client: Client, identity: bytes, *, fail: bool = False) -> str:
    """ "accepted", or the condition of the refusal."""
    state = _control(client, 0x32, identity, fail)
    return "accepted" if state.descriptor == 0x24 else str(state.value[0].value[0])


def _within(identity: bytes, outcome: bytes | None = None) -> Raw:
    fields = [identity] if outcome is None else [identity, Raw(outcome)]
    return Raw(encode(Described(ULong(0x34), fields)))


def _post(client: Client, handle: int, identity: bytes, message: bytes, **fields: Any) -> Any:
    client.received.clear()
    client.publish(handle, message, state=_within(identity), **fields)
    return client.take(Disposition).state


def _retire(client: Client, transfer: Any, identity: bytes, outcome: bytes) -> Any:
    client.settle(transfer, _within(identity, outcome))
    return client.take(Disposition).state


def _bodies(client: Client, queue: str) -> list[bytes]:
    held = client.world.broker.namespace.receivable(queue)
    assert held is not None
    return [message.bare[-1:] for message in held.messages.values()]


def _locked(client: Client, address: str, handle: int, count: int = 1) -> list[Any]:
    client.attach(address, handle, receives=True)
    client.credit(handle, count)
    return [transfer for transfer, _ in client.messages()]


def test_sends_and_settlements_take_effect_together(client: Client) -> None:
    """Nothing is visible before the discharge; every answer names the transaction."""
    client.attach("a", 0, receives=False)
    client.publish(0, body(b"1"), settled=True)
    (transfer,) = _locked(client, "a", 1)
    identity = _declare(client)
    posted = _post(client, 0, identity, body(b"2"))
    assert (posted.descriptor, posted.value[0], posted.value[1].descriptor) == (0x34, identity, 0x24)
    retired = _retire(client, transfer, identity, ACCEPTED)
    assert (retired.descriptor, retired.value[0], retired.value[1].descriptor) == (0x34, identity, 0x24)
    assert _bodies(client, "a") == [b"1"]
    assert _discharge(client, identity) == "accepted"
    assert _bodies(client, "a") == [b"2"]


def test_a_rollback_leaves_everything_as_it_was(world: BrokerWorld, client: Client) -> None:
    """The message stays locked, can be settled over management, and nothing that was sent appears."""
    client.attach("a", 0, receives=False)
    client.publish(0, body(b"1"), settled=True)
    (transfer,) = _locked(client, "a", 1)
    identity = _declare(client)
    _post(client, 0, identity, body(b"2"))
    _retire(client, transfer, identity, ACCEPTED)
    assert _discharge(client, identity, fail=True) == "accepted"
    assert _bodies(client, "a") == [b"1"]
    queue = world.broker.namespace.queues["a"].queue
    assert list(queue.locked) == [transfer.delivery_tag]
    world.wait(60_000)
    assert not queue.locked
    assert next(iter(queue.messages.values())).delivery_count == 1


OUTCOMES = {
    "complete": (encode(Described(ULong(0x24), [])), [], []),
    "dead-letter": (encode(Described(ULong(0x25), [None])), [], [b"1"]),
    "abandon": (encode(Described(ULong(0x27), [True])), [b"1"], []),
    "defer": (encode(Described(ULong(0x27), [None, True])), [b"1"], []),
}


@pytest.mark.parametrize(("outcome", "left", "dead"), OUTCOMES.values(), ids=OUTCOMES)
@pytest.mark.parametrize(("address", "entity"), [("a", "a"), ("topic", "topic/Subscriptions/s")])
def test_every_settlement_can_take_part(
    client: Client, address: str, entity: str, outcome: bytes, left: list[bytes], dead: list[bytes]
) -> None:
    """On a queue, and on a subscription together with a message to its topic."""
    client.attach(address, 0, receives=False)
    client.publish(0, body(b"1"), settled=True)
    (transfer,) = _locked(client, entity, 1)
    identity = _declare(client)
    assert _retire(client, transfer, identity, outcome).descriptor == 0x34
    assert _post(client, 0, identity, body(b"2")).descriptor == 0x34
    assert _bodies(client, entity) == [b"1"]
    assert _discharge(client, identity) == "accepted"
    assert sorted(_bodies(client, entity)) == sorted([*left, b"2"])
    assert _bodies(client, f"{entity}/$DeadLetterQueue") == dead


def test_a_lost_lock_rolls_all_back(world: BrokerWorld, client: Client) -> None:
    """The discharge is refused, and no part of it is done."""
    client.attach("a", 0, receives=False)
    client.publish(0, body(b"1"), settled=True)
    (transfer,) = _locked(client, "a", 1)
    identity = _declare(client)
    _post(client, 0, identity, body(b"2"))
    _retire(client, transfer, identity, ACCEPTED)
    world.wait(61_000)
    client.received.clear()
    assert _discharge(client, identity) == "amqp:transaction:rollback"
    assert _bodies(client, "a") == [b"1"]


def test_what_cannot_be_done_is_refused_at_once(client: Client) -> None:
    """A message that the entity refuses, and a lock that is lost already; the rest can be committed."""
    client.attach("sessions", 0, receives=False)
    identity = _declare(client)
    refused = _post(client, 0, identity, body(b"x"))
    assert (refused.descriptor, refused.value[0].value[0]) == (0x25, "amqp:not-allowed")
    assert _post(client, 0, identity, body(b"1", group_id="s")).descriptor == 0x34
    assert _discharge(client, identity) == "accepted"
    assert _bodies(client, "sessions") == [b"1"]


def test_a_failure_that_nobody_heard_of_rolls_back(client: Client) -> None:
    """Settled transfers have no answer, so the discharge tells."""
    client.attach("sessions", 0, receives=False)
    identity = _declare(client)
    client.publish(0, body(b"x"), settled=True, state=_within(identity))
    client.publish(0, body(b"1", group_id="s"), settled=True, state=_within(identity))
    assert _discharge(client, identity) == "amqp:transaction:rollback"
    assert _bodies(client, "sessions") == []


def test_what_became_impossible_rolls_back(client: Client) -> None:
    """The queue was disabled between send and discharge."""
    client.attach("a", 0, receives=False)
    identity = _declare(client)
    _post(client, 0, identity, body(b"1"))
    client.world.broker.namespace.update(QueueDescription(name="a", status=EntityStatus.SEND_DISABLED))
    assert _discharge(client, identity) == "amqp:transaction:rollback"
    assert _bodies(client, "a") == []


def test_a_message_is_settled_once_in_a_transaction(client: Client) -> None:
    """A second outcome for it on its link is ignored, as its delivery is settled."""
    client.attach("a", 0, receives=False)
    client.publish(0, body(b"1"), settled=True)
    (transfer,) = _locked(client, "a", 1)
    identity = _declare(client)
    assert _retire(client, transfer, identity, ACCEPTED).descriptor == 0x34
    client.settle(transfer, _within(identity, ACCEPTED))
    assert client.count(Disposition) == 0
    assert _discharge(client, identity) == "accepted"
    assert _bodies(client, "a") == []


def test_ids_are_known_until_they_are_decided(world: BrokerWorld, client: Client) -> None:
    """Not before, not after, not on another connection, not after two minutes."""
    client.attach("a", 0, receives=False)
    assert _post(client, 0, b"made up", body()).value[0].value[0] == "amqp:transaction:unknown-id"
    assert _discharge(client, b"made up") == "amqp:transaction:unknown-id"
    identity = _declare(client)
    other = world.connect()
    other.attach("a", 0, receives=False)
    assert _post(other, 0, identity, body()).value[0].value[0] == "amqp:transaction:unknown-id"
    assert _discharge(client, identity) == "accepted"
    assert _discharge(client, identity) == "amqp:transaction:unknown-id"
    late = _declare(client)
    _post(client, 0, late, body())
    world.wait(120_000)
    assert _discharge(client, late) == "amqp:transaction:timeout"
    assert _bodies(client, "a") == []


def test_the_end_of_the_coordinator_rolls_back(client: Client) -> None:
    """Of its link, and with it of the connection."""
    client.attach("a", 0, receives=False)
    identity = _declare(client)
    _post(client, 0, identity, body())
    client.send(Detach(handle=COORDINATOR, closed=True))
    client.received.clear()
    _coordinate(client)
    assert _discharge(client, identity) == "amqp:transaction:unknown-id"
    assert _bodies(client, "a") == []


def test_a_transaction_has_at_most_a_hundred_messages(client: Client) -> None:
    """The service's words; what was in before can be committed."""
    client.attach("a", 0, receives=False)
    identity = _declare(client)
    batch = b"".join(encode(Described(ULong(0x75), body(b"x"))) for _ in range(99))
    assert _post(client, 0, identity, batch, message_format=BATCH_FORMAT).descriptor == 0x34
    assert _post(client, 0, identity, body(b"y")).descriptor == 0x34
    refused = _post(client, 0, identity, body(b"z"))
    assert "more than 100 messages in a single transaction" in refused.value[0].value[1]
    assert _discharge(client, identity) == "accepted"
    assert len(_bodies(client, "a")) == 100


def test_a_client_leaves_a_bounded_number_undecided(client: Client) -> None:
    """Beyond it, declare is refused; a decided one makes room."""
    identities = [_declare(client) for _ in range(100)]
    assert _control(client, 0x31, None).descriptor == 0x25
    _discharge(client, identities[0], fail=True)
    _declare(client)


def test_duplicates_are_told_apart_at_the_discharge(client: Client) -> None:
    """A rolled back message leaves no trace in the history."""
    client.attach("once", 0, receives=False)
    for fail in (True, False, False):
        identity = _declare(client)
        _post(client, 0, identity, body(b"1", message_id="same"))
        _discharge(client, identity, fail=fail)
    assert _bodies(client, "once") == [b"1"]


def test_event_hubs_take_no_part(client: Client) -> None:
    """They have no transactions."""
    client.attach("hub", 0, receives=False)
    identity = _declare(client)
    assert _post(client, 0, identity, body()).value[0].value[0] == "amqp:not-allowed"


def test_a_coordinator_takes_nothing_else(client: Client) -> None:
    """An ordinary message to it is refused."""
    client.publish(COORDINATOR, body())
    assert client.take(Disposition).state.descriptor == 0x25


# -- more than one entity -------------------------------------------------------------------------------------


def _second_session(client: Client) -> None:
    begin = Begin(next_outgoing_id=0, incoming_window=5000, outgoing_window=5000)
    client.feed(frame(1, begin.encode()))


def _attach_in_second_session(client: Client, address: str, handle: int, **fields: Any) -> None:
    attach = Attach(
        name=f"second-{handle}",
        handle=handle,
        role=False,
        source=source("me"),
        target=target(address),
        initial_delivery_count=0,
        **fields,
    )
    client.send(attach, channel=1)
    client.received.clear()


def _post_in_second_session(client: Client, handle: int, identity: bytes, message: bytes) -> Any:
    from local_azure.broker.amqp.performatives import Transfer

    client.received.clear()
    transfer = Transfer(handle=handle, delivery_id=0, delivery_tag=b"t", state=_within(identity))
    client.send(transfer, message, channel=1)
    return client.take(Disposition).state


def test_another_entity_takes_no_part_from_another_session(client: Client) -> None:
    """As one entity's links and another's have nothing to do with each other."""
    client.attach("a", 0, receives=False)
    _second_session(client)
    _attach_in_second_session(client, "b", 0)
    identity = _declare(client)
    _post(client, 0, identity, body(b"1"))
    refused = _post_in_second_session(client, 0, identity, body(b"2"))
    assert refused.value[0].value[0] == "amqp:not-allowed"
    assert _discharge(client, identity) == "accepted"
    assert (_bodies(client, "a"), _bodies(client, "b")) == ([b"1"], [])


def test_a_sender_by_way_of_the_first_entity_takes_part(client: Client) -> None:
    """With `com.microsoft:transfer-destination-address`: received here, sent there, both or neither."""
    client.attach("a", 0, receives=False)
    client.publish(0, body(b"1"), settled=True)
    (transfer,) = _locked(client, "a", 1)
    _second_session(client)
    destination = {Symbol("com.microsoft:transfer-destination-address"): "b"}
    _attach_in_second_session(client, "a", 0, properties=destination)
    for fail, left, there in ((True, [b"1"], []), (False, [], [b"2"])):
        identity = _declare(client)
        assert _post_in_second_session(client, 0, identity, body(b"2")).descriptor == 0x34
        if not fail:
            assert _retire(client, transfer, identity, ACCEPTED).descriptor == 0x34
        assert _discharge(client, identity, fail=fail) == "accepted"
        assert (_bodies(client, "a"), _bodies(client, "b")) == (left, there)


def test_links_of_one_session_share_a_transaction(client: Client) -> None:
    """As clients do that have them span entities: sending anywhere, settling at the first entity only."""
    client.attach("a", 0, receives=False)
    client.attach("b", 1, receives=False)
    for handle in (0, 1):
        client.publish(handle, body(b"%d" % handle), settled=True)
    (first,) = _locked(client, "a", 2)
    (second,) = _locked(client, "b", 3)
    identity = _declare(client)
    assert _retire(client, first, identity, ACCEPTED).descriptor == 0x34
    assert _post(client, 1, identity, body(b"2")).descriptor == 0x34
    refused = _retire(client, second, identity, ACCEPTED)
    assert (refused.descriptor, refused.value[0].value[0]) == (0x25, "amqp:not-allowed")
    assert _discharge(client, identity) == "accepted"
    assert (_bodies(client, "a"), _bodies(client, "b")) == ([], [b"1", b"2"])


def test_a_destination_that_is_not_there_is_refused_at_attach(client: Client) -> None:
    """As any other target."""
    properties = {Symbol("com.microsoft:transfer-destination-address"): "nowhere"}
    assert client.attach("a", 0, receives=False, properties=properties).target is None


def test_a_sender_by_way_of_another_entity_works_without_transaction_too(client: Client) -> None:
    """The message arrives at the destination."""
    properties = {Symbol("com.microsoft:transfer-destination-address"): "amqps://localhost/b"}
    answer = client.attach("a", 0, receives=False, properties=properties)
    assert answer.target.address == "a"
    client.publish(0, body(b"1"))
    assert client.take(Disposition).state.descriptor == 0x24
    assert (_bodies(client, "a"), _bodies(client, "b")) == ([], [b"1"])


def _noting(noted: list[str], name: str, inner: Callable[..., None]) -> Callable[..., None]:
    def note(*given: Any) -> None:
        noted.append(name)
        inner(*given)

    return note


class Node:
    """The `$management` node of an entity, asked within a transaction."""

    def __init__(self, client: Client, entity: str) -> None:
        self._client = client
        client.attach(f"{entity}/$management", 8, receives=False)
        client.attach(f"{entity}/$management", 9, receives=True)
        client.grant(9, 100)

    def ask(self, identity: bytes | None, operation: str, value: Any = None) -> tuple[Any, Any]:
        """The reply's status, or the condition of the refusal; and its body."""
        message = encode_message(
            properties=Properties(message_id="r", reply_to="me"),
            application_properties={"operation": f"com.microsoft:{operation}"},
            body=value,
        )
        self._client.received.clear()
        self._client.publish(8, message, state=None if identity is None else _within(identity))
        settled = self._client.take(Disposition)
        if settled.state.descriptor == 0x25:
            return str(settled.state.value[0].value[0]), None
        assert settled.state.descriptor == (0x24 if identity is None else 0x34)
        ((_, sections),) = self._client.messages()
        return sections.application_properties["statusCode"], sections.value_body()


def _schedule(world: BrokerWorld, text: bytes) -> dict[str, Any]:
    due = encode(Described(ULong(0x72), {Symbol("x-opt-scheduled-enqueue-time"): Timestamp(world.now + 60_000)}))
    return {"messages": [{"message": due + body(text)}]}


@pytest.mark.parametrize("commits", [True, False], ids=["commit", "rollback"])
def test_scheduling_and_cancelling_take_part(world: BrokerWorld, client: Client, commits: bool) -> None:
    """The number is told at once, and is the message's own when others were sent meanwhile; after a rollback a gap."""
    node = Node(client, "a")
    _, first = node.ask(None, "schedule-message", _schedule(world, b"1"))
    identity = _declare(client)
    status, second = node.ask(identity, "schedule-message", _schedule(world, b"2"))
    assert (status, tuple(second["sequence-numbers"].items)) == (200, (2,))
    cancelled = {"sequence-numbers": first["sequence-numbers"]}
    assert node.ask(identity, "cancel-scheduled-message", cancelled)[0] == 200
    assert node.ask(identity, "cancel-scheduled-message", cancelled)[0] == 404
    client.attach("a", 0, receives=False)
    client.publish(0, body(b"3"), settled=True)
    assert _bodies(client, "a") == [b"1", b"3"]
    assert _discharge(client, identity, fail=not commits) == "accepted"
    held = world.broker.namespace.queues["a"].queue
    numbers = {message.bare[-1:]: message.sequence for message in held.messages.values()}
    assert numbers == ({b"2": 2, b"3": 3} if commits else {b"1": 1, b"3": 3})
    world.wait(61_000)
    client.attach("a", 1, receives=True)
    client.credit(1, 10)
    assert len(client.messages()) == 2
    assert sorted(_bodies(client, "a")) == ([b"2", b"3"] if commits else [b"1", b"3"])


@pytest.mark.parametrize(
    ("disposition", "left"), [("completed", 0), ("abandoned", 1), ("defered", 1), ("suspended", 0)]
)
def test_settling_by_management_takes_part(client: Client, disposition: str, left: int) -> None:
    """As the settlement of a deferred message has to; after a rollback the lock is as it was."""
    client.attach("a", 0, receives=False)
    client.publish(0, body(b"1"), settled=True)
    (transfer,) = _locked(client, "a", 1)
    node = Node(client, "a")
    settled = {
        "disposition-status": disposition,
        "lock-tokens": Array(0x98, (uuid.UUID(bytes_le=transfer.delivery_tag),)),
    }
    queue = client.world.broker.namespace.queues["a"].queue
    for fails in (True, False):
        identity = _declare(client)
        assert node.ask(identity, "update-disposition", settled)[0] == 200
        assert node.ask(identity, "update-disposition", settled)[0] == 410
        assert list(queue.locked) == [transfer.delivery_tag]
        assert _discharge(client, identity, fail=fails) == "accepted"
    assert len(queue.messages) == left
    assert transfer.delivery_tag not in queue.locked
    assert node.ask(None, "update-disposition", settled)[0] == 410


def test_a_sessions_state_is_set_with_the_rest(world: BrokerWorld, client: Client) -> None:
    """Or not at all; whoever lost the session in between rolls all back."""
    client.attach("sessions", 0, receives=False)
    client.publish(0, encode(Described(ULong(0x73), [None] * 10 + ["s"])) + body(b"1"), settled=True)
    filters = {Symbol("com.microsoft:session-filter"): "s"}
    fields = ["sessions", None, None, None, None, None, None, filters]
    own = Terminus(Raw(encode(Described(ULong(0x28), fields))), "sessions", filters)
    client.attach("", 1, receives=True, source=own)
    node = Node(client, "sessions")

    def state() -> Any:
        return node.ask(None, "get-session-state", {"session-id": "s"})[1].get("session-state")

    for fails, wanted in ((True, None), (False, b"new")):
        identity = _declare(client)
        assert node.ask(identity, "set-session-state", {"session-id": "s", "session-state": b"new"})[0] == 200
        assert state() is None
        assert _discharge(client, identity, fail=fails) == "accepted"
        assert state() == wanted
    identity = _declare(client)
    too_large = {"session-id": "s", "session-state": bytes(262_145)}
    assert node.ask(identity, "set-session-state", too_large)[0] == 400
    assert node.ask(identity, "set-session-state", {"session-id": "s", "session-state": None})[0] == 200
    assert node.ask(identity, "renew-session-lock", {"session-id": "s"})[0] == 200
    world.wait(60_000)
    assert _discharge(client, identity) == "amqp:transaction:rollback"


def test_what_changes_no_message_is_done_at_once(client: Client) -> None:
    """Peeking and renewing a lock; another entity takes no part all the same."""
    client.attach("a", 0, receives=False)
    client.publish(0, body(b"1"), settled=True)
    (transfer,) = _locked(client, "a", 1)
    node = Node(client, "a")
    identity = _declare(client)
    assert node.ask(identity, "peek-message", {"from-sequence-number": 0, "message-count": 1})[0] == 200
    tokens = {"lock-tokens": Array(0x98, (uuid.UUID(bytes_le=transfer.delivery_tag),))}
    assert node.ask(identity, "renew-lock", tokens)[0] == 200
    assert node.ask(identity, "batch-delete-messages", {"message-count": 1})[0] == 400
    assert _discharge(client, identity) == "accepted"
    assert node.ask(identity, "renew-lock", tokens)[0] == "amqp:transaction:unknown-id"


@pytest.mark.parametrize("node", ["$cbs", "$management"])
def test_requests_to_the_namespace_take_no_part(client: Client, node: str) -> None:
    """What was done at once could not be undone, so it is refused."""
    client.attach(node, 8, receives=False)
    client.attach(node, 9, receives=True)
    client.grant(9, 10)
    identity = _declare(client)
    request = encode(Described(ULong(0x74), {"operation": "put-token"}))
    refused = _post(client, 8, identity, request + encode(Described(ULong(0x77), {})))
    assert (refused.descriptor, refused.value[0].value[0]) == (0x25, "amqp:not-allowed")


def test_everything_of_a_transaction_goes_into_one_commit(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """No flush comes between its parts, so that a crash keeps all of it or nothing."""
    client.attach("a", 0, receives=False)
    client.publish(0, body(b"1"), settled=True)
    (transfer,) = _locked(client, "a", 1)
    identity = _declare(client)
    for number in range(3):
        _post(client, 0, identity, body(b"%d" % number))
    _retire(client, transfer, identity, ACCEPTED)
    journal = client.world.journal
    noted: list[str] = []
    for name in ("put_message", "delete_message", "flush"):
        monkeypatch.setattr(journal, name, _noting(noted, name, getattr(journal, name)))
    assert _discharge(client, identity) == "accepted"
    changes = [index for index, name in enumerate(noted) if name != "flush"]
    assert len(changes) == 4
    assert noted[changes[0] : changes[-1] + 1] == ["put_message"] * 3 + ["delete_message"]
