"""The retry plan: when the next try comes, and when there is none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.processing.settings import ProcessingSettings
from shared.resilience import RetryPlan

SHAPES = ("exponential", "linear", "fixed")
PLANS = st.builds(
    lambda shape, attempts, base, factor, total: RetryPlan(
        shape=shape, max_attempts=attempts, base=base, cap=base * factor, max_total=total
    ),
    st.sampled_from(SHAPES),
    st.integers(1, 100),
    st.floats(0.001, 3_600),
    st.floats(1, 100),
    st.floats(1, 1_000_000),
)


@given(plan=PLANS, attempt=st.integers(1, 10_000), elapsed=st.floats(0, 2_000_000), drawn=st.floats(0, 1))
def test_a_delay_is_within_the_plan_and_ends(plan: RetryPlan, attempt: int, elapsed: float, drawn: float) -> None:
    """Zero to the cap, never beyond the total time; None from the last attempt on."""
    delay = plan.delay(attempt, elapsed=elapsed, random=lambda: drawn)
    if attempt >= plan.max_attempts or elapsed > plan.max_total:
        assert delay is None
    elif delay is None:
        assert elapsed + plan.cap > plan.max_total
    else:
        assert 0 <= delay <= plan.cap
        assert elapsed + delay <= plan.max_total


@given(plan=PLANS, low=st.floats(0, 1), high=st.floats(0, 1))
def test_delays_grow_with_the_attempt_and_the_draw(plan: RetryPlan, low: float, high: float) -> None:
    """For the same draw, a later attempt never waits less; for the same attempt, a higher draw doesn't either."""
    low, high = min(low, high), max(low, high)
    same = [plan.delay(attempt, elapsed=0, random=lambda: high) for attempt in range(1, 30)]
    waits = [wait for wait in same if wait is not None]
    assert waits == sorted(waits)
    lower, upper = (plan.delay(1, elapsed=0, random=lambda drawn=drawn: drawn) for drawn in (low, high))  # type: ignore[misc]
    assert lower is None or upper is None or lower <= upper


@pytest.mark.parametrize(
    ("shape", "drawn", "delays"),
    [
        ("exponential", 1.0, [2, 4, 8, 16, 30, 30]),
        ("exponential", 0.5, [1.5, 3, 6, 12, 22.5, 22.5]),
        ("exponential", 0.0, [1, 2, 4, 8, 15, 15]),
        ("linear", 0.0, [2, 4, 6, 8, 10, 12]),
        ("linear", 1.0, [2.2, 4.4, 6.6, 8.8, 11, 13.2]),
        ("fixed", 0.0, [2, 2, 2, 2, 2, 2]),
        ("fixed", 1.0, [2.2, 2.2, 2.2, 2.2, 2.2, 2.2]),
    ],
)
def test_each_shape_has_its_delays(shape: Any, drawn: float, delays: list[float]) -> None:
    """Equal jitter for the exponential one, a tenth on top for the others."""
    plan = RetryPlan(shape=shape, max_attempts=10, base=2, cap=30)
    found = [plan.delay(attempt, elapsed=0, random=lambda: drawn) for attempt in range(1, 7)]
    assert found == pytest.approx(delays)


@pytest.mark.parametrize(("drawn", "minutes"), [(0.0, 63), (0.5, 95), (1.0, 127)])
def test_the_default_plan_outlasts_an_outage_of_an_hour(drawn: float, minutes: int) -> None:
    """However the delays are drawn, and by the app's own settings too."""
    settings = ProcessingSettings()
    own = RetryPlan(
        max_attempts=settings.retry_max_attempts, base=settings.retry_base_seconds, cap=settings.retry_cap_seconds
    )
    assert own == RetryPlan()
    elapsed, attempt = 0.0, 1
    while (delay := own.delay(attempt, elapsed=elapsed, random=lambda: drawn)) is not None:
        elapsed, attempt = elapsed + delay, attempt + 1
    assert (attempt, int(elapsed / 60)) == (21, minutes)


def test_what_was_asked_for_wins_but_not_over_the_end() -> None:
    """Zero is an answer too; attempts and total time stay bounds."""
    plan = RetryPlan(max_attempts=3, base=2, cap=30, max_total=1_000)
    assert plan.delay(1, elapsed=0, asked=100.0, random=lambda: 1.0) == 100.0
    assert plan.delay(1, elapsed=0, asked=0.0, random=lambda: 1.0) == 0.0
    assert plan.delay(3, elapsed=0, asked=0.0, random=lambda: 1.0) is None
    assert plan.delay(1, elapsed=900, asked=100.0, random=lambda: 1.0) == 100.0
    assert plan.delay(1, elapsed=900, asked=100.1, random=lambda: 1.0) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": True},
        {"shape": "cubic"},
        {"base": 0},
        {"base": 2, "cap": 1},
        {"base": float("nan")},
        {"cap": float("nan")},
        {"max_total": 0},
        {"max_total": float("nan")},
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    """When the app starts."""
    with pytest.raises(ValueError, match="must be"):
        RetryPlan(**wrong)
