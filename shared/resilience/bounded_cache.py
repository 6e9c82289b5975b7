"""A bounded cache: least recently used entries go first, and none is served after its time."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from math import inf
from typing import Generic, TypeVar

__all__ = ["BoundedCache"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Entries by key, within a bound of their sizes.

    A key names everything that the value depends on: where it is what a caller sees, its tenant and access level too.

    Parameters
    ----------
    capacity:
        Most that the sizes of all entries add up to; with the usual size of 1 each, the number of entries.
    ttl:
        Seconds for which an entry is served, unless it is put with a time of its own.
    size:
        Size of a value; one that is larger than the capacity isn't stored.
    clock:
        Seconds.
    """

    def __init__(
        self,
        capacity: float,
        *,
        ttl: float = inf,
        size: Callable[[V], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not capacity >= 1 or not ttl > 0:
            raise ValueError(f"capacity {capacity} must be 1 or more, ttl {ttl} above 0")
        self._capacity = capacity
        self._ttl = ttl
        self._size = size
        self._clock = clock
        self._entries: OrderedDict[K, tuple[V, float, float]] = OrderedDict()
        self._used = 0.0

    def get(self, key: K) -> V | None:
        """The value of a key that is still served, now the most recently used; else None."""
        entry = self._entries.get(key)
        if entry is None or (entry[1] != inf and self._clock() >= entry[1]):
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def stale(self, key: K) -> V | None:
        """The value of a key, be its time over or not: to be compared, not served."""
        entry = self._entries.get(key)
        return None if entry is None else entry[0]

    def put(self, key: K, value: V, *, until: float | None = None) -> V:
        """Store a value, to be served until a moment of the clock (by default a `ttl` from now); returns it."""
        self.pop(key)
        size = 1.0 if self._size is None else self._size(value)
        if size <= self._capacity:
            ends = until if until is not None else self._ttl if self._ttl == inf else self._clock() + self._ttl
            self._entries[key] = (value, ends, size)
            self._used += size
            while self._used > self._capacity:
                self.pop(next(iter(self._entries)))
        return value

    def pop(self, key: K) -> None:
        """Forget a key."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._used -= entry[2]

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._used = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[K]:
        """The keys, the least recently used first."""
        return iter(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries
