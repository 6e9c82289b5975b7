"""The HTTP API: a FastAPI app behind one HTTP trigger, put together from routes."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any

import azure.functions as func
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.authentication import IdentityError, Role
from shared.health import VERSION, Health
from shared.http import (
    ANONYMOUS,
    ROUTE,
    ClassicBridge,
    Observed,
    Route,
    RouteTable,
    answer_with,
    error,
    internal_error,
)
from shared.http.guarded import Authenticate
from shared.messages import ErrorCode

from .documentation import documentation_page
from .door import Door
from .openapi import document, health_docs
from .triggers import AppName, Function, HttpTrigger
from .unavailable import FAILURES, NOT_READ, failed

__all__ = ["Authenticate", "api_function", "build_api", "health_routes", "own_routes"]

LONGEST_NAME, MOST_NAMED = 80, 20
READ_SECONDS = 10.0
"""A client has given up by then; a request that waits on keeps one of the instance's few places."""

OPEN = Door()
Endpoint = Callable[[Request], Awaitable[Response]]


class Direct:
    """Takes commands straight to their endpoints; FastAPI documents and serves everything else.

    A command uses nothing of FastAPI's middleware and dependencies, which cost more than all of its own work.
    """

    def __init__(self, app: ASGIApp, commands: Mapping[tuple[str, str], Endpoint]) -> None:
        self._app = app
        self._commands = dict(commands)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        endpoint = self._commands.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if endpoint is None:
            await self._app(scope, receive, send)
        else:
            scope[ROUTE] = scope["path"]
            answer = await endpoint(Request(scope, receive))
            await answer(scope, receive, send)


def own_routes() -> list[Route]:
    """Pages that the library makes: what the API is, for everybody."""

    async def made_by_the_library(_: Request) -> Response:
        raise HTTPException(404)

    return [
        Route(method="GET", path=path, endpoint=made_by_the_library, access=ANONYMOUS, described=False)
        for path in ("openapi.json", "docs")
    ]


def health_routes(health: Health, authenticate: Authenticate | None) -> list[Route]:
    """Whether the process answers, and how everything is that a message needs on its way; operators learn why."""

    async def alive(_: Request) -> Response:
        return health.alive()

    async def ready(request: Request) -> Response:
        return await health.ready(details=authenticate is None or await _is_operator(authenticate, request))

    return [
        Route(method="GET", path="health", endpoint=alive, access=ANONYMOUS, docs=health_docs("Health")),
        Route(method="GET", path="health/ready", endpoint=ready, access=ANONYMOUS, docs=health_docs("Readiness")),
    ]


async def _is_operator(authenticate: Authenticate, request: Request) -> bool:
    """Whether a caller, who needn't say who they are, does so and is one."""
    try:
        return Role.OPERATOR in (await authenticate(request.scope["headers"])).roles
    except IdentityError:
        return False


def checked(route: Route, *, now: Callable[[], datetime]) -> Endpoint:
    """A route's endpoint that refuses query parameters which would change nothing, and those given twice."""

    async def endpoint(request: Request) -> Response:
        given = Counter(name for name, _ in request.query_params.multi_items())
        wrong = {
            name: "is given more than once" if name in route.query else "there is no such parameter here"
            for name, times in given.items()
            if times > 1 or name not in route.query
        }
        if not wrong:
            return await route.endpoint(request)
        found = [{"field": name[:LONGEST_NAME], "message": message} for name, message in wrong.items()][:MOST_NAMED]
        first = f"{found[0]['field']}: {found[0]['message']}"
        return error(ErrorCode.BAD_REQUEST, first, now=now(), details={"errors": found, "count": len(wrong)})

    return endpoint


def within(seconds: float, endpoint: Endpoint) -> Endpoint:
    """An endpoint that gives up after some seconds, whatever it waits for; raises TimeoutError then."""

    async def bounded(request: Request) -> Response:
        async with asyncio.timeout(seconds):
            return await endpoint(request)

    return bounded


def headed(endpoint: Endpoint) -> Endpoint:
    """An endpoint that answers HEAD as GET, without the body; a stream isn't begun."""

    async def answered(request: Request) -> Response:
        answer = await endpoint(request)
        if request.method != "HEAD":
            return answer
        bare = Response(status_code=answer.status_code)
        bare.raw_headers = answer.raw_headers
        return bare

    return answered


def build_api(
    routes: Sequence[Route],
    *,
    authenticate: Authenticate | None,
    now: Callable[[], datetime],
    public_url: str = "",
    read_seconds: float = READ_SECONDS,
    door: Door = OPEN,
) -> Observed:
    """The API as an ASGI app, with paths as the platform hands them over.

    Parameters
    ----------
    authenticate:
        None where callers aren't checked at all.
    public_url:
        Where callers reach the app; empty where they reach it directly.
    read_seconds:
        What a GET may take before it is answered with 503.
    door:
        What else stands before the routes.
    """
    app = FastAPI(
        title="Sluice",
        version=VERSION,
        openapi_url=None,  # the library's own pages would take any query parameter
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # behind a gateway the redirect would name the wrong host
    )

    @cache
    def described() -> dict[str, Any]:
        listed = [route for route in routes if route.described]
        return document(listed, server=public_url, checks_callers=authenticate is not None)

    async def description(_: Request) -> Response:
        return JSONResponse(described())

    async def documentation(_: Request) -> Response:
        return documentation_page(described())

    own = {"openapi.json": description, "docs": documentation}
    routes = [replace(route, endpoint=own.get(route.path, route.endpoint)) for route in routes]
    for route in routes:
        endpoint = checked(route, now=now)
        methods = [route.method]
        if route.method == "GET":
            endpoint, methods = headed(within(route.seconds or read_seconds, endpoint)), ["GET", "HEAD"]
        app.add_api_route(route.full_path, endpoint, methods=methods, include_in_schema=False)

    @app.exception_handler(HTTPException)
    async def no_route(_: Request, failure: HTTPException) -> Response:
        codes = {404: ErrorCode.NOT_FOUND, 405: ErrorCode.METHOD_NOT_ALLOWED}
        code = codes.get(failure.status_code, ErrorCode.BAD_REQUEST)
        return error(code, failure.detail, now=now(), status=failure.status_code, headers=failure.headers)

    @app.exception_handler(Exception)
    async def unexpected(_: Request, failure: Exception) -> Response:
        """The library raises it again after this answer, and `Observed` reports it."""
        return internal_error(now=now())

    async def not_read(_: Request, failure: Exception) -> Response:
        return failed(failure, NOT_READ, now=now())

    for kind in FAILURES:
        app.add_exception_handler(kind, not_read)
    served: ASGIApp = Direct(app, {(one.method, one.full_path): checked(one, now=now) for one in routes if one.direct})
    table = RouteTable(routes)
    served = door.before(served, table, authenticate=authenticate, now=now)
    return Observed(served, now=now, presented=door.presenting(served, public_url=public_url))


def api_function(app: Observed, *, streams: bool) -> Function:
    """One HTTP trigger for the whole API.

    Parameters
    ----------
    streams:
        Bodies come as streams; otherwise whole, over the classic bridge.
    """
    if streams:
        from azurefunctions.extensions.http.fastapi import Request as StreamedRequest
        from azurefunctions.extensions.http.fastapi import Response as StreamedResponse

        async def api(req: StreamedRequest) -> StreamedResponse:
            return await answer_with(app, req)

    else:
        bridge = ClassicBridge(app)

        async def api(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:  # type: ignore[misc]
            return await bridge.answer(req, context)

    return Function(call=api, trigger=HttpTrigger(path="{*path}"), app=AppName.API)
