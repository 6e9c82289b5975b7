"""The token bucket: never more than its capacity and what came with time."""

from __future__ import annotations

from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.resilience import TokenBucket
from tests.unit.resilience.clock import Clock

ROUNDING = 1e-6
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.floats(0, 20)),
        st.tuples(st.just("take"), st.floats(0.1, 5)),
        st.tuples(st.just("reserve"), st.floats(0, 30)),
        st.tuples(st.just("pause"), st.floats(0, 5)),
    ),
    max_size=80,
)


@given(capacity=st.floats(1, 20), rate=st.floats(0, 10), steps=STEPS)
def test_never_more_than_the_capacity_and_what_came_with_time(
    capacity: float, rate: float, steps: list[tuple[str, float]]
) -> None:
    """In any span between two takes, at once or ahead of time, with pauses between."""
    clock = Clock()
    bucket = TokenBucket(capacity=capacity, rate=rate, clock=clock)
    taken: list[tuple[float, float]] = []
    for step, amount in steps:
        if step == "pass":
            clock.seconds += amount
        elif step == "pause":
            bucket.pause(amount)
        elif step == "take" and bucket.take(amount):
            taken.append((clock.seconds, amount))
        elif step == "reserve" and (wait := bucket.reserve(within=amount)) is not None:
            assert 0 <= wait <= amount
            taken.append((clock.seconds + wait, 1))
    for first in range(len(taken)):
        total = 0.0
        for at, tokens in taken[first:]:
            total += tokens
            assert total <= capacity + rate * (at - taken[first][0]) + ROUNDING
    assert all(later[0] - earlier[0] >= -ROUNDING for earlier, later in pairwise(taken))


def test_a_refused_take_costs_nothing() -> None:
    """Whoever asks in vain doesn't put others off."""
    clock = Clock()
    bucket = TokenBucket(capacity=2, rate=1, clock=clock)
    assert not bucket.take(3)
    assert bucket.reserve(3, within=0.5) is None
    assert bucket.take(2)
    assert bucket.wait() == 1.0
    assert bucket.reserve() == 1.0
    assert bucket.reserve() == 2.0
    clock.seconds = 3.0
    assert bucket.take()


def test_without_a_rate_tokens_come_by_being_earned() -> None:
    """And never more than the capacity."""
    bucket = TokenBucket(capacity=2, rate=0, clock=Clock())
    assert bucket.take(2)
    assert bucket.wait() == inf
    bucket.add(100)
    assert [bucket.take() for _ in range(3)] == [True, True, False]


def test_nothing_is_handed_out_nor_comes_during_a_pause() -> None:
    """What was there is there afterwards."""
    clock = Clock()
    bucket = TokenBucket(capacity=4, rate=1, clock=clock)
    assert bucket.take(3)
    bucket.pause(10)
    assert not bucket.take()
    clock.seconds = 9.0
    assert (bucket.wait(), bucket.wait(2)) == (1.0, 2.0)
    clock.seconds = 10.0
    assert bucket.take()
    assert bucket.wait() == 1.0


@pytest.mark.parametrize(
    ("capacity", "rate"), [(0.5, 1), (inf, 1), (float("nan"), 1), (1, -1), (1, inf), (1, float("nan"))]
)
def test_a_bucket_that_makes_no_sense_is_refused(capacity: float, rate: float) -> None:
    """When it is made."""
    with pytest.raises(ValueError, match="must be"):
        TokenBucket(capacity=capacity, rate=rate, clock=Clock())
