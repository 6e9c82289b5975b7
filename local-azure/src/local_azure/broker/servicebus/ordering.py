"""Sequence numbers in order: what a queue hands out next, and what a peek walks through."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Container, Iterator

__all__ = ["Deadlines", "ReadyNumbers", "SequenceIndex"]


class ReadyNumbers:
    """A queue of numbers that come mostly in order, smallest first; removal is the caller's business.

    Numbers in order cost a deque append; only those that return (abandoned, expired) cost a heap push.
    """

    __slots__ = ("_fresh", "_returned")

    def __init__(self) -> None:
        self._fresh: deque[int] = deque()
        self._returned: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._fresh or self._returned)

    def __len__(self) -> int:
        return len(self._fresh) + len(self._returned)

    def push(self, number: int) -> None:
        """Add a number."""
        if not self._fresh or number > self._fresh[-1]:
            self._fresh.append(number)
        else:
            heapq.heappush(self._returned, number)

    def keep(self, living: Container[int]) -> None:
        """Drop the numbers that are not among the living."""
        self._fresh = deque(number for number in self._fresh if number in living)
        self._returned = [number for number in self._returned if number in living]
        heapq.heapify(self._returned)

    def first(self) -> int:
        """The smallest number, which stays."""
        if self._returned and (not self._fresh or self._returned[0] < self._fresh[0]):
            return self._returned[0]
        return self._fresh[0]

    def pop(self) -> int:
        """Take the smallest number."""
        if self._returned and (not self._fresh or self._returned[0] < self._fresh[0]):
            return heapq.heappop(self._returned)
        return self._fresh.popleft()


class SequenceIndex:
    """Numbers to walk in order from anywhere; dead ones are dropped when they outnumber the living."""

    __slots__ = ("_alive", "_is_sorted", "_numbers")

    def __init__(self, alive: dict[int, object]) -> None:
        self._alive = alive
        self._numbers: list[int] = []
        self._is_sorted = True

    def add(self, number: int) -> None:
        """Add a number, in any order."""
        if self._numbers and number <= self._numbers[-1]:
            self._is_sorted = False
        self._numbers.append(number)
        if len(self._numbers) > 2 * len(self._alive) + 1024:
            self._numbers = sorted(self._alive)
            self._is_sorted = True

    def walk(self, start: int) -> Iterator[int]:
        """Living numbers from `start` on, ascending."""
        if not self._is_sorted:
            self._numbers = sorted(self._alive)
            self._is_sorted = True
        numbers = self._numbers
        for position in range(bisect_left(numbers, start), len(numbers)):
            if numbers[position] in self._alive:
                yield numbers[position]


class Deadlines:
    """What falls due when: (time, number) pairs; stale ones are dropped when they outnumber the living."""

    __slots__ = ("_heap", "_is_due_at")

    def __init__(self, is_due_at: Callable[[int, int], bool]) -> None:
        """`is_due_at(number, time)` tells whether the pair still holds."""
        self._heap: list[tuple[int, int]] = []
        self._is_due_at = is_due_at

    def add(self, time: int, number: int, living: int) -> None:
        """Add a pair; `living` bounds how many can hold at once."""
        heapq.heappush(self._heap, (time, number))
        if len(self._heap) > 2 * living + 1024:
            self._heap = [pair for pair in self._heap if self._is_due_at(pair[1], pair[0])]
            heapq.heapify(self._heap)

    def next_time(self) -> int | None:
        """When the next pair falls due (it may be stale)."""
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: int) -> Iterator[int]:
        """Take the numbers that are due and still hold."""
        while self._heap and self._heap[0][0] <= now:
            time, number = heapq.heappop(self._heap)
            if self._is_due_at(number, time):
                yield number
