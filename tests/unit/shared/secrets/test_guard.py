"""The rate guard: never more than its share in any ten seconds, whatever is asked of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.secrets.guard import WINDOW, RateGuard

ROUNDING = 1e-9
"""Of seconds: a delay added to the moment it was asked for isn't quite the slot."""


@example(2, [(0.8363486269795344, 0.0), (0.0, 0.0), (1.0142131764391815, 9.0), (0.8363486269795344, 9.0)])
@given(st.integers(1, 8), st.lists(st.tuples(st.floats(0, 6), st.floats(0, 30)), max_size=80))
def test_no_window_of_ten_seconds_has_more_than_the_limit(limit: int, asked: list[tuple[float, float]]) -> None:
    """Reads come in the order in which they were asked for, and none later than its caller waits."""
    guard, now = RateGuard(limit), 0.0
    slots: list[float] = []
    for wait, within in asked:
        now += wait
        delay = guard.reserve(now, within=within)
        if delay is not None:
            assert 0 <= delay <= within
            slots.append(now + delay)
    for first, later in pairwise(slots):
        assert later - first >= -ROUNDING
    for first, later in zip(slots, slots[limit:], strict=False):
        assert later - first >= WINDOW - ROUNDING


def test_a_pause_holds_everything_up() -> None:
    """Those who can't wait so long are told at once; a shorter pause doesn't end a longer one."""
    guard = RateGuard(10)
    guard.pause(5.0)
    guard.pause(2.0)
    assert guard.reserve(1.0, within=1.0) is None
    assert guard.reserve(1.0, within=4.0) == 4.0
    assert guard.reserve(6.0, within=0.0) == 0.0


@pytest.mark.parametrize("limit", [0, -1, True])
def test_a_limit_is_a_number_of_reads(limit: int) -> None:
    """0 would stop the app, True is not 1."""
    with pytest.raises(ValueError, match="limit"):
        RateGuard(limit)
