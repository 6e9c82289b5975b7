"""Event hubs through the asynchronous SDK: partitions, positions, epochs, metrics, balanced consumers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from azure.eventhub import EventData
from azure.eventhub._buffered_producer._partition_resolver import generate_hash_code
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import EventDataSendError, EventHubError
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore
from azure.storage.blob.aio import ContainerClient

if TYPE_CHECKING:
    from local.azurite import AzuriteEndpoints


@pytest.fixture
async def producer(connection_string: str) -> AsyncIterator[EventHubProducerClient]:
    """A producer of `hub`."""
    async with EventHubProducerClient.from_connection_string(connection_string, eventhub_name="hub") as opened:
        yield opened


def _consumer(connection_string: str, hub: str, group: str = "$Default", **options: Any) -> EventHubConsumerClient:
    return EventHubConsumerClient.from_connection_string(
        connection_string, consumer_group=group, eventhub_name=hub, **options
    )


async def _read(
    connection_string: str, hub: str, count: int, *, group: str = "$Default", seconds: float = 15, **position: Any
) -> list[tuple[str, Any]]:
    """Up to `count` events as (partition, event); fewer when no more come in time."""
    found: list[tuple[str, Any]] = []
    enough = asyncio.Event()

    async def take(partition: Any, events: list[Any]) -> None:
        found.extend((partition.partition_id, event) for event in events)
        if len(found) >= count:
            enough.set()

    async with _consumer(connection_string, hub, group) as consumer:
        task = asyncio.create_task(consumer.receive_batch(take, max_wait_time=0.5, **position))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(enough.wait(), seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return found


async def test_keys_partitions_and_properties(connection_string: str, producer: EventHubProducerClient) -> None:
    """A key goes where its hash sends it, the remainder toward zero; a partition where it says; the rest in turn."""
    for key in ("alpha", "beta", "gamma", "order-536365"):
        batch = await producer.create_batch(partition_key=key)
        batch.add(EventData(key))
        await producer.send_batch(batch)
    batch = await producer.create_batch(partition_id="2")
    event = EventData(b"\x00\xff")
    event.properties = {"kind": "chosen", "n": 1}
    event.content_type, event.correlation_id, event.message_id = "text/plain", "c", "m"
    batch.add(event)
    await producer.send_batch(batch)
    found = await _read(connection_string, "hub", 5, starting_position="-1")
    keyed = {event.partition_key.decode(): partition for partition, event in found if event.partition_key}
    assert keyed == {key: str(abs(generate_hash_code(key)) % 4) for key in keyed}  # type: ignore[no-untyped-call]
    assert len(keyed) == 4
    ((partition, chosen),) = [each for each in found if not each[1].partition_key]
    assert partition == "2"
    assert chosen.properties == {b"kind": b"chosen", b"n": 1}
    assert (chosen.content_type, chosen.correlation_id, chosen.message_id) == ("text/plain", "c", "m")
    assert b"".join(chosen.body) == b"\x00\xff"
    assert chosen.offset is not None
    assert abs(chosen.enqueued_time - datetime.now(UTC)) < timedelta(minutes=1)


async def test_events_without_key_are_spread_in_turn(connection_string: str) -> None:
    """Eight sends reach all four partitions; both consumer groups see all of them."""
    async with EventHubProducerClient.from_connection_string(connection_string, eventhub_name="balanced") as producer:
        for number in range(8):
            await producer.send_event(EventData(str(number)))
    for group in ("$Default", "group"):
        found = await _read(connection_string, "balanced", 8, group=group, starting_position="-1")
        assert sorted(event.body_as_str() for _, event in found) == [str(number) for number in range(8)]
        assert {partition for partition, _ in found} == {"0", "1", "2", "3"}


async def test_every_kind_of_starting_position(connection_string: str) -> None:
    """Offset, sequence number and time, each inclusive and not; `-1` and `@latest`."""
    async with EventHubProducerClient.from_connection_string(connection_string, eventhub_name="positions") as producer:
        for number in range(5):
            await producer.send_event(EventData(str(number)))
            await asyncio.sleep(0.01)
        properties = await producer.get_partition_properties("0")
    assert (properties["beginning_sequence_number"], properties["last_enqueued_sequence_number"]) == (0, 4)
    assert not properties["is_empty"]
    all_events = [event for _, event in await _read(connection_string, "positions", 5, starting_position="-1")]
    assert [event.sequence_number for event in all_events] == [0, 1, 2, 3, 4]
    middle = all_events[2]
    for position in (middle.offset, middle.sequence_number, middle.enqueued_time):
        for inclusive, expected in ((True, ["2", "3", "4"]), (False, ["3", "4"])):
            found = await _read(
                connection_string,
                "positions",
                len(expected),
                starting_position=position,
                starting_position_inclusive=inclusive,
            )
            assert [event.body_as_str() for _, event in found] == expected, (position, inclusive)
    assert await _read(connection_string, "positions", 1, seconds=2, starting_position="@latest") == []


async def test_a_higher_epoch_takes_the_partition_over(connection_string: str) -> None:
    """The reader before it is told that its partition was stolen; a lower epoch is refused."""
    errors: list[Exception] = []
    arrived = asyncio.Event()

    async def ignore(partition: Any, event: Any) -> None:
        arrived.set()

    async def note(partition: Any, error: Exception) -> None:
        errors.append(error)

    def reading(client: EventHubConsumerClient, level: int) -> asyncio.Task[None]:
        return asyncio.create_task(
            client.receive(ignore, partition_id="0", owner_level=level, on_error=note, starting_position="-1")
        )

    async with (
        EventHubProducerClient.from_connection_string(connection_string, eventhub_name="single") as producer,
        _consumer(connection_string, "single", retry_total=0) as low,
        _consumer(connection_string, "single", retry_total=0) as high,
    ):
        await producer.send_event(EventData("x"))
        first = reading(low, 1)
        await asyncio.wait_for(arrived.wait(), 15)
        arrived.clear()
        second = reading(high, 2)
        await asyncio.wait_for(arrived.wait(), 15)
        for _ in range(50):
            if errors:
                break
            await asyncio.sleep(0.1)
        assert errors
        assert "stolen" in str(errors[0]).lower() or isinstance(errors[0], EventHubError)
        for task in (first, second):
            task.cancel()
        await asyncio.gather(first, second, return_exceptions=True)


async def test_readers_are_told_how_far_the_partition_is(connection_string: str) -> None:
    """`track_last_enqueued_event_properties` brings the partition's end with each event."""
    async with EventHubProducerClient.from_connection_string(connection_string, eventhub_name="single") as producer:
        await producer.send_batch([EventData("a"), EventData("b")])
        last = (await producer.get_partition_properties("0"))["last_enqueued_sequence_number"]
    seen: list[dict[str, Any]] = []
    arrived = asyncio.Event()

    async def look(partition: Any, event: Any) -> None:
        seen.append(partition.last_enqueued_event_properties)
        arrived.set()

    async with _consumer(connection_string, "single") as consumer:
        task = asyncio.create_task(
            consumer.receive(look, starting_position="-1", track_last_enqueued_event_properties=True)
        )
        await asyncio.wait_for(arrived.wait(), 15)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert seen[0]["sequence_number"] == last


async def test_what_is_not_there_is_an_error(connection_string: str, producer: EventHubProducerClient) -> None:
    """A partition, a hub, and an event that is too large."""
    with pytest.raises(EventHubError):
        await producer.get_partition_properties("9")
    with pytest.raises(EventDataSendError):
        await producer.send_event(EventData(b"x" * 1_100_000))
    async with EventHubProducerClient.from_connection_string(
        connection_string, eventhub_name="nowhere", retry_total=0
    ) as missing:
        with pytest.raises(EventHubError):
            await missing.get_eventhub_properties()


async def test_two_consumers_balance_partitions_over_blob_storage(
    connection_string: str, azurite: AzuriteEndpoints
) -> None:
    """With a checkpoint store each takes two of four partitions, and every event is seen once by the pair."""
    storage = azurite.connection_string
    async with ContainerClient.from_connection_string(storage, "checkpoints") as container:
        await container.create_container()
    owned: dict[str, set[str]] = {"one": set(), "two": set()}
    seen: list[str] = []
    reached: set[str] = set()

    async def consume(name: str) -> None:
        store = BlobCheckpointStore.from_connection_string(storage, "checkpoints")

        async def take(partition: Any, event: Any) -> None:
            owned[name].add(partition.partition_id)
            if event is not None:
                reached.add(partition.partition_id)
                seen.append(event.body_as_str())
                await partition.update_checkpoint(event)

        async def left(partition: Any, reason: Any) -> None:
            owned[name].discard(partition.partition_id)

        async with _consumer(
            connection_string, "hub", "group", checkpoint_store=store, load_balancing_interval=1
        ) as consumer:
            await consumer.receive(take, on_partition_close=left, starting_position="@latest", max_wait_time=1)

    tasks = [asyncio.create_task(consume(name)) for name in owned]
    for _ in range(300):
        if all(len(partitions) == 2 for partitions in owned.values()):
            break
        await asyncio.sleep(0.1)
    assert sorted(owned["one"] | owned["two"]) == ["0", "1", "2", "3"]
    assert len(owned["one"]) == len(owned["two"]) == 2
    async with EventHubProducerClient.from_connection_string(connection_string, eventhub_name="hub") as producer:
        for _ in range(100):  # who has just taken a partition over begins with what comes after
            if len(reached) == 4:
                break
            for partition in {"0", "1", "2", "3"} - reached:
                await producer.send_event(EventData("is anybody there?"), partition_id=partition)
            await asyncio.sleep(0.3)
        for number in range(40):
            await producer.send_event(EventData(f"balanced-{number}"))
    for _ in range(100):
        if len({one for one in seen if one.startswith("balanced-")}) >= 40:
            break
        await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert {one for one in seen if one.startswith("balanced-")} == {f"balanced-{number}" for number in range(40)}
