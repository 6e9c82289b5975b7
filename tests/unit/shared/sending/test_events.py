"""Publishing: facts of a bucket stay in order on one partition, whatever a batch holds."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from azure.eventhub import EventDataBatch
from azure.eventhub._pyamqp._decode import decode_payload
from azure.eventhub.aio import EventHubProducerClient

from shared.sending import EventPublisher, OutgoingEvent

ROOM = 180
"""Bytes of a batch: three events of a few bytes."""


class Hub:
    """A producer of the SDK, with three partitions."""

    def __init__(self) -> None:
        self.taken: dict[str, list[bytes]] = {"0": [], "1": [], "2": []}
        self.asked = 0
        self.broken: str | None = None

    async def get_partition_ids(self) -> list[str]:
        """In no particular order."""
        self.asked += 1
        return ["2", "0", "1"]

    async def create_batch(self, *, partition_id: str) -> EventDataBatch:
        """An empty batch."""
        return EventDataBatch(ROOM, partition_id=partition_id)

    async def send_batch(self, batch: EventDataBatch) -> None:
        """Take it, in an order that others may overtake."""
        partition = batch._partition_id or ""
        if partition == self.broken:
            raise ConnectionError("gone")
        assert len(batch) <= 3
        for _ in range(3 - len(batch)):
            await asyncio.sleep(0)
        for wire in batch._message[5]:
            read: Any = decode_payload(memoryview(bytes(wire)))
            self.taken[partition].append(b"".join(read.data))


def publisher(hub: Hub) -> EventPublisher:
    """A publisher to the hub."""
    return EventPublisher(cast("EventHubProducerClient", hub))


async def test_facts_go_to_the_partition_of_their_bucket_in_order() -> None:
    """Also over several batches."""
    hub = Hub()
    await publisher(hub).publish([OutgoingEvent(number % 4, b"%d" % number) for number in range(20)])
    assert hub.taken["0"] == [b"%d" % n for n in range(20) if n % 4 in (0, 3)]
    assert hub.taken["1"] == [b"%d" % n for n in range(20) if n % 4 == 1]


async def test_concurrent_publishers_of_a_bucket_do_not_overtake_each_other() -> None:
    """Whoever came first is first."""
    hub = Hub()
    to = publisher(hub)
    await asyncio.gather(*(to.publish([OutgoingEvent(0, b"%d-%d" % (call, n)) for n in range(4)]) for call in range(5)))
    assert hub.taken["0"] == [b"%d-%d" % (call, n) for call in range(5) for n in range(4)]


async def test_no_facts_ask_nobody() -> None:
    """The hub is asked for its partitions once, with the first fact."""
    hub = Hub()
    to = publisher(hub)
    await to.publish([])
    assert hub.asked == 0
    await to.publish([OutgoingEvent(0, b"a")])
    await to.publish([OutgoingEvent(1, b"b")])
    assert hub.asked == 1


async def test_a_failing_partition_fails_the_publishing() -> None:
    """The caller keeps its outbox rows."""
    hub = Hub()
    hub.broken = "1"
    with pytest.raises(ExceptionGroup):
        await publisher(hub).publish([OutgoingEvent(0, b"a"), OutgoingEvent(1, b"b")])


async def test_a_fact_larger_than_a_batch_is_an_error() -> None:
    """Never a silent loss."""
    with pytest.raises(ExceptionGroup):
        await publisher(Hub()).publish([OutgoingEvent(0, b"a"), OutgoingEvent(0, b"x" * ROOM)])
