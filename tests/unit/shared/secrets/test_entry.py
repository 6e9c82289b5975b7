"""The core by itself, over any sequence of waits and answers: bounds that hold at every moment."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.secrets import Policy, SecretDisabled, SecretError, VaultDenied, VaultUnavailable
from shared.secrets.entry_cache import CacheEntry, ReadResult, Step, decide, failed, invalidated, succeeded

POLICY = Policy(ttl=100, jitter=0.2, stale=500, negative=15, first_retry=1, last_retry=30)
UNAVAILABLE = VaultUnavailable("a", "no answer")

ANSWERS = st.one_of(
    st.just(UNAVAILABLE),
    st.just(VaultDenied("a", "may not")),
    st.just(SecretDisabled("a", "is disabled")),
    st.just(inf),  # a value without expiry
    st.floats(1, 800),  # seconds to its own expiry
)
WAITS = st.one_of(st.floats(0, 5), st.floats(0, 150), st.floats(0, 700))
STEPS = st.lists(st.tuples(WAITS, ANSWERS, st.floats(0, 1, exclude_max=True)), min_size=1, max_size=60)


def after(
    held: CacheEntry[int] | None, answer: SecretError | float, now: float, chance: float, value: int = 0
) -> CacheEntry[int]:
    """The entry after an answer."""
    if isinstance(answer, SecretError):
        return failed(held, answer, now, POLICY, lambda: chance)
    return succeeded(ReadResult(value, answer), now, POLICY, lambda: chance)


@given(STEPS)
def test_what_is_served_was_read_within_the_bounds(steps: list[tuple[float, SecretError | float, float]]) -> None:
    """Never past its own expiry, past the stale bound, after the vault has spoken, or unasked past its expiry here."""
    now, held = 0.0, None
    read_at, spent_at, spoken = -inf, -inf, True
    tried_at = -inf
    for wait, answer, chance in steps:
        now += wait
        step = decide(held, now)
        if step in (Step.SERVE, Step.REFRESH, Step.TRY):
            assert not spoken
            assert now < spent_at
            assert now - read_at < POLICY.stale
        if step in (Step.SERVE, Step.REFRESH):
            assert now - max(read_at, tried_at) < POLICY.refresh_period
        if step is Step.FAIL:
            assert held is not None
            assert held.error is not None
        if step in (Step.REFRESH, Step.TRY, Step.FETCH):
            held = after(held, answer, now, chance)
            tried_at = now
            if not isinstance(answer, SecretError):
                read_at, spent_at, spoken = now, now + answer, False
            elif answer.definitive:
                spoken = True


@given(STEPS, st.sets(st.integers(0, 59), max_size=3))
def test_the_vault_sees_one_read_per_time_to_live_and_one_per_change(
    steps: list[tuple[float, SecretError | float, float]], changes: set[int]
) -> None:
    """However often it is asked for, and whatever the vault answers, while the value that is held may be used."""
    held: CacheEntry[int] | None = after(None, inf, 0.0, 0.0)
    now, reads = 0.0, 0
    for number, (wait, answer, chance) in enumerate(steps):
        now += min(wait, 40)
        if now >= POLICY.stale:
            break
        if number in changes and held is not None:
            held = invalidated(held, now)
        outcome = UNAVAILABLE if isinstance(answer, SecretError) else inf
        if decide(held, now) in (Step.REFRESH, Step.TRY, Step.FETCH):
            reads += 1
            held = after(held, outcome, now, chance)
    assert reads <= now / POLICY.ttl + len(changes)


@pytest.mark.parametrize(
    ("age", "step"),
    [(0, Step.SERVE), (99, Step.SERVE), (111, Step.REFRESH), (126, Step.TRY), (499, Step.TRY), (500, Step.FETCH)],
)
def test_the_ages_of_a_value(age: float, step: Step) -> None:
    """Fresh, refreshed ahead of its expiry, stale, gone."""
    assert decide(after(None, inf, 0.0, 0.5), age) is step


def test_a_failed_refresh_is_tried_again_one_time_to_live_later() -> None:
    """Meanwhile what is held is served at once."""
    held = after(after(None, inf, 0.0, 0.0), UNAVAILABLE, 130.0, 0.0)
    assert [decide(held, now) for now in (130.0, 229.0, 231.0)] == [Step.SERVE, Step.SERVE, Step.TRY]


def test_the_next_try_is_not_put_off_past_the_stale_bound() -> None:
    """Where nothing can be served any more, the vault is asked at once."""
    held = after(after(None, inf, 0.0, 0.0), UNAVAILABLE, 490.0, 0.0)
    assert decide(held, 500.0) is Step.FETCH


def test_tries_for_what_was_never_read_are_spaced_more_and_more() -> None:
    """Up to the longest delay; the error stands meanwhile."""
    held, now, delays = None, 0.0, []
    for _ in range(8):
        assert decide(held, now) is Step.FETCH
        held = after(held, UNAVAILABLE, now, 0.0)
        assert decide(held, now) is Step.FAIL
        delays.append(held.retry_at - now)
        now = held.retry_at
    assert delays == [1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize("error", [SecretDisabled("a", "x"), VaultDenied("a", "x")])
def test_a_refusal_is_remembered_for_a_short_time(error: SecretError) -> None:
    """Then the vault is asked again."""
    held = after(None, error, 0.0, 0.0)
    assert [decide(held, now) for now in (14.9, 15.0)] == [Step.FAIL, Step.FETCH]


def test_a_secret_that_was_switched_off_is_not_served_any_more() -> None:
    """A role that was taken away is an outage only after the stale bound."""
    fresh = after(None, inf, 0.0, 0.0)
    assert decide(after(fresh, SecretDisabled("a", "x"), 110.0, 0.0), 110.0) is Step.FAIL
    assert decide(after(fresh, VaultDenied("a", "x"), 110.0, 0.0), 110.0) is Step.SERVE


def test_past_its_own_expiry_the_error_says_so() -> None:
    """Though what failed was the vault."""
    held = after(after(None, 50, 0.0, 0.0), UNAVAILABLE, 60.0, 0.0)
    assert type(held.error).__name__ == "SecretExpired"


@pytest.mark.parametrize(
    "wrong",
    [
        {"ttl": 0},
        {"ttl": float("nan")},
        {"ttl": True},
        {"jitter": 0.25},
        {"jitter": -0.1},
        {"ttl": 10, "stale": 9},
        {"first_retry": 9, "last_retry": 8},
        {"patience": -1},
        {"timeout": float("inf")},
    ],
)
def test_a_policy_is_checked_when_it_is_built(wrong: dict[str, float]) -> None:
    """0 is not "none", True is not 1."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Policy(**wrong)
