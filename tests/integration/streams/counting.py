"""An integration with one view, for the app under test and the test itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from shared.messages import CloudEvent, Contract, Integration

__all__ = ["Counted", "counting", "event"]


class Counted(Contract):
    """An event, and the row that it becomes."""

    count: int
    behave: str = "well"


def counting() -> Integration:
    """A view of the last count of each key."""
    counting = Integration("counting")

    @counting.projects("stock.counted", into="stock")
    def row(counted: Counted) -> Counted:
        if counted.behave == "raises":
            raise ZeroDivisionError
        return counted

    return counting


def event(key: str, count: int, **attributes: object) -> bytes:
    """An event of a key."""
    body = CloudEvent(
        id=f"{key}:{count}", type="stock.counted", source="/sluice", subject=key, time=datetime.now(UTC), version="1.0",
        data=json.dumps({"count": count}), correlation_id="c", sequence=count,
    ).to_json()  # fmt: skip
    return json.dumps(json.loads(body) | attributes).encode() if attributes else body
