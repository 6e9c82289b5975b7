"""What to do about a secret at a moment, given what is held of it. Pure: time and chance are passed in.

```
read ──> fresh ──refresh_at──> refreshing ──expires_at──> stale ──dead_at──> gone
         serve                 serve, read in             read, wait a       read and wait,
                               the background             little, serve      or fail
```

A failed read moves `retry_at`; until then what is held is served without asking.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from math import inf
from typing import Generic, TypeVar

from .errors import SecretError, SecretExpired
from .policy import Policy

__all__ = ["Found", "Held", "Step", "decide", "failed", "invalidated", "succeeded"]

T = TypeVar("T")


class Step(Enum):
    """What a caller does."""

    SERVE = "serve"
    REFRESH = "serve, and read in the background"
    TRY = "read, wait for a little while, then serve what is held"
    FETCH = "read and wait"
    FAIL = "fail with the error that is held"


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """What a read brought.

    Attributes
    ----------
    spent_in:
        Seconds until its own expiry; infinite where it has none.
    """

    value: T
    spent_in: float = inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(Generic[T]):
    """The state of an entry. Moments are those of a monotonic clock."""

    value: T | None = None
    refresh_at: float = -inf
    expires_at: float = -inf
    dead_at: float = -inf
    spent_at: float = inf
    retry_at: float = -inf
    error: SecretError | None = None
    failures: int = 0


def decide(held: "Held[T] | None", now: float) -> Step:
    """What the next caller does."""
    if held is None:
        return Step.FETCH
    if held.value is None or now >= held.dead_at:
        return Step.FAIL if held.error is not None and now < held.retry_at else Step.FETCH
    if now < held.refresh_at or now < held.retry_at:
        return Step.SERVE
    return Step.REFRESH if now < held.expires_at else Step.TRY


def succeeded(found: Found[T], now: float, policy: Policy, random: Callable[[], float]) -> "Held[T]":
    """The entry after a read."""
    spent_at = now + found.spent_in
    return Held(
        value=found.value,
        refresh_at=min(now + policy.ttl * (1 + policy.jitter * random()), spent_at),
        expires_at=min(now + policy.refresh_period, spent_at),
        dead_at=min(now + policy.stale, spent_at),
        spent_at=spent_at,
    )


def failed(
    held: "Held[T] | None", error: SecretError, now: float, policy: Policy, random: Callable[[], float]
) -> "Held[T]":
    """The entry after a read that failed: what is held stays while it may, unless the vault has spoken."""
    if error.definitive:
        return Held(error=error, retry_at=now + policy.negative)
    if held is not None and held.value is not None and now < held.dead_at:
        retry_at = now + policy.ttl * (1 + policy.jitter * random())
        return replace(held, error=error, retry_at=min(retry_at, held.dead_at))
    if held is not None and held.value is not None and now >= held.spent_at:
        error = SecretExpired(error.name, f"has expired, and no other version could be read: {error.reason}")
    if error.negative:
        return Held(error=error, retry_at=now + policy.negative)
    failures = 0 if held is None or held.value is not None else held.failures
    delay = min(policy.first_retry * 2.0 ** min(failures, 60), policy.last_retry)
    retry_at = now + delay * (1 - random() / 2)
    return Held(error=error, retry_at=retry_at, failures=failures + 1)


def invalidated(held: "Held[T]", now: float) -> "Held[T] | None":
    """The entry after word of a change: the next caller reads; what is held is still there if that fails."""
    if held.value is None:
        return None
    return replace(held, refresh_at=-inf, expires_at=min(held.expires_at, now), retry_at=-inf, error=None)
