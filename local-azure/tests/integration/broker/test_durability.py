"""What was acknowledged survives: `kill -9` under load, and every kind of state over a restart."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub import EventData, EventHubConsumerClient
from azure.eventhub.aio import EventHubProducerClient
from azure.servicebus import ServiceBusClient as SyncClient
from azure.servicebus import ServiceBusMessage, ServiceBusMessageState
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver
from azure.servicebus.exceptions import ServiceBusError

from integration.broker.configuration import EVENT_HUBS, SERVICE_BUS
from integration.broker.process import EmulatorProcess

_KILLS = 5
_SECONDS_BETWEEN = 3.0


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[EmulatorProcess]:
    """A durable emulator of the test's own."""
    with EmulatorProcess(tmp_path, [SERVICE_BUS, EVENT_HUBS]) as running:
        yield running


@pytest.mark.timeout(300)
async def test_everything_acknowledged_survives_five_kills(emulator: EmulatorProcess) -> None:
    """Four senders and two receivers go on over five kills; each acknowledged message is received."""
    logging.getLogger("azure").setLevel(logging.CRITICAL)
    acknowledged: set[str] = set()
    received: set[str] = set()
    stop_sending, stop_receiving = asyncio.Event(), asyncio.Event()

    async def send(name: str) -> None:
        number = 0
        while not stop_sending.is_set():
            try:
                async with (
                    ServiceBusClient.from_connection_string(emulator.connection_string, retry_total=0) as client,
                    client.get_queue_sender("plain") as sender,
                ):
                    while not stop_sending.is_set():
                        bodies = [f"{name}-{number + each}" for each in range(10)]
                        number += 10
                        await sender.send_messages([ServiceBusMessage(body) for body in bodies])
                        acknowledged.update(bodies)
            except (ServiceBusError, OSError, ValueError):
                await asyncio.sleep(0.2)

    async def receive() -> None:
        while not stop_receiving.is_set():
            try:
                async with (
                    ServiceBusClient.from_connection_string(emulator.connection_string, retry_total=0) as client,
                    client.get_queue_receiver("plain") as receiver,
                ):
                    while not stop_receiving.is_set():
                        for message in await receiver.receive_messages(max_message_count=50, max_wait_time=1):
                            received.add(str(message))
                            await receiver.complete_message(message)
            except (ServiceBusError, OSError, ValueError):
                await asyncio.sleep(0.2)

    senders = [asyncio.create_task(send(f"s{each}")) for each in range(4)]
    receivers = [asyncio.create_task(receive()) for _ in range(2)]
    for _ in range(_KILLS):
        await asyncio.sleep(_SECONDS_BETWEEN)
        emulator.kill()
        await asyncio.to_thread(emulator.start)
    stop_sending.set()
    await asyncio.gather(*senders)
    for _ in range(240):
        if acknowledged <= received:
            break
        await asyncio.sleep(0.5)
    stop_receiving.set()
    await asyncio.gather(*receivers)
    assert len(acknowledged) > 500
    assert acknowledged - received == set()


async def test_every_kind_of_state_survives(emulator: EmulatorProcess) -> None:
    """Deferred, scheduled, dead, locked and session state, duplicates, totals, events; numbers go on."""
    later = datetime.now(UTC) + timedelta(hours=1)
    async with ServiceBusClient.from_connection_string(emulator.connection_string) as client:
        async with client.get_queue_sender("plain") as sender, client.get_queue_receiver("plain") as receiver:
            await sender.send_messages(
                [ServiceBusMessage(str(each), application_properties={"n": each}) for each in range(5)]
            )
            first, second, third, *_ = await _collect(receiver, 5)
            await receiver.defer_message(first)
            await receiver.dead_letter_message(second, reason="bad")
            await receiver.complete_message(third)
            await sender.schedule_messages(ServiceBusMessage("scheduled"), later)
        async with client.get_queue_sender("no-duplicates") as sender:
            await sender.send_messages(ServiceBusMessage("once", message_id="same"))
        async with client.get_queue_sender("sessions") as sender:
            await sender.send_messages(ServiceBusMessage("m", session_id="s"))
        async with client.get_queue_receiver("sessions", session_id="s") as session_receiver:
            await session_receiver.session.set_state(b"half-way")
    async with EventHubProducerClient.from_connection_string(
        emulator.connection_string, eventhub_name="single"
    ) as producer:
        await producer.send_batch([EventData("a"), EventData("b")])
    before = emulator.status()
    emulator.kill()
    emulator.start()
    after = emulator.status()
    assert after["queues"]["plain"] == {**before["queues"]["plain"], "locked": 0}
    assert after["eventHubs"] == before["eventHubs"]
    async with ServiceBusClient.from_connection_string(emulator.connection_string) as client:
        async with client.get_queue_sender("plain") as sender, client.get_queue_receiver("plain") as receiver:
            (deferred,) = await receiver.receive_deferred_messages(first.sequence_number)
            assert str(deferred) == "0"
            await receiver.complete_message(deferred)
            states = [message.state for message in await receiver.peek_messages(10, sequence_number=1)]
            assert states.count(ServiceBusMessageState.SCHEDULED) == 1
            unsettled = await _collect(receiver, 2)
            assert [str(message) for message in unsettled] == ["3", "4"]
            assert unsettled[0].application_properties == {b"n": 3}
            await sender.send_messages(ServiceBusMessage("new"))
            (new,) = await _collect(receiver, 1)
            assert new.sequence_number == 7
        async with client.get_queue_receiver("plain", sub_queue="deadletter") as dead:
            (message,) = await _collect(dead, 1)
            assert message.dead_letter_reason == "bad"
        async with client.get_queue_sender("no-duplicates") as sender:
            await sender.send_messages(ServiceBusMessage("again", message_id="same"))
        assert emulator.status()["queues"]["no-duplicates"]["enqueuedTotal"] == 1
        async with client.get_queue_receiver("sessions", session_id="s") as session_receiver:
            assert await session_receiver.session.get_state() == b"half-way"
            assert [str(message) for message in await _collect(session_receiver, 1)] == ["m"]


async def _collect(receiver: ServiceBusReceiver, count: int) -> list[Any]:
    got: list[Any] = []
    while len(got) < count:
        batch = await receiver.receive_messages(max_message_count=count, max_wait_time=10)
        assert batch, f"only {len(got)} came"
        got += batch
    return got


def test_an_event_hub_was_made_once_however_often_the_emulator_starts(emulator: EmulatorProcess) -> None:
    """Consumers know a hub that was made anew by the time at which it was."""

    def created() -> datetime:
        with EventHubConsumerClient.from_connection_string(
            emulator.connection_string, "$Default", eventhub_name="single"
        ) as client:
            made: datetime = client.get_eventhub_properties()["created_at"]
            return made

    first = created()
    for _ in range(2):
        emulator.kill()
        emulator.start()
        assert created() == first


def test_two_emulators_cannot_share_a_directory(emulator: EmulatorProcess, tmp_path: Path) -> None:
    """The second one ends with one clear line and exit code 2."""
    second = EmulatorProcess(tmp_path / "second", SERVICE_BUS, "--data-dir", str(tmp_path / "data"))
    with pytest.raises(RuntimeError, match="another emulator"):
        second.start()
    assert second.stop() == 2


def test_a_changed_configuration_meets_the_stored_entities(emulator: EmulatorProcess, tmp_path: Path) -> None:
    """What the service fixes at creation is refused with the entity's name; the rest is taken over."""
    assert emulator.stop() == 0
    queue = {"Name": "plain", "Properties": {"RequiresSession": True}}
    config = {
        "UserConfig": {"Namespaces": [{"Name": "n", "Queues": [queue], "Topics": []}], "Logging": {"Type": "File"}}
    }
    changed = EmulatorProcess(tmp_path / "changed", config, "--data-dir", str(tmp_path / "data"))
    with pytest.raises(RuntimeError, match=r"queue 'plain'.*cannot be changed"):
        changed.start()
    queue["Properties"] = {"MaxDeliveryCount": 3}
    updated = EmulatorProcess(tmp_path / "updated", config, "--data-dir", str(tmp_path / "data"))
    with updated:
        assert "no-duplicates" in updated.status()["queues"]


def _receive_and_crash(emulator: EmulatorProcess, queue: str, **options: Any) -> int:
    """Receive a message, hold it for longer than a moment, kill the emulator; give the delivery count seen."""
    with (
        SyncClient.from_connection_string(emulator.connection_string, retry_total=0) as client,
        client.get_queue_receiver(queue, **options) as receiver,
    ):
        (message,) = receiver.receive_messages(max_wait_time=5)
        time.sleep(0.5)
        emulator.kill()
        emulator.start()
        count = message.delivery_count
        assert count is not None
        return count


def test_the_delivery_count_of_locked_messages_survives_a_crash(tmp_path: Path) -> None:
    """Each crash under a lock is a failed delivery; the last one that is allowed makes a dead letter."""
    emulator = EmulatorProcess(tmp_path, SERVICE_BUS).start()
    with (
        SyncClient.from_connection_string(emulator.connection_string) as client,
        client.get_queue_sender("three-deliveries") as sender,
        client.get_queue_sender("sessions") as other,
    ):
        sender.send_messages(ServiceBusMessage("poison"))
        other.send_messages(ServiceBusMessage("innocent", session_id="s"))
    assert [_receive_and_crash(emulator, "three-deliveries") for _ in range(3)] == [0, 1, 2]
    status = emulator.status()["queues"]["three-deliveries"]
    assert (status["active"], status["deadLetter"]) == (0, 1)
    assert [_receive_and_crash(emulator, "sessions", session_id="s") for _ in range(2)] == [0, 0]
    emulator.stop()


@pytest.mark.parametrize("arguments", [(), ("--wait-for-disk",)], ids=["default", "waits for the disk"])
def test_a_settled_message_leaves_no_lock_behind(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Long locks that end well: after a crash nothing comes back, and nothing is counted."""
    emulator = EmulatorProcess(tmp_path, SERVICE_BUS, *arguments).start()
    with (
        SyncClient.from_connection_string(emulator.connection_string) as client,
        client.get_queue_sender("plain") as sender,
        client.get_queue_receiver("plain") as receiver,
    ):
        sender.send_messages([ServiceBusMessage(str(number)) for number in range(3)])
        found: list[Any] = []
        while len(found) < 3:
            found += receiver.receive_messages(3, max_wait_time=5)
        time.sleep(0.5)
        receiver.complete_message(found[0])
        receiver.abandon_message(found[1])
        emulator.kill()
    with closing(sqlite3.connect(tmp_path / "data" / "emulator.sqlite")) as database:
        (locks,) = database.execute("SELECT count(*) FROM locks").fetchone()
    assert locks == 1
    emulator.start()
    with (
        SyncClient.from_connection_string(emulator.connection_string) as client,
        client.get_queue_receiver("plain") as receiver,
    ):
        counts: dict[str, int | None] = {}
        while len(counts) < 2:
            counts |= {str(each): each.delivery_count for each in receiver.receive_messages(3, max_wait_time=5)}
    assert counts == {"1": 1, "2": 1}
    emulator.stop()


def test_a_data_directory_of_the_version_before_is_taken_over(tmp_path: Path) -> None:
    """It had no table of locks."""
    with (
        EmulatorProcess(tmp_path, SERVICE_BUS) as emulator,
        SyncClient.from_connection_string(emulator.connection_string) as client,
        client.get_queue_sender("plain") as sender,
    ):
        sender.send_messages(ServiceBusMessage("kept"))
    with closing(sqlite3.connect(tmp_path / "data" / "emulator.sqlite", isolation_level=None)) as database:
        database.execute("DROP TABLE locks")
        database.execute("PRAGMA user_version = 1")
    with EmulatorProcess(tmp_path, SERVICE_BUS) as emulator:
        assert emulator.status()["queues"]["plain"]["active"] == 1
