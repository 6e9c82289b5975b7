"""The obvious path of an order, as a tutorial writes it: one SDK call for each message, awaited where it stands, with
clients that are opened for the call, as the SDKs' samples do."""

import os
from decimal import Decimal
from typing import Any, List  # noqa: UP035 - the worker refuses list[...] in a trigger's annotation
from uuid import UUID
from zlib import crc32

import azure.functions as func
from azure.data.tables.aio import TableClient
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from fastapi import FastAPI
from pydantic import AwareDatetime, BaseModel

BUCKETS, HUB = 16, "bare-events"


class Line(BaseModel):
    sku: str
    description: str | None = None
    quantity: int
    unitPrice: Decimal  # noqa: N815 - the JSON's name


class Order(BaseModel):
    orderId: str  # noqa: N815
    placedAt: AwareDatetime  # noqa: N815
    customerId: str | None = None  # noqa: N815
    country: str
    lines: list[Line]


class View(BaseModel):
    orderId: str  # noqa: N815
    customerId: str | None  # noqa: N815
    country: str
    total: Decimal


class Envelope(BaseModel):
    messageId: UUID  # noqa: N815
    data: Order


web = FastAPI()


@web.post("/api/orders", status_code=202)
async def take(envelope: Envelope) -> dict[str, str]:
    async with (
        ServiceBusClient.from_connection_string(os.environ["ServiceBus"]) as client,
        client.get_queue_sender("bare") as sender,
    ):
        await sender.send_messages(ServiceBusMessage(envelope.model_dump_json()))
    return {"status": "accepted"}


app = func.AsgiFunctionApp(app=web, http_auth_level=func.AuthLevel.ANONYMOUS)


async def upsert(name: str, key: str, value: str) -> None:
    entity: dict[str, Any] = {"PartitionKey": f"{crc32(key.encode()) % BUCKETS:02d}", "RowKey": key, "value": value}
    async with TableClient.from_connection_string(os.environ["State"], name) as table:
        await table.upsert_entity(entity)


@app.service_bus_queue_trigger(arg_name="message", queue_name="bare", connection="ServiceBus", data_type="binary")
async def place(message: func.ServiceBusMessage) -> None:
    order = Envelope.model_validate_json(message.get_body()).data
    total = sum((line.quantity * line.unitPrice for line in order.lines), Decimal(0))
    view = View(orderId=order.orderId, customerId=order.customerId, country=order.country, total=total)
    await upsert("barestate", view.orderId, view.model_dump_json())
    async with EventHubProducerClient.from_connection_string(os.environ["EventHubs"], eventhub_name=HUB) as producer:
        batch = await producer.create_batch()
        batch.add(EventData(view.model_dump_json()))
        await producer.send_batch(batch)


@app.event_hub_message_trigger(
    arg_name="events",
    event_hub_name=HUB,
    connection="EventHubs",
    consumer_group="read-models",
    data_type="binary",
    cardinality="many",
)
async def show(events: List[func.EventHubEvent]) -> None:  # noqa: UP006
    for event in events:
        view = View.model_validate_json(event.get_body())
        await upsert("bareviews", view.orderId, view.model_dump_json())
