"""Orders of many lines: published with them as far as an event takes them, and accepted in any case."""

from __future__ import annotations

from typing import Any

import pytest

from integrations.orders import orders
from integrations.orders.models import LARGEST_LINES, OrderAccepted, OrderLine
from shared.testing import run

TEXT = {"ascii": "x" * 1_000, "two bytes": "ü" * 1_000, "three bytes": "漢" * 1_000, "four bytes": "😀" * 1_000}
TEXT["escaped"] = '"' * 1_000


def order(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """An order whose other fields are as long as they may be."""
    person = {"customerId": "c" * 64, "name": "ü" * 128, "email": "ü" * 60 + "@" + "ü" * 190, "address": "漢" * 512}
    return {"orderId": "o" * 64, "placedAt": "2026-01-05T08:26:00Z", "country": "漢" * 64, "lines": lines, **person}


@pytest.mark.parametrize("text", TEXT.values(), ids=TEXT)
async def test_lines_are_published_up_to_so_many_bytes(text: str) -> None:
    """Whatever their characters take; with one more line the order is accepted without them."""
    line = {"sku": "85123A", "description": text, "quantity": 6, "unitPrice": "2.55"}
    size = len(OrderLine.model_validate(line).model_dump_json(by_alias=True).encode()) + 1
    most = LARGEST_LINES // size
    for count in (most, most + 1):
        outcome = await run(orders, "order.placed", order([line] * count))
        assert outcome.done, outcome
        ((_, event),) = outcome.published
        assert isinstance(event, OrderAccepted)
        assert event.line_count == count
        assert (event.lines is None) is (count > most)
