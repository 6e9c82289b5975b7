"""The retry budget: retries stay a bounded share of the work."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.resilience import RetryBudget
from tests.unit.resilience.clock import Clock


def test_small_failures_are_retried_at_once_until_the_reserve_is_spent() -> None:
    """The tokens at the start."""
    budget = RetryBudget(share=0, reserve=3, trickle=0, clock=Clock())
    assert [budget.spend() for _ in range(5)] == [True, True, True, False, False]


def test_first_tries_earn_their_share() -> None:
    """Five of them one retry, at a fifth."""
    budget = RetryBudget(share=0.2, reserve=1, trickle=0, clock=Clock())
    assert budget.spend()
    budget.earn(4)
    assert not budget.spend()
    budget.earn()
    assert budget.spend()


def test_a_quiet_integration_recovers_with_time() -> None:
    """By the trickle, and by no more than the reserve."""
    clock = Clock()
    budget = RetryBudget(share=0, reserve=2, trickle=0.5, clock=clock)
    assert [budget.spend() for _ in range(3)] == [True, True, False]
    clock.seconds += 1.9
    assert not budget.spend()
    clock.seconds += 0.2
    assert budget.spend()
    clock.seconds += 1_000_000
    assert [budget.spend() for _ in range(3)] == [True, True, False]


@given(
    share=st.floats(0, 10),
    reserve=st.floats(1, 100),
    trickle=st.floats(0, 10),
    steps=st.lists(st.one_of(st.integers(0, 50), st.floats(0, 100), st.none()), max_size=80),
)
def test_retries_never_exceed_reserve_share_and_trickle(
    share: float, reserve: float, trickle: float, steps: list[int | float | None]
) -> None:
    """In any order of first tries (integers), time (floats) and retries (None)."""
    clock = Clock()
    budget = RetryBudget(share=share, reserve=reserve, trickle=trickle, clock=clock)
    first_tries = spent = 0
    for step in steps:
        if step is None:
            spent += budget.spend()
        elif isinstance(step, int):
            budget.earn(step)
            first_tries += step
        else:
            clock.seconds += step
        assert spent <= reserve + share * first_tries + trickle * clock.seconds + 1e-6


@pytest.mark.parametrize(
    "wrong",
    [
        {"share": -0.1},
        {"share": 11},
        {"share": float("nan")},
        {"reserve": 0.5},
        {"reserve": float("nan")},
        {"trickle": -1},
        {"trickle": float("nan")},
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    """When the app starts."""
    with pytest.raises(ValueError, match="must be"):
        RetryBudget(**({"share": 0.2, "reserve": 10, "trickle": 1} | wrong), clock=Clock())
