"""Which carrier takes the parcels, and how each order gets one."""

import os
from collections.abc import Mapping

from shared.messages import Contract, Lane, Reject
from shared.work import Work

from .express import Express
from .models import OrderView
from .post import Post
from .shipping import CanShip, Parcel, Shipment, shipping

__all__ = ["ShipOrder", "carrier_name"]

_CARRIERS: Mapping[str, CanShip] = {"express": Express(), "post": Post()}


class ShipOrder(Contract):
    """An order that was accepted is to be shipped; the rest is kept with the order, and erased with it."""

    order_id: str


def carrier_name() -> str:
    """The carrier of this stage, from the setting `ORDERS_CARRIER`; empty where somebody else ships.

    Raises
    ------
    ValueError
        There is no such carrier.
    """
    name = os.environ.get("ORDERS_CARRIER", "")
    if name and name not in _CARRIERS:
        raise ValueError(f"ORDERS_CARRIER is {name!r}: use {', '.join(_CARRIERS)}, or nothing")
    return name


carrier_name()  # a mistake stops the start


@shipping.handles("order.ship", version="1.0", key="orderId", priority=Lane.LOW, internal=True)
async def ship(wanted: ShipOrder, work: Work) -> None:
    """Have the parcel fetched, behind all that accepts orders: a carrier that is slow or away delays parcels alone."""
    known = await work.load("shipment", wanted.order_id, Shipment) or Shipment(order_id=wanted.order_id)
    if known.tracking is not None:
        return  # asked for again: it has its label
    order, name = await work.load("order", wanted.order_id, OrderView), carrier_name()
    if order is None or not name:
        raise Reject("there is no such order" if order is None else "no carrier is chosen: set ORDERS_CARRIER")
    parcel = Parcel(
        order_id=order.order_id, country=order.country, units=order.units, name=order.name, address=order.address
    )
    tracking = await _CARRIERS[name].ship(work, parcel)
    shipment = known.model_copy(update={"carrier": name, "tracking": tracking})
    await work.save("shipment", order.order_id, shipment)
    work.publish("order.shipped", shipment)
