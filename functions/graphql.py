"""GraphQL over HTTP: queries by POST and GET, subscriptions as server-sent events."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import from_json, to_json
from starlette.requests import Request
from starlette.responses import Response

from shared.classification import Classification
from shared.http import READERS, BadBody, Route, caller_of, charge, error, read_body
from shared.messages import ErrorCode
from shared.privacy import access_level_of

from .event_stream import EventStream
from .openapi import graphql_docs
from .unavailable import FAILURES, failed

if TYPE_CHECKING:
    from shared.graphql import (
        Asked,
        ConnectionPage,
        GraphQLEngine,
        PageArguments,
        Prepared,
        ReadingContext,
        RowChanges,
    )

__all__ = ["GraphQLEndpoints", "Reading"]

MAX_BODY = 262_144
SECONDS = 10.0
COST_OF_TOKEN, SPENT_OF_TOKEN = 100, 1_000
"""Where requests are limited, a query takes one more token for each so much of its cost, and of what lists and the rows
that connections looked at came to."""
MOST_ITEMS, MOST_BYTES = 100_000, 16_777_216
"""Fields of items of lists that one query resolves, and bytes of rows that it reads."""
_RESPONSE = "application/graphql-response+json"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PARAMETERS = frozenset({"query", "operationName", "variables", "extensions"})


class Reading(NamedTuple):
    """What reads as one access level sees it: rows as JSON by view and key, and pages of views."""

    row: Callable[[str, str], Awaitable[bytes | None]]
    page: "Callable[[str, PageArguments, Callable[[int], None]], Awaitable[ConnectionPage]]"


class GraphQLEndpoints:
    """The endpoints.

    Parameters
    ----------
    engine:
        Called with the first request: its library takes a third of a second to load.
    reading:
        From an access level to what reads as it sees.
    enabled:
        Whether there is a graph at all; without it the routes are there, since a gateway knows them, and answer 404.
    streams:
        Whether answers can come piece by piece, without which there are no subscriptions.
    most:
        Subscriptions at once on one instance.
    """

    def __init__(
        self,
        engine: Callable[[], "GraphQLEngine"],
        reading: Callable[[Classification], Reading],
        *,
        enabled: bool,
        streams: bool,
        now: Callable[[], datetime],
        most: int = 100,
    ) -> None:
        self._engine = engine
        self._reading = reading
        self._enabled = enabled
        self._streams = streams
        self._now = now
        self._places = asyncio.Semaphore(most)

    def routes(self) -> list[Route]:
        """`/graphql`, and `/graphql/stream` for subscriptions."""
        stream = replace(self._route("STREAM", "graphql/stream", self.stream), method="POST", streams=True)
        return [self._route("POST", "graphql", self.post), self._route("GET", "graphql", self.get), stream]

    def _route(self, way: str, path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
        offered = self._enabled and (self._streams or way != "STREAM")

        async def answer(request: Request) -> Response:
            if not offered:
                return error(ErrorCode.NOT_FOUND, "There is no graph here.", now=self._now())
            return await endpoint(request)

        query = _PARAMETERS if way == "GET" else frozenset()
        docs = graphql_docs(way)
        return Route(method=way, path=path, endpoint=answer, access=READERS, query=query, docs=docs, described=offered)

    async def post(self, request: Request) -> Response:
        """A query in a body of JSON."""
        try:
            body = await _json_body(request)
        except BadBody as bad:
            return error(bad.code, str(bad), now=self._now())
        return await self._query(request, body)

    async def get(self, request: Request) -> Response:
        """A query in the address."""
        asked: dict[str, Any] = dict(request.query_params)
        try:
            asked |= {name: _json(asked[name].encode()) for name in ("variables", "extensions") if name in asked}
        except BadBody as bad:
            return error(bad.code, str(bad), now=self._now())
        return await self._query(request, asked)

    async def _query(self, request: Request, body: Mapping[str, Any]) -> Response:
        from shared.graphql import Refused

        kind = _RESPONSE if _RESPONSE in request.headers.get("accept", "") else "application/json"
        try:
            prepared = self._engine().prepare(_asked(body))
            if prepared.subscribes:
                raise _refused("Subscriptions are followed at /graphql/stream.")
        except Refused as refused:
            return Response(to_json(refused.answer), status_code=refused.status, media_type=kind)
        charge(request, 1 + prepared.cost.total // COST_OF_TOKEN)
        context, _ = self._context(request)
        try:
            async with asyncio.timeout(SECONDS):
                found = await self._engine().run(prepared, context)
        except Refused as refused:
            return Response(to_json(refused.answer), status_code=refused.status, media_type=kind)
        finally:
            charge(request, 1 + context.spent // SPENT_OF_TOKEN)
            await context.close()
        return Response(to_json(found), media_type=kind)

    async def stream(self, request: Request) -> Response:
        """A subscription, or a query, whose answers come as events (graphql-sse's "distinct connections mode")."""
        from shared.graphql import Refused

        if "text/event-stream" not in request.headers.get("accept", ""):
            return error(ErrorCode.BAD_REQUEST, "Send Accept: text/event-stream.", now=self._now(), status=406)
        try:
            prepared = self._engine().prepare(_asked(await _json_body(request)))
        except BadBody as bad:
            return error(bad.code, str(bad), now=self._now())
        except Refused as refused:
            return Response(to_json(refused.answer), status_code=refused.status, media_type="application/json")
        charge(request, 1 + prepared.cost.total // COST_OF_TOKEN)
        if self._places.locked():
            return error(ErrorCode.UNAVAILABLE, "Too many follow already.", now=self._now(), retry_after=30)
        context, changes = self._context(request)
        return EventStream(self._events(request, prepared, context, changes), places=self._places)

    def _context(self, request: Request) -> "tuple[ReadingContext, RowChanges]":
        from shared.graphql import ReadingContext, RowChanges

        caller = caller_of(request)
        reading = self._reading(access_level_of(None if caller is None else caller.roles))
        changes = RowChanges(reading.row, last=request.headers.get("last-event-id", ""))
        return ReadingContext(reading.row, reading.page, changes.follow, cost=MOST_ITEMS, size=MOST_BYTES), changes

    async def _events(
        self, request: Request, prepared: "Prepared", context: "ReadingContext", changes: "RowChanges"
    ) -> AsyncGenerator[tuple[str, bytes], None]:
        """The id and data of each answer."""
        from shared.graphql import Refused

        try:
            if prepared.subscribes:
                results = self._engine().follow(prepared, context)
                try:
                    async for found in results:
                        yield changes.identity, to_json(found)
                finally:
                    await results.aclose()
            else:
                async with asyncio.timeout(SECONDS):
                    yield "", to_json(await self._engine().run(prepared, context))
        except Refused as refused:
            yield "", to_json(refused.answer)
        except FAILURES as failure:
            failed(failure, now=self._now())
            raise TimeoutError from failure
        finally:
            charge(request, 1 + context.spent // SPENT_OF_TOKEN)
            await context.close()


def _refused(message: str) -> Exception:
    from graphql import GraphQLError

    from shared.graphql import Refused

    return Refused([GraphQLError(message, extensions={"code": "BAD_REQUEST"})])


async def _json_body(request: Request) -> dict[str, Any]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise BadBody(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "Send Content-Type: application/json.")
    found = _json(await read_body(request, limit=MAX_BODY))
    return found if isinstance(found, dict) else {}


def _json(text: bytes) -> Any:
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        raise BadBody(ErrorCode.MALFORMED_JSON, "This isn't JSON.") from None


def _asked(body: Mapping[str, Any]) -> "Asked":
    """The request, its parts checked; raises Refused."""
    from shared.graphql import Asked

    query, operation = body.get("query"), body.get("operationName")
    variables, extensions = ({} if body.get(name) is None else body[name] for name in ("variables", "extensions"))
    if not (
        isinstance(query, str | None)
        and isinstance(operation, str | None)
        and isinstance(variables, dict)
        and isinstance(extensions, dict)
    ):
        raise _refused("query and operationName are texts, variables and extensions objects.")
    persisted = extensions.get("persistedQuery")
    digest = None
    if isinstance(persisted, dict):
        digest = persisted.get("sha256Hash")
        if persisted.get("version") != 1 or not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise _refused("persistedQuery: must have version 1 and a sha256Hash of 64 hexadecimal digits.")
    return Asked(query=query or None, digest=digest, operation=operation or None, variables=variables)
