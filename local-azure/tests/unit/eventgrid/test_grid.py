"""When an event is tried again, when it is given up, what goes together, and what a container of dead letters gets."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from local_azure.eventgrid import EventGridError, Grid, Outcome, Schema, Topic
from local_azure.eventgrid.formats import batch_body, content_type, headers
from local_azure.eventgrid.journal import Journal
from unit.eventgrid.given import GRID_TYPE, ORDERS, cloud_event, grid_event, only, published, subscription

DEAD = {"endpointType": "StorageBlob", "properties": {"resourceId": "/local", "blobContainerName": "undelivered"}}


def grid_of(content: dict[str, Any] | None = None, **webhook: Any) -> Grid:
    """A topic with one subscription."""
    grid = Grid(new_id=iter(map(str, range(100_000))).__next__)
    grid.put_topic(ORDERS)
    grid.put_subscription("orders", subscription(content, **webhook))
    return grid


def waits(grid: Grid, outcome: Outcome) -> list[float]:
    """Seconds between the tries of an event that always fails so."""
    published(grid, cloud_event())
    found, now = [], 0.0
    while grid.next_due is not None:
        found.append(grid.next_due - now)
        now = grid.next_due
        attempts, _ = grid.due(now)
        for attempt in attempts:
            grid.settle(attempt, outcome, now=now)
    return found


def test_the_schedule_is_the_documented_one_until_the_event_is_a_day_old() -> None:
    grid = grid_of()
    assert waits(grid, Outcome.SOCKET_ERROR) == [0, 10, 30, 60, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 43_200]
    assert grid.counts("orders")["DroppedEventCount"] == 1


@pytest.mark.parametrize(
    ("outcome", "first"),
    [(Outcome.BUSY, 30), (Outcome.TIMED_OUT, 120), (Outcome.NOT_FOUND, 10), (Outcome.ABORTED, 10)],
)
def test_some_failures_wait_longer(outcome: Outcome, first: float) -> None:
    assert waits(grid_of(), outcome)[1] == first


@pytest.mark.parametrize("outcome", [Outcome.BAD_REQUEST, Outcome.TOO_LARGE, Outcome.UNAUTHORIZED, Outcome.FORBIDDEN])
def test_what_no_other_try_would_help(outcome: Outcome) -> None:
    assert waits(grid_of(), outcome) == [0]


def test_a_resource_of_azure_is_tried_again_where_a_webhook_is_not() -> None:
    grid = Grid()
    grid.put_topic(ORDERS)
    destination = {"endpointType": "ServiceBusQueue", "properties": {"resourceId": "/x/queues/work"}}
    grid.put_subscription("orders", subscription({"destination": destination}))
    assert waits(grid, Outcome.UNAUTHORIZED)[1] == 300
    assert waits(grid, Outcome.FORBIDDEN) == [0]


def test_tries_and_minutes_are_limits() -> None:
    assert len(waits(grid_of({"retryPolicy": {"maxDeliveryAttempts": 3}}), Outcome.ABORTED)) == 3
    # That the life is over is seen when the next try is due: after 6 min 40 s, not after 2 min.
    found = waits(grid_of({"retryPolicy": {"eventTimeToLiveInMinutes": 2}}), Outcome.ABORTED)
    assert found == [0, 10, 30, 60, 300]


def test_dead_letters_stand_in_a_container_five_minutes_later() -> None:
    """An array of events with why they weren't delivered, under topic, SUBSCRIPTION and hour."""
    grid = grid_of({"deadLetterDestination": DEAD, "retryPolicy": {"maxDeliveryAttempts": 1}})
    at = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC).timestamp()
    published(grid, cloud_event(id="a"), cloud_event(id="b"), now=at)
    attempts, _ = grid.due(at)
    for attempt in attempts:
        grid.settle(attempt, Outcome.NOT_FOUND, now=at + 1)
    assert grid.next_due == at + 301
    (), (blob,) = grid.due(at + 301)
    assert blob.container == "undelivered"
    assert blob.blob == "orders/TO-SHOP/2026/3/4/5/2.json"
    assert json.loads(blob.body)[0] == {
        **cloud_event(id="a"),
        "time": "2026-03-04T05:06:07.0000000Z",
        "deadletterreason": "MaxDeliveryAttemptsExceeded",
        "deliveryattempts": 1,
        "lastdeliveryoutcome": "NotFound",
        "publishtime": "2026-03-04T05:06:07.0000000Z",
        "lastdeliveryattempttime": "2026-03-04T05:06:08.0000000Z",
    }
    grid.dead_lettered(blob, written=False, now=at + 301)
    _, (again,) = grid.due(at + 601)
    grid.dead_lettered(again, written=True, now=at + 601)
    assert grid.next_due is None
    assert grid.counts("orders")["DeadLetteredCount"] == 2


def test_a_container_that_is_away_for_four_hours_gets_nothing_more() -> None:
    grid = grid_of({"deadLetterDestination": DEAD})
    published(grid, cloud_event())
    grid.settle(only(grid, 0), Outcome.BAD_REQUEST, now=0)
    while grid.next_due is not None:
        now = grid.next_due
        (blob,) = grid.due(now)[1]
        grid.dead_lettered(blob, written=False, now=now)
    assert now > 4 * 3_600
    assert grid.counts("orders")["DroppedEventCount"] == 1


def test_a_dead_letter_of_the_own_schema() -> None:
    topic = Topic(name="grid", schema=Schema.EVENT_GRID)
    grid = Grid()
    grid.put_topic(topic)
    grid.put_subscription("grid", subscription({"deadLetterDestination": DEAD}, topic))
    grid.publish("GRID", json.dumps([grid_event()]).encode(), GRID_TYPE, now=0)
    grid.settle(only(grid, 0), Outcome.BAD_REQUEST, now=0)
    _, (blob,) = grid.due(300)
    (letter,) = json.loads(blob.body)
    assert letter["deadLetterReason"] == "UndeliverableDueToClientError"
    assert letter["lastDeliveryOutcome"] == "BadRequest"


def test_batches_have_two_limits() -> None:
    """So many events, so many bytes; one that is larger goes alone; nothing waits for others."""
    grid = grid_of(maxEventsPerBatch=3, preferredBatchSizeInKilobytes=1)
    published(grid, *(cloud_event(id=str(n)) for n in range(4)), cloud_event(id="large", data="x" * 5_000))
    attempts, _ = grid.due(0)
    assert [[event["id"] for event in one.events] for one in attempts] == [["0", "1", "2"], ["3"], ["large"]]
    grid.settle(attempts[0], Outcome.ABORTED, now=0)
    assert [one.attempts for one in attempts[0].deliveries] == [1, 1, 1]


def test_how_events_travel() -> None:
    """A CloudEvent alone, or in an array where the subscription is batched; everything of the own schema in one."""
    plain, batched = subscription(), subscription(maxEventsPerBatch=10)
    assert json.loads(batch_body([cloud_event()], plain)) == cloud_event()
    assert json.loads(batch_body([cloud_event()], batched)) == [cloud_event()]
    assert content_type(plain) == "application/cloudevents+json; charset=utf-8"
    assert content_type(batched) == "application/cloudevents-batch+json; charset=utf-8"
    own = subscription(topic=Topic(name="grid", schema=Schema.EVENT_GRID))
    assert content_type(own) == GRID_TYPE
    assert json.loads(batch_body([grid_event()], own)) == [grid_event()]


def test_what_goes_beside_an_event() -> None:
    attributes = [
        {"name": "x-key", "type": "Static", "properties": {"value": "secret", "isSecret": True}},
        {"name": "x-total", "type": "Dynamic", "properties": {"sourceField": "data.total"}},
        {"name": "x-absent", "type": "Dynamic", "properties": {"sourceField": "data.absent"}},
    ]
    found = headers(subscription(deliveryAttributeMappings=attributes), cloud_event(data={"total": 5}), 2)
    assert found["x-key"] == "secret"
    assert found["x-total"] == "5"
    assert "x-absent" not in found
    assert found["aeg-subscription-name"] == "TO-SHOP"
    assert found["aeg-delivery-count"] == "2"


def test_the_own_schema_can_be_delivered_as_cloud_events() -> None:
    topic = Topic(name="grid", schema=Schema.EVENT_GRID)
    grid = Grid()
    grid.put_topic(topic)
    grid.put_subscription("grid", subscription({"eventDeliverySchema": "CloudEventSchemaV1_0"}, topic))
    grid.publish("grid", json.dumps([grid_event()]).encode(), GRID_TYPE, now=0)
    (event,) = only(grid, 0).events
    assert event["source"] == topic.resource_id
    assert event["type"] == "order.accepted"
    assert event["specversion"] == "1.0"


def test_a_refused_request_leaves_nothing_and_each_subscription_gets_its_own() -> None:
    grid = grid_of()
    grid.put_subscription("orders", subscription({"filter": {"subjectBeginsWith": "/none"}}))
    with pytest.raises(EventGridError):
        published(grid, cloud_event(), {})
    assert grid.next_due is None
    published(grid, cloud_event())
    assert grid.next_due is None
    assert grid.counts("orders")["MatchedEventCount"] == 0
    with pytest.raises(EventGridError) as refused:
        grid.topic("other")
    assert refused.value.status == 404


def test_what_was_removed_gets_nothing() -> None:
    grid = grid_of()
    published(grid, cloud_event())
    attempt = only(grid, 0)
    grid.settle(attempt, Outcome.ABORTED, now=0)
    grid.remove_subscription("orders", "TO-SHOP")
    assert grid.due(10) == ([], [])
    assert grid.next_due is None
    grid.remove_topic("orders")
    assert grid.topics() == []


def test_what_was_taken_survives_the_process(tmp_path: Path) -> None:
    """With its tries; what was delivered is not delivered again."""
    journal = Journal(tmp_path / "grid.sqlite")
    grid = Grid(journal)
    grid.put_topic(ORDERS)
    grid.put_subscription("orders", subscription())
    published(grid, cloud_event(id="a"), cloud_event(id="b"))
    first, second = grid.due(0)[0]
    grid.settle(first, Outcome.DELIVERED, now=0)
    grid.settle(second, Outcome.ABORTED, now=0)
    journal.close()

    journal = Journal(tmp_path / "grid.sqlite")
    restored = Grid(journal)
    restored.put_topic(ORDERS)
    restored.put_subscription("orders", subscription())
    restored.restore(journal.read())
    assert restored.next_due == 10
    (event,) = only(restored, 10).events
    assert event["id"] == "b"
    journal.close()


def test_half_a_surrogate_pair_travels_as_it_was_escaped() -> None:
    """JSON may hold one, UTF-8 can't."""
    (event,) = [cloud_event(data="\ud800")]
    assert json.loads(batch_body([event], subscription())) == event
