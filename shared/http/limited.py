"""Limits requests by the plan of their client, before anything of their body is read, and says how it stands."""

from collections.abc import Callable
from datetime import datetime

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.limits import Limiter, UsageMeter, Verdict
from shared.messages import ErrorCode
from shared.telemetry import Metrics

from .answers import MESSAGES, error

__all__ = ["ANYBODY", "Limited", "charge"]

ANYBODY = "anybody"
"""The client where callers aren't checked: they are limited together."""
_LIMITS = "limits"


class Limited:
    """ASGI middleware, behind the one that finds out who calls.

    Parameters
    ----------
    route_of:
        From method and path to the route's name; empty where there is none, None where requests aren't limited.
    usage:
        Counts what passes.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limiter: Limiter,
        usage: UsageMeter,
        route_of: Callable[[str, str], str | None],
        now: Callable[[], datetime],
    ) -> None:
        self._app = app
        self._limiter = limiter
        self._usage = usage
        self._route_of = route_of
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        route = self._route_of(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        caller = state.get("caller")
        client = ANYBODY if caller is None else caller.client
        verdict = await self._limiter.check(client, route)
        if verdict.refused_by:
            Metrics.requests_limited.add(1, plan=verdict.plan.name, limit=verdict.refused_by)
            answer = error(
                ErrorCode.TOO_MANY_REQUESTS,
                f"The limit {verdict.refused_by} of the plan {verdict.plan.name} is used up.",
                now=self._now(),
                details={"limit": verdict.refused_by, "plan": verdict.plan.name},
                retry_after=verdict.retry_after,
                headers={name.decode(): value.decode() for name, value in verdict.fields()},
            )
            await answer(scope, receive, send)
            return
        state[_LIMITS] = verdict
        size = 0

        async def receive_counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            return message

        async def send_counted(message: Message) -> None:
            nonlocal size
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *verdict.fields()]
            else:
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive_counted, send_counted)
        finally:
            messages = state.get(MESSAGES, 0)
            self._usage.add(client, verdict.plan, messages=messages, size=size)


def charge(request: Request, tokens: int) -> None:
    """Have a request cost more than one token of its client's limits, once it is known what it costs."""
    verdict: Verdict | None = getattr(request.state, _LIMITS, None)
    if verdict is not None:
        verdict.charge(tokens - 1)
