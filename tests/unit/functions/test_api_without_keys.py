"""The API while the key service is away: nothing is kept, and the client is told to come again."""

from __future__ import annotations

from shared.encryption import KeysUnavailable

from .conftest import Running
from .samples import order


async def test_an_order_that_cannot_be_sealed_is_refused_for_now(running: Running) -> None:
    """503 with a time to wait, and no name of what is away."""
    running.lanes.failures = [KeysUnavailable("no data key can be made now: ServiceRequestError")]
    answer = await running.post("/api/orders", order())
    assert answer.status == 503
    assert b"data key" not in answer.body
    assert running.lanes.sent == []
