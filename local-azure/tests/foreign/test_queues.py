"""Queues as documented on learn.microsoft.com ("Message transfers, locks, and settlement" and its neighbours)."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from azure.servicebus.management import EntityStatus, ServiceBusAdministrationClient

from foreign.driver import Driver, Refused
from foreign.receiving import PATIENCE, bodies, dead_letters, numbered, one, receive
from foreign.spoken import RAW, SDKS, spoken_by

MakeQueue = Callable[..., str]
SHORT = timedelta(seconds=1)
LATER = 3_600_000
"""An hour in milliseconds."""


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


@spoken_by("javascript", "java")
def test_a_processor_settles_what_it_can_and_abandons_the_rest(
    client: Driver, make_queue: MakeQueue, admin: ServiceBusAdministrationClient
) -> None:
    """Go's library has none."""
    queue = make_queue(max_delivery_count=3)
    client.call("send", queue=queue, messages=numbered(20), batch=True)
    seen = client.call("process", queue=queue, count=22, wait=20_000, fail="m7")
    assert sorted(each["deliveries"] for each in seen if each["id"] == "m7") == [0, 1, 2]
    assert len(seen) == 22
    counts = admin.get_queue_runtime_properties(queue)
    assert (counts.active_message_count, counts.dead_letter_message_count) == (0, 1)


@spoken_by("javascript", "java")
def test_a_processor_keeps_its_locks_while_it_works(
    client: Driver, make_queue: MakeQueue, admin: ServiceBusAdministrationClient
) -> None:
    queue = make_queue(lock_duration=timedelta(seconds=5))
    client.call("send", queue=queue, messages=numbered(2), batch=True)
    seen = client.call("process", queue=queue, count=2, wait=20_000, busy=6_000)
    assert sorted((each["id"], each["deliveries"]) for each in seen) == [("m0", 0), ("m1", 0)]
    assert admin.get_queue_runtime_properties(queue).total_message_count == 0


@spoken_by(*SDKS, *RAW)
def test_receivers_are_of_the_queues_own_kind(client: Driver, make_queue: MakeQueue, handle: str) -> None:
    """With sessions where the queue has them, without where it has not."""
    plain, with_sessions = make_queue(), make_queue(requires_session=True)
    with pytest.raises(Refused):
        client.call("accept", handle=handle, queue=plain, session="a")
    with pytest.raises(Refused):  # noqa: PT012 - some clients attach when opened, others when they receive
        client.call("open", handle=handle, queue=with_sessions)
        client.call("receive", handle=handle, max=1, wait=PATIENCE)
    client.call("close", handle=handle)


@spoken_by("javascript", "go")
def test_an_unknown_number_is_not_among_the_deferred(client: Driver, make_queue: MakeQueue, handle: str) -> None:
    """Java's library gives an empty list for it."""
    queue = make_queue()
    client.call("open", handle=handle, queue=queue)
    with pytest.raises(Refused):
        client.call("receive_deferred", handle=handle, sequences=["7"])
    client.call("close", handle=handle)


@spoken_by(*SDKS, *RAW)
def test_receivers_share_a_queue_without_doubles(client: Driver, make_queue: MakeQueue, handle: str) -> None:
    queue = make_queue()
    client.call("send", queue=queue, messages=numbered(20), batch=True)
    handles = [f"{handle}-{each}" for each in range(2)]
    for each in handles:
        client.call("open", handle=each, queue=queue)
    found = [message for each in handles for message in receive(client, each, 10)]
    assert sorted(each["id"] for each in found) == sorted(f"m{number}" for number in range(20))
    for each in handles:
        client.call("close", handle=each)


@spoken_by(*SDKS)
def test_a_lock_outlives_its_receiver(
    client: Driver, make_queue: MakeQueue, handle: str, admin: ServiceBusAdministrationClient
) -> None:
    """As the tests of azservicebus have it: another receiver renews and settles by the lock token."""
    queue = make_queue()
    client.call("send", queue=queue, messages=numbered(1))
    client.call("open", handle=handle, queue=queue)
    found = one(client, handle)
    client.call("close", handle=handle)
    client.call("open", handle=f"{handle}-2", queue=queue)
    assert client.call("renew", handle=f"{handle}-2", ref=found["ref"]) > found["locked_until"]
    client.call("settle", handle=f"{handle}-2", ref=found["ref"], how="complete")
    client.call("close", handle=f"{handle}-2")
    assert admin.get_queue_runtime_properties(queue).total_message_count == 0


@spoken_by(*SDKS)
def test_a_deferred_message_is_gone_once_received_for_deletion(
    client: Driver, make_queue: MakeQueue, handle: str, admin: ServiceBusAdministrationClient
) -> None:
    queue = make_queue()
    client.call("send", queue=queue, messages=numbered(1))
    client.call("open", handle=handle, queue=queue)
    found = one(client, handle)
    client.call("settle", handle=handle, ref=found["ref"], how="defer")
    client.call("close", handle=handle)
    client.call("open", handle=f"{handle}-2", queue=queue, mode="delete")
    (deferred,) = client.call("receive_deferred", handle=f"{handle}-2", sequences=[found["sequence"]])
    assert deferred["id"] == "m0"
    client.call("close", handle=f"{handle}-2")
    assert admin.get_queue_runtime_properties(queue).total_message_count == 0
