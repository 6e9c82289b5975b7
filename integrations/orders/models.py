"""The contracts of orders and credit notes: what is accepted, stored, published and shown."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import ConfigDict, Field, StringConstraints, WithJsonSchema

from shared.classification import Restricted, Subject, Tokenized
from shared.messages import Contract, Timestamp, rfc3339

__all__ = ["CreditNote", "CreditNoteAccepted", "CreditNoteView", "Order", "OrderAccepted", "OrderView"]

Reference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
CustomerId = Annotated[Reference | None, Restricted, Tokenized("customer"), Subject("customer")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Email = Annotated[str, StringConstraints(pattern=r"^[^@\s\x85\uFEFF]{1,64}@[^@\s\x85\uFEFF]{1,190}$")]
Address = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Country = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Price = Annotated[
    Decimal,
    Field(ge=0, max_digits=18, decimal_places=6),
    WithJsonSchema(
        {
            "type": ["string", "number"],
            "pattern": r"^[0-9]{1,12}(\.[0-9]{1,6})?$",
            "minimum": 0,
            "maximum": 999_999_999_999,
            "multipleOf": 0.000001,
        },
        mode="validation",
    ),
]
Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""A time as text, in UTC."""
Lines = Field(min_length=1, max_length=50_000)
Amount = Annotated[Decimal, Field(max_digits=38, decimal_places=6)]
"""What lines come to: as exact as their prices."""

MOST = 1_000_000_000
"""Units of one line; beyond it somebody has typed a bar code."""


class _Line(Contract):
    sku: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    description: Annotated[str, StringConstraints(max_length=1_024)] | None = None
    unit_price: Price


class OrderLine(_Line):
    """One article of an order."""

    quantity: Annotated[int, Field(gt=0, le=MOST)]


class CreditLine(_Line):
    """One article that is credited: its quantity is negative."""

    quantity: Annotated[int, Field(lt=0, ge=-MOST)]


L = TypeVar("L", OrderLine, CreditLine)


class _Person(Contract):
    """Who it is about. All of it is restricted, and erased together; a missing customer is a guest."""

    customer_id: CustomerId = None
    name: Annotated[Name | None, Restricted] = None
    email: Annotated[Email | None, Restricted] = None
    address: Annotated[Address | None, Restricted] = None


class Order(_Person):
    """A customer's order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "orderId": "536365",
                    "placedAt": "2026-01-05T08:26:00Z",
                    "customerId": "17850",
                    "country": "France",
                    "lines": [{"sku": "85123A", "description": "WHITE LANTERN", "quantity": 6, "unitPrice": "2.55"}],
                }
            ]
        }
    )

    order_id: Reference
    placed_at: Timestamp
    country: Country
    lines: Annotated[list[OrderLine], Lines]

    @property
    def total(self) -> Decimal:
        """Sum of quantity times price."""
        return sum((line.quantity * line.unit_price for line in self.lines), Decimal(0))


class CreditNote(_Person):
    """Money back: the parcel should be stopped."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "creditNoteId": "C536379",
                    "creditedAt": "2026-01-05T09:41:00Z",
                    "country": "France",
                    "lines": [{"sku": "85123A", "quantity": -1, "unitPrice": "2.55"}],
                }
            ]
        }
    )

    credit_note_id: Reference
    credited_at: Timestamp
    country: Country
    lines: Annotated[list[CreditLine], Lines]

    @property
    def total(self) -> Decimal:
        """Sum of quantity times price; zero or below."""
        return sum((line.quantity * line.unit_price for line in self.lines), Decimal(0))


LARGEST_LINES = 600_000
"""Bytes of lines in an event, at most: an event takes 768 KiB (`shared.state.MAX_VALUE_BYTES`)."""


def published(lines: Sequence[L]) -> list[L] | None:
    """The lines as an event has them; None where they are too many for one."""
    longest = sum(100 + 6 * (len(line.sku) + len(line.description or "")) for line in lines)
    if longest > LARGEST_LINES:  # perhaps: a character takes one byte to six
        longest = sum(len(line.model_dump_json(by_alias=True).encode()) + 1 for line in lines)
    return None if longest > LARGEST_LINES else list(lines)


class OrderView(_Person):
    """An order as it is stored, published and shown."""

    order_id: str
    status: Literal["accepted"] = "accepted"
    placed_at: Moment
    guest: bool
    country: str
    line_count: int
    units: int
    total: Decimal

    @classmethod
    def of(cls, order: Order, **more: Any) -> Self:
        """The summary of an order."""
        return cls(
            order_id=order.order_id,
            placed_at=rfc3339(order.placed_at),
            customer_id=order.customer_id,
            name=order.name,
            email=order.email,
            address=order.address,
            guest=order.customer_id is None,
            country=order.country,
            line_count=len(order.lines),
            units=sum(line.quantity for line in order.lines),
            total=order.total,
            **more,
        )


class CreditNoteView(_Person):
    """A credit note as it is stored, published and shown."""

    credit_note_id: str
    status: Literal["accepted"] = "accepted"
    credited_at: Moment
    country: str
    line_count: int
    units: int
    total: Decimal

    @classmethod
    def of(cls, note: CreditNote, **more: Any) -> Self:
        """The summary of a credit note."""
        return cls(
            credit_note_id=note.credit_note_id,
            credited_at=rfc3339(note.credited_at),
            customer_id=note.customer_id,
            name=note.name,
            email=note.email,
            address=note.address,
            country=note.country,
            line_count=len(note.lines),
            units=sum(line.quantity for line in note.lines),
            total=note.total,
            **more,
        )


class OrderAccepted(OrderView):
    """An order as it is published: with its lines, unless they are too many for an event."""

    total: Amount
    lines: list[OrderLine] | None = None

    @classmethod
    def of(cls, order: Order, **more: Any) -> Self:
        """The order."""
        return super().of(order, lines=published(order.lines), **more)


class CreditNoteAccepted(CreditNoteView):
    """A credit note as it is published, likewise."""

    total: Amount
    lines: list[CreditLine] | None = None

    @classmethod
    def of(cls, note: CreditNote, **more: Any) -> Self:
        """The credit note."""
        return super().of(note, lines=published(note.lines), **more)
