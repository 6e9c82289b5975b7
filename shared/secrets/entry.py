"""What to do about a secret at a moment, given its cache entry. Pure: time and chance are passed in.

```
read ──> fresh ──refresh_at──> refreshing ──expires_at──> stale ──dead_at──> gone
         serve                 serve, read in             read, wait a       read and wait,
                               the background             little, serve      or fail
```

A failed read moves `retry_at`; until then the entry is served without asking.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from math import inf
from typing import Generic, TypeVar

from .errors import SecretError, SecretExpired
from .policy import Policy

__all__ = ["CacheEntry", "ReadResult", "Step", "decide", "failed", "invalidated", "succeeded"]

T = TypeVar("T")


class Step(Enum):
    """What a caller does."""

    SERVE = "serve"
    REFRESH = "serve, and read in the background"
    TRY = "read, wait for a little while, then serve the entry"
    FETCH = "read and wait"
    FAIL = "fail with the error of the entry"


@dataclass(frozen=True, slots=True)
class ReadResult(Generic[T]):
    """What a read brought.

    Attributes
    ----------
    spent_in:
        Seconds until its own expiry; infinite where it has none.
    """

    value: T
    spent_in: float = inf


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry(Generic[T]):
    """The state of an entry. Moments are those of a monotonic clock."""

    value: T | None = None
    refresh_at: float = -inf
    expires_at: float = -inf
    dead_at: float = -inf
    spent_at: float = inf
    retry_at: float = -inf
    error: SecretError | None = None
    failures: int = 0


def decide(entry: "CacheEntry[T] | None", now: float) -> Step:
    """What the next caller does."""
    if entry is None:
        return Step.FETCH
    if entry.value is None or now >= entry.dead_at:
        return Step.FAIL if entry.error is not None and now < entry.retry_at else Step.FETCH
    if now < entry.refresh_at or now < entry.retry_at:
        return Step.SERVE
    return Step.REFRESH if now < entry.expires_at else Step.TRY


def succeeded(result: ReadResult[T], now: float, policy: Policy, random: Callable[[], float]) -> "CacheEntry[T]":
    """The entry after a read."""
    spent_at = now + result.spent_in
    return CacheEntry(
        value=result.value,
        refresh_at=min(now + policy.ttl * (1 + policy.jitter * random()), spent_at),
        expires_at=min(now + policy.refresh_period, spent_at),
        dead_at=min(now + policy.stale, spent_at),
        spent_at=spent_at,
    )


def failed(
    entry: "CacheEntry[T] | None", error: SecretError, now: float, policy: Policy, random: Callable[[], float]
) -> "CacheEntry[T]":
    """The entry after a read that failed: the entry stays while it may, unless the vault has spoken."""
    if error.definitive:
        return CacheEntry(error=error, retry_at=now + policy.negative)
    if entry is not None and entry.value is not None and now < entry.dead_at:
        retry_at = now + policy.ttl * (1 + policy.jitter * random())
        return replace(entry, error=error, retry_at=min(retry_at, entry.dead_at))
    if entry is not None and entry.value is not None and now >= entry.spent_at:
        error = SecretExpired(error.name, f"has expired, and no other version could be read: {error.reason}")
    if error.negative:
        return CacheEntry(error=error, retry_at=now + policy.negative)
    failures = 0 if entry is None or entry.value is not None else entry.failures
    delay = min(policy.first_retry * 2.0 ** min(failures, 60), policy.last_retry)
    retry_at = now + delay * (1 - random() / 2)
    return CacheEntry(error=error, retry_at=retry_at, failures=failures + 1)


def invalidated(entry: "CacheEntry[T]", now: float) -> "CacheEntry[T] | None":
    """The entry after word of a change: the next caller reads; the old value is still there if that fails."""
    if entry.value is None:
        return None
    return replace(entry, refresh_at=-inf, expires_at=min(entry.expires_at, now), retry_at=-inf, error=None)
