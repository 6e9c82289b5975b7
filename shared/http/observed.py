"""Around every request: a span, a correlation id, headers for browsers, and an answer even when the app has failed."""

import logging
import re
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from datetime import datetime
from uuid import uuid4

from opentelemetry.trace import SpanKind, StatusCode
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.telemetry import Metrics, Name, log_event, record_exception, span

from .answers import internal_error

__all__ = ["ROUTE", "Observed", "correlation_id"]

ROUTE = "sluice.route"
"""In the scope of a request that went straight to its endpoint: its path."""
CLIENT_LEFT = 499
"""The status in telemetry of a request whose client left before its answer; no client ever sees it."""
_CORRELATION: ContextVar[str] = ContextVar("correlation_id", default="")
_CORRELATION_FIELD = b"x-correlation-id"
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),  # answers tell of persons, of errors, or of this moment
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""On every answer that doesn't say otherwise itself."""
_VALID = re.compile(r"[\x21-\x7e]{1,128}")


def correlation_id() -> str:
    """The correlation id of the request under way."""
    return _CORRELATION.get()


class Observed:
    """ASGI middleware; the outermost one.

    Parameters
    ----------
    presented:
        The same app for who asks for more than the plain answer: an encoding, links, a version, from another origin.
    """

    def __init__(self, app: ASGIApp, *, now: Callable[[], datetime], presented: ASGIApp | None = None) -> None:
        self._app = app
        self._presented = presented
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other scopes (there is no lifespan on Functions) pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given, parent, is_plain = _asked(scope)
        correlation = given if _VALID.fullmatch(given) else str(uuid4())
        token = _CORRELATION.set(correlation)
        began, status, started = time.perf_counter(), CLIENT_LEFT, False

        async def send_observed(message: Message) -> None:
            nonlocal started, status
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                message["headers"] = _answered(message["headers"], correlation)
                current.set_attribute(Name.HTTP_STATUS, message["status"])
                if message["status"] >= 500:
                    current.set_status(StatusCode.ERROR, str(message["status"]))
            await send(message)

        attributes = {
            Name.HTTP_METHOD: scope["method"],
            Name.URL_PATH: scope["path"],
            Name.CORRELATION: correlation,
            Name.CONVERSATION_ID: correlation,
        }
        try:
            with span(
                f"{scope['method']} {scope['path'][:80]}",
                kind=SpanKind.SERVER,
                parent=parent,
                attributes=attributes,
            ) as current:
                try:
                    app = self._app if self._presented is None or is_plain else self._presented
                    await app(scope, receive, send_observed)
                except ClientDisconnect:  # nobody is there to be answered, and nothing has failed
                    current.set_attribute(Name.HTTP_STATUS, CLIENT_LEFT)
                except Exception as failure:
                    log_event("request failed", level=logging.ERROR, error=failure, path=scope["path"])
                    record_exception(current, failure)
                    if not started:
                        answer = internal_error(now=self._now())
                        await answer(scope, receive, send_observed)
                if path := getattr(scope.get("route"), "path", None):  # few names for many addresses
                    current.update_name(f"{scope['method']} {path}")
        finally:
            _CORRELATION.reset(token)
            Metrics.http_duration.record(
                time.perf_counter() - began, method=scope["method"], route=_route(scope), status=status
            )


def _asked(scope: Scope) -> tuple[str, str | None, bool]:
    """Correlation id and traceparent of a request, as far as it has them, and whether the plain answer is enough."""
    correlation, parent = "", None
    is_plain = not scope["path"].startswith("/api/v")
    for name, value in scope["headers"]:
        if name == b"x-correlation-id":
            correlation = correlation or value.decode("latin-1")
        elif name == b"traceparent":
            parent = parent or value.decode("latin-1")
        elif name == b"accept-encoding" or name == b"origin" or (name == b"accept" and b"hal" in value):
            is_plain = False
    return correlation, parent, is_plain


def _answered(headers: Iterable[tuple[bytes, bytes]], correlation: str) -> list[tuple[bytes, bytes]]:
    """An answer's fields with the correlation id, and those that every answer has unless it brings its own."""
    found = [one for one in headers if one[0] != _CORRELATION_FIELD]
    names = {name for name, _ in found}
    found.append((_CORRELATION_FIELD, correlation.encode("latin-1")))
    found += [one for one in _HEADERS if one[0] not in names]
    return found


def _route(scope: Scope) -> str:
    """The path with its parameters' names; of what has no route, none: a path may be anything."""
    return str(scope.get(ROUTE) or getattr(scope.get("route"), "path", ""))
