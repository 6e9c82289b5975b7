"""The token bucket: never more than its capacity and what came with time, alone or shared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.resilience import SharedTokenBucket, TokenBlock, TokenBucket
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


class MemoryTokenStore:
    """Buckets in this process.

    Parameters
    ----------
    make:
        The bucket of a name, at its first lease.
    expires_in:
        How long a block may be used, in seconds.
    """

    def __init__(self, make: Callable[[str], TokenBucket], *, expires_in: float = 10.0) -> None:
        self._make = make
        self._expires_in = expires_in
        self._buckets: dict[str, TokenBucket] = {}

    async def lease(self, name: str, tokens: int) -> TokenBlock:
        """Up to so many tokens of a bucket."""
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = self._make(name)
        given = next((some for some in range(tokens, 0, -1) if bucket.take(some)), 0)
        return TokenBlock(given, self._expires_in, 0.0 if given else bucket.wait())


class Store(MemoryTokenStore):
    """Counts its leases, and is away when told to be."""

    def __init__(self, bucket: TokenBucket, *, expires_in: float = 10.0) -> None:
        super().__init__(lambda name: bucket, expires_in=expires_in)
        self.leases = 0
        self.away = False

    async def lease(self, name: str, tokens: int) -> TokenBlock:
        """As the base does."""
        await asyncio.sleep(0)
        if self.away:
            raise ConnectionError("away")
        self.leases += 1
        return await super().lease(name, tokens)


@given(
    instances=st.integers(1, 4),
    block=st.integers(1, 10),
    capacity=st.integers(1, 20),
    rate=st.floats(0.1, 5),
    passing=st.lists(st.floats(0, 5), max_size=8),
)
def test_instances_together_take_no_more_than_the_bucket_gives(
    instances: int, block: int, capacity: int, rate: float, passing: list[float]
) -> None:
    """However many share it, and however large their blocks are."""
    clock = Clock()
    store = Store(TokenBucket(capacity=capacity, rate=rate, clock=clock))
    sharing = [SharedTokenBucket(store, "calls", block=block, clock=clock, sleep=clock.sleep) for _ in range(instances)]

    async def run() -> None:
        taken = 0
        for seconds in (0.0, *passing):
            clock.seconds += seconds
            for _ in range(4):
                taken += sum(await asyncio.gather(*(one.take(within=0) for one in sharing)))
            assert taken <= capacity + rate * clock.seconds + ROUNDING

    asyncio.run(run())


async def test_a_block_is_one_round_trip() -> None:
    """Callers side by side share the lease of the first."""
    clock = Clock()
    store = Store(TokenBucket(capacity=100, rate=1, clock=clock))
    bucket = SharedTokenBucket(store, "calls", block=20, clock=clock)
    assert all(await asyncio.gather(*(bucket.take(within=0) for _ in range(20))))
    assert store.leases == 1


async def test_an_expired_block_is_not_used() -> None:
    """Its instance may have been away for long."""
    clock = Clock()
    store = Store(TokenBucket(capacity=10, rate=0, clock=clock), expires_in=5)
    bucket = SharedTokenBucket(store, "calls", block=8, clock=clock)
    assert await bucket.take(within=0)
    clock.seconds = 5.0
    assert [await bucket.take(within=0) for _ in range(3)] == [True, True, False]
    assert store.leases == 3


async def test_a_caller_waits_as_long_as_it_says() -> None:
    """And no longer; a store that is away is told."""
    clock = Clock()
    store = Store(TokenBucket(capacity=1, rate=0.5, clock=clock))
    bucket = SharedTokenBucket(store, "calls", block=1, clock=clock, sleep=clock.sleep)
    assert await bucket.take(within=0)
    assert not await bucket.take(within=1.9)
    assert await bucket.take(within=2.0)
    assert clock.seconds == 2.0
    store.away = True
    with pytest.raises(ConnectionError):
        await bucket.take(within=1)


async def test_who_waits_long_keeps_nobody_waiting() -> None:
    """Each caller waits as long as it says, whoever waits beside it."""
    clock, woken = Clock(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        await woken.wait()
        clock.seconds += seconds

    store = Store(TokenBucket(capacity=1, rate=0.1, clock=clock))
    bucket = SharedTokenBucket(store, "calls", block=1, clock=clock, sleep=sleep)
    assert await bucket.take(within=0)
    patient = asyncio.create_task(bucket.take(within=60))
    await asyncio.sleep(0.01)
    async with asyncio.timeout(1):
        assert not await bucket.take(within=0)
    woken.set()
    assert await patient


async def test_a_block_that_is_never_fresh_is_no_endless_loop() -> None:
    """A store so slow that its blocks have expired when they come."""
    clock = Clock()

    class Slow(Store):
        async def lease(self, name: str, tokens: int) -> TokenBlock:
            clock.seconds += 20
            return await super().lease(name, tokens)

    bucket = SharedTokenBucket(Slow(TokenBucket(capacity=9, rate=1, clock=clock)), "calls", block=1, clock=clock)
    assert not await bucket.take(within=30)


def test_an_empty_block_is_refused() -> None:
    """It would be asked for without end."""
    bucket = TokenBucket(capacity=1, rate=1, clock=Clock())
    with pytest.raises(ValueError, match="block"):
        SharedTokenBucket(MemoryTokenStore(lambda _: bucket), "a", block=0, clock=Clock())
