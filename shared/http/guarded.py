"""Lets a request in, or answers why not, before the app reads anything of its body."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.audit import SecurityEvent, security_event
from shared.authentication import Caller, CannotTell, Forbidden, IdentityError, Role, Unauthenticated
from shared.messages import ErrorCode

from .answers import error

__all__ = ["Authenticate", "Guarded", "caller_of"]

Authenticate = Callable[[Iterable[tuple[bytes, bytes]]], Awaitable[Caller]]
"""From a request's headers to the caller; raises IdentityError."""

Access = Callable[[str, str], frozenset[Role] | None]
"""From method and path to the roles of which a caller needs one; None lets everybody in."""


_EVENTS = {Unauthenticated: SecurityEvent.UNAUTHENTICATED, Forbidden: SecurityEvent.FORBIDDEN}


class Guarded:
    """ASGI middleware; what it lets in finds the caller at `request.state.caller`.

    Parameters
    ----------
    authenticate:
        From the headers to the caller; raises IdentityError.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        authenticate: Authenticate,
        now: Callable[[], datetime],
    ) -> None:
        self._app = app
        self._access = access
        self._authenticate = authenticate
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        needed = self._access(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if needed is None:
            await self._app(scope, receive, send)
            return
        client = ""
        try:
            caller = await self._authenticate(scope["headers"])
            client = caller.client
            if needed.isdisjoint(caller.roles):
                raise Forbidden(f"This needs the role {' or '.join(sorted(needed))}.")
        except IdentityError as refused:
            if (kind := _EVENTS.get(type(refused))) is not None:
                security_event(kind, str(refused), method=scope["method"], path=scope["path"], client=client)
            code, headers, retry_after = _answer(refused)
            answer = error(code, str(refused), now=self._now(), headers=headers, retry_after=retry_after)
            await answer(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)


def caller_of(request: Request) -> Caller | None:
    """Who sent a request that was let in; None only where callers aren't checked at all."""
    caller: Caller | None = getattr(request.state, "caller", None)
    return caller


def _answer(refused: IdentityError) -> tuple[ErrorCode, Mapping[str, str], int | None]:
    """Code, headers and seconds to wait; the challenge is that of RFC 6750, which names an error only for a token."""
    match refused:
        case CannotTell(retry_after=seconds):
            return ErrorCode.UNAVAILABLE, {}, seconds
        case Unauthenticated(presented=presented):
            detail = ', error="invalid_token"' if presented else ""
            return ErrorCode.UNAUTHENTICATED, {"WWW-Authenticate": f'Bearer realm="sluice"{detail}'}, None
        case _:
            challenge = 'Bearer realm="sluice", error="insufficient_scope"'
            return ErrorCode.FORBIDDEN, {"WWW-Authenticate": challenge}, None
