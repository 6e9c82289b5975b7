"""What the lake keeps of orders: every order and line as rows, and what was sold on each day."""

from datetime import date
from decimal import Decimal
from typing import Annotated

from pydantic import Field

from shared.messages import Contract, Source

from .handlers import orders
from .models import CreditNoteAccepted, OrderAccepted

__all__ = ["DailySales", "daily_sales"]

orders.silver("order.accepted", OrderAccepted, tables=["lines"])
orders.silver("order.credit-accepted", CreditNoteAccepted, tables=["lines"])


class DailySales(Contract):
    """What was ordered on a day (UTC) in a country; credit notes are subtracted on the day of the credit."""

    day: date
    country: str
    orders: int
    units: int
    revenue: Annotated[Decimal, Field(max_digits=38, decimal_places=6)]


@orders.gold(
    "daily_sales",
    every="5m",
    keys=["day", "country"],
    row=DailySales,
    reads=[
        Source("order_accepted", ["country", "units", "total"], day="placed_at", latest="order_id"),
        Source("order_credit_accepted", ["country", "units", "total"], day="credited_at", latest="credit_note_id"),
    ],
)
def daily_sales() -> str:
    """An order that was changed counts as it is now."""
    return """
        select day, country, sum(orders) as orders, sum(units) as units, sum(total) as revenue
        from (
            select day, country, 1 as orders, units, total from order_accepted
            union all
            select day, country, 0, units, total from order_credit_accepted
        )
        group by day, country
    """
