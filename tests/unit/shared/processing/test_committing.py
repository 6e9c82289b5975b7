"""Groups and waves: every transaction within the service's limits, every key in its order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from shared.messages import Handler, Headers, Lane
from shared.processing.batch import _waves
from shared.processing.committing import MAX_BYTES, MAX_OPERATIONS, _groups, _size
from shared.processing.outcomes import Delivery, Item, Message
from shared.state import Operation, Work
from shared.tables import Create


class Staged:
    """Work that stages so many rows of such a size."""

    def __init__(self, rows: int, size: int) -> None:
        self._operations: list[Operation] = [Create({"value0": b"x" * size}) for _ in range(rows)]

    def operations(self) -> list[Operation]:
        """The rows."""
        return self._operations


def item(number: int, key: str = "A", bucket: int = 0, work: Any = None) -> Item:
    """An item that was read."""
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
    delivery = Delivery(body=b"", properties={}, message_id="", sequence_number=0, delivery_count=1)
    message = Message(
        headers=headers, handler=cast("Handler", None), data=cast("Any", None), fingerprint="", bucket=bucket
    )
    return Item(delivery, headers, message, work=cast("Work", work))


@given(st.lists(st.tuples(st.integers(1, MAX_OPERATIONS), st.sampled_from([10, 20_000])), max_size=40))
def test_groups_keep_the_limits_of_a_transaction_and_the_order(shapes: list[tuple[int, int]]) -> None:
    """No message is split, left out or moved."""
    items = [item(number, work=Staged(rows, size)) for number, (rows, size) in enumerate(shapes)]
    groups = _groups(items)
    assert [one for group in groups for one in group] == items
    for group in groups:
        operations = [operation for one in group for operation in cast("Work", one.work).operations()]
        assert len(operations) <= MAX_OPERATIONS
        assert len(group) == 1 or sum(map(_size, operations)) <= MAX_BYTES


def test_small_messages_share_a_transaction() -> None:
    """Thirty-three of three rows each."""
    groups = _groups([item(number, work=Staged(3, 100)) for number in range(64)])
    assert [len(group) for group in groups] == [33, 31]


@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from("ABC")), max_size=30))
def test_waves_keep_every_keys_order_and_hold_no_key_or_id_twice(messages: list[tuple[int, str]]) -> None:
    """Whatever comes in one batch, the same id for several keys included."""
    items = [item(number, key) for number, key in messages]
    waves = _waves(items)
    assert sorted(map(id, items)) == sorted(id(one) for wave in waves for one in wave)
    for wave in waves:
        assert wave
        assert len({one.read.headers.key for one in wave}) == len(wave)
        assert len({one.read.headers.message_id for one in wave}) == len(wave)
    for key in "ABC":
        of_key = [one for one in items if one.read.headers.key == key]
        assert [one for wave in waves for one in wave if one.read.headers.key == key] == of_key
