"""Sessions as documented on learn.microsoft.com ("Message sessions")."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from azure.servicebus.management import ServiceBusAdministrationClient

from foreign.driver import Driver, Refused
from foreign.spoken import RAW, SDKS, spoken_by

MakeQueue = Callable[..., str]


@pytest.fixture
def sessions(make_queue: MakeQueue) -> str:
    """A queue with sessions."""
    return make_queue(requires_session=True, lock_duration=timedelta(seconds=30))


def send(client: Driver, queue: str, *sessions: str) -> None:
    """One message for each name, in this order; its id is its place."""
    messages = [{"id": str(place), "body": name, "session": name} for place, name in enumerate(sessions)]
    client.call("send", queue=queue, messages=messages)


def receive(client: Driver, handle: str, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    end = time.monotonic() + 10
    while len(found) < count and time.monotonic() < end:
        found += client.call("receive", handle=handle, max=count - len(found), wait=10_000)
    return found


@spoken_by(*SDKS, *RAW)
def test_a_named_session_gives_its_own_messages_in_order(client: Driver, sessions: str, handle: str) -> None:
    send(client, sessions, "a", "b", "a", "a")
    accepted = client.call("accept", handle=handle, queue=sessions, session="a")
    assert accepted["session"] == "a"
    found = receive(client, handle, 3)
    assert [(each["id"], each["session"]) for each in found] == [("0", "a"), ("2", "a"), ("3", "a")]
    for each in found:
        client.call("settle", handle=handle, ref=each["ref"], how="complete")
    assert client.call("receive", handle=handle, max=1, wait=300) == []
    client.call("close", handle=handle)


@spoken_by(*SDKS, *RAW)
def test_a_session_that_is_held_is_refused(client: Driver, sessions: str, handle: str) -> None:
    send(client, sessions, "a")
    client.call("accept", handle=handle, queue=sessions, session="a")
    with pytest.raises(Refused) as error:
        client.call("accept", handle=f"{handle}-2", queue=sessions, session="a")
    assert error.value.code == "session-cannot-be-locked"
    client.call("close", handle=handle)
    client.call("accept", handle=handle, queue=sessions, session="a")
    client.call("close", handle=handle)


@spoken_by(*SDKS, *RAW)
def test_next_available_sessions_are_different_ones(client: Driver, sessions: str, handle: str) -> None:
    send(client, sessions, "a", "b")
    names = {client.call("accept", handle=f"{handle}-{each}", queue=sessions)["session"] for each in range(2)}
    assert names == {"a", "b"}
    for each in range(2):
        client.call("close", handle=f"{handle}-{each}")


@spoken_by(*SDKS)
def test_waiting_for_any_session_ends_in_a_timeout(client: Driver, sessions: str, handle: str) -> None:
    with pytest.raises(Refused) as error:
        client.call("accept", handle=handle, queue=sessions, wait=500)
    assert error.value.code == "timeout"


@spoken_by(*SDKS)
def test_the_state_outlives_its_receiver(client: Driver, sessions: str, handle: str) -> None:
    client.call("accept", handle=handle, queue=sessions, session="a")
    assert client.call("get_state", handle=handle) is None
    client.call("set_state", handle=handle, state="halfway")
    client.call("close", handle=handle)
    client.call("accept", handle=handle, queue=sessions, session="a")
    assert client.call("get_state", handle=handle) == "halfway"
    client.call("close", handle=handle)


@spoken_by(*SDKS)
def test_a_state_over_256_kilobytes_is_refused(client: Driver, sessions: str, handle: str) -> None:
    """ "Service Bus quotas": the size of a session's state is that of a message, 256 KB in the standard tier."""
    client.call("accept", handle=handle, queue=sessions, session="a")
    with pytest.raises(Refused):
        client.call("set_state", handle=handle, state="x" * (256 * 1_024 + 1))
    client.call("close", handle=handle)


@spoken_by(*SDKS)
def test_a_renewed_session_lasts_longer(client: Driver, sessions: str, handle: str) -> None:
    locked_until = client.call("accept", handle=handle, queue=sessions, session="a")["locked_until"]
    if locked_until is not None:
        assert 0 < locked_until - time.time() * 1_000 <= 31_000
    time.sleep(0.05)
    assert client.call("renew_session", handle=handle) > (locked_until or time.time() * 1_000)
    client.call("close", handle=handle)


@spoken_by(*SDKS, *RAW)
def test_closing_a_session_with_unsettled_messages_counts_no_delivery(
    client: Driver, sessions: str, handle: str
) -> None:
    """What the service does, though "Message sessions" counts only expired locks: nothing failed."""
    send(client, sessions, "a", "a")
    for _ in range(3):
        client.call("accept", handle=handle, queue=sessions, session="a")
        assert [(each["id"], each["deliveries"]) for each in receive(client, handle, 2)] == [("0", 0), ("1", 0)]
        client.call("close", handle=handle)


@spoken_by(*[each for each in SDKS if each != "go"], *RAW)
def test_an_expired_session_refuses_settlement(client: Driver, make_queue: MakeQueue, handle: str) -> None:
    """Not in Go: its library waits without end for the answer to a settlement on a link that the service has ended."""
    queue = make_queue(requires_session=True, lock_duration=timedelta(seconds=1))
    send(client, queue, "a")
    client.call("accept", handle=handle, queue=queue, session="a")
    (found,) = receive(client, handle, 1)
    time.sleep(1.1)
    with pytest.raises(Refused) as error:
        client.call("settle", handle=handle, ref=found["ref"], how="complete")
    assert error.value.code == "session-lock-lost"
    client.call("close", handle=handle)


@spoken_by(*SDKS)
def test_sessions_settle_as_queues_do(
    client: Driver, sessions: str, handle: str, admin: ServiceBusAdministrationClient
) -> None:
    send(client, sessions, "a", "a", "a")
    client.call("accept", handle=handle, queue=sessions, session="a")
    found = receive(client, handle, 3)
    client.call("settle", handle=handle, ref=found[0]["ref"], how="defer")
    client.call("settle", handle=handle, ref=found[1]["ref"], how="dead_letter", reason="r")
    client.call("settle", handle=handle, ref=found[2]["ref"], how="abandon")
    assert [(each["id"], each["deliveries"]) for each in receive(client, handle, 1)] == [("2", 1)]
    (deferred,) = client.call("receive_deferred", handle=handle, sequences=[found[0]["sequence"]])
    client.call("settle", handle=handle, ref=deferred["ref"], how="complete")
    assert [each["id"] for each in client.call("peek", handle=handle, max=9)] == ["2"]
    client.call("close", handle=handle)
    assert admin.get_queue_runtime_properties(sessions).dead_letter_message_count == 1


@spoken_by(*SDKS, *RAW)
def test_receive_and_delete_of_a_session_takes_no_more_than_was_asked_for(
    client: Driver, sessions: str, handle: str, admin: ServiceBusAdministrationClient
) -> None:
    send(client, sessions, *["a"] * 20)
    client.call("accept", handle=handle, queue=sessions, session="a", mode="delete")
    found = client.call("receive", handle=handle, max=5, wait=10_000)
    client.call("close", handle=handle)
    assert 1 <= len(found) <= 5
    assert admin.get_queue_runtime_properties(sessions).active_message_count == 20 - len(found)


@spoken_by(*SDKS, *RAW)
def test_a_message_without_a_session_is_refused(client: Driver, sessions: str) -> None:
    with pytest.raises(Refused):
        client.call("send", queue=sessions, messages=[{"id": "1", "body": "x"}])


@spoken_by("go", "rhea")
def test_sessions_are_listed(client: Driver, sessions: str) -> None:
    """No other library asks for them."""
    send(client, sessions, "a", "b", "a")
    assert sorted(client.call("list_sessions", queue=sessions)) == ["a", "b"]


@spoken_by(*SDKS)
def test_a_subscription_has_sessions_too(
    client: Driver, make_topic: Callable[..., str], handle: str, admin: ServiceBusAdministrationClient
) -> None:
    topic = make_topic()
    admin.create_subscription(topic, "one", requires_session=True)
    client.call("send", topic=topic, messages=[{"id": "1", "body": "x", "session": "a"}])
    assert client.call("accept", handle=handle, topic=topic, subscription="one")["session"] == "a"
    assert [each["id"] for each in receive(client, handle, 1)] == ["1"]
    client.call("close", handle=handle)


@spoken_by("go", *RAW)
def test_an_empty_name_is_one(client: Driver, sessions: str, handle: str) -> None:
    """As the tests of azservicebus have it. JavaScript's library takes it for none, Java's refuses it."""
    send(client, sessions, "", "a", "")
    assert client.call("accept", handle=handle, queue=sessions, session="")["session"] == ""
    assert [(each["id"], each["session"]) for each in receive(client, handle, 2)] == [("0", ""), ("2", "")]
    client.call("close", handle=handle)


@spoken_by("javascript", "go", *RAW)
def test_a_receiver_without_a_session_is_told_why_it_is_refused(client: Driver, sessions: str, handle: str) -> None:
    """In the service's words; Java's library keeps them from its callers."""
    why = "It is not possible for an entity that requires sessions to create a non-sessionful message receiver."
    with pytest.raises(Refused) as error:  # noqa: PT012 - some clients attach when opened, others when they receive
        client.call("open", handle=handle, queue=sessions)
        client.call("receive", handle=handle, max=1, wait=10_000)
    assert why in error.value.message
    client.call("close", handle=handle)
