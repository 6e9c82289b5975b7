"""Sheds requests while the process is overloaded: 503 at once for some, so that the others are answered in time.

What may be under way is learned by additive increase and multiplicative decrease, as `AdaptiveBulkhead` learns it for
calls to others. Here nobody waits: what comes beyond the limit is refused at once, the least important first.
"""

import asyncio
from collections.abc import Callable, Container
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from starlette.types import ASGIApp, Receive, Scope, Send

from shared.authentication import Caller, Role
from shared.messages import ErrorCode
from shared.telemetry import Metrics
from shared.telemetry.instruments import Spread

from .answers import error

__all__ = ["AdaptiveLimit", "Importance", "OverloadWatch", "ShedPolicy", "Shedding"]

LOOK_SECONDS = 0.1
_LONGEST_WAIT = 3
_LESS, _LEAST = 0.7, 0.3
_MORE = 0.02
"""Of the limit that one quiet look adds: in two seconds as much as an overloaded one takes."""
_PAUSE = 0.5
"""Seconds between two decreases: what was under way when it began to be too much tells nothing new."""
_LOOKS = 2
"""Overloaded looks that follow each other before anything is refused, or so many times what is too much in one: a short
pause of the machine is neither."""


class Importance(Enum):
    """The share of the limit that requests of a kind may fill: what is above it is kept for those above."""

    READ = 0.8
    WRITE = 0.9
    HIGH = 1.0


@dataclass(frozen=True, kw_only=True)
class ShedPolicy:
    """Bounds of what is under way in one process, and what counts as overload.

    Attributes
    ----------
    least, most:
        The bounds within which it learns.
    begin:
        What it begins with.
    lag:
        Seconds by which the event loop is late.
    storage:
        Seconds that requests to the stores and the broker take on average.
    backlog:
        Messages that wait to be sent.
    """

    least: int = 8
    most: int = 1_000
    begin: int = 200
    lag: float = 0.25
    storage: float = 2.0
    backlog: int = 1_000

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most or not (self.lag > 0 and self.storage > 0 and self.backlog >= 1):
            raise ValueError("shedding: 1 <= least <= most; lag, storage and backlog are above 0")


class AdaptiveLimit:
    """Counts what is under way, and says whether one more may be.

    Parameters
    ----------
    clock:
        Seconds, monotonic.
    """

    def __init__(self, policy: ShedPolicy, *, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._clock = clock
        self._limit = float(min(policy.most, policy.begin))
        self._running = 0
        self._overloaded = 0
        self._decreased_at = float("-inf")

    @property
    def limit(self) -> int:
        """What may be under way at the moment."""
        return int(self._limit)

    @property
    def running(self) -> int:
        """What is under way."""
        return self._running

    def enter(self, importance: Importance) -> bool:
        """Begin something; False, and nothing has begun, where there is no room for its kind."""
        if self._running >= max(1.0, self._limit * importance.value):
            return False
        self._running += 1
        return True

    def exit(self) -> None:
        """It has ended."""
        self._running -= 1

    def look(self, *, lag: float, storage: float, backlog: int) -> bool:
        """Learn from how the process is; whether it is overloaded.

        Parameters
        ----------
        lag, storage, backlog:
            As in the policy, since the last look.
        """
        policy = self._policy
        pressure = max(lag / policy.lag, storage / policy.storage, backlog / policy.backlog)
        if pressure < 1:
            self._overloaded = 0
            self._limit = min(float(policy.most), self._limit * (1 + _MORE) + 0.5)
            return False
        self._overloaded += 1
        now = self._clock()
        if (self._overloaded >= _LOOKS or pressure >= _LOOKS) and now - self._decreased_at >= _PAUSE:
            self._decreased_at = now
            less = min(_LESS, max(_LEAST, 1 / pressure))  # what is late by three times is three times too much
            self._limit = max(float(policy.least), min(self._limit, float(self._running)) * less)
        return True


class OverloadWatch:
    """Looks at the process while requests are under way: how late its loop is, how slow its stores, what waits.

    Parameters
    ----------
    waiting:
        Messages that wait to be sent.
    """

    def __init__(self, limit: AdaptiveLimit, *, waiting: Callable[[], int]) -> None:
        self.limit = limit
        self._waiting = waiting
        self._task: asyncio.Task[None] | None = None
        self._seen = (0.0, 0)

    def touch(self) -> None:
        """Look from now on, until nothing is under way any more; to be called on the loop."""
        if self._task is None or self._task.done():
            self._seen = _spent()
            self._task = asyncio.get_running_loop().create_task(self._run(), name="overload watch", context=Context())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self.limit.running:
            began = loop.time()
            await asyncio.sleep(LOOK_SECONDS)
            seconds, count = _spent()
            ended, self._seen = (seconds - self._seen[0], count - self._seen[1]), (seconds, count)
            self.limit.look(
                lag=max(0.0, loop.time() - began - LOOK_SECONDS),
                storage=ended[0] / ended[1] if ended[1] > 0 else 0.0,
                backlog=self._waiting(),
            )
            Metrics.requests_limit.set(self.limit.limit)

    async def close(self) -> None:
        """Look no longer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def _spent() -> tuple[float, int]:
    """Seconds that requests to Table storage and sends to the broker have taken so far, and how many there were."""
    seconds, count = 0.0, 0
    for instrument in (Metrics.storage_duration, Metrics.send_duration):
        for point in instrument.points():
            if isinstance(point.value, Spread):
                seconds += point.value.total
                count += point.value.count
    return seconds, count


class Shedding:
    """ASGI middleware, behind the one that finds out who calls.

    Parameters
    ----------
    never:
        Paths that are never shed: those for everybody, such as health.
    streaming:
        Methods and paths whose answers stream: let in by the same rule, and not counted while they go on.
    is_high:
        Whether a client's plan is one whose requests are shed last.
    random:
        Returns 0 … 1: clients that are shed at once come back at different times.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        watch: OverloadWatch,
        never: Container[str],
        streaming: Container[tuple[str, str]],
        is_high: Callable[[str], bool],
        now: Callable[[], datetime],
        random: Callable[[], float],
    ) -> None:
        self._app = app
        self._watch = watch
        self._never = never
        self._streaming = streaming
        self._is_high = is_high
        self._now = now
        self._random = random

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"] in self._never:
            await self._app(scope, receive, send)
            return
        importance = self._importance(scope["method"], scope.get("state", {}).get("caller"))
        limit = self._watch.limit
        if not limit.enter(importance):
            Metrics.requests_shed.add(1, importance=importance.name.lower())
            answer = error(
                ErrorCode.UNAVAILABLE,
                "There is too much to do just now. Send this again.",
                now=self._now(),
                retry_after=1 + int(self._random() * _LONGEST_WAIT),
            )
            await answer(scope, receive, send)
            return
        self._watch.touch()
        if (scope["method"], scope["path"]) in self._streaming:
            limit.exit()
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            limit.exit()

    def _importance(self, method: str, caller: Caller | None) -> Importance:
        if caller is not None and (Role.OPERATOR in caller.roles or self._is_high(caller.client)):
            return Importance.HIGH
        return Importance.READ if method in ("GET", "HEAD") else Importance.WRITE
