"""Groups and waves: every transaction within the service's limits, every key in its order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from shared.messages import Delivery, Handler, Headers, Lane, PayloadHash
from shared.processing.handling import MAX_BYTES, _size, ensure_fits, groups
from shared.processing.pipeline import _waves
from shared.tables import MAX_OPERATIONS, Create, Operation
from shared.work import Handled, Message, Work


class Staged:
    """Work that stages so many rows of such a size."""

    def __init__(self, rows: int, size: int) -> None:
        self._operations: list[Operation] = [Create({"value0": b"x" * size}) for _ in range(rows)]

    def operations(self) -> list[Operation]:
        """The rows."""
        return self._operations


def message(number: int, key: str = "A", bucket: int = 0) -> Message:
    """A message that was decoded."""
    headers = Headers(
        message_id=UUID(int=number),
        event_type="e",
        version="1.0",
        source="s",
        key=key,
        lane=Lane.NORMAL,
        correlation_id="",
        first_attempt_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return Message(
        delivery=Delivery(body=b"", properties={}, message_id="", sequence_number=0, delivery_count=1),
        headers=headers,
        handler=cast("Handler", None),
        data=cast("Any", None),
        payload_hash=PayloadHash("", ""),
        bucket=bucket,
    )


def handled(number: int, work: Staged) -> Handled:
    """A message whose handler has returned."""
    return Handled(message(number), cast("Work", work), ensure_fits(work.operations()))


@given(st.lists(st.tuples(st.integers(1, MAX_OPERATIONS), st.sampled_from([10, 20_000])), max_size=40))
def test_groups_keep_the_limits_of_a_transaction_and_the_order(shapes: list[tuple[int, int]]) -> None:
    """No message is split, left out or moved."""
    items = [handled(number, Staged(rows, size)) for number, (rows, size) in enumerate(shapes)]
    made = groups(items)
    assert [one for group in made for one in group] == items
    for group in made:
        operations = [operation for one in group for operation in one.work.operations()]
        assert len(operations) <= MAX_OPERATIONS
        assert len(group) == 1 or sum(map(_size, operations)) <= MAX_BYTES


def test_small_messages_share_a_transaction() -> None:
    """Thirty-three of three rows each."""
    made = groups([handled(number, Staged(3, 100)) for number in range(64)])
    assert [len(group) for group in made] == [33, 31]


@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from("ABC")), max_size=30))
def test_waves_keep_every_keys_order_and_hold_no_key_or_id_twice(messages: list[tuple[int, str]]) -> None:
    """Whatever comes in one batch, the same id for several keys included."""
    items = [message(number, key) for number, key in messages]
    waves = _waves(items)
    assert sorted(map(id, items)) == sorted(id(one) for wave in waves for one in wave)
    for wave in waves:
        assert wave
        assert len({one.headers.key for one in wave}) == len(wave)
        assert len({one.headers.message_id for one in wave}) == len(wave)
    for key in "ABC":
        of_key = [one for one in items if one.headers.key == key]
        assert [one for wave in waves for one in wave if one.headers.key == key] == of_key
