"""The HTTP API: a FastAPI app behind one HTTP trigger."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

import azure.functions as func
from azure.core.exceptions import AzureError
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.authentication import Caller, Role
from shared.encryption import KeysUnavailable
from shared.health import Health
from shared.http import (
    BadBody,
    Guarded,
    Observed,
    Operation,
    Refused,
    accepted,
    answer_with,
    correlation_id,
    declared_length,
    error,
    mark_of,
    media_type,
    read_body,
    success,
)
from shared.messages import ErrorCode, Handler
from shared.secrets import SecretError
from shared.sending import NotSent
from shared.state import inbox_key
from shared.telemetry import log_event

from .access import ANONYMOUS, roles_for
from .openapi import command_docs, describe_callers, find_docs, view_docs
from .services import Services
from .views import Views

__all__ = ["Api", "api_blueprint", "build_api"]

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
RETRY_AFTER_SECONDS = 2
LARGE_BODY = 256 * 1024

_STATUS = {"done": "succeeded", "dead": "failed"}
"""Inbox status → what an operation says; not there, or open again for a replay, is accepted."""
NOT_READ = "This can't be read just now. Ask again."
NOT_KEPT = "The message could not be kept just now. Send it again with the same message id."

Endpoint = Callable[[Request], Awaitable[Response]]


class Api:
    """The endpoints. Each returns a Response; what goes wrong on purpose is answered in the one error format."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._health = Health(
            {"service-bus": services_probe(services, "lanes"), "state": services_probe(services, "state")},
            now=services.now,
        )

    async def command(self, request: Request, route: Handler | None) -> Response:
        """Take a command in."""
        started = time.perf_counter()
        services = self._services
        try:
            operations = await services.operations()  # what can't be signed isn't taken in
            kind = media_type(request)
            asked = _asked_id(request)
            declared = declared_length(request)
            if declared is not None and declared <= LARGE_BODY:
                operation = await self._take(request, kind, route, asked)
            else:
                async with services.intake.large:  # few at once: a large body costs many times its size in memory
                    operation = await self._take(request, kind, route, asked)
        except BadBody as refused:
            return error(refused.code, refused.message, now=services.now())
        except Refused as refused:
            return error(
                refused.error.code,
                refused.error.message,
                now=services.now(),
                message_id=refused.message_id,
                details=refused.error.details,
            )
        except NotSent as failure:
            log_event("not sent", level=logging.WARNING, reason=str(failure))
            return _unavailable(services)
        except SecretError as failure:
            return secret_failed(services, failure)
        except (AzureError, TimeoutError, KeysUnavailable) as failure:
            return storage_failed(services, failure)
        milliseconds = round((time.perf_counter() - started) * 1_000)
        location = f"/api/operations/{operations.make(operation)}"
        return accepted(operation.message_id, location=location, now=services.now(), milliseconds=milliseconds)

    async def _take(self, request: Request, kind: str, route: Handler | None, asked: UUID | None) -> Operation:
        services = self._services
        body = await read_body(request, limit=services.settings.max_body_bytes)
        command = await services.intake.read(body, kind=kind, route=route, asked_id=asked)
        caller = _caller(request)
        client = None if caller is None else caller.client
        return await services.intake.accept(command, correlation_id=correlation_id(), client=client)

    async def operation(self, request: Request) -> Response:
        """What became of a message: one point read."""
        services = self._services
        started = time.perf_counter()
        operation = (await services.operations()).read(request.path_params["operationId"])
        if operation is None or not _may_see(_caller(request), operation):  # another client's isn't told from none
            return _no_operation(services)
        key = inbox_key(operation.message_id)
        row = (await services.state.find(operation.bucket, [key])).get(key)
        if row is not None and not _sent_by(_caller(request), row):
            return _no_operation(services)
        status = _STATUS.get(row["status"] if row is not None else "", "accepted")
        more: dict[str, Any] = {}
        if row is not None and status == "failed":
            more["error"] = {"code": row.get("code", ""), "message": row.get("reason", ""), "details": {}}
        return success(
            status,
            message_id=operation.message_id,
            now=services.now(),
            milliseconds=round((time.perf_counter() - started) * 1_000),
            processed=status != "accepted",
            more=more,
        )

    async def health(self) -> Response:
        """The process answers."""
        return self._health.alive()

    async def ready(self) -> Response:
        """What a message needs on its way in can be reached."""
        return await self._health.ready()


def _caller(request: Request) -> Caller | None:
    """Who sent the request; None only where callers aren't checked at all."""
    caller: Caller | None = getattr(request.state, "caller", None)
    return caller


def _may_see(caller: Caller | None, operation: Operation) -> bool:
    client = _confined_to(caller)
    return client is None or operation.is_of(client)


def _sent_by(caller: Caller | None, row: Mapping[str, Any]) -> bool:
    """Whether a caller may see a record: an id that another client had used before shows nothing of its message."""
    client = _confined_to(caller)
    return client is None or bool(row.get("sender") == mark_of(client).hex())


def _confined_to(caller: Caller | None) -> str | None:
    """The client whose operations alone the caller sees: its own, where it only produces; None where it sees all."""
    return caller.client if caller is not None and caller.roles == {Role.PRODUCER} else None


def _no_operation(services: Services) -> Response:
    return error(ErrorCode.NOT_FOUND, "There is no such operation.", now=services.now())


class Direct:
    """Takes commands straight to their endpoints; FastAPI documents and serves everything else.

    A command uses nothing of FastAPI's middleware and dependencies, which cost more than all of its own work.
    """

    def __init__(self, app: ASGIApp, commands: Mapping[str, Endpoint]) -> None:
        self._app = app
        self._commands = dict(commands)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        endpoint = self._commands.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if endpoint is None:
            await self._app(scope, receive, send)
        else:
            answer = await endpoint(Request(scope, receive))
            await answer(scope, receive, send)


def services_probe(services: Services, name: str) -> Any:
    """A probe that makes the client on its first run."""

    async def probe() -> None:
        target = getattr(services, name)
        await (target.open() if name == "state" else target.probe())

    return probe


def build_api(services: Services) -> Observed:
    """The API as an ASGI app, with paths as the platform hands them over."""
    api, views = Api(services), Views(services)
    app = FastAPI(
        title="Sluice",
        version="0.1.0",
        openapi_url="/api/openapi.json",
        docs_url="/api/docs",
        redoc_url=None,
        redirect_slashes=False,  # behind a gateway the redirect would name the wrong host
    )

    def take(route: Handler | None) -> Any:
        async def endpoint(request: Request) -> Response:
            return await api.command(request, route)

        return endpoint

    def show(name: str) -> Any:
        async def endpoint(request: Request) -> Response:
            return await views.one(name, request.path_params["key"], request)

        return endpoint

    def find(name: str) -> Any:
        async def endpoint(request: Request) -> Response:
            return await views.find(name, request)

        return endpoint

    commands: dict[str, Endpoint] = {}
    for path, handler in {"messages": None, **services.registry.routes}.items():
        commands[f"/api/{path}"] = take(handler)
        app.add_api_route(f"/api/{path}", commands[f"/api/{path}"], methods=["POST"], **command_docs(handler))
    app.add_api_route(
        "/api/operations/{operationId}", api.operation, methods=["GET"], **view_docs("operation", "operationId")
    )
    app.add_api_route("/api/health", api.health, methods=["GET"], **view_docs("health"))
    app.add_api_route("/api/health/ready", api.ready, methods=["GET"], **view_docs("readiness"))
    for name in services.registry.views:
        app.add_api_route(f"/api/{name}/{{key}}", show(name), methods=["GET"], **view_docs(name, "key"))
        if findable := views.findable(name):
            app.add_api_route(f"/api/{name}", find(name), methods=["GET"], **find_docs(name, findable))

    @app.exception_handler(HTTPException)
    async def no_route(_: Request, failure: HTTPException) -> Response:
        codes = {404: ErrorCode.NOT_FOUND, 405: ErrorCode.METHOD_NOT_ALLOWED}
        code = codes.get(failure.status_code, ErrorCode.BAD_REQUEST)
        return error(code, failure.detail, now=services.now(), status=failure.status_code, headers=failure.headers)

    async def not_read(_: Request, failure: Exception) -> Response:
        if isinstance(failure, SecretError):
            return secret_failed(services, failure, NOT_READ)
        return storage_failed(services, failure, NOT_READ)

    app.add_exception_handler(AzureError, not_read)
    app.add_exception_handler(SecretError, not_read)
    app.add_exception_handler(TimeoutError, not_read)
    direct = Direct(app, commands)
    if services.authenticator is None:
        return Observed(direct, now=services.now)
    describe_callers(app, anonymous=ANONYMOUS)
    authenticate = services.authenticator.caller
    return Observed(Guarded(direct, access=roles_for, authenticate=authenticate, now=services.now), now=services.now)


def storage_failed(services: Services, failure: Exception, message: str = NOT_KEPT) -> Response:
    """What a client is told while storage can't be reached."""
    log_event("storage failed", level=logging.WARNING, reason=f"{type(failure).__name__}: {failure}"[:500])
    return _unavailable(services, message)


def secret_failed(services: Services, failure: SecretError, message: str = NOT_KEPT) -> Response:
    """What a client is told while a secret can't be had."""
    log_event("no secret", level=logging.ERROR, secret=failure.name, reason=failure.reason)
    return _unavailable(services, message)


def _unavailable(services: Services, message: str = NOT_KEPT) -> Response:
    return error(
        ErrorCode.UNAVAILABLE,
        message,
        now=services.now(),
        retry_after=RETRY_AFTER_SECONDS,
    )


def _asked_id(request: Request) -> UUID | None:
    text = request.headers.get("idempotency-key")
    if text is None:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise BadBody(ErrorCode.BAD_REQUEST, "Idempotency-Key must be a UUID.") from None


def api_blueprint(services: Services) -> func.Blueprint:
    """One HTTP trigger for the whole API; callers are checked by the app."""
    blueprint = func.Blueprint()
    app = build_api(services)
    route = blueprint.route("{*path}", methods=METHODS, auth_level=func.AuthLevel.ANONYMOUS)
    if services.settings.http_streams:
        from azurefunctions.extensions.http.fastapi import Request as StreamedRequest
        from azurefunctions.extensions.http.fastapi import Response as StreamedResponse

        async def api(req: StreamedRequest) -> StreamedResponse:
            return await answer_with(app, req)

    else:
        bridge = func.AsgiMiddleware(app)

        async def api(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:  # type: ignore[misc]
            answer: func.HttpResponse = await bridge.handle_async(req, context)
            return answer

    route(api)
    return blueprint
