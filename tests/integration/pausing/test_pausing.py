"""Pauses on the real stack: two instances stop and lose nothing while they are killed, and everything is done after."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from functions.composition import Composition
from functions.composition.dead_letters import dead_letter_store
from functions.composition.pausing import set_aside
from functions.composition.state import parking, state_store
from integration.host.conftest import HostStarter, RunningHost, wait_for
from local.azurite import AzuriteEndpoints
from local_azure.testing.processes import BrokerProcess
from shared.dead_letters import Filters
from shared.messages import Headers, Lane, Registry
from shared.sending import command
from shared.settings import Settings
from shared.state import bucket_of, inbox_key, state_key, unpack

T = TypeVar("T")

APP = """
from functions.composition import CAPABILITIES, Composition, capabilities_of, compose
from shared.messages import Contract, Integration, Lane, Registry
from shared.settings import Settings
from shared.telemetry import configure

steps = Integration("orders")


class Step(Contract):
    machine: str
    number: int


class Done(Contract):
    numbers: tuple[int, ...] = ()


@steps.handles("step.taken", key="machine", priority=Lane.LOW)
async def take(step: Step, work) -> None:
    done = await work.load("steps", step.machine, Done) or Done()
    await work.save("steps", step.machine, Done(numbers=(*done.numbers, step.number)))


settings = Settings.load()
configure(settings)
made = capabilities_of(Composition(settings, Registry([steps])), CAPABILITIES)
app = compose([one for one in made if one.name not in ("api", "read-models", "rotation")])
"""


@pytest.fixture
def settings(azurite: AzuriteEndpoints, emulator: BrokerProcess, project: Path) -> dict[str, str]:
    """What the instances and the operator read."""
    values = json.loads((project / "local.settings.sample.json").read_text())["Values"]
    broker, storage = emulator.connection_string, azurite.connection_string
    connections = {"ServiceBus": broker, "EventHubs": broker, "State": storage, "Claims": storage}
    own = {"AzureWebJobsStorage": storage, "SLUICE_OPERATION_KEY": "k" * 32, "SLUICE_AUTH": "none"}
    return {**values, **connections, **own}


@pytest.fixture
def start_host(tmp_path: Path) -> Iterator[HostStarter]:
    """Starts instances and ends them."""
    starter = HostStarter(tmp_path)
    yield starter
    for host in starter.started:
        if host.runs:
            host.stop()  # one that is killed keeps the leases of its jobs for a minute, from the next test's hosts too


@pytest.fixture
def operate(project: Path, settings: dict[str, str]) -> Iterator[Callable[..., Any]]:
    """The operator's commands, as a program; whatever is paused at the end goes on."""

    def run(*arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "ops", *arguments, "--json"],
            cwd=project,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    yield run
    for one in run("pauses")["active"]:
        run("resume", one["kind"], one["name"])


def step(machine: str, number: int, lane: Lane = Lane.LOW) -> ServiceBusMessage:
    """A command as the API sends it."""
    identity, now = uuid4(), datetime.now(UTC)
    envelope = {
        "messageId": str(identity),
        "timestamp": now.isoformat(),
        "source": "test",
        "eventType": "step.taken",
        "version": "1.0",
        "data": {"machine": machine, "number": number},
    }
    headers = Headers(
        message_id=identity,
        event_type="step.taken",
        version="1.0",
        source="test",
        key=machine,
        lane=lane,
        correlation_id="c",
        first_attempt_at=now,
    )
    return command(headers, json.dumps(envelope).encode())


class Stores:
    """What the stores hold."""

    def __init__(self, settings: dict[str, str]) -> None:
        self.queues = {Lane.LOW: settings["SLUICE_LANE_LOW"], Lane.ORDERED: settings["SLUICE_LANE_ORDERED"]}
        self._settings = Settings.load(settings)

    def send(self, lane: Lane, *messages: ServiceBusMessage) -> None:
        """Put messages on a lane."""

        async def run() -> None:
            connection = self._settings.service_bus.connection_string
            assert connection is not None
            async with (
                ServiceBusClient.from_connection_string(connection.get_secret_value()) as client,
                client.get_queue_sender(self.queues[lane]) as sender,
            ):
                for message in messages:
                    await sender.send_messages(message)

        asyncio.run(run())

    def numbers(self, machine: str) -> list[int]:
        """The steps that took effect, in their order."""

        async def ask(composition: Composition) -> list[int]:
            bucket, row_key = bucket_of(machine, composition.settings.state_buckets), state_key("steps", machine)
            row = (await composition.get(state_store).find(bucket, [row_key])).get(row_key)
            return [] if row is None else json.loads(unpack(row))["numbers"]

        return self._with(ask)

    def effects(self, machines: list[str]) -> Counter[int]:
        """How many machines have so many steps."""

        async def ask(composition: Composition) -> Counter[int]:
            found: Counter[int] = Counter()
            for machine in machines:
                bucket, row_key = bucket_of(machine, composition.settings.state_buckets), state_key("steps", machine)
                row = (await composition.get(state_store).find(bucket, [row_key])).get(row_key)
                found[0 if row is None else len(json.loads(unpack(row))["numbers"])] += 1
            return found

        return self._with(ask)

    def processed_at(self, messages: list[ServiceBusMessage]) -> list[datetime]:
        """When each of those that took effect did."""

        async def ask(composition: Composition) -> list[datetime]:
            moments = []
            for message in messages:
                properties = message.application_properties or {}
                bucket = bucket_of(str(properties["key"]), composition.settings.state_buckets)
                row_key = inbox_key(properties["messageId"])
                row = (await composition.get(state_store).find(bucket, [row_key])).get(row_key)
                if row is not None:
                    moments.append(row["processedAt"].astimezone(UTC))
            return moments

        return self._with(ask)

    def aside(self) -> int:
        """How many messages are set aside."""

        async def ask(composition: Composition) -> int:
            return sum((await composition.get(set_aside).counts()).values())

        return self._with(ask)

    def parked(self, key: str) -> int:
        """How many messages of a key of the ordered lane wait."""

        async def ask(composition: Composition) -> int:
            found = (await composition.get(parking).find([key])).get(key)
            return 0 if found is None else found.after - found.first

        return self._with(ask)

    def dead(self, keys: set[str]) -> int:
        """How many of the messages with these keys are dead letters."""

        async def ask(composition: Composition) -> int:
            return len([one async for one in composition.get(dead_letter_store).select(Filters()) if one.key in keys])

        return self._with(ask)

    def _with(self, ask: Callable[[Composition], Awaitable[T]]) -> T:
        async def run() -> T:
            composition = Composition(self._settings, Registry([]))
            try:
                return await ask(composition)
            finally:
                await composition.close()

        return asyncio.run(run())


def counted(hosts: list[RunningHost], event: str) -> int:
    """How many lines of an event the instances wrote."""
    return sum(len(host.records(event)) for host in hosts)


@pytest.mark.timeout(300)
def test_two_instances_stop_are_killed_and_lose_nothing(
    settings: dict[str, str], start_host: HostStarter, operate: Callable[..., Any]
) -> None:
    """One dies while it sets messages aside, one while it brings them back; each message takes effect once."""
    stores = Stores(settings)
    mark = uuid4().hex[:8]
    machines = [f"{mark}-{number}" for number in range(400)]
    first, second = start_host(APP, None, **settings), start_host(APP, None, **settings)
    began = operate("pause", "lane", "low", "--reason", "the warehouse is down", "--by", "ada")
    assert (began["by"], began["reason"], began["began"]) == ("ada", "the warehouse is down", True)
    time.sleep(5)  # as long as an instance may not know it
    stores.send(Lane.LOW, *(step(machine, 1) for machine in machines[:250]))
    wait_for(lambda: stores.aside() > 20, 60, "messages that are set aside")
    first.stop(signal.SIGKILL)
    stores.send(Lane.LOW, *(step(machine, 1) for machine in machines[250:]))
    third = start_host(APP, None, **settings)  # a pause outlives whoever knew of it
    wait_for(lambda: stores.aside() == 400, 120, "every message is set aside")
    assert stores.effects(machines) == {0: 400}
    (waiting,) = operate("pauses")["waiting"]
    assert (waiting["lane"], waiting["messages"]) == ("low", 400)

    operate("resume", "lane", "low", "--by", "bob")
    wait_for(lambda: stores.aside() < 390, 60, "messages that come back")
    second.stop(signal.SIGKILL)
    wait_for(lambda: stores.effects(machines) == {1: 400}, 120, "every message took effect, once")
    wait_for(lambda: stores.aside() == 0, 60, "nothing waits any more")
    hosts = [first, second, third]
    assert stores.dead(set(machines)) == 0
    assert counted(hosts, "retry later") == 0
    assert counted(hosts, "dead letter") == 0


@pytest.mark.timeout(180)
def test_a_pause_is_honoured_within_five_seconds_and_its_end_within_twenty(
    settings: dict[str, str], start_host: HostStarter, operate: Callable[..., Any]
) -> None:
    """By every instance, while messages keep coming."""
    stores = Stores(settings)
    mark = uuid4().hex[:8]
    start_host(APP, None, **settings)
    start_host(APP, None, **settings)
    sent: list[ServiceBusMessage] = []

    def send_for(seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            batch = [step(f"{mark}-{len(sent) + number}", 1) for number in range(5)]
            sent.extend(batch)
            stores.send(Lane.LOW, *batch)

    send_for(4)
    wait_for(lambda: len(stores.processed_at(sent)) == len(sent), 60, "what came before the pause")
    operate("pause", "integration", "orders", "--reason", "an incident")
    paused = datetime.now(UTC)
    send_for(10)
    wait_for(lambda: len(stores.processed_at(sent)) + stores.aside() == len(sent), 60, "the rest waits")
    honoured = max(0.0, (max(stores.processed_at(sent)) - paused).total_seconds())
    assert honoured <= 5
    assert stores.aside() > 0

    operate("resume", "integration", "orders")
    resumed = datetime.now(UTC)
    wait_for(lambda: len(stores.processed_at(sent)) == len(sent), 60, "everything took effect")
    took = (max(stores.processed_at(sent)) - resumed).total_seconds()
    sys.stdout.write(f"honoured after {honoured:.1f} s; {len(sent)} done {took:.1f} s after the end\n")
    assert took <= 20


@pytest.mark.timeout(180)
def test_the_ordered_lane_goes_on_in_order(
    settings: dict[str, str], start_host: HostStarter, operate: Callable[..., Any]
) -> None:
    """What waited, and what came behind it after the pause."""
    stores = Stores(settings)
    machine = uuid4().hex[:8]
    start_host(APP, None, **settings)
    operate("pause", "lane", "ordered", "--reason", "an incident")
    time.sleep(5)
    stores.send(Lane.ORDERED, *(step(machine, number, Lane.ORDERED) for number in range(1, 11)))
    wait_for(lambda: stores.parked(machine) == 10, 60, "the steps wait")
    assert stores.numbers(machine) == []
    operate("resume", "lane", "ordered")
    stores.send(Lane.ORDERED, *(step(machine, number, Lane.ORDERED) for number in range(11, 16)))
    with suppress(AssertionError):  # what there is says more than that it took too long
        wait_for(lambda: len(stores.numbers(machine)) == 15, 100)
    assert stores.numbers(machine) == list(range(1, 16))
