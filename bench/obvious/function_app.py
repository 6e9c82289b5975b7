"""The obvious version of the API: FastAPI behind the classic bridge, one `send_messages` per request.

`OBVIOUS_SENDER` chooses how it is written: `per-request` opens a sender for each request on one shared client, as the
SDK's samples do; `locked` keeps one sender open and takes turns on it, as the SDK's sender isn't made for concurrent
use (without the lock, requests fail).
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
clients: list[ServiceBusClient] = []
senders: list[ServiceBusSender] = []


def client() -> ServiceBusClient:
    if not clients:
        clients.append(ServiceBusClient.from_connection_string(os.environ["ServiceBus"]))
    return clients[0]


async def send_per_request(message: ServiceBusMessage) -> None:
    async with client().get_queue_sender(os.environ["SLUICE_LANE_NORMAL"]) as sender:
        await sender.send_messages(message)


async def send_in_turn(message: ServiceBusMessage) -> None:
    async with lock:
        if not senders:
            senders.append(client().get_queue_sender(os.environ["SLUICE_LANE_NORMAL"]))
        await senders[0].send_messages(message)


send = send_in_turn if os.environ.get("OBVIOUS_SENDER") == "locked" else send_per_request


@web.post("/api/orders", status_code=202)
async def take(order: Order) -> dict[str, str]:
    await send(ServiceBusMessage(order.model_dump_json()))
    return {"status": "accepted"}


app = func.AsgiFunctionApp(app=web, http_auth_level=func.AuthLevel.ANONYMOUS)
