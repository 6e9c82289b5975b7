"""The obvious version of the worker: one message per call, one insert, one event.

`OBVIOUS_CLIENTS` chooses how it is written: `per-call` opens its clients in the function, as the SDKs' samples do;
`shared` keeps one of each open. Neither knows a message that comes twice, and neither loses an event less than the
other when it dies between the insert and the event.
"""

import asyncio
import os
from contextlib import AsyncExitStack
from typing import Any

import azure.functions as func
from azure.data.tables.aio import TableClient
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from pydantic import AwareDatetime, BaseModel

SHARED = os.environ.get("OBVIOUS_CLIENTS") == "shared"
clients: list[Any] = []
opening = asyncio.Lock()


class Line(BaseModel):
    sku: str
    quantity: int
    unitPrice: float  # noqa: N815 - the JSON's name


class Order(BaseModel):
    orderId: str  # noqa: N815
    placedAt: AwareDatetime  # noqa: N815
    customerId: str | None  # noqa: N815
    country: str
    lines: list[Line]


class Envelope(BaseModel):
    messageId: str  # noqa: N815
    data: Order


def new_clients() -> tuple[TableClient, EventHubProducerClient]:
    return (
        TableClient.from_connection_string(os.environ["State"], "obvious"),
        EventHubProducerClient.from_connection_string(
            os.environ["EventHubs"], eventhub_name=os.environ["SLUICE_EVENT_HUB"]
        ),
    )


async def store(order: Order, table: TableClient, producer: EventHubProducerClient) -> None:
    entity = {"PartitionKey": order.country, "RowKey": order.orderId, "value": order.model_dump_json()}
    await table.create_entity(entity)
    batch = await producer.create_batch()
    batch.add(EventData(order.model_dump_json()))
    await producer.send_batch(batch)


app = func.FunctionApp()


@app.service_bus_queue_trigger(
    arg_name="message", queue_name="%SLUICE_LANE_LOW%", connection="ServiceBus", data_type="binary"
)
async def place(message: func.ServiceBusMessage) -> None:
    order = Envelope.model_validate_json(message.get_body()).data
    if SHARED:
        async with opening:
            if not clients:
                clients.extend(new_clients())
        await store(order, *clients)
        return
    async with AsyncExitStack() as stack:
        table, producer = new_clients()
        await stack.enter_async_context(table)
        await stack.enter_async_context(producer)
        await store(order, table, producer)
