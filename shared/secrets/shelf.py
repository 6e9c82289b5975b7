"""Entries of one kind, each read by one task at a time, however many callers ask."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from shared.telemetry import log_event

from .errors import SecretError, VaultUnavailable
from .holding import Found, Held, Step, decide, failed, invalidated, succeeded
from .policy import Policy

__all__ = ["Shelf"]

T = TypeVar("T")

Read = Callable[[str, T | None], Awaitable[Found[T]]]
"""Reads what a key stands for; is given what is held of it already."""


class Shelf(Generic[T]):
    """Holds values, and carries out what the pure core decides.

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
        self.held: dict[str, Held[T]] = {}
        self._read = read
        self._policy = policy
        self._random = random
        self._clock = clock
        self._most = most
        self._flights: dict[str, _Flight] = {}
        self._closed = False

    async def get(self, key: str) -> T:
        """The value, within the policy's bounds.

        Raises
        ------
        SecretError
            It can't be had.
        """
        held = self.held.get(key)
        step = decide(held, self._clock())
        if step is Step.FAIL and held is not None and held.error is not None:
            raise held.error.again()
        if step is Step.FETCH:
            return await self._fetch(key)
        assert held is not None
        if step is not Step.SERVE and not self._closed:
            flight = self._start(key)
            if step is Step.TRY:
                await flight.landed(flight.started + self._policy.patience - self._clock())
                return await self._after_try(key, held)
        assert held.value is not None
        return held.value

    async def _after_try(self, key: str, before: Held[T]) -> T:
        """What is held after a try; a secret that was switched off meanwhile is not served once more."""
        now = self.held.get(key, before)
        if now.value is not None:
            return now.value
        raise now.error.again() if now.error is not None else _too_long(key, self._policy.patience)

    async def _fetch(self, key: str) -> T:
        flight = self._start(key)
        await flight.landed(self._policy.timeout)
        held = self.held.get(key)
        if held is not None and held.value is not None and self._clock() < held.dead_at:
            return held.value
        if held is not None and held.error is not None:
            raise held.error.again()
        raise _too_long(key, self._policy.timeout)

    def _start(self, key: str) -> "_Flight":
        flight = self._flights.get(key)
        if flight is None:
            if self._closed:
                raise VaultUnavailable(key, "the app is closing")
            flight = _Flight(asyncio.create_task(self._fly(key), name=f"secret {key}"), self._clock())
            self._flights[key] = flight
            flight.task.add_done_callback(lambda _: self._flights.pop(key, None))
        return flight

    async def _fly(self, key: str) -> None:
        before = self.held.get(key)
        try:
            async with asyncio.timeout(self._policy.timeout):
                found = await self._read(key, before.value if before is not None else None)
        except TimeoutError:
            error: SecretError = _too_long(key, self._policy.timeout)
        except SecretError as refused:
            error = refused.again()
        except Exception as unexpected:  # its message may hold anything: only its kind is told
            error = VaultUnavailable(key, f"could not be read ({type(unexpected).__name__})")
        else:
            self._keep(key, succeeded(found, self._clock(), self._policy, self._random))
            return
        # what was invalidated meanwhile counts, not what was held when the read began
        after = failed(self.held.get(key), error, self._clock(), self._policy, self._random)
        self._keep(key, after)
        log_event("secret not read", level=30, secret=error.name, reason=error.reason, kept=after.value is not None)

    def _keep(self, key: str, held: Held[T]) -> None:
        if key not in self.held and len(self.held) >= self._most:
            oldest = min(self.held, key=lambda one: (self.held[one].dead_at, self.held[one].retry_at))
            del self.held[oldest]
        self.held[key] = held

    def invalidate(self, key: str) -> bool:
        """Have the next caller read it anew; False where nothing is held."""
        held = self.held.get(key)
        if held is None:
            return False
        after = invalidated(held, self._clock())
        if after is None:
            del self.held[key]
        else:
            self.held[key] = after
        return True

    async def refresh(self, key: str) -> None:
        """Read it now, unless it is being read, and wait for that within the time-out."""
        flight = self._flights.get(key)
        if flight is not None:  # it may have begun before what it is to see
            await flight.landed(self._policy.timeout)
            self.invalidate(key)
        await self._start(key).landed(self._policy.timeout)

    async def close(self) -> None:
        """Stop what is being read."""
        self._closed = True
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Flight:
    """A read on its way."""

    __slots__ = ("started", "task")

    def __init__(self, task: asyncio.Task[None], started: float) -> None:
        self.task = task
        self.started = started

    async def landed(self, seconds: float) -> None:
        """Wait, but no longer than this; whoever goes away leaves the read to the others."""
        if seconds > 0:
            await asyncio.wait({self.task}, timeout=seconds)


def _too_long(key: str, seconds: float) -> VaultUnavailable:
    return VaultUnavailable(key, f"no answer within {seconds:g} s")
