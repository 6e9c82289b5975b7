"""How parcels get to customers: what the business wants of any carrier, and what it keeps of a parcel."""

from dataclasses import dataclass
from typing import Literal, Protocol

from shared.messages import Contract, Integration, Lane, Timestamp
from shared.work import Work

__all__ = ["CanShip", "Parcel", "ParcelMoved", "Shipment", "Status", "keep_move", "shipping"]

Status = Literal["booked", "collected", "delivered", "lost"]

shipping = Integration("shipping")


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """What a carrier has to know; an order that names nobody goes to the counter of its country."""

    order_id: str
    country: str
    units: int
    name: str | None = None
    address: str | None = None


class CanShip(Protocol):
    """A carrier."""

    async def ship(self, work: Work, parcel: Parcel) -> str:
        """Have a parcel fetched, once however often it is asked for; returns the number to follow it by."""


class ParcelMoved(Contract):
    """A carrier tells where a parcel is."""

    order_id: str
    status: Status
    at: Timestamp


class Shipment(Contract):
    """A parcel as it is stored, published and shown."""

    order_id: str
    carrier: str | None = None
    tracking: str | None = None
    status: Status = "booked"
    moved_at: Timestamp | None = None


@shipping.handles("order.parcel-moved", version="1.0", key="orderId", priority=Lane.LOW, internal=True)
async def moved(move: ParcelMoved, work: Work) -> None:
    """What a poll has found."""
    await keep_move(move, work)


async def keep_move(move: ParcelMoved, work: Work) -> None:
    """Keep where a parcel is, and tell the world; webhook and poll may say the same, and older news come later."""
    known = await work.load("shipment", move.order_id, Shipment) or Shipment(order_id=move.order_id)
    if known.moved_at is not None and known.moved_at >= move.at:
        return
    shipment = known.model_copy(update={"status": move.status, "moved_at": move.at})
    await work.save("shipment", move.order_id, shipment)
    work.publish("order.parcel-moved", shipment)


@shipping.projects("order.shipped", into="shipments")
def shipped_row(shipment: Shipment) -> Shipment:
    """A parcel's row is what was published of it last."""
    return shipment


@shipping.projects("order.parcel-moved", into="shipments")
def moved_row(shipment: Shipment) -> Shipment:
    """A parcel's row is what was published of it last."""
    return shipment
