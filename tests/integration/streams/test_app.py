"""The app on the local host: poison of every kind in its hub stops no partition, and its clock closes what is left."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.eventhub.amqp import AmqpAnnotatedMessage

from functions.composition import Composition
from functions.composition import read_models as parts
from functions.composition.dead_letters import dead_letter_store
from integration.host.conftest import HostStarter, RunningHost
from local.azurite import AzuriteEndpoints
from local_azure.testing import EventHubs
from shared.dead_letters import Filters
from shared.jobs import JobRun
from shared.messages import Registry
from shared.settings import Settings
from shared.streams import consumer
from tests.integration.streams.counting import counting, event

APP = """
import azure.functions as func

from functions.composition import CAPABILITIES, Composition, capabilities_of, compose
from shared.messages import Registry
from shared.settings import Settings
from shared.streams import consumer
from shared.telemetry import configure
from tests.integration.streams.counting import counting

retry = func.Blueprint.retry
func.Blueprint.retry = lambda blueprint, **_: retry(  # as many as in production, only sooner
    blueprint, strategy="fixed_delay", max_retry_count="2", delay_interval="00:00:01"
)
settings = Settings.load()
configure(settings)
made = capabilities_of(Composition(settings, Registry([counting()])), CAPABILITIES)
app = compose([one for one in made if one.name == "read-models"])
"""


POISON: tuple[tuple[Any, str], ...] = (
    ({"value_body": event("v", 1).decode()}, "VALIDATION_ERROR"),
    ({"value_body": {"count": 1}}, "VALIDATION_ERROR"),
    ({"sequence_body": [[1, 2], ["three"]]}, "VALIDATION_ERROR"),
    (b"", "MALFORMED_JSON"),
    (b"\xff\xfe{", "MALFORMED_JSON"),
    (b"[" * 50_000, "MALFORMED_JSON"),
    (event("s", 1, sequence=str(10**20)), "VALIDATION_ERROR"),
    (event("n", 1).replace(b'"count": 1', b'"count": 1' + b"0" * 5_000), "MALFORMED_JSON"),
    (event("r", 1, data={"count": 1, "behave": "raises"}), "PROJECTION_ERROR"),
)
"""Bodies, and the code of the dead letter."""


@pytest.fixture
def environment(azurite: AzuriteEndpoints, event_hubs: EventHubs, project: Path) -> dict[str, str]:
    """What host and operator read; the hub is new, so that no other test's checkpoints or positions are of it."""
    values = json.loads((project / "local.settings.sample.json").read_text())["Values"]
    hub = event_hubs.hub(f"h{uuid4().hex}", partitions=2, consumer_groups=[values["SLUICE_READ_MODEL_GROUP"]])
    connections = dict.fromkeys(("ServiceBus", "EventHubs"), event_hubs.connection_string)
    connections |= dict.fromkeys(("State", "Claims", "AzureWebJobsStorage"), azurite.connection_string)
    own = {"SLUICE_EVENT_HUB": hub, "SLUICE_OPERATION_KEY": "k" * 32, "SLUICE_AUTH": "none"}
    return {**values, **connections, **own}


@pytest.fixture
def host(tmp_path: Path, project: Path, environment: dict[str, str]) -> Iterator[RunningHost]:
    """The app, with its retries close together."""
    starter = HostStarter(tmp_path)
    try:
        yield starter(APP, json.loads((project / "host.json").read_text()), **environment)
    finally:
        for one in starter.started:
            if one.runs:
                one.stop()


@pytest.fixture
async def composition(environment: dict[str, str]) -> AsyncIterator[Composition]:
    """The app's parts, as another instance has them."""
    found = Composition(Settings.load(environment), Registry([counting()]))
    yield found
    await found.close()


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Wait until something holds."""
    give_up = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.1)


async def test_no_poison_stops_its_partition(
    host: RunningHost, composition: Composition, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Good events among bad ones of every kind, a later one behind them, and one that nothing follows."""
    began, run = datetime.now(UTC), uuid4().hex[:8]
    rows, store = composition.get(parts.read_models), composition.get(dead_letter_store)
    producer = EventHubProducerClient.from_connection_string(
        environment["EventHubs"], eventhub_name=environment["SLUICE_EVENT_HUB"]
    )

    async def send(partition: str, *events: Any) -> None:
        batch = await producer.create_batch(partition_id=partition)
        for one in events:
            batch.add(EventData(one) if isinstance(one, bytes) else AmqpAnnotatedMessage(**one))
        await producer.send_batch(batch)

    async def count(key: str) -> int:
        return int(json.loads(await rows.get("stock", run + key) or '{"count": 0}')["count"])

    async def letters() -> list[tuple[Any, ...]]:
        found = [one async for one in store.select(Filters(source="events", since=began))]
        return sorted((one.position["partition"], one.position["sequenceNumber"], one.code) for one in found)

    async def shown(key: str) -> bool:
        return await count(key) > 0

    async def begun(partition: int, times: int) -> bool:
        return host.log.count(f"Executing 'Functions.read_models' (Reason='(null) partition {partition}'") >= times

    async with producer:
        mixed: list[Any] = []
        for number, (bad, _) in enumerate(POISON):
            mixed += [event(f"{run}A", number + 1), bad]
        await send("0", *mixed)
        await eventually(lambda: begun(0, 3))
        await send("0", event(f"{run}B", 1))
        await eventually(lambda: shown("B"))
        assert await count("A") == len(POISON)
        await send("1", event(f"{run}C", 1), {"value_body": "the last"})
        await eventually(lambda: begun(1, 3))
    expected = [("0", 2 * number + 1, code) for number, (_, code) in enumerate(POISON)]
    assert await letters() == expected
    job = next(one for one in parts.capability(composition).jobs if one.name == "close-gaps-read-models")
    monkeypatch.setattr(consumer, "SETTLED", 0.0)
    for _ in range(2):
        await job.call(JobRun(due=began, last_success=None, time_left=lambda: 60.0))
    assert await count("C") == 1
    assert await letters() == [*expected, ("1", 1, "VALIDATION_ERROR")]
    assert host.log.count("Executing 'Functions.read_models'") <= 3 * 4
