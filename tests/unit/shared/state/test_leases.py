"""A lease: one holder at a time, and free again when its holder has died."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from shared.state import Lease, StateStore
from tests.unit.memory import MemoryState


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        """Later."""
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    """At the beginning."""
    return Clock()


@pytest.fixture
def store() -> MemoryState:
    """An empty table."""
    return MemoryState()


def lease(store: MemoryState, clock: Clock, name: str = "sweep") -> Lease:
    """A minute's lease of a holder of its own."""
    return Lease(cast("StateStore", store), name, seconds=60, now=clock)


async def test_one_holds_it_and_the_others_do_not(store: MemoryState, clock: Clock) -> None:
    """Until it is given up; another name is another lease."""
    one, other = lease(store, clock), lease(store, clock)
    assert await one.acquire()
    assert not await other.acquire()
    assert await lease(store, clock, "another").acquire()
    await one.release()
    assert await other.acquire()


async def test_many_at_once_and_one_gets_it(store: MemoryState, clock: Clock) -> None:
    """Free, and again when it has run out."""
    for _ in range(2):
        got = await asyncio.gather(*(lease(store, clock).acquire() for _ in range(8)))
        assert sum(got) == 1
        clock.advance(61)


async def test_its_holder_holds_it_longer(store: MemoryState, clock: Clock) -> None:
    """A minute from the last time it asked."""
    one, other = lease(store, clock), lease(store, clock)
    assert await one.acquire()
    clock.advance(50)
    assert await one.acquire()
    clock.advance(59)
    assert not await other.acquire()
    clock.advance(1)
    assert await other.acquire()
    assert not await one.acquire()


async def test_who_lost_it_can_not_give_it_up_for_another(store: MemoryState, clock: Clock) -> None:
    """The new holder keeps it."""
    late, new, third = (lease(store, clock) for _ in range(3))
    assert await late.acquire()
    clock.advance(61)
    assert await new.acquire()
    await late.release()
    assert not await third.acquire()


async def test_giving_up_what_nobody_has_is_fine(store: MemoryState, clock: Clock) -> None:
    """Nothing happens."""
    await lease(store, clock).release()
    assert store.rows == {}
