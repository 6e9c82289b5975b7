"""What stands before the routes, from the outside in: origins, versions, presentation; callers, shedding, limits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import random
from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from shared.http import (
    Deprecation,
    Guarded,
    Limited,
    OverloadWatch,
    Presented,
    RouteTable,
    Shedding,
    Versioned,
)
from shared.http.guarded import Authenticate
from shared.limits import Limiter, UsageMeter

__all__ = ["Door"]

_REQUEST_FIELDS = (
    "Accept",
    "Authorization",
    "Cache-Control",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Unmodified-Since",
    "Last-Event-ID",
    "OData-MaxVersion",
    "OData-Version",
    "Prefer",
    "Sluice-Min-Version",
    "X-API-Key",
    "X-Correlation-ID",
    "traceparent",
)
_ANSWER_FIELDS = (
    "Age",
    "Deprecation",
    "ETag",
    "Link",
    "Location",
    "OData-Version",
    "Operation-Id",
    "Operation-Request",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Sluice-Version",
    "Sunset",
    "X-Correlation-ID",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
)
_PREFLIGHT_SECONDS = 3_600


@dataclass(frozen=True, kw_only=True)
class Door:
    """How requests come in.

    Attributes
    ----------
    limits:
        How often a client may call, and what counts that it did; None limits nobody.
    overload:
        Looks whether there is too much to do; None sheds nothing.
    origins:
        Whose pages may call from a browser.
    deprecated:
        Versions of the path that will be gone.
    """

    limits: tuple[Limiter, UsageMeter] | None = None
    overload: OverloadWatch | None = None
    origins: Sequence[str] = ()
    deprecated: Mapping[str, Deprecation] = field(default_factory=dict)

    def before(
        self,
        app: ASGIApp,
        table: RouteTable,
        *,
        authenticate: Authenticate | None,
        now: Callable[[], datetime],
    ) -> ASGIApp:
        """The app behind the door."""
        if self.limits is not None:
            limiter, usage = self.limits
            app = Limited(app, limiter=limiter, usage=usage, route_of=_limited_by(table), now=now)
        if self.overload is not None:
            app = Shedding(
                app,
                watch=self.overload,
                never=frozenset(route.full_path for route in table.routes if route.is_anonymous),
                streaming=frozenset((route.method, route.full_path) for route in table.routes if route.streams),
                is_high=self._is_high,
                now=now,
                random=random,
            )
        if authenticate is not None:
            app = Guarded(app, access=table.access, authenticate=authenticate, now=now)
        return app

    def presenting(self, app: ASGIApp, *, public_url: str) -> ASGIApp:
        """The app for who asks for more than its plain answers."""
        app = Presented(app, public_path=urlsplit(public_url).path)
        app = Versioned(app, deprecated=self.deprecated)
        if self.origins:
            app = CORSMiddleware(
                app,
                allow_origins=self.origins,
                allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
                allow_headers=_REQUEST_FIELDS,
                expose_headers=_ANSWER_FIELDS,
                max_age=_PREFLIGHT_SECONDS,
            )
        return app

    def _is_high(self, client: str) -> bool:
        return self.limits is not None and self.limits[0].plan_of(client).is_high


def _limited_by(table: RouteTable) -> Callable[[str, str], str | None]:
    """From method and path to the name of the route whose limits count; None for what everybody may call."""

    def name(method: str, path: str) -> str | None:
        route = table.find(method, path)
        if route is None:
            return None if table.access(method, path) is None else ""
        return None if route.access is None else route.limit

    return name
