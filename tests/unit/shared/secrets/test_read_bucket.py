"""Reads of the vault: never more than this instance's share in any ten seconds, whatever is asked of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.secrets.vault import WINDOW, read_bucket
from tests.unit.resilience.clock import Clock

ROUNDING = 1e-9
"""Of seconds: a delay added to the moment it was asked for isn't quite the slot."""


@example(2, [(0.8363486269795344, 0.0), (0.0, 0.0), (1.0142131764391815, 9.0), (0.8363486269795344, 9.0)])
@given(st.integers(1, 8), st.lists(st.tuples(st.floats(0, 6), st.floats(0, 30)), max_size=80))
def test_no_window_of_ten_seconds_has_more_than_the_limit(limit: int, asked: list[tuple[float, float]]) -> None:
    """Reads come in the order in which they were asked for, and none later than its caller waits."""
    clock = Clock()
    bucket = read_bucket(limit, clock)
    slots: list[float] = []
    for wait, within in asked:
        clock.seconds += wait
        delay = bucket.reserve(within=within)
        if delay is not None:
            assert 0 <= delay <= within
            slots.append(clock.seconds + delay)
    for first, later in pairwise(slots):
        assert later - first >= -ROUNDING
    for first, later in zip(slots, slots[limit:], strict=False):
        assert later - first >= WINDOW - ROUNDING


def test_a_pause_holds_everything_up() -> None:
    """Those who can't wait so long are told at once; a shorter pause doesn't end a longer one."""
    clock = Clock()
    bucket = read_bucket(10, clock)
    bucket.pause(5.0)
    bucket.pause(2.0)
    clock.seconds = 1.0
    assert bucket.reserve(within=1.0) is None
    assert bucket.reserve(within=4.0) == 4.0
    clock.seconds = 6.0
    assert bucket.reserve(within=0.0) == 0.0


def test_most_of_the_limit_may_go_at_once() -> None:
    """An app that reads many secrets when it starts doesn't wait for them one by one."""
    bucket = read_bucket(100, Clock())
    assert sum(bucket.take() for _ in range(200)) == 80


@pytest.mark.parametrize("limit", [0, -1, True])
def test_a_limit_is_a_number_of_reads(limit: int) -> None:
    """0 would stop the app, True is not 1."""
    with pytest.raises(ValueError, match="limit"):
        read_bucket(limit, Clock())
