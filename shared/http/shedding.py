"""Sheds requests while the process is overloaded: 503 at once for some, so that the others are answered in time."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from datetime import datetime

from starlette.types import ASGIApp, Receive, Scope, Send

from shared.authentication import Caller, Role
from shared.messages import ErrorCode
from shared.resilience import AdaptiveLimit, Importance
from shared.telemetry import Metrics
from shared.telemetry.instruments import Spread

from .answers import error
from .routing import Route

__all__ = ["OverloadWatch", "Shedding"]

LOOK_SECONDS = 0.1
_LONGEST_WAIT = 3


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
    find:
        From method and path to the route. Those for everybody without a signature (health, the API's description) are
        never shed; those that stream are let in by the same rule, and not counted while they go on.
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
        find: Callable[[str, str], Route | None],
        is_high: Callable[[str], bool],
        now: Callable[[], datetime],
        random: Callable[[], float],
    ) -> None:
        self._app = app
        self._watch = watch
        self._find = find
        self._is_high = is_high
        self._now = now
        self._random = random

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        route = self._find(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if scope["type"] != "http" or (route is not None and route.is_anonymous):
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
        if route is not None and route.streams:
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
