"""What happens to an order and to a credit note."""

from shared.messages import Integration, Lane
from shared.work import Work

from .carriers import ShipOrder, carrier_name
from .models import CreditNote, CreditNoteAccepted, CreditNoteView, Order, OrderAccepted, OrderView

__all__ = ["orders"]

WHOLESALE_LINES = 100
"""From this many lines on an order is wholesale: nobody waits for it at the counter."""

orders = Integration("orders")
placed = orders.counts("placed", by=["country"], unit="{order}", description="Orders that were accepted")


def urgency(order: Order) -> Lane:
    """Wholesale orders let the others pass."""
    return Lane.LOW if len(order.lines) >= WHOLESALE_LINES else Lane.NORMAL


@orders.handles("order.placed", version="1.0", key="orderId", priority=urgency, route="orders")
async def place(order: Order, work: Work) -> None:
    """Keep the order, tell the world, and have it shipped when it is new: one that is changed has its parcel."""
    accepted = OrderView.of(order)
    if carrier_name() and await work.load("order", order.order_id, OrderView) is None:
        work.send("order.ship", ShipOrder(order_id=order.order_id))
    await work.save("order", order.order_id, accepted)
    work.publish("order.accepted", OrderAccepted.of(order))
    work.count(placed, country=order.country)


@orders.handles("order.credited", version="1.0", key="creditNoteId", priority=Lane.HIGH, route="credit-notes")
async def credit(note: CreditNote, work: Work) -> None:
    """Keep the credit note and tell the world; it goes first, as it may stop a parcel."""
    accepted = CreditNoteView.of(note)
    await work.save("credit-note", note.credit_note_id, accepted)
    work.publish("order.credit-accepted", CreditNoteAccepted.of(note))


@orders.projects("order.accepted", into="orders", find_by=["country", ("customerId", "-placedAt")])
def order_row(accepted: OrderAccepted) -> OrderView:
    """An order's row is what was published of it, without its lines."""
    return OrderView.model_validate(accepted.model_dump(exclude={"lines"}))


@orders.projects("order.credit-accepted", into="credit-notes")
def credit_note_row(accepted: CreditNoteAccepted) -> CreditNoteView:
    """A credit note's row is what was published of it, without its lines."""
    return CreditNoteView.model_validate(accepted.model_dump(exclude={"lines"}))
