"""The obvious version of the API: FastAPI behind the classic bridge, one `send_messages` per request.

It keeps one sender open, which is more than most samples do, behind a lock, as the SDK's sender isn't made for
concurrent use.
"""

import asyncio
import os
from decimal import Decimal

import azure.functions as func
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusSender
from fastapi import FastAPI
from pydantic import AwareDatetime, BaseModel


class Line(BaseModel):
    sku: str
    quantity: int
    unitPrice: Decimal  # noqa: N815 - the JSON's name


class Order(BaseModel):
    orderId: str  # noqa: N815
    placedAt: AwareDatetime  # noqa: N815
    customerId: str | None  # noqa: N815
    country: str
    lines: list[Line]


web = FastAPI()
lock = asyncio.Lock()
senders: list[ServiceBusSender] = []


@web.post("/api/orders", status_code=202)
async def take(order: Order) -> dict[str, str]:
    async with lock:
        if not senders:
            client = ServiceBusClient.from_connection_string(os.environ["ServiceBus"])
            senders.append(client.get_queue_sender(os.environ["SLUICE_LANE_NORMAL"]))
        await senders[0].send_messages(ServiceBusMessage(order.model_dump_json()))
    return {"status": "accepted"}


app = func.AsgiFunctionApp(app=web, http_auth_level=func.AuthLevel.ANONYMOUS)
