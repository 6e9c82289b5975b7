"""Transactions as documented on learn.microsoft.com ("Overview of Service Bus transaction processing").

JavaScript's and Go's libraries have none, Python's neither.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from azure.servicebus.management import ServiceBusAdministrationClient

from foreign.driver import Driver
from foreign.receiving import receive
from foreign.spoken import spoken_by

MakeQueue = Callable[..., str]


def exchange(client: Driver, queue: str, handle: str, ref: int) -> None:
    """Within a transaction, complete one message and send another."""
    client.call("begin", queue=queue, transaction="one")
    client.call("settle", handle=handle, ref=ref, how="complete", transaction="one")
    client.call("send", queue=queue, messages=[{"id": "new", "body": "new"}], transaction="one")


@spoken_by("java", "proton")
def test_a_transaction_happens_whole_or_not_at_all(
    client: Driver, make_queue: MakeQueue, handle: str, admin: ServiceBusAdministrationClient
) -> None:
    queue = make_queue()
    client.call("send", queue=queue, messages=[{"id": "old", "body": "old"}, {"id": "other", "body": "other"}])
    client.call("open", handle=handle, queue=queue)
    (old,) = client.call("receive", handle=handle, max=1, wait=10_000)
    exchange(client, queue, handle, old["ref"])
    assert admin.get_queue_runtime_properties(queue).active_message_count == 2
    client.call("roll_back", queue=queue, transaction="one")
    assert admin.get_queue_runtime_properties(queue).active_message_count == 2
    (other,) = client.call("receive", handle=handle, max=1, wait=10_000)
    assert other["id"] == "other"
    exchange(client, queue, handle, other["ref"])
    client.call("commit", queue=queue, transaction="one")
    (new,) = client.call("receive", handle=handle, max=1, wait=10_000)
    assert new["id"] == "new"
    client.call("settle", handle=handle, ref=new["ref"], how="complete")
    client.call("close", handle=handle)
    assert admin.get_queue_runtime_properties(queue).active_message_count == 1


@spoken_by("java", "proton")
def test_what_is_sent_in_a_transaction_is_seen_only_after_its_commit(
    client: Driver, make_queue: MakeQueue, handle: str, admin: ServiceBusAdministrationClient
) -> None:
    queue = make_queue()
    client.call("begin", queue=queue, transaction="one")
    client.call("send", queue=queue, messages=[{"id": "1", "body": "1"}, {"id": "2", "body": "2"}], transaction="one")
    assert admin.get_queue_runtime_properties(queue).total_message_count == 0
    client.call("commit", queue=queue, transaction="one")
    client.call("open", handle=handle, queue=queue)
    assert [each["id"] for each in receive(client, handle, 2)] == ["1", "2"]
    client.call("close", handle=handle)


@spoken_by("java")
def test_requests_to_the_entity_take_part(
    client: Driver, make_queue: MakeQueue, handle: str, admin: ServiceBusAdministrationClient
) -> None:
    """What is scheduled, and the settlement of a deferred message, which has no delivery."""
    queue = make_queue()
    client.call("send", queue=queue, messages=[{"id": number, "body": number} for number in ("1", "2")])
    client.call("open", handle=handle, queue=queue)
    found = receive(client, handle, 2)
    for each in found:
        client.call("settle", handle=handle, ref=each["ref"], how="defer")
    held = client.call("receive_deferred", handle=handle, sequences=[each["sequence"] for each in found])
    at = (time.time() + 3_600) * 1_000
    for deferred, end, scheduled in zip(held, ("roll_back", "commit"), (0, 1), strict=True):
        client.call("begin", queue=queue, transaction=end)
        later = {"messages": [{"id": "3", "body": "3"}], "at": int(at)}
        assert len(client.call("schedule", queue=queue, transaction=end, **later)) == 1
        client.call("settle", handle=handle, ref=deferred["ref"], how="complete", transaction=end)
        client.call(end, queue=queue, transaction=end)
        counts = admin.get_queue_runtime_properties(queue)
        assert (counts.scheduled_message_count, counts.total_message_count) == (scheduled, 2)
    client.call("close", handle=handle)


@spoken_by("java")
def test_a_message_moves_to_another_queue_whole_or_not_at_all(
    client: Driver, make_queue: MakeQueue, admin: ServiceBusAdministrationClient
) -> None:
    """ "Transfers and send via"; of the libraries here only Java's does it."""
    queue, to = make_queue(), make_queue()
    client.call("send", queue=queue, messages=[{"id": "1", "body": "1"}, {"id": "2", "body": "2"}])
    client.call("move", queue=queue, to=to, commit=False)
    assert admin.get_queue_runtime_properties(to).active_message_count == 0
    assert admin.get_queue_runtime_properties(queue).active_message_count == 2
    client.call("move", queue=queue, to=to, commit=True)
    assert admin.get_queue_runtime_properties(to).active_message_count == 1
    assert admin.get_queue_runtime_properties(queue).active_message_count == 1
