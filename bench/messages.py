"""The messages that benchmarks process: orders of about 1 KB, each under an id of its own, and poison among them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import uuid4

from shared.messages import Headers, Lane, rfc3339

__all__ = ["Sample", "orders"]

LINES_OF_1_KB = 8


@dataclass(frozen=True, slots=True)
class Sample:
    """A message as the API sends it: headers, and the envelope's bytes."""

    headers: Headers
    body: bytes


def orders(
    *, lines: int = LINES_OF_1_KB, lane: Lane = Lane.NORMAL, poison_every: int = 0, run: str | None = None
) -> Iterator[Sample]:
    """Orders without end; with `poison_every`, each n-th has a quantity of 0, which no order may have."""
    run = run or uuid4().hex[:12]
    for number in count():
        poison = bool(poison_every) and number % poison_every == poison_every - 1
        yield _order(f"{run}-{number}", lines, lane, poison=poison)


def _order(order_id: str, lines: int, lane: Lane, *, poison: bool) -> Sample:
    now = datetime.now(UTC)
    message_id = uuid4()
    data: dict[str, Any] = {
        "orderId": order_id,
        "placedAt": "2026-01-05T08:26:00Z",
        "customerId": "17850",
        "country": "United Kingdom",
        "lines": [
            {"sku": f"{20_000 + n}", "description": "SMALL RED LANTERN WITH LID", "quantity": 6, "unitPrice": 2.55}
            for n in range(lines)
        ],
    }
    if poison:
        data["lines"][-1]["quantity"] = 0
    envelope = {
        "messageId": str(message_id),
        "timestamp": rfc3339(now),
        "source": "/bench",
        "eventType": "order.placed",
        "version": "1.0",
        "data": data,
    }
    headers = Headers(
        message_id=message_id,
        event_type="order.placed",
        version="1.0",
        source="/bench",
        key=order_id,
        lane=lane,
        correlation_id=str(message_id),
        first_attempt_at=now,
    )
    return Sample(headers, json.dumps(envelope, separators=(",", ":")).encode())
