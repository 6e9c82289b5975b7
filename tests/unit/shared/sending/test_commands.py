"""Commands on their way in: what the broker gets to see of them."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from shared.messages import Headers, Lane
from shared.sending import command


@pytest.mark.parametrize("lane", list(Lane))
def test_a_key_is_a_session_on_the_ordered_lane_only(lane: Lane) -> None:
    headers = Headers(
        message_id=UUID(int=1),
        event_type="step.taken",
        version="1.0",
        source="test",
        key="press-7",
        lane=lane,
        correlation_id="c",
        first_attempt_at=datetime(2026, 5, 1, tzinfo=UTC),
    )
    assert command(headers, b"{}").session_id == ("press-7" if lane is Lane.ORDERED else None)
