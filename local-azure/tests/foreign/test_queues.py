"""Queues as documented on learn.microsoft.com ("Message transfers, locks, and settlement" and its neighbours)."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from azure.servicebus.management import EntityStatus, ServiceBusAdministrationClient

from foreign.driver import Driver, Refused
from foreign.spoken import RAW, SDKS, spoken_by

MakeQueue = Callable[..., str]
SHORT = timedelta(seconds=1)
PATIENCE = 10_000
"""Milliseconds for what has to come; on a busy machine it takes its time."""
LATER = 3_600_000
"""An hour in milliseconds."""


def bodies(messages: list[dict[str, Any]]) -> list[str]:
    return [each["body"] for each in messages]


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"id": f"m{number}", "body": f"body {number}"} for number in range(count)]


def receive(client: Driver, handle: str, count: int, wait: int = PATIENCE) -> list[dict[str, Any]]:
    """`count` messages, in as many calls as it takes."""
    found: list[dict[str, Any]] = []
    end = time.monotonic() + wait / 1_000
    while len(found) < count and time.monotonic() < end:
        found += client.call("receive", handle=handle, max=count - len(found), wait=wait)
    return found


def one(client: Driver, handle: str) -> dict[str, Any]:
    """The next message."""
    found = receive(client, handle, 1)
    assert len(found) == 1
    return found[0]


def dead_letters(client: Driver, **entity: str) -> list[dict[str, Any]]:
    """What is in the dead-letter sub-queue, by a receiver of its own; nothing is removed."""
    client.call("open", handle="dead", dead_letters=True, **entity)
    found = receive(client, "dead", 1)
    client.call("close", handle="dead")
    return found


@spoken_by(*SDKS, *RAW)
def test_completed_messages_arrive_in_order_and_are_removed(
    client: Driver, make_queue: MakeQueue, handle: str, admin: ServiceBusAdministrationClient
) -> None:
    queue = make_queue()
    client.call("send", queue=queue, messages=numbered(2))
    client.call(
        "send", queue=queue, messages=[{"id": f"b{number}", "body": "batched"} for number in range(3)], batch=True
    )
    client.call("open", handle=handle, queue=queue)
    found = receive(client, handle, 5)
    assert [each["id"] for each in found] == ["m0", "m1", "b0", "b1", "b2"]
    assert [int(each["sequence"]) for each in found] == [1, 2, 3, 4, 5]
    assert bodies(found) == ["body 0", "body 1", *["batched"] * 3]
    assert {each["deliveries"] for each in found} == {0}
    for each in found:
        client.call("settle", handle=handle, ref=each["ref"], how="complete")
    client.call("close", handle=handle)
    assert admin.get_queue_runtime_properties(queue).total_message_count == 0


@spoken_by(*SDKS, *RAW)
def test_properties_arrive_as_they_were_sent(client: Driver, make_queue: MakeQueue, handle: str) -> None:
    queue = make_queue()
    properties = {"text": "ä", "whole": 7, "broken": 1.5, "yes": True, "big": 2**40}
    sent = {"id": "1", "body": "x", "subject": "greeting", "properties": properties}
    client.call("send", queue=queue, messages=[sent])
    client.call("open", handle=handle, queue=queue)
    found = one(client, handle)
    assert (found["id"], found["subject"]) == ("1", "greeting")
    assert found["properties"] == properties
    assert abs(found["enqueued_at"] - time.time() * 1_000) < 60_000
    client.call("settle", handle=handle, ref=found["ref"], how="complete")
    client.call("close", handle=handle)


@spoken_by(*SDKS, *RAW)
def test_an_abandoned_message_comes_again_with_a_higher_delivery_count(
    client: Driver, make_queue: MakeQueue, handle: str
) -> None:
    queue = make_queue()
    client.call("send", queue=queue, messages=numbered(1))
    client.call("open", handle=handle, queue=queue)
    for deliveries in range(3):
        found = one(client, handle)
        assert found["deliveries"] == deliveries
        client.call("settle", handle=handle, ref=found["ref"], how="abandon")
    client.call("close", handle=handle)


@spoken_by(*SDKS)
def test_abandoning_with_properties_changes_them_and_counts(client: Driver, make_queue: MakeQueue, handle: str) -> None:
    queue = make_queue()
    client.call("send", queue=queue, messages=[{"id": "1", "body": "x", "properties": {"a": 1, "kept": "k"}}])
    client.call("open", handle=handle, queue=queue)
    client.call("settle", handle=handle, ref=one(client, handle)["ref"], how="abandon", properties={"a": 2, "b": "new"})
    again = one(client, handle)
    assert (again["deliveries"], again["properties"]) == (1, {"a": 2, "kept": "k", "b": "new"})
    client.call("close", handle=handle)


@spoken_by(*SDKS, *RAW)
def test_a_message_abandoned_too_often_is_dead_lettered(client: Driver, make_queue: MakeQueue, handle: str) -> None:
    queue = make_queue(max_delivery_count=2)
    client.call("send", queue=queue, messages=numbered(1))
    client.call("open", handle=handle, queue=queue)
    for _ in range(2):
        client.call("settle", handle=handle, ref=one(client, handle)["ref"], how="abandon")
    client.call("close", handle=handle)
    (found,) = dead_letters(client, queue=queue)
    assert (found["id"], found["dead_letter_reason"]) == ("m0", "MaxDeliveryCountExceeded")


@spoken_by(*SDKS)
def test_a_deferred_message_is_had_by_its_number_alone(client: Driver, make_queue: MakeQueue, handle: str) -> None:
    queue = make_queue()
    client.call("send", queue=queue, messages=numbered(2))
    client.call("open", handle=handle, queue=queue)
    first = one(client, handle)
    client.call("settle", handle=handle, ref=first["ref"], how="defer", properties={"why": "later"})
    second = one(client, handle)
    assert second["id"] == "m1"
    client.call("settle", handle=handle, ref=second["ref"], how="complete")
    (peeked,) = client.call("peek", handle=handle, max=5)
    assert (peeked["id"], peeked["state"]) == ("m0", "deferred")
    (deferred,) = client.call("receive_deferred", handle=handle, sequences=[first["sequence"]])
    assert (deferred["id"], deferred["properties"]) == ("m0", {"why": "later"})
    client.call("settle", handle=handle, ref=deferred["ref"], how="complete")
    assert client.call("peek", handle=handle, max=5) == []
    client.call("close", handle=handle)


@spoken_by(*SDKS, *RAW)
def test_a_dead_letter_keeps_its_reason_and_properties(client: Driver, make_queue: MakeQueue, handle: str) -> None:
    queue = make_queue()
    client.call("send", queue=queue, messages=numbered(1))
    client.call("open", handle=handle, queue=queue)
    found = one(client, handle)
    why = {"reason": "unreadable", "description": "no such field"}
    client.call("settle", handle=handle, ref=found["ref"], how="dead_letter", **why)
    client.call("close", handle=handle)
    (dead,) = dead_letters(client, queue=queue)
    assert (dead["id"], dead["body"]) == ("m0", "body 0")
    assert (dead["dead_letter_reason"], dead["dead_letter_description"]) == ("unreadable", "no such field")


@spoken_by(*SDKS, *RAW)
def test_receive_and_delete_takes_no_more_than_was_asked_for(
    client: Driver, make_queue: MakeQueue, handle: str, admin: ServiceBusAdministrationClient
) -> None:
    queue = make_queue()
    client.call("send", queue=queue, messages=numbered(20), batch=True)
    client.call("open", handle=handle, queue=queue, mode="delete")
    found = client.call("receive", handle=handle, max=5, wait=PATIENCE)
    client.call("close", handle=handle)
    assert 1 <= len(found) <= 5
    assert admin.get_queue_runtime_properties(queue).active_message_count == 20 - len(found)


@spoken_by(*SDKS)
def test_a_renewed_lock_lasts_longer(client: Driver, make_queue: MakeQueue, handle: str) -> None:
    queue = make_queue(lock_duration=timedelta(seconds=30))
    client.call("send", queue=queue, messages=numbered(1))
    client.call("open", handle=handle, queue=queue)
    found = one(client, handle)
    assert 0 < found["locked_until"] - time.time() * 1_000 <= 31_000
    time.sleep(0.05)
    assert client.call("renew", handle=handle, ref=found["ref"]) > found["locked_until"]
    client.call("settle", handle=handle, ref=found["ref"], how="complete")
    client.call("close", handle=handle)


@spoken_by(*SDKS, *RAW)
def test_a_lost_lock_refuses_settlement_and_the_message_comes_again(
    client: Driver, make_queue: MakeQueue, handle: str
) -> None:
    queue = make_queue(lock_duration=SHORT)
    client.call("send", queue=queue, messages=numbered(1))
    client.call("open", handle=handle, queue=queue)
    found = one(client, handle)
    time.sleep(1.1)
    with pytest.raises(Refused) as error:
        client.call("settle", handle=handle, ref=found["ref"], how="complete")
    assert error.value.code == "message-lock-lost"
    again = one(client, handle)
    assert (again["id"], again["deliveries"]) == ("m0", 1)
    client.call("close", handle=handle)


@spoken_by(*SDKS)
def test_scheduled_messages_wait_and_can_be_cancelled(client: Driver, make_queue: MakeQueue, handle: str) -> None:
    queue = make_queue()
    at = int(time.time() * 1_000) + LATER
    numbers = client.call("schedule", queue=queue, messages=numbered(3), at=at)
    assert numbers == ["1", "2", "3"]
    client.call("cancel", queue=queue, sequences=[numbers[1]])
    client.call("open", handle=handle, queue=queue)
    peeked = client.call("peek", handle=handle, max=5)
    assert [(each["id"], each["state"]) for each in peeked] == [("m0", "scheduled"), ("m2", "scheduled")]
    assert client.call("receive", handle=handle, max=1, wait=300) == []
    client.call("close", handle=handle)


@spoken_by(*SDKS)
def test_an_activated_message_has_a_new_sequence_number_at_the_end(
    client: Driver, make_queue: MakeQueue, handle: str
) -> None:
    """ "Message sequencing and timestamps": the number that scheduling gave holds only until then."""
    queue = make_queue()
    at = int(time.time() * 1_000) + 1_500
    client.call("schedule", queue=queue, messages=[{"id": "scheduled", "body": ""}], at=at)
    client.call("send", queue=queue, messages=numbered(1))
    client.call("open", handle=handle, queue=queue)
    found = [one(client, handle), one(client, handle)]
    assert [each["id"] for each in found] == ["m0", "scheduled"]
    assert int(found[1]["sequence"]) > int(found[0]["sequence"])
    client.call("close", handle=handle)


@spoken_by(*SDKS)
def test_peeking_neither_locks_nor_counts(client: Driver, make_queue: MakeQueue, handle: str) -> None:
    queue = make_queue()
    client.call("send", queue=queue, messages=numbered(3))
    client.call("open", handle=handle, queue=queue)
    assert [each["id"] for each in client.call("peek", handle=handle, max=2, **{"from": "2"})] == ["m1", "m2"]
    assert one(client, handle)["deliveries"] == 0
    client.call("close", handle=handle)


@spoken_by(*SDKS, *RAW)
def test_a_duplicate_is_dropped(client: Driver, make_queue: MakeQueue, admin: ServiceBusAdministrationClient) -> None:
    queue = make_queue(requires_duplicate_detection=True, duplicate_detection_history_time_window=timedelta(minutes=1))
    client.call("send", queue=queue, messages=[{"id": "same", "body": "1"}, {"id": "same", "body": "2"}])
    assert admin.get_queue_runtime_properties(queue).active_message_count == 1


@spoken_by(*SDKS, *RAW)
def test_an_expired_message_is_dead_lettered(client: Driver, make_queue: MakeQueue) -> None:
    queue = make_queue(dead_lettering_on_message_expiration=True)
    client.call("send", queue=queue, messages=[{"id": "1", "body": "x", "ttl": 0.2}])
    time.sleep(0.3)
    (found,) = dead_letters(client, queue=queue)
    assert found["dead_letter_reason"] == "TTLExpiredException"


@spoken_by(*SDKS, *RAW)
def test_a_message_over_the_limit_is_refused(client: Driver, make_queue: MakeQueue) -> None:
    queue = make_queue()
    with pytest.raises(Refused) as error:
        client.call("send", queue=queue, messages=[{"id": "1", "body": "x" * 300_000}])
    assert error.value.code == "size-exceeded"
    client.call("send", queue=queue, messages=numbered(1))


@spoken_by(*SDKS)
def test_a_batch_that_the_client_thinks_full_is_taken(
    client: Driver, make_queue: MakeQueue, admin: ServiceBusAdministrationClient
) -> None:
    queue = make_queue()
    count = client.call("fill_batch", queue=queue, message={"id": "1", "body": "x" * 10_000})
    assert 20 <= count <= 26
    assert admin.get_queue_runtime_properties(queue).active_message_count == count


@spoken_by(*SDKS, *RAW)
def test_an_unknown_queue_is_named(client: Driver, handle: str) -> None:
    with pytest.raises(Refused) as error:
        client.call("send", queue="nowhere", messages=numbered(1))
    assert error.value.code == "not-found"


@spoken_by(*SDKS, *RAW)
def test_what_a_forwarding_queue_is_sent_arrives_at_its_end(client: Driver, make_queue: MakeQueue, handle: str) -> None:
    destination = make_queue()
    queue = make_queue(forward_to=destination)
    client.call("send", queue=queue, messages=numbered(2), batch=True)
    client.call("open", handle=handle, queue=destination)
    assert bodies(receive(client, handle, 2)) == ["body 0", "body 1"]
    client.call("close", handle=handle)


@spoken_by(*SDKS, *RAW)
def test_a_receiver_of_a_forwarding_queue_is_refused(client: Driver, make_queue: MakeQueue, handle: str) -> None:
    """ "Chaining Service Bus entities with autoforwarding": such an entity can't be received from."""
    queue = make_queue(forward_to=make_queue())
    with pytest.raises(Refused):  # noqa: PT012 - some clients attach when opened, others when they receive
        client.call("open", handle=handle, queue=queue)
        client.call("receive", handle=handle, max=1, wait=PATIENCE)
    client.call("close", handle=handle)


@spoken_by(*SDKS)
def test_dead_letters_are_forwarded(client: Driver, make_queue: MakeQueue, handle: str) -> None:
    destination = make_queue()
    queue = make_queue(forward_dead_lettered_messages_to=destination)
    client.call("send", queue=queue, messages=numbered(1))
    client.call("open", handle=handle, queue=queue)
    client.call("settle", handle=handle, ref=one(client, handle)["ref"], how="dead_letter", reason="moved")
    client.call("close", handle=handle)
    client.call("open", handle=handle, queue=destination)
    found = one(client, handle)
    assert (found["id"], found["dead_letter_source"]) == ("m0", queue)
    client.call("close", handle=handle)


@spoken_by("rhea")
def test_a_batch_of_messages_is_deleted_unread(
    client: Driver, make_queue: MakeQueue, admin: ServiceBusAdministrationClient
) -> None:
    """Only .NET's library asks for it. "Delete messages from Azure Service Bus": up to 500 a call in Standard."""
    queue = make_queue()
    client.call("send", queue=queue, messages=numbered(501), batch=True)
    before = int(time.time() * 1_000) + 1_000
    assert client.call("delete_batch", queue=queue, count=501, before=before) == 500
    assert admin.get_queue_runtime_properties(queue).active_message_count == 1
    assert client.call("delete_batch", queue=queue, count=501, before=before) == 1
    assert client.call("delete_batch", queue=queue, count=501, before=before) == 0


@spoken_by(*SDKS, *RAW)
def test_a_full_queue_takes_no_more(client: Driver, make_queue: MakeQueue) -> None:
    queue = make_queue(max_size_in_megabytes=1)
    large = [{"id": str(number), "body": "x" * 250_000} for number in range(6)]
    with pytest.raises(Refused) as error:
        client.call("send", queue=queue, messages=large)
    assert error.value.code == "quota-exceeded"


@spoken_by(*SDKS, *RAW)
def test_a_queue_that_is_disabled_for_sending_still_gives(
    client: Driver, make_queue: MakeQueue, handle: str, admin: ServiceBusAdministrationClient
) -> None:
    """ "Suspend and reactivate messaging entities"."""
    queue = make_queue()
    client.call("send", queue=queue, messages=numbered(1))
    properties = admin.get_queue(queue)
    properties.status = EntityStatus.SEND_DISABLED
    admin.update_queue(properties)
    with pytest.raises(Refused):
        client.call("send", queue=queue, messages=numbered(1))
    client.call("open", handle=handle, queue=queue)
    assert one(client, handle)["id"] == "m0"
    client.call("close", handle=handle)


@spoken_by(*SDKS)
@pytest.mark.parametrize("transport", ["tls", "websocket"])
def test_messages_pass_over_tls_and_websockets(client: Driver, make_queue: MakeQueue, transport: str) -> None:
    assert client.call("exchange", queue=make_queue(), transport=transport) == transport
