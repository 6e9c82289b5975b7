"""A shop's parcels, with every type that can be queried."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from shared.classification import Confidential, Restricted, Subject, Tokenized
from shared.messages import Contract, Integration, Registry

__all__ = ["FIND_BY", "Parcel", "parcel_registry"]

FIND_BY: list[str | tuple[str, ...]] = [
    "country",
    ("country", "-sentAt"),
    ("customerId", "weight"),
    ("urgent", "country", "parcelId"),
    "-weight",
    "due",
    "note",
]


class Item(Contract):
    """One thing in a parcel."""

    sku: str
    quantity: int


class Send(Contract):
    """A command with the key of a parcel."""

    parcel_id: str


class Parcel(Contract):
    """A row."""

    parcel_id: str
    country: str | None = None
    sent_at: datetime | None = None
    due: date | None = None
    weight: Decimal | None = None
    pieces: int = 0
    urgent: bool = False
    trace: UUID | None = None
    note: str | None = None
    customer_id: Annotated[str | None, Restricted, Tokenized("customer"), Subject("customer")] = None
    email: Annotated[str | None, Confidential] = None
    items: Annotated[list[Item], Field(default_factory=list)]


def parcel_registry(find_by: Any = FIND_BY) -> Registry:
    """A registry with parcels in it."""
    parcels = Integration("parcels")

    @parcels.handles("parcel.sent", key="parcelId", route="parcels")
    async def send(command: Send, work: object) -> None:
        """It is only looked at."""

    @parcels.projects("parcel.stored", into="parcels", find_by=find_by)
    def parcel_row(stored: Parcel) -> Parcel:
        return stored

    return Registry([parcels])
