"""The ordered lane on the real stack: one key is blocked, the others flow, a replay resolves it, and order holds."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from azure.servicebus import ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusClient

from functions.composition import Composition
from functions.composition.dead_letters import dead_letter_store
from functions.composition.processing import parking_drain, processor
from functions.composition.state import parking, state_store
from integration.broker.wire import Wire
from integration.host.conftest import HostStarter, wait_for
from local.azurite import AzuriteEndpoints
from local_azure.broker.amqp.message import Properties, encode_properties
from local_azure.broker.amqp.performatives import Disposition, Transfer
from local_azure.testing.processes import BrokerProcess
from ops.dead_letters import redrive_of
from shared.dead_letters import Action, Decision, Filters, StoredLetter
from shared.dead_letters.any_message import take_any_message
from shared.messages import Contract, Delivery, Headers, Integration, Lane, Registry
from shared.sending import command
from shared.settings import Settings
from shared.state import bucket_of, state_key, unpack
from shared.work import Work

T = TypeVar("T")
CHAR = b"\x00\x53\x77\x73\x00\x00\x00\x41"
"""A section of an AMQP value, a char."""

APP = """
from pathlib import Path

from functions.composition import CAPABILITIES, Composition, capabilities_of, compose
from shared.dead_letters.any_message import take_any_message
from shared.messages import Contract, Integration, Lane, Registry, Reject, Retry
from shared.settings import Settings
from shared.telemetry import configure

MENDED = Path(__file__).parent / "mended"
steps = Integration("steps")


class Step(Contract):
    machine: str
    number: int
    mood: str = "good"


class Done(Contract):
    numbers: tuple[int, ...] = ()


@steps.handles("step.taken", key="machine", priority=Lane.ORDERED)
async def take(step: Step, work) -> None:
    if step.mood == "broken" and not MENDED.exists():
        raise Reject("the machine is jammed")
    if step.mood == "busy" and work.headers.attempt == 1:
        raise Retry(after=1)
    done = await work.load("steps", step.machine, Done) or Done()
    await work.save("steps", step.machine, Done(numbers=(*done.numbers, step.number)))


settings = Settings.load()
configure(settings)
made = capabilities_of(Composition(settings, Registry([steps])), CAPABILITIES)
app = compose([one for one in made if one.name not in ("api", "read-models", "rotation")])
"""


@pytest.fixture
def settings(azurite: AzuriteEndpoints, emulator: BrokerProcess, project: Path) -> dict[str, str]:
    """What the app and the operator read."""
    values = json.loads((project / "local.settings.sample.json").read_text())["Values"]
    broker, storage = emulator.connection_string, azurite.connection_string
    connections = {"ServiceBus": broker, "EventHubs": broker, "State": storage, "Claims": storage}
    quick = {"SLUICE_PARKING_SCHEDULE": "*/1 * * * * *"}
    return {
        **values,
        **connections,
        **quick,
        "AzureWebJobsStorage": storage,
        "SLUICE_OPERATION_KEY": "k" * 32,
        "SLUICE_AUTH": "none",
    }


@pytest.fixture
def start_host(tmp_path: Path) -> Iterator[HostStarter]:
    """Starts hosts and ends them."""
    starter = HostStarter(tmp_path)
    yield starter
    for host in starter.started:
        host.stop()


def step(machine: str, number: int, mood: str = "good") -> Any:
    """A step's command as the API sends it."""
    identity, now = uuid4(), datetime.now(UTC)
    envelope = {
        "messageId": str(identity),
        "timestamp": now.isoformat(),
        "source": "test",
        "eventType": "step.taken",
        "version": "1.0",
        "data": {"machine": machine, "number": number, "mood": mood},
    }
    headers = Headers(
        message_id=identity,
        event_type="step.taken",
        version="1.0",
        source="test",
        key=machine,
        lane=Lane.ORDERED,
        correlation_id="c",
        first_attempt_at=now,
    )
    return command(headers, json.dumps(envelope).encode())


def test_a_failing_message_holds_its_own_key_only(
    settings: dict[str, str], emulator: BrokerProcess, start_host: HostStarter, project: Path
) -> None:
    """One machine is jammed for good, one is busy once, one is well; then the jam is mended and its step replayed."""
    mark = uuid4().hex[:8]
    jammed, busy, well = (f"{mark}-{name}" for name in ("jammed", "busy", "well"))
    messages = [
        message
        for number in range(1, 9)
        for message in (
            step(jammed, number, "broken" if number == 3 else "good"),
            step(busy, number, "busy" if number in (2, 5) else "good"),
            step(well, number),
        )
    ]

    async def send() -> None:
        async with (
            ServiceBusClient.from_connection_string(emulator.connection_string) as client,
            client.get_queue_sender(settings["SLUICE_LANE_ORDERED"]) as sender,
        ):
            for message in messages:
                await sender.send_messages(message)

    asyncio.run(send())
    host = start_host(APP, json.loads((project / "host.json").read_text()), **settings)
    whole = list(range(1, 9))
    operator = _Operator(settings)

    wait_for(lambda: operator.numbers(well) == whole, 60, "the well machine's steps")
    wait_for(lambda: operator.numbers(busy) == whole, 60, "the busy machine's steps")
    letter = wait_for(lambda: operator.letter(jammed), 30, "the dead letter")
    wait_for(lambda: operator.waiting(jammed) == 5, 30, "the later steps of the jammed machine wait")
    assert operator.numbers(jammed) == [1, 2]
    assert UUID(letter.message_id or "")

    (host.output.parent / "app0" / "mended").touch()
    assert operator.replay(letter) is Action.SEND
    wait_for(lambda: operator.numbers(jammed) == whole, 60, "the jammed machine's steps, in order")
    wait_for(lambda: operator.waiting(jammed) == 0, 30, "nothing waits any more")
    batches = [record for record in host.records("batch") if record["lane"] == "ordered"]
    assert sum(record["parked"] for record in batches) >= 5


def test_a_discarded_message_lets_its_key_go_on(
    settings: dict[str, str], emulator: BrokerProcess, start_host: HostStarter
) -> None:
    machine = uuid4().hex[:8]

    async def send() -> None:
        async with (
            ServiceBusClient.from_connection_string(emulator.connection_string) as client,
            client.get_queue_sender(settings["SLUICE_LANE_ORDERED"]) as sender,
        ):
            await sender.send_messages([step(machine, 1, "broken"), step(machine, 2), step(machine, 3)])

    asyncio.run(send())
    start_host(APP, None, **settings)
    operator = _Operator(settings)
    letter = wait_for(lambda: operator.letter(machine), 60, "the dead letter")
    wait_for(lambda: operator.waiting(machine) == 2, 30, "the later steps wait")
    operator.discard(letter)
    wait_for(lambda: operator.numbers(machine) == [2, 3], 60, "the later steps, in order")


def test_what_the_broker_gave_up_holds_its_key_until_it_is_replayed(
    settings: dict[str, str], emulator: BrokerProcess, start_host: HostStarter
) -> None:
    """An expired message comes out of the session queue's dead-letter queue, which is read without sessions."""
    machine = uuid4().hex[:8]
    expired = step(machine, 1)
    expired.time_to_live = timedelta(seconds=1)

    async def send(*messages: Any) -> None:
        async with (
            ServiceBusClient.from_connection_string(emulator.connection_string) as client,
            client.get_queue_sender(settings["SLUICE_LANE_ORDERED"]) as sender,
        ):
            await sender.send_messages(list(messages))

    asyncio.run(send(expired))
    time.sleep(1.5)  # the broker's own clock
    start_host(APP, None, **settings)
    operator = _Operator(settings)
    letter = wait_for(lambda: operator.letter(machine), 60, "the dead letter")
    assert (letter.code, letter.lane) == ("MESSAGE_EXPIRED", "ordered")
    asyncio.run(send(step(machine, 2)))
    wait_for(lambda: operator.waiting(machine) == 1, 30, "the later step waits")
    assert operator.replay(letter) is Action.SEND
    wait_for(lambda: operator.numbers(machine) == [1, 2], 60, "both steps, in order")


class Numbers(Contract):
    """The steps of a machine that took effect, in their order."""

    numbers: tuple[int, ...] = ()


class Step(Contract):
    """What the messages are about."""

    machine: str
    number: int
    mood: str = "good"


async def _take(step: Step, work: Work) -> None:
    done = await work.load("steps", step.machine, Numbers) or Numbers()
    await work.save("steps", step.machine, Numbers(numbers=(*done.numbers, step.number)))


@pytest.mark.parametrize("in_hand", [0, 2], ids=["all lie there", "another drain has the first ones in hand"])
async def test_what_the_broker_gave_up_is_not_overtaken_by_what_comes_before_the_next_drain(
    settings: dict[str, str], emulator: BrokerProcess, in_hand: int
) -> None:
    """Steps 1 to 3 were given up with a body that the SDK can't decode; step 4 comes at once, and no drain has run."""
    machine, steps = uuid4().hex[:8], Integration("steps")
    steps.handles("step.taken", key="machine", priority=Lane.ORDERED)(_take)
    queue = settings["SLUICE_LANE_ORDERED"]
    app = Composition(Settings.load(settings), Registry([steps]))
    fourth = step(machine, 4)
    delivery = Delivery(
        body=b"".join(fourth.body),
        properties={str(name): value for name, value in (fourth.application_properties or {}).items()},
        message_id=str(fourth.message_id),
        sequence_number=4,
        delivery_count=1,
    )
    async with AsyncExitStack() as closing:
        closing.push_async_callback(app.close)
        client = await closing.enter_async_context(ServiceBusClient.from_connection_string(emulator.connection_string))
        wire = Wire(emulator.amqp_port)
        wire.attach(queue, 0, receives=False)
        wire.send(
            Transfer(handle=0, delivery_id=0, delivery_tag=b"t"), encode_properties(Properties(group_id=machine)) + CHAR
        )
        wire.read_until(Disposition)
        async with client.get_queue_sender(queue) as sender:
            await sender.send_messages([step(machine, number) for number in (1, 2, 3)])
        take_any_message()
        async with client.get_queue_receiver(queue, session_id=machine) as receiver:
            for message in await receiver.receive_messages(max_message_count=4, max_wait_time=5):
                await receiver.dead_letter_message(message, reason="MaxDeliveryCountExceeded")
        async with client.get_queue_receiver(queue, sub_queue=ServiceBusSubQueue.DEAD_LETTER) as other:
            held = await other.receive_messages(max_message_count=in_hand) if in_hand else []
            processing = asyncio.create_task(app.get(processor).process(Lane.ORDERED, [delivery]))
            if held:
                await asyncio.wait([processing], timeout=1.5)
                assert not processing.done()
                for message in held:
                    await other.abandon_message(message)
            await processing
        await app.get(parking_drain).drain()
        bucket, row_key = bucket_of(machine, app.settings.state_buckets), state_key("steps", machine)
        row = (await app.get(state_store).find(bucket, [row_key]))[row_key]
        assert json.loads(unpack(row))["numbers"] == [1, 2, 3, 4]


class _Operator:
    """Looks at the stores and decides about dead letters, with the app's settings."""

    def __init__(self, settings: dict[str, str]) -> None:
        self._settings = Settings.load(settings)

    def numbers(self, machine: str) -> list[int]:
        """The steps that took effect, in their order."""

        async def ask(composition: Composition) -> list[int]:
            bucket, row_key = bucket_of(machine, composition.settings.state_buckets), state_key("steps", machine)
            row = (await composition.get(state_store).find(bucket, [row_key])).get(row_key)
            return [] if row is None else json.loads(unpack(row))["numbers"]

        return self._with(ask)

    def waiting(self, machine: str) -> int:
        """How many messages wait behind a key."""

        async def ask(composition: Composition) -> int:
            parked = (await composition.get(parking).find([machine])).get(machine)
            return 0 if parked is None else parked.after - parked.first

        return self._with(ask)

    def letter(self, machine: str) -> StoredLetter | None:
        """The dead letter of a key."""

        async def ask(composition: Composition) -> StoredLetter | None:
            found = [one async for one in composition.get(dead_letter_store).select(Filters()) if one.key == machine]
            return found[0] if found else None

        return self._with(ask)

    def replay(self, letter: StoredLetter) -> Action:
        """Play it again."""

        async def ask(composition: Composition) -> Action:
            return (await redrive_of(composition).replay(letter, Decision(by="operator", reason="it is mended"))).action

        return self._with(ask)

    def discard(self, letter: StoredLetter) -> None:
        """Settle it without doing it."""

        async def ask(composition: Composition) -> None:
            await redrive_of(composition).discard(letter, Decision(by="operator", reason="it isn't needed"))

        self._with(ask)

    def _with(self, ask: Callable[[Composition], Awaitable[T]]) -> T:
        async def run() -> T:
            composition = Composition(self._settings, Registry([]))
            try:
                return await ask(composition)
            finally:
                await composition.close()

        return asyncio.run(run())
