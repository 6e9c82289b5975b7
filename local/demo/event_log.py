"""Reads a partition of an event hub from its beginning to what was last in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient

__all__ = ["read_partition"]


async def read_partition(client: EventHubConsumerClient, partition: str, take: Callable[[EventData], None]) -> None:
    """Hand over every event that was in the partition when this began; an empty one is read at once."""
    properties = await client.get_partition_properties(partition)
    if properties["is_empty"]:
        return
    last = properties["last_enqueued_sequence_number"]
    complete = asyncio.Event()

    async def take_batch(_: object, events: list[EventData]) -> None:
        for event in events:
            take(event)
            if (event.sequence_number or 0) >= last:
                complete.set()

    reader = asyncio.create_task(
        client.receive_batch(take_batch, partition_id=partition, starting_position="-1", max_batch_size=500)
    )
    finished = asyncio.create_task(complete.wait())
    try:
        await asyncio.wait({reader, finished}, return_when=asyncio.FIRST_COMPLETED)
        if reader.done():
            reader.result()
    finally:
        for task in (reader, finished):
            task.cancel()
        await asyncio.gather(reader, finished, return_exceptions=True)
