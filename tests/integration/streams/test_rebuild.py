"""A view made anew on real stores, from a hub that goes on, while it is projected and read."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient

from functions.composition import Composition
from functions.composition.platform import platform
from functions.composition.read_models import (
    GROUP,
    VIEWS_TABLE,
    VersionFeeds,
    read_models,
    rebuilder,
    view_reader,
    view_versions,
)
from functions.composition.sending import EVENTS
from functions.composition.streams import event_log, stream_positions
from local.azurite import AzuriteEndpoints
from local_azure.testing import EventHubs
from ops import views as command
from shared.classification import Classification
from shared.messages import Registry
from shared.settings import Settings
from shared.streams import LogUnavailable, StreamConsumer
from shared.views import Stage, Step, ViewVersions
from shared.views import rebuilder as rebuilding
from tests.integration.streams.counting import counting, event
from tests.scale import SCALE

COUNT = int(400 * SCALE)
KEYS = max(50, COUNT // 5)
PARTITIONS = ("0", "1")
REMEMBERED = 0.5


@pytest.fixture
def environment(
    azurite: AzuriteEndpoints, event_hubs: EventHubs, project: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """A hub of its own; what instances remember is sooner forgotten than in production."""
    monkeypatch.setattr(rebuilding, "SETTLE", timedelta(seconds=3 * REMEMBERED))
    values = json.loads((project / "local.settings.sample.json").read_text())["Values"]
    hub = event_hubs.hub(f"h{uuid4().hex}", partitions=2, consumer_groups=[values["SLUICE_READ_MODEL_GROUP"]])
    connections = dict.fromkeys(("ServiceBus", "EventHubs"), event_hubs.connection_string)
    connections |= dict.fromkeys(("State", "Claims", "AzureWebJobsStorage"), azurite.connection_string)
    own = {"SLUICE_EVENT_HUB": hub, "SLUICE_OPERATION_KEY": "k" * 32, "SLUICE_AUTH": "none"}
    return {**values, **connections, **own}


@pytest.fixture
async def instance(environment: dict[str, str]) -> AsyncIterator[Composition]:
    """An instance of the app."""
    settings = Settings.load(environment)
    alone = Composition(settings, Registry([counting()]))
    versions = ViewVersions(alone.get(platform).table(VIEWS_TABLE), remembered=REMEMBERED)
    found = Composition(settings, alone.registry, parts={view_versions: versions})
    yield found
    await found.close()
    await versions.close()
    await alone.close()


class Traffic:
    """A producer, the projection of an instance, and readers of its view.

    Attributes
    ----------
    projected:
        By key the newest count that was projected.
    seconds:
        Of each read, before the rebuild began and after.
    """

    def __init__(self, instance: Composition, environment: dict[str, str]) -> None:
        self.name = uuid4().hex[:8]
        self.instance = instance
        self.published: dict[str, int] = {}
        self.projected: dict[str, int] = {}
        self.seconds: dict[bool, list[float]] = {False: [], True: []}
        self.rebuilds = False
        self.producer = EventHubProducerClient.from_connection_string(
            environment["EventHubs"], eventhub_name=environment["SLUICE_EVENT_HUB"]
        )
        positions = stream_positions(instance, EVENTS, instance.settings.resolved(GROUP))
        self.consumer = StreamConsumer(
            "read_models", instance.get(VersionFeeds).project, positions, event_log(instance, EVENTS)
        )
        self.close_positions = positions.close

    async def publish(self, count: int) -> None:
        """Events of keys that take turns, each key's in one partition."""
        for start in range(0, count, 400):
            bodies: dict[str, list[bytes]] = {name: [] for name in PARTITIONS}
            for _ in range(min(400, count - start)):
                number = random.randrange(KEYS)
                key = f"{self.name}-{number}"
                self.published[key] = self.published.get(key, 0) + 1
                bodies[PARTITIONS[number % 2]].append(event(key, self.published[key]))
            for partition, own in bodies.items():
                batch = await self.producer.create_batch(partition_id=partition)
                for body in own:
                    batch.add(EventData(body))
                await self.producer.send_batch(batch)

    async def project(self, partition: str) -> None:
        """As the host does: batch by batch."""
        log, after = event_log(self.instance, EVENTS), -1
        while True:
            try:
                async with aclosing(log.read(partition, after=after)) as chunks:
                    async for chunk in chunks:
                        await self.consumer.deliver(chunk)
                        after = chunk[-1].sequence_number
                        for one in chunk:
                            known = json.loads(one.body)
                            self.projected[known["subject"]] = int(known["sequence"])
            except LogUnavailable:
                continue

    async def read(self) -> None:
        """Rows are there, and as new as what was projected before they were asked for."""
        reader = self.instance.get(view_reader)
        while True:
            await asyncio.sleep(0.01)
            if not self.projected:
                continue
            key = random.choice(list(self.projected))
            at_least, began = self.projected[key], time.perf_counter()
            body = await reader.shown("stock", key, {}, level=Classification.RESTRICTED)
            self.seconds[self.rebuilds].append(time.perf_counter() - began)
            assert body is not None, f"{key} is missing"
            assert json.loads(body)["count"] >= at_least, f"{key} is stale"

    async def trickle(self) -> None:
        """Events go on."""
        while True:
            await self.publish(5)
            await asyncio.sleep(0.1)

    async def caught_up(self) -> None:
        """Return when everything that was published is projected."""
        while self.projected != self.published:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_rebuild_beside_live_traffic(
    instance: Composition, environment: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    """No read is stale or finds nothing; in the end the new version has the newest event of every key."""
    traffic = Traffic(instance, environment)
    await traffic.publish(COUNT)
    working = [asyncio.create_task(traffic.project(one)) for one in PARTITIONS]
    await _while(working, traffic.caught_up())
    working += [asyncio.create_task(one()) for one in (traffic.trickle, traffic.read)]
    await _while(working, asyncio.sleep(1.0 * SCALE))
    operator = Composition(instance.settings, instance.registry)

    async def rebuild() -> None:
        traffic.rebuilds = True
        made = operator.get(rebuilder)
        await made.ask("stock")
        while await made.run("stock", lambda: 60.0) is not Step.DONE:
            pass
        await asyncio.sleep(2 * REMEMBERED)

    try:
        began = time.perf_counter()
        await _while(working, rebuild())
        seconds = time.perf_counter() - began
        record_property("rebuilt", f"{COUNT} events in {seconds:.1f} s")
        record_property("p99", [f"{_p99(found) * 1e3:.1f} ms of {len(found)}" for found in traffic.seconds.values()])
        working[2].cancel()
        await _while([one for one in working if one is not working[2]], traffic.caught_up())
        found = await operator.get(view_versions).now("stock")
        assert (found.live, found.other, found.stage) == (2, 1, Stage.KEPT)
        assert (found.report["missing"], found.report["older"], found.skipped) == (0, 0, 0)
        rows = instance.get(read_models)
        assert {key: json.loads(await rows.get("stock", key) or "{}")["count"] for key in traffic.published} == (
            traffic.published
        )
    finally:
        for one in working:
            one.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        await traffic.producer.close()
        await traffic.close_positions()
        await operator.close()


async def test_the_command_rebuilds_rolls_back_and_drops(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the app's own views, in a hub that is empty."""

    def views(*arguments: str) -> int:
        return command.main([*arguments, "--json"], environment)

    why = ("--by", "me", "--reason", "a test")
    assert await asyncio.to_thread(views, "rebuild", "shipments") == command.WRONG
    assert await asyncio.to_thread(views, "rebuild", "parcels", *why) == command.WRONG
    assert "there is no view parcels: there are credit-notes, orders, shipments" in capsys.readouterr().err
    before = (await _listed(capsys, views))["shipments"]
    assert await asyncio.to_thread(views, "rebuild", "shipments", *why) == command.OK
    made = json.loads(capsys.readouterr().out)
    assert (made["live"], made["other"], made["stage"]) == (before["live"] + 1, before["live"], "kept")
    assert await asyncio.to_thread(views, "rollback", "shipments", *why) == command.OK
    assert json.loads(capsys.readouterr().out)["live"] == before["live"]
    assert await asyncio.to_thread(views, "drop", "shipments", *why) == command.OK
    after = (await _listed(capsys, views))["shipments"]
    assert (after["live"], after["other"], after["stage"]) == (before["live"], None, "none")


async def _listed(capsys: pytest.CaptureFixture[str], views: Callable[..., int]) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    assert await asyncio.to_thread(views, "list") == command.OK
    return {one["view"]: one for one in json.loads(capsys.readouterr().out)["views"]}


async def _while(working: list[asyncio.Task[None]], wanted: Awaitable[None]) -> None:
    """Wait for something, unless one of those that go on meanwhile fails."""
    task = asyncio.ensure_future(wanted)
    await asyncio.wait([task, *working], return_when=asyncio.FIRST_COMPLETED)
    for one in working:
        if one.done():
            task.cancel()
            one.result()
    await task


def _p99(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)] if seconds else 0.0
