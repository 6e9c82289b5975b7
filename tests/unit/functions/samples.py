"""Orders and credit notes as senders write them."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["MESSAGE_ID", "credit_note", "envelope", "line", "order"]

MESSAGE_ID = "9f0e2c6a-8f8e-4a52-9b5d-3d1a1a4a1b10"


def line(**changed: Any) -> dict[str, Any]:
    """A line of an order."""
    return {"sku": "85123A", "description": "WHITE LANTERN", "quantity": 6, "unitPrice": 2.55} | changed


def order(**changed: Any) -> dict[str, Any]:
    """An order's data."""
    return {
        "orderId": "536365",
        "placedAt": "2010-12-01T08:26:00Z",
        "customerId": "17850",
        "country": "United Kingdom",
        "lines": [line(), line(sku="71053", unitPrice="3.39")],
    } | changed


def credit_note(**changed: Any) -> dict[str, Any]:
    """A credit note's data."""
    return {
        "creditNoteId": "C536379",
        "creditedAt": "2010-12-01T09:41:00Z",
        "customerId": None,
        "country": "United Kingdom",
        "lines": [line(quantity=-1)],
    } | changed


def envelope(data: dict[str, Any] | None = None, /, **changed: Any) -> dict[str, Any]:
    """An envelope around an order, or around what is given."""
    return {
        "messageId": MESSAGE_ID,
        "timestamp": "2010-12-01T08:26:30Z",
        "source": "shop",
        "eventType": "order.placed",
        "version": "1.0",
        "data": order() if data is None else data,
    } | changed


def as_bytes(value: Any) -> bytes:
    """JSON."""
    return json.dumps(value).encode()
