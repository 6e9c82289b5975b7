"""Asks dependencies in the background: all side by side, each by one call at a time, as long as anybody reads.

Who reads gets what the last call found, so a hundred readers cost a dependency nothing. After a minute without a reader
the calls end: an instance that nobody asks costs nothing either.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context
from typing import Any

from shared.telemetry import Metrics

from .check import Check, Degraded
from .component import Component, Status

__all__ = ["Monitor"]

_FIGURES = {Status.HEALTHY: 1.0, Status.DEGRADED: 0.5, Status.UNHEALTHY: 0.0}
REST_SECONDS = 60.0
"""Without a reader for so long, nothing is asked any more."""
PATIENCE_SECONDS = 2.5
"""What a reader waits for the first answers; what has none then is named as such."""

Clock = Callable[[], float]


def _give_up(call: "asyncio.Future[Any]") -> None:
    if not call.done():
        call.cancel()
    call.add_done_callback(lambda done: done.cancelled() or done.exception())  # read, so that nobody complains


def _found(name: str, check: Check, call: "asyncio.Future[Any]", elapsed: float) -> tuple[Component, ...]:
    """What a call has found after so many seconds."""
    status, description, data = Status.HEALTHY, "Answers.", {}
    try:
        answer = call.result()
        if isinstance(answer, Mapping):
            data = dict(answer)
        elif answer is not None:
            return tuple(answer)
        if elapsed > check.threshold:
            status, description = Status.DEGRADED, "Answers slowly."
    except Degraded as error:
        status, description, data = Status.DEGRADED, str(error), error.data
    except asyncio.InvalidStateError:
        late = elapsed >= check.timeout
        status = Status.UNHEALTHY if late else Status.DEGRADED
        description = f"No answer within {check.timeout if late else elapsed:.3g} s."
    except (Exception, asyncio.CancelledError) as error:  # whatever is wrong, it is reported
        status, description = Status.UNHEALTHY, f"{type(error).__name__}: can't be reached."
    figures = {"responseTime": _milliseconds(elapsed), "threshold": _milliseconds(check.threshold), **data}
    return (Component(name=name, status=status, description=description, data=figures, weight=check.weight),)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1_000:.0f}ms"


class _Watched:
    """One check, and what its calls have found."""

    def __init__(self, name: str, check: Check) -> None:
        self.name = name
        self.check = check
        self.found: tuple[Component, ...] = ()
        self.found_at = -math.inf
        self.began = -math.inf
        self.call: asyncio.Future[Any] | None = None
        self.answered = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def keep(self, found: tuple[Component, ...], at: float) -> None:
        """This is known from now on."""
        self.found, self.found_at = found, at
        for each in found:
            Metrics.health.set(_FIGURES[each.status], component=each.name)
        self.answered.set()


class Monitor:
    """Keeps what several checks find.

    Parameters
    ----------
    clock, sleep:
        Seconds that only ever grow, and how to wait for some.
    """

    def __init__(
        self,
        checks: Mapping[str, Check],
        *,
        clock: Clock = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._watched = [_Watched(name, check) for name, check in checks.items()]
        self._clock = clock
        self._sleep = sleep
        self._read_at = -math.inf

    async def components(self) -> list[Component]:
        """What is known of every dependency, none of it older than its interval and time-out.

        The first reader, and one after a rest, waits for the answers, all at once and `PATIENCE_SECONDS` at most.
        """
        self._read_at = self._clock()
        missing = []
        for one in self._watched:
            if one.task is None or one.task.done():
                # In a context of its own, which each call copies: it outlives whoever asks first, and is no part of it.
                watching = self._watch(one)
                one.task = asyncio.create_task(watching, name=f"health of {one.name}", context=Context())
            if not self._is_fresh(one):
                one.answered.clear()
                missing.append(asyncio.ensure_future(one.answered.wait()))
        if missing:
            await asyncio.wait(missing, timeout=PATIENCE_SECONDS)
            for each in missing:
                each.cancel()
        return [component for one in self._watched for component in self._known(one)]

    def _is_fresh(self, one: _Watched) -> bool:
        return self._clock() - one.found_at <= one.check.interval + one.check.timeout

    def _known(self, one: _Watched) -> Sequence[Component]:
        """What the last call found; of one that is under way, and slow by now, what shows already."""
        is_away = self._is_fresh(one) and any(known.status is Status.UNHEALTHY for known in one.found)
        if one.call is not None and not is_away:  # what was away isn't better because it was asked once more
            waits = self._clock() - one.began
            if waits > one.check.threshold and not one.call.done():
                return _found(one.name, one.check, one.call, waits)
        if not self._is_fresh(one):
            waits = self._clock() - max(one.began, 0.0)
            description = f"Wasn't asked for {waits:.0f} s."
            return (Component(name=one.name, status=Status.DEGRADED, description=description, weight=one.check.weight),)
        return one.found

    async def _watch(self, one: _Watched) -> None:
        while self._clock() - self._read_at < REST_SECONDS:
            if (wait := one.began + one.check.interval - self._clock()) > 0:
                await self._sleep(wait)
                continue
            one.began, one.call = self._clock(), asyncio.ensure_future(one.check.ask())
            try:
                await asyncio.wait({one.call}, timeout=one.check.timeout)
                elapsed = self._clock() - one.began
                is_late = not one.call.done()
                one.keep(
                    _found(one.name, one.check, one.call, max(elapsed, one.check.timeout) if is_late else elapsed),
                    self._clock(),
                )
            finally:
                _give_up(one.call)
            while not one.call.done():  # one that can't be stopped: there is no second beside it
                await asyncio.wait({one.call}, timeout=one.check.timeout)
                if not one.call.done():
                    one.keep(_found(one.name, one.check, one.call, self._clock() - one.began), self._clock())
            one.call = None

    async def close(self) -> None:
        """Ask nothing any more."""
        tasks = [one.task for one in self._watched if one.task is not None and not one.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
