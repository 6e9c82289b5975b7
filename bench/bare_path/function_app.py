"""The bare path of an order, as a careful engineer writes it in a day: clients kept, calls gathered, batches wherever
the API has them, and none of our guarantees. Where results speak of a tuned version, this is it.

No deduplication, no outbox, no retries, no dead letters, no encryption, no callers, no telemetry: what dies between two
steps is lost, and what comes twice is done twice.
"""

import asyncio
import os
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, List  # noqa: UP035 - the worker refuses list[...] in a trigger's annotation
from uuid import UUID
from zlib import crc32

import azure.functions as func
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusSender
from fastapi import FastAPI
from pydantic import AwareDatetime, BaseModel

BUCKETS, PARTITIONS, HUB = 16, 4, "bare-events"


class Line(BaseModel):
    sku: str
    description: str | None = None
    quantity: int
    unitPrice: Decimal  # noqa: N815 - the JSON's name


class Order(BaseModel):
    orderId: str  # noqa: N815
    placedAt: AwareDatetime  # noqa: N815
    customerId: str | None = None  # noqa: N815
    name: str | None = None
    email: str | None = None
    country: str
    lines: list[Line]


class Envelope(BaseModel):
    messageId: UUID  # noqa: N815
    data: Order


class View(BaseModel):
    orderId: str  # noqa: N815
    customerId: str | None  # noqa: N815
    country: str
    lines: int
    units: int
    total: Decimal


class Clients:
    """One of each, made with the first use."""

    def __init__(self) -> None:
        self.bus: ServiceBusClient | None = None
        self.sender: ServiceBusSender | None = None
        self.producer: EventHubProducerClient | None = None
        self.tables: dict[str, TableClient] = {}

    def queue(self) -> ServiceBusSender:
        if self.sender is None:
            self.bus = ServiceBusClient.from_connection_string(os.environ["ServiceBus"])
            self.sender = self.bus.get_queue_sender("bare")
        return self.sender

    def table(self, name: str) -> TableClient:
        if name not in self.tables:
            self.tables[name] = TableClient.from_connection_string(os.environ["State"], name)
        return self.tables[name]

    def hub(self) -> EventHubProducerClient:
        if self.producer is None:
            self.producer = EventHubProducerClient.from_connection_string(os.environ["EventHubs"], eventhub_name=HUB)
        return self.producer


clients = Clients()


class Collector:
    """Sends what comes while a send is under way as the next batch."""

    def __init__(self) -> None:
        self.waiting: list[tuple[ServiceBusMessage, asyncio.Future[None]]] = []
        self.task: asyncio.Task[None] | None = None

    async def send(self, message: ServiceBusMessage) -> None:
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((message, sent))
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self.flush())
        await sent

    async def flush(self) -> None:
        while self.waiting:
            taken, self.waiting = self.waiting, []
            sender = clients.queue()
            while taken:
                batch, done = await sender.create_message_batch(), []
                try:
                    for message, sent in taken:
                        batch.add_message(message)
                        done.append(sent)
                except ValueError:  # full: the rest goes with the next one
                    pass
                await sender.send_messages(batch)
                for sent in done:
                    sent.set_result(None)
                taken = taken[len(done) :]


collector = Collector()
web = FastAPI()


@web.post("/api/orders", status_code=202)
async def take(envelope: Envelope) -> dict[str, str]:
    await collector.send(ServiceBusMessage(envelope.model_dump_json()))
    return {"status": "accepted"}


app = func.AsgiFunctionApp(app=web, http_auth_level=func.AuthLevel.ANONYMOUS)


def bucket(key: str) -> int:
    return crc32(key.encode()) % BUCKETS


async def upsert(table: str, rows: Iterable[dict[str, Any]]) -> None:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["PartitionKey"], []).append(row)
    options = {"mode": UpdateMode.REPLACE}
    pieces = [group[start : start + 100] for group in groups.values() for start in range(0, len(group), 100)]
    client = clients.table(table)
    await asyncio.gather(*(client.submit_transaction([("upsert", row, options) for row in piece]) for piece in pieces))


async def publish(views: Sequence[View]) -> None:
    partitions: dict[int, list[View]] = {}
    for view in views:
        partitions.setdefault(bucket(view.orderId) % PARTITIONS, []).append(view)

    async def send(partition: int, group: list[View]) -> None:
        batch = await clients.hub().create_batch(partition_id=str(partition))
        for view in group:
            batch.add(EventData(view.model_dump_json()))
        await clients.hub().send_batch(batch)

    await asyncio.gather(*(send(partition, group) for partition, group in partitions.items()))


def view_of(order: Order) -> View:
    return View(
        orderId=order.orderId,
        customerId=order.customerId,
        country=order.country,
        lines=len(order.lines),
        units=sum(line.quantity for line in order.lines),
        total=sum((line.quantity * line.unitPrice for line in order.lines), Decimal(0)),
    )


def row(view: View) -> dict[str, Any]:
    return {
        "PartitionKey": f"{bucket(view.orderId):02d}",
        "RowKey": view.orderId,
        "value": view.model_dump_json(),
    }


@app.service_bus_queue_trigger(
    arg_name="messages", queue_name="bare", connection="ServiceBus", data_type="binary", cardinality="many"
)
async def place(messages: List[func.ServiceBusMessage]) -> None:  # noqa: UP006
    views = [view_of(Envelope.model_validate_json(message.get_body()).data) for message in messages]
    await upsert("barestate", (row(view) for view in views))
    await publish(views)


@app.event_hub_message_trigger(
    arg_name="events",
    event_hub_name=HUB,
    connection="EventHubs",
    consumer_group="read-models",
    data_type="binary",
    cardinality="many",
)
async def show(events: List[func.EventHubEvent]) -> None:  # noqa: UP006
    await upsert("bareviews", (row(View.model_validate_json(event.get_body())) for event in events))
