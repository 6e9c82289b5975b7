"""Messages as documented on learn.microsoft.com ("Messages, payloads, and serialization", "Service Bus quotas")."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from azure.servicebus.management import ServiceBusAdministrationClient

from foreign.driver import Driver, Refused
from foreign.receiving import dead_letters, numbered, one
from foreign.spoken import RAW, SDKS, spoken_by

MakeQueue = Callable[..., str]


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
def test_a_full_queue_takes_no_more(client: Driver, make_queue: MakeQueue) -> None:
    queue = make_queue(max_size_in_megabytes=1)
    large = [{"id": str(number), "body": "x" * 250_000} for number in range(6)]
    with pytest.raises(Refused) as error:
        client.call("send", queue=queue, messages=large)
    assert error.value.code == "quota-exceeded"


@spoken_by(*SDKS)
@pytest.mark.parametrize("transport", ["tls", "websocket"])
def test_messages_pass_over_tls_and_websockets(client: Driver, make_queue: MakeQueue, transport: str) -> None:
    assert client.call("exchange", queue=make_queue(), transport=transport) == transport


@spoken_by(*SDKS)
@pytest.mark.parametrize(
    ("kind", "value"),
    [("value", "text"), ("value", 7), ("value", True), ("sequence", [["a", 1], ["b"]])],
    ids=["text", "whole", "boolean", "sequence"],
)
def test_every_kind_of_body_arrives_as_it_was_sent(
    client: Driver, make_queue: MakeQueue, handle: str, language: str, kind: str, value: object
) -> None:
    if language == "java" and isinstance(value, list):
        value = value[:1]  # this library takes one sequence only
    queue = make_queue()
    client.call("send_body", queue=queue, kind=kind, value=value)
    client.call("open", handle=handle, queue=queue, mode="delete")
    assert client.call("receive_body", handle=handle) == {"kind": kind, "value": value}
    client.call("close", handle=handle)


@spoken_by(*SDKS, *RAW)
def test_a_message_of_many_frames_arrives_whole(client: Driver, make_queue: MakeQueue, handle: str) -> None:
    queue = make_queue(max_message_size_in_kilobytes=4_096)
    body = "0123456789abcdef" * 200_000
    client.call("send", queue=queue, messages=[{"id": "1", "body": body}])
    client.call("open", handle=handle, queue=queue)
    found = one(client, handle)
    client.call("settle", handle=handle, ref=found["ref"], how="complete")
    client.call("close", handle=handle)
    assert found["body"] == body


@spoken_by(*SDKS, *RAW)
def test_names_may_have_slashes(
    client: Driver, handle: str, language: str, admin: ServiceBusAdministrationClient
) -> None:
    queue = f"plant/{language}/line.1_a-b"
    admin.create_queue(queue)
    client.call("send", queue=queue, messages=numbered(1))
    client.call("open", handle=handle, queue=queue)
    client.call("settle", handle=handle, ref=one(client, handle)["ref"], how="dead_letter", reason="r")
    client.call("close", handle=handle)
    assert [each["id"] for each in dead_letters(client, queue=queue)] == ["m0"]
