"""The bounded cache: never above its bound, never served after its time, the least recently used goes first."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shared.resilience import BoundedCache
from tests.unit.resilience.clock import Clock

CAPACITY, TTL = 5, 10.0
KEYS = st.sampled_from([(tenant, level, name) for tenant in "ab" for level in (0, 1) for name in "xyz"])


class Against(RuleBasedStateMachine):
    """The cache beside a plain list of what was used last."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.cache: BoundedCache[tuple[str, int, str], str] = BoundedCache(
            CAPACITY, ttl=TTL, size=len, clock=self.clock
        )
        self.model: dict[tuple[str, int, str], tuple[str, float]] = {}

    @rule(key=KEYS, value=st.text("v", max_size=CAPACITY + 1))
    def put(self, key: tuple[str, int, str], value: str) -> None:
        """A value too large isn't stored, nor is what it should have replaced."""
        assert self.cache.put(key, value) == value
        self.model.pop(key, None)
        if len(value) <= CAPACITY:
            self.model[key] = (value, self.clock.seconds + TTL)
            while sum(len(held) for held, _ in self.model.values()) > CAPACITY:
                del self.model[next(iter(self.model))]

    @rule(key=KEYS)
    def get(self, key: tuple[str, int, str]) -> None:
        """What is past its time is there, and not served."""
        value, until = self.model.get(key, (None, -inf))
        served = self.clock.seconds < until
        assert self.cache.get(key) == (value if served else None)
        assert self.cache.stale(key) == value
        if served and value is not None:
            self.model[key] = self.model.pop(key)

    @rule(key=KEYS)
    def pop(self, key: tuple[str, int, str]) -> None:
        """Also a key that isn't there."""
        self.cache.pop(key)
        self.model.pop(key, None)

    @rule(seconds=st.floats(0, TTL))
    def pass_time(self, seconds: float) -> None:
        """Time moves."""
        self.clock.seconds += seconds

    @invariant()
    def bounded(self) -> None:
        """Exactly what the model has, in the same order, within the bound."""
        assert list(self.cache) == list(self.model)
        assert sum(len(self.cache.stale(key) or "") for key in self.cache) <= CAPACITY


TestAgainstAModel = Against.TestCase


def test_an_entry_may_have_a_time_of_its_own() -> None:
    """A token ends when it ends."""
    clock = Clock()
    cache: BoundedCache[str, int] = BoundedCache(10, clock=clock)
    cache.put("always", 1)
    cache.put("short", 2, until=3.0)
    clock.seconds = 2.9
    assert (cache.get("always"), cache.get("short")) == (1, 2)
    clock.seconds = 3.0
    assert (cache.get("always"), cache.get("short")) == (1, None)
    cache.clear()
    assert (len(cache), "always" in cache) == (0, False)


@pytest.mark.parametrize(("capacity", "ttl"), [(0, 1), (float("nan"), 1), (1, 0), (1, float("nan"))])
def test_a_cache_that_makes_no_sense_is_refused(capacity: float, ttl: float) -> None:
    """When it is made."""
    with pytest.raises(ValueError, match="must be"):
        BoundedCache(capacity, ttl=ttl)
