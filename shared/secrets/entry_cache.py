"""Cache entries of secrets: what to do about one at a moment, and the one task that reads it for however many callers.

```
read ──> fresh ──refresh_at──> refreshing ──expires_at──> stale ──dead_at──> gone
         serve                 serve, read in             read, wait a       read and wait,
                               the background             little, serve      or fail
```

A failed read moves `retry_at`; until then the entry is served without asking. Time and chance are passed in.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import Enum
from math import inf
from typing import Generic, TypeVar

from shared.resilience import Call, SingleFlight
from shared.telemetry import Metrics, log_event

from .errors import SecretError, SecretExpired, VaultUnavailable
from .versions import Policy

__all__ = ["CacheEntry", "EntryCache", "ReadResult", "Step", "decide", "failed", "invalidated", "succeeded"]

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


Read = Callable[[str, T | None], Awaitable[ReadResult[T]]]
"""Reads what a key stands for; is given the value that is cached already."""


class EntryCache(Generic[T]):
    """Caches values, and carries out what the pure core decides.

    Parameters
    ----------
    most:
        Entries at most; for one more, the one that was read longest ago is forgotten.
    """

    def __init__(
        self,
        read: Read[T],
        *,
        policy: Policy,
        random: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
        most: int = 1_000,
    ) -> None:
        self.entries: dict[str, CacheEntry[T]] = {}
        self._read = read
        self._policy = policy
        self._random = random
        self._clock = clock
        self._most = most
        self._reads: SingleFlight[None] = SingleFlight(clock)
        self._closed = False

    async def get(self, key: str) -> T:
        """The value, within the policy's bounds.

        Raises
        ------
        SecretError
            It can't be had.
        """
        entry = self.entries.get(key)
        step = decide(entry, self._clock())
        if step is Step.FAIL and entry is not None and entry.error is not None:
            raise entry.error.again()
        if step is Step.FETCH:
            return await self._fetch(key)
        assert entry is not None
        if step is not Step.SERVE and not self._closed:
            call = self._start(key)
            if step is Step.TRY:
                await call.wait(call.started + self._policy.patience - self._clock())
                return await self._after_try(key, entry)
        assert entry.value is not None
        return entry.value

    async def _after_try(self, key: str, before: CacheEntry[T]) -> T:
        """The entry after a try; a secret that was switched off meanwhile is not served once more."""
        now = self.entries.get(key, before)
        if now.value is not None:
            return now.value
        raise now.error.again() if now.error is not None else _too_long(key, self._policy.patience)

    async def _fetch(self, key: str) -> T:
        await self._start(key).wait(self._policy.timeout)
        entry = self.entries.get(key)
        if entry is not None and entry.value is not None and self._clock() < entry.dead_at:
            return entry.value
        if entry is not None and entry.error is not None:
            raise entry.error.again()
        raise _too_long(key, self._policy.timeout)

    def _start(self, key: str) -> Call[None]:
        if self._closed:
            raise VaultUnavailable(key, "the app is closing")
        return self._reads.start(key, lambda: self._read_now(key))

    async def _read_now(self, key: str) -> None:
        before, began = self.entries.get(key), self._clock()
        try:
            async with asyncio.timeout(self._policy.timeout):
                result = await self._read(key, before.value if before is not None else None)
        except TimeoutError:
            error: SecretError = _too_long(key, self._policy.timeout)
        except SecretError as refused:
            error = refused.again()
        except Exception as unexpected:  # its message may hold anything: only its kind is logged
            error = VaultUnavailable(key, f"could not be read ({type(unexpected).__name__})")
        else:
            Metrics.vault_reads.add(outcome="read")
            Metrics.vault_duration.record(self._clock() - began)
            self._put(key, succeeded(result, self._clock(), self._policy, self._random))
            return
        # what was invalidated meanwhile counts, not the entry when the read began
        after = failed(self.entries.get(key), error, self._clock(), self._policy, self._random)
        self._put(key, after)
        Metrics.vault_reads.add(outcome=type(error).__name__)
        log_event("secret not read", level=30, secret=error.name, reason=error.reason, kept=after.value is not None)

    def _put(self, key: str, entry: CacheEntry[T]) -> None:
        if key not in self.entries and len(self.entries) >= self._most:
            oldest = min(self.entries, key=lambda one: (self.entries[one].dead_at, self.entries[one].retry_at))
            del self.entries[oldest]
        self.entries[key] = entry

    def invalidate(self, key: str) -> bool:
        """Have the next caller read it anew; False where there is no entry."""
        entry = self.entries.get(key)
        if entry is None:
            return False
        after = invalidated(entry, self._clock())
        if after is None:
            del self.entries[key]
        else:
            self.entries[key] = after
        return True

    async def refresh(self, key: str) -> None:
        """Read it now, unless it is being read, and wait for that within the time-out."""
        call = self._reads.get(key)
        if call is not None:  # it may have begun before what it is to see
            await call.wait(self._policy.timeout)
            self.invalidate(key)
        await self._start(key).wait(self._policy.timeout)

    async def close(self) -> None:
        """Stop what is being read."""
        self._closed = True
        await self._reads.close()


def _too_long(key: str, seconds: float) -> VaultUnavailable:
    return VaultUnavailable(key, f"no answer within {seconds:g} s")
