"""The event log through the SDK: bodies of every kind, an end, a beginning that moves, and a log made anew."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.amqp import AmqpAnnotatedMessage

from local_azure.testing import EventHubs
from shared.streams import StreamEvent
from shared.streams.event_log import LogUnavailable
from shared.streams.hub import HubLog

HUB = "log"


@pytest.fixture
def hub(event_hubs: EventHubs) -> EventHubs:
    """An empty hub with one partition."""
    event_hubs.hub(HUB, partitions=1)
    return event_hubs


@pytest.fixture
async def send(hub: EventHubs) -> AsyncIterator[Callable[..., Any]]:
    """Sends events."""
    producer = EventHubProducerClient.from_connection_string(hub.connection_string, eventhub_name=HUB)

    async def send(*events: Any) -> None:
        batch = await producer.create_batch(partition_id="0")
        for event in events:
            batch.add(EventData(event) if isinstance(event, bytes) else AmqpAnnotatedMessage(**event))
        await producer.send_batch(batch)

    async with producer:
        yield send


def log_of(hub: EventHubs, **options: float) -> HubLog:
    """A log of the hub."""
    return HubLog(
        lambda: EventHubConsumerClient.from_connection_string(
            hub.connection_string, "$Default", eventhub_name=HUB, retry_total=0
        ),
        **options,
    )


async def read(log: HubLog, *, after: int, count: int) -> list[StreamEvent]:
    """So many events after a number."""
    found: list[StreamEvent] = []
    async with aclosing(log.read("0", after=after)) as chunks:
        async for chunk in chunks:
            found += chunk
            if len(found) >= count:
                break
    return found


async def test_every_kind_of_body_is_read(hub: EventHubs, send: Callable[..., Any]) -> None:
    """What isn't data is unreadable, and kept as far as it can be."""
    await send(
        b"one",
        {"value_body": "text"},
        {"value_body": {"a": 1}},
        {"value_body": 12},
        {"value_body": None},
        {"sequence_body": [[1, "two"]]},
        {"data_body": [b"in ", b"parts"]},
        b"",
    )
    log = log_of(hub)
    assert await log.partitions() == ["0"]
    events = await read(log, after=-1, count=8)
    assert [(one.sequence_number, one.body, bool(one.unreadable)) for one in events] == [
        (0, b"one", False),
        (1, b"text", True),
        (2, b'{"a": 1}', True),
        (3, b"12", True),
        (4, b"null", True),
        (5, b'[[1, "two"]]', True),
        (6, b"in parts", False),
        (7, b"", False),
    ]
    assert events[1].unreadable == "The body is an AMQP value, not data."
    assert [one.sequence_number for one in await read(log, after=5, count=2)] == [6, 7]
    assert (await log.extent("0")).last == 7


async def test_bodies_that_the_client_cannot_decode_are_told_by_number(
    hub: EventHubs, send: Callable[..., Any]
) -> None:
    """Each ends the link; those around it are read all the same, and a last one is too."""
    nested: list[Any] = []
    for _ in range(2_000):
        nested = [nested]
    poison = {"value_body": nested}
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(40_000)
    try:
        await send(b"0", poison, b"2", poison)
    finally:
        sys.setrecursionlimit(usual)
    events = await read(log_of(hub), after=-1, count=4)
    assert [(one.sequence_number, one.body) for one in events] == [(0, b"0"), (1, b""), (2, b"2"), (3, b"")]
    assert [one.sequence_number for one in events if one.unreadable] == [1, 3]


async def test_an_empty_partition_has_nothing_and_says_so(hub: EventHubs) -> None:
    """Its first event would be the next."""
    extent = await log_of(hub).extent("0")
    assert (extent.first, extent.last) == (0, -1)
    with pytest.raises(LogUnavailable):
        await read(log_of(hub, quiet_seconds=0.5), after=-1, count=1)


async def test_a_log_made_anew_is_another_one(hub: EventHubs, send: Callable[..., Any]) -> None:
    """Under the same name; the later one is the greater."""
    log = log_of(hub)
    before = await log.identity()
    assert await log.identity() == before
    await asyncio.sleep(0.002)  # it is told by the time at which it was made
    hub.hub(HUB, partitions=1)
    assert await log.identity() > before


async def test_a_broker_that_is_away_is_unavailable() -> None:
    """Soon."""
    away = "Endpoint=sb://127.0.0.1:9/;SharedAccessKeyName=n;SharedAccessKey=bm9uZQ==;UseDevelopmentEmulator=true"
    log = HubLog(
        lambda: EventHubConsumerClient.from_connection_string(away, "$Default", eventhub_name=HUB, retry_total=0),
    )
    with pytest.raises(LogUnavailable):
        await log.extent("0")
    with pytest.raises(LogUnavailable):
        await read(log, after=-1, count=1)
