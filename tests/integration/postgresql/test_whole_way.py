"""The whole way of a table: its log, the ordered lane, a handler, its events, a view; processes die of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from azure.servicebus.aio import ServiceBusClient

from functions.changes import ChangeConsumer
from functions.composition import Composition
from functions.composition.capabilities import SETTINGS
from functions.composition.capturing import capability
from functions.composition.changes import change_consumer
from functions.composition.dead_letters import dead_letter_store
from functions.composition.processing import processor
from functions.composition.read_models import GROUP, VersionFeeds, read_models
from functions.composition.sending import EVENTS, lane_senders, outbox, publisher
from functions.composition.state import state_store
from functions.composition.streams import event_log, stream_positions
from local.azurite import AzuriteEndpoints
from local_azure.testing import EventHubs
from local_azure.testing.processes import BrokerProcess
from shared.changes import Change, Operation
from shared.dead_letters import Filters
from shared.jobs import JobRun
from shared.messages import Contract, Delivery, Integration, Lane, Registry
from shared.postgresql import Postgresql
from shared.sending import EventPublisher, OutgoingEvent
from shared.settings import Settings
from shared.state import bucket_of, state_key, unpack
from shared.streams import LogUnavailable, StreamConsumer, StreamEvent
from shared.work import Work
from tests.integration.postgresql.server import Server

RUN = JobRun(due=datetime(2026, 11, 30, 12, tzinfo=UTC), last_success=None, time_left=lambda: 240.0)
LARGE = "x" * 5_000


class Customer(Contract):
    """A row; what the source leaves out has a default."""

    id: str
    name: str | None = None
    credit: Decimal | None = None
    large: str | None = None


class Gone(Contract):
    """An event: the row was deleted."""

    id: str


class Emptied(Contract):
    """The last truncation: rows whose last change comes before it are gone."""

    id: str
    position: str


class Known(Contract):
    """A row as it is, and where its last change stands."""

    id: str
    name: str | None
    credit: Decimal | None
    large: str | None
    position: str


class Steps(Contract):
    """The operations of a key that took effect, in their order."""

    steps: str = ""


def mirroring(table: str) -> Integration:
    """A table as state and as a view."""
    crm = Integration("crm")

    @crm.changes(table, key="id", truncates=True)
    async def changed(change: Change[Customer], work: Work) -> None:
        steps = await work.load("steps", change.key, Steps) or Steps()
        await work.save("steps", change.key, Steps(steps=steps.steps + change.operation))
        if change.operation is Operation.TRUNCATE:
            work.publish("customers.emptied", Emptied(id=change.key, position=change.position))
        elif change.after is None:
            await work.delete("customer", change.key)
            work.publish("customer.gone", Gone(id=change.key))
        else:
            before = await work.load("customer", change.key, Known)
            row = change.after.model_dump()
            if "large" in change.unavailable:
                row["large"] = before and before.large
            known = Known(**row, position=change.position)
            await work.save("customer", change.key, known)
            work.publish("customer.known", known)

    @crm.projects("customer.known", into="customers", key="id")
    def known(event: Known, _: Known | None) -> Known | None:
        return event

    @crm.projects("customer.gone", into="customers", key="id")
    def gone(event: Gone, _: Known | None) -> Known | None:
        return None

    @crm.projects("customers.emptied", into="emptied", key="id")
    def emptied(event: Emptied) -> Emptied:
        return event

    return crm


class Died(BaseException):
    """The process ends here."""


class Publisher:
    """Publishes as the app's does, or ends the process before it publishes anything."""

    def __init__(self, real: EventPublisher) -> None:
        self.dies = False
        self._real = real

    async def publish(self, events: Sequence[OutgoingEvent]) -> None:
        """See `EventPublisher`."""
        if self.dies:
            raise Died
        await self._real.publish(events)


class Consumer:
    """Takes changes as the app's does; ends the process when the first three are sent, or all, and nobody noted it."""

    def __init__(self, real: ChangeConsumer) -> None:
        self.die = ""
        self.taken = 0
        self._real = real

    async def apply(self, events: Sequence[StreamEvent]) -> None:
        """See `ChangeConsumer`."""
        sent = events[:3] if self.die == "halfway" else events
        await self._real.apply(sent)
        self.taken += len(sent)
        if self.die:
            raise Died


class Process:
    """One life of the app: composed, with the two parts that may end it."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._inner = Composition(settings, registry)
        self.publisher = Publisher(self._inner.get(publisher))
        parts = {publisher: self.publisher, lane_senders: self._inner.get(lane_senders)}
        self._sending = Composition(settings, registry, parts=parts)
        self.consumer = Consumer(self._sending.get(change_consumer))
        self.app = Composition(settings, registry, parts={**parts, change_consumer: self.consumer})

    async def close(self) -> None:
        """Let go of it."""
        for one in (self.app, self._sending, self._inner):
            await one.close()


@dataclass
class Way:
    """The app on real stores, broker, hub and database; when its process has died, the next call begins another.

    Attributes
    ----------
    taken:
        Changes that messages were made of, however often.
    processed:
        Messages that were processed, however often.
    lives:
        How many processes there were.
    """

    settings: Settings
    registry: Registry
    broker: str
    taken: int = 0
    processed: int = 0
    lives: int = 0
    keys: set[str] = field(default_factory=set)
    _process: Process | None = None

    @asynccontextmanager
    async def living(self) -> AsyncIterator[Process]:
        """The process, which may die of what is done."""
        if self._process is None:
            self._process = Process(self.settings, self.registry)
            self.lives += 1
        try:
            yield self._process
        except (Died, BaseExceptionGroup) as error:
            if isinstance(error, BaseExceptionGroup) and error.split(Died)[1] is not None:
                raise
            await self.close()

    async def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self.taken += self._process.consumer.taken
            await self._process.close()
        self._process = None

    async def capture(self, die: str = "") -> None:
        """Run the job; die when the first three of its changes are sent, or all of them, and nobody has noted it."""
        async with self.living() as process:
            process.consumer.die = die
            (job,) = capability(process.app).jobs
            await job.call(RUN)

    async def process(self, die: str = "") -> None:
        """Process what is on the lane; die of the first: before its events, or before the broker knows."""
        async with self.living() as process:
            process.publisher.dies = die == "before events"
            async with (
                ServiceBusClient.from_connection_string(self.broker) as client,
                asyncio.TaskGroup() as tasks,
            ):
                for key in self.keys:
                    tasks.create_task(self._session(process.app, client, key, die))

    async def _session(self, app: Composition, client: ServiceBusClient, key: str, die: str) -> None:
        """Process the messages of a key, as the host does, until it has no more."""
        async with client.get_queue_receiver(app.settings.lane_ordered, session_id=key) as receiver:
            while await receiver.peek_messages(max_message_count=1):
                messages = await receiver.receive_messages(max_message_count=100, max_wait_time=10)
                deliveries = [
                    Delivery(
                        body=b"".join(message.body),
                        properties={_text(k): _text(v) for k, v in (message.application_properties or {}).items()},
                        message_id=str(message.message_id),
                        sequence_number=message.sequence_number or 0,
                        delivery_count=(message.delivery_count or 0) + 1,
                    )
                    for message in messages
                ]
                await app.get(processor).process(Lane.ORDERED, deliveries)
                self.processed += len(deliveries)
                if die == "before the broker knows":
                    raise Died
                for message in messages:
                    await receiver.complete_message(message)

    async def sweep(self) -> None:
        """Publish what a death left behind, an hour later."""
        app = Composition(self.settings, self.registry, now=lambda: datetime.now(UTC) + timedelta(hours=1))
        await app.get(outbox).sweep()
        await app.close()

    async def project(self, *, die: bool = False) -> None:
        """Deliver the hub's events from their beginning, as a trigger without checkpoints does; die when some are."""
        async with self.living() as process:
            app = process.app

            async def apply(events: Sequence[StreamEvent]) -> None:
                await app.get(VersionFeeds).project(events)
                if die:
                    raise Died

            positions = stream_positions(app, EVENTS, app.settings.resolved(GROUP))
            app.on_close(positions.close)
            log = event_log(app, EVENTS)
            await self._deliver(log, StreamConsumer("read_models", apply, positions, log), "0")

    async def _deliver(self, log: Any, consumer: StreamConsumer, partition: str) -> None:
        after, last = -1, (await log.extent(partition)).last
        while after < last:
            with suppress(LogUnavailable):
                async with aclosing(log.read(partition, after=after)) as chunks:
                    async for chunk in chunks:
                        await consumer.deliver(chunk)
                        after = chunk[-1].sequence_number
                        if after >= last:
                            return

    async def state(self, kind: str, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The state of these keys."""
        found: dict[str, dict[str, Any]] = {}
        async with self.living() as process:
            for key in keys:
                bucket, row_key = bucket_of(key, self.settings.state_buckets), state_key(kind, key)
                row = (await process.app.get(state_store).find(bucket, [row_key])).get(row_key)
                if row is not None:
                    found[key] = json.loads(unpack(row))
        return found

    async def rows(self, view: str, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What a view has of these keys."""
        async with self.living() as process:
            rows = process.app.get(read_models)
            found = {key: await rows.get(view, key) for key in keys}
        return {key: json.loads(text) for key, text in found.items() if text is not None}

    async def letters(self) -> list[str]:
        """The reasons of this table's dead letters."""
        (feed,) = self.registry.feeds
        async with self.living() as process:
            letters = process.app.get(dead_letter_store).select(Filters())
            return [one.reason async for one in letters if one.event_type == f"change:{feed.table}"]
        raise AssertionError


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


@pytest.fixture
async def way(
    azurite: AzuriteEndpoints, emulator: BrokerProcess, event_hubs: EventHubs, server: Server, project: Path
) -> AsyncIterator[Way]:
    """Names of its own in what tests share."""
    mark = uuid4().hex[:8]
    values = json.loads((project / "local.settings.sample.json").read_text())["Values"]
    hub = event_hubs.hub(f"h{mark}", partitions=1, consumer_groups=[values["SLUICE_READ_MODEL_GROUP"]])
    connections = {"ServiceBus": emulator.connection_string, "EventHubs": event_hubs.connection_string}
    connections |= dict.fromkeys(("State", "Claims", "AzureWebJobsStorage"), azurite.connection_string)
    table, source = f"m{mark}.customers", f"crm-{mark}"
    own = {
        "SLUICE_EVENT_HUB": hub,
        "SLUICE_OPERATION_KEY": "k" * 32,
        "SLUICE_AUTH": "none",
        "SLUICE_CAPTURE_URLS": f"{source}=postgresql://postgres@/postgres?host={server.folder}",
    }
    registry = Registry([mirroring(table)], beside=[Postgresql(source, tables=[table], follow=False)])
    found = Way(SETTINGS.load({**values, **connections, **own}), registry, emulator.connection_string)
    yield found
    await found.close()


async def test_a_day_of_a_table_is_its_view_whatever_dies(
    way: Way, server: Server, database: asyncpg.Connection
) -> None:
    """Every change has its effect once, in its row's order; state and view end as the table does."""
    (feed,) = way.registry.feeds
    schema = feed.table.partition(".")[0]
    a, b, c, d, e = (f"{schema}-{name}" for name in "abcde")
    way.keys = {a, b, c, d, e, feed.table}
    await database.execute(
        f"create schema {schema}; set search_path to {schema};"
        "create table customers (id text primary key, name text, credit numeric, large text);"
        "alter table customers alter large set storage external;"
    )

    async def day(*statements: str) -> None:
        for statement in statements:
            await database.execute(statement)

    await day(f"insert into customers values ('{a}', 'Ada', 1.10, '{LARGE}'), ('{b}', null, null, null)")
    await way.capture(die="all")  # on the lane, and nobody knows
    await way.capture()
    await way.process(die="before events")  # committed, and nobody is told
    await day(
        f"insert into customers values ('{c}', 'Grüße 🎈', -0.00001, '')",
        f"update customers set name = 'Grace' where id = '{a}'",  # its large value stays where it is
        f"update customers set credit = 12345678901234567890.0123456789 where id = '{b}'",
        f"update customers set id = '{d}' where id = '{c}'",
        f"begin; update customers set name = 'gone' where id = '{a}'; rollback",
        f"update customers set name = null, credit = null where id = '{d}'",
        f"delete from customers where id = '{b}'",
    )
    await way.capture(die="halfway")
    await way.process(die="before the broker knows")
    await way.capture()
    await way.process()
    await way.project(die=True)  # in the view, and the log's position isn't kept
    await day(
        f"insert into customers values ('{e}', 'Eve', 0, null)",
        "truncate customers",
        f"insert into customers values ('{a}', 'after', 3.00, null), ('{b}', 'again', 1e-20, null)",
        f"update customers set credit = 2 where id = '{b}'",
    )
    await way.capture()
    await way.process()
    await way.sweep()
    await way.project()
    keys = {a, b, c, d, e}
    table = {row["id"]: dict(row) for row in await database.fetch("select * from customers")}
    emptied = (await way.rows("emptied", [feed.table]))[feed.table]["position"]
    view = await way.rows("customers", keys)
    state = await way.state("customer", keys)
    for found in (view, state):
        known = {key: Known.model_validate(row) for key, row in found.items() if row["position"] > emptied}
        assert {key: row.model_dump(exclude={"position"}) for key, row in known.items()} == table
        assert found.keys() == {a, b, d, e}
    assert await way.letters() == []
    steps = {key: one["steps"] for key, one in (await way.state("steps", way.keys)).items()}
    assert steps == {a: "ruc", b: "rudcu", c: "cd", d: "cu", e: "c", feed.table: "t"}
    once = sum(map(len, steps.values()))
    await way.close()
    assert way.lives == 6
    assert way.taken > once
    assert way.processed > once
