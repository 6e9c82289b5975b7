"""Datasets over HTTP: the lake's tables by OData's options, in the formats that data tools read."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from shared.classification import Classification
from shared.datasets import (
    FORMATS,
    LAYERS,
    Datasets,
    FilterStep,
    Limits,
    NoSuchDataset,
    Question,
    Reading,
    Snapshot,
    columns_of,
    parse_apply,
    result_columns,
)
from shared.http import READERS, Route, answer_if_changed, caller_of, charge, error, reuse
from shared.messages import ErrorCode, parse_rfc3339
from shared.query import NAMES, InvalidQuery, Options, Place, parse_options
from shared.query.filters import parse_filter

from .continuation import Continuations
from .dataset_answers import REFUSED, DatasetAnswer, entry, refusal
from .dataset_docs import CATALOGUE_DOCS, DATASET_DOCS, LAYER_DOCS
from .odata import PLAIN, Dialect, EntitySet, metadata, odata_json, service_document
from .queries import AFTER, VARY, page_size, preferred
from .views import access_level

__all__ = ["DatasetEndpoints"]

MOST_TABLES = 200
_OPENED_AT_ONCE = 4
_METADATA = "$metadata"
_OPTIONS = (NAMES - {"$expand"}) | {AFTER, "$apply", "$format", "format", "asOf", "changesSince"}
_BYTES_OF_TOKEN = 16_777_216
"""Where requests are limited, a question takes one more token for each so many bytes of files that it reads."""
_COMMITS_OF_TOKEN = 10
"""And one for each so many commits of the table's log."""
_VERSION = re.compile(r"[0-9]{1,18}")


class DatasetEndpoints:
    """The endpoints.

    Parameters
    ----------
    datasets:
        Called with the first request: its libraries take half a second to load.
    limits:
        From an access level to what one of its questions may take.
    enabled:
        Whether there are datasets at all; without it the routes are there, since a gateway knows them, and answer 404.
    """

    def __init__(
        self,
        datasets: Callable[[], Datasets],
        continuations: Callable[[], Continuations],
        limits: Callable[[Classification], Limits],
        *,
        enabled: bool,
        public_url: str = "",
        now: Callable[[], datetime],
    ) -> None:
        self._datasets = datasets
        self._continuations = continuations
        self._limits = limits
        self._enabled = enabled
        self._public_url = public_url
        self._now = now

    def routes(self) -> list[Route]:
        """The catalogue, that of a layer, and the rows of a table."""
        seconds = max(self._limits(level).seconds for level in Classification) + 30
        return [
            self._route("datasets", self.catalogue, CATALOGUE_DOCS, frozenset()),
            self._route("datasets/{layer}", self.layer, LAYER_DOCS, frozenset()),
            self._route("datasets/{layer}/{table}", self.rows, DATASET_DOCS, _OPTIONS, seconds=seconds),
        ]

    def _route(
        self,
        path: str,
        endpoint: Callable[[Request], Awaitable[Response]],
        docs: Mapping[str, Any],
        query: frozenset[str],
        *,
        seconds: float | None = None,
    ) -> Route:
        async def answer(request: Request) -> Response:
            if not self._enabled:
                return error(ErrorCode.NOT_FOUND, "There are no datasets here.", now=self._now())
            try:
                return await endpoint(request)
            except REFUSED as failure:
                return refusal(failure, now=self._now())

        return Route(
            method="GET",
            path=path,
            endpoint=answer,
            access=READERS,
            query=query,
            docs=docs,
            described=self._enabled,
            streams=seconds is not None,
            seconds=seconds,
        )

    async def catalogue(self, request: Request) -> Response:
        """All tables that the caller may know of, with what their logs tell."""
        level = access_level(request)
        return self._listed(await self._entries(await self._datasets().names(level), level), request)

    async def layer(self, request: Request) -> Response:
        """The tables of one layer; for a reader of OData the service document."""
        level, layer = access_level(request), request.path_params["layer"]
        names = await self._of_layer(layer, level)
        dialect = Dialect.of(request.headers)
        if dialect is not None:
            body = odata_json(service_document([name for _, name in names], self._root(layer)))
            return Response(body, media_type=dialect.media_type, headers=dialect.headers)
        return self._listed(await self._entries(names, level), request)

    async def _of_layer(self, layer: str, level: Classification) -> list[tuple[str, str]]:
        if layer not in LAYERS or level < LAYERS[layer]:
            raise NoSuchDataset(f"There is no layer {layer[:64]}.")
        return [one for one in await self._datasets().names(level) if one[0] == layer]

    def _listed(self, entries: list[Any], request: Request) -> Response:
        body = to_json({"value": entries, "count": len(entries)})
        return answer_if_changed(request, body, now=self._now(), headers=reuse(max_age=0, stale=0, private=True))

    async def _entries(self, names: list[tuple[str, str]], level: Classification) -> list[Any]:
        if len(names) > MOST_TABLES:
            raise InvalidQuery(f"The catalogue has {len(names)} tables; ask for those of a layer.")
        return [
            entry(found, layer, name, level, href=f"{self._path}/{layer}/{name}", now=self._now())
            for (layer, name), found in zip(names, await self._snapshots(names, level), strict=True)
        ]

    async def _snapshots(self, names: list[tuple[str, str]], level: Classification) -> list[Snapshot | str]:
        places = asyncio.Semaphore(_OPENED_AT_ONCE)

        async def opened(layer: str, name: str) -> Snapshot | str:
            async with places:
                try:
                    return await self._datasets().open(layer, name, level)
                except REFUSED as failure:
                    return str(failure)

        return await asyncio.gather(*(opened(layer, name) for layer, name in names))

    @property
    def _path(self) -> str:
        return f"{urlsplit(self._public_url).path}/api/datasets"

    def _root(self, layer: str) -> str:
        """Of a layer's OData service."""
        return f"{self._public_url.rstrip('/')}/api/datasets/{layer}/"

    async def rows(self, request: Request) -> Response:
        """The rows of a table, or what OData calls its metadata."""
        layer, name = request.path_params["layer"], request.path_params["table"]
        level = access_level(request)
        if name == _METADATA:
            return await self._metadata(layer, level, request)
        given = dict(request.query_params)
        kind = _kind(given, request.headers.get("accept", ""))
        if kind is None:
            known = ", ".join(FORMATS)
            return error(ErrorCode.BAD_REQUEST, f"Accept: use one of {known}.", now=self._now(), status=406)
        if kind:
            return await self._whole(layer, name, level, given, kind, request)
        return await self._page(layer, name, level, given, request)

    async def _metadata(self, layer: str, level: Classification, request: Request) -> Response:
        names = await self._of_layer(layer, level)
        found = [one for one in await self._snapshots(names, level) if isinstance(one, Snapshot)]
        sets = [EntitySet(one.name, {name: column.shown for name, column in one.columns.items()}) for one in found]
        dialect = Dialect.of(request.headers) or PLAIN
        return Response(metadata(sets), media_type="application/xml", headers=dialect.headers)

    async def _whole(
        self, layer: str, name: str, level: Classification, given: Mapping[str, str], kind: str, request: Request
    ) -> Response:
        """All rows in one answer."""
        if one := next((option for option in (AFTER, "$count") if option in given), None):
            raise InvalidQuery(f"{one}: is for pages of JSON")
        snapshot = await self._datasets().open(layer, name, level, _as_of(given), since=_since(given))
        top = given.get("$top")
        if top is not None and not re.fullmatch("[0-9]{1,12}", top):
            raise InvalidQuery("$top: must be a number")
        question, options = _question(
            snapshot, level, {option: text for option, text in given.items() if option != "$top"}
        )
        limits = self._limits(level)
        headers = {**_version_header(question), "Content-Disposition": f'inline; filename="{name}"', "Vary": "Accept"}
        async with AsyncExitStack() as stack:
            reading = await stack.enter_async_context(
                self._datasets().reading(question, limits, client=_client(request))
            )
            charge(request, _cost(reading))
            if request.method == "HEAD":
                return Response(media_type=kind, headers=headers)
            pieces = await reading.whole(kind, top=None if top is None else int(top), skip=options.skip)
            stack.push_async_callback(pieces.aclose)
            first = await anext(pieces, None)
            return DatasetAnswer(first, pieces, stack.pop_all(), kind=kind, seconds=limits.seconds, headers=headers)

    async def _page(
        self, layer: str, name: str, level: Classification, given: Mapping[str, str], request: Request
    ) -> Response:
        """One page of JSON, of the version that the first page had."""
        dialect = Dialect.of(request.headers)
        bound = _bound(layer, name, given, level, dialect)
        place, left = None, None
        if AFTER in given:
            read = await self._continuations().read(given[AFTER], bound)
            if read is None:
                raise InvalidQuery(f"{AFTER}: is no continuation of this query")
            place, left = read
        as_of = _as_of(given) if place is None else int(place.after or 0)
        snapshot = await self._datasets().open(layer, name, level, as_of, since=_since(given))
        question, options = _question(snapshot, level, given)
        if place is None:
            place, left = Place(None, options.skip), None if dialect is None else options.top
        wanted = preferred(request)
        size = page_size(options, wanted, left, dialect)
        async with self._datasets().reading(question, self._limits(level), client=_client(request)) as reading:
            charge(request, _cost(reading))
            total = await reading.count() if options.count else None
            rows = await reading.page(top=size + 1, skip=place.skip) if size else []
        more, rows = len(rows) > size, rows[:size]
        left = None if left is None else left - len(rows)
        following = None
        if more and left != 0:
            token = await self._continuations().make(Place(str(snapshot.version), place.skip + len(rows)), left, bound)
            base = f"{self._path}/{layer}/" if dialect is None else self._root(layer)
            following = f"{base}{name}?{urlencode({**given, AFTER: token})}"
        headers = _version_header(question) | (
            {} if wanted is None else {"Preference-Applied": f"odata.maxpagesize={size}"}
        )
        if dialect is None:
            own: dict[str, Any] = {"value": rows, "count": len(rows), "version": snapshot.version}
            own |= {"$masked": sorted(question.hidden)} if question.hidden else {}
            own |= {} if following is None else {"nextLink": following}
            own |= {} if total is None else {"totalCount": total, "@odata.count": total}
            return self._answered(request, to_json(own), headers, "application/json")
        body: dict[str, Any] = {}
        if dialect.annotated:
            shown = f"({','.join(question.shown)})" if "$apply" in given or options.select else ""
            body = {"@odata.context": f"{self._root(layer)}{_METADATA}#{name}{shown}"}
        body |= {} if total is None else {"@odata.count": total}
        properties = {column: one.shown for column, one in question.shown.items()}
        body["value"] = [dialect.row(row, properties) for row in rows]
        body |= {} if following is None else {"@odata.nextLink": following}
        return self._answered(request, odata_json(body).encode(), headers | dialect.headers, dialect.media_type)

    def _answered(self, request: Request, body: bytes, headers: Mapping[str, str], kind: str) -> Response:
        reused = reuse(max_age=0, stale=0, private=True)
        reused["Vary"] += VARY
        return answer_if_changed(request, body, now=self._now(), headers={**reused, **headers}, media_type=kind)


def _client(request: Request) -> str | None:
    caller = caller_of(request)
    return None if caller is None else caller.client


def _cost(reading: Reading) -> int:
    """In tokens of the client's limits."""
    return 1 + reading.scanned // _BYTES_OF_TOKEN + reading.commits // _COMMITS_OF_TOKEN


def _version_header(question: Question) -> dict[str, str]:
    """The version that an answer is of, by the name that Delta Sharing has for it."""
    return {"Delta-Table-Version": str(question.snapshot.version)}


def _question(snapshot: Snapshot, level: Classification, given: Mapping[str, str]) -> tuple[Question, Options]:
    """What the options of a request ask of a version, and the options that a page has."""
    since = _since(given)
    columns = columns_of(snapshot, changes=since is not None)
    steps = parse_apply(given["$apply"], columns) if "$apply" in given else ()
    properties = {name: one.shown for name, one in result_columns(steps, columns).items()}
    if "$filter" in given:
        steps = (*steps, FilterStep(parse_filter(given["$filter"], properties)))
    rest = {name: text for name, text in given.items() if name in NAMES - {"$filter"}}
    options = parse_options(rest, properties)
    asked = Question(
        snapshot=snapshot, level=level, steps=steps, select=options.select, order=options.order, since=since
    )
    return asked, options


def _bound(layer: str, name: str, given: Mapping[str, str], level: Classification, dialect: Dialect | None) -> str:
    """What a continuation is good for: everything but the size of a page."""
    rest = sorted((option, text) for option, text in given.items() if option not in (AFTER, "$top"))
    return repr(("datasets", layer, name, rest, int(level), dialect is not None))


def _since(given: Mapping[str, str]) -> int | None:
    text = given.get("changesSince")
    if text is not None and not _VERSION.fullmatch(text):
        raise InvalidQuery("changesSince: must be the number of a version")
    return None if text is None else int(text)


def _as_of(given: Mapping[str, str]) -> int | datetime | None:
    text = given.get("asOf")
    if text is None or _VERSION.fullmatch(text):
        return None if text is None else int(text)
    try:
        return parse_rfc3339(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidQuery("asOf: must be the number of a version, or a time with its offset") from None


def _kind(given: Mapping[str, str], accept: str) -> str | None:
    """The media type of an answer, empty for pages of JSON; None where nothing fits."""
    if "format" in given and "$format" in given:
        raise InvalidQuery("format: is another name of $format, give one of them")
    name = given.get("format", given.get("$format"))
    if name is not None:
        found = FORMATS.get(name.lower(), name if name in FORMATS.values() and name else None)
        if found is None and name != "application/json":
            raise InvalidQuery(f"$format: use one of {', '.join(FORMATS)}")
        return found or ""
    weighed = [(_weight(part), -place, part) for place, part in enumerate(accept.lower().split(",")[:20])]
    for weight, _, part in sorted(weighed, reverse=True):
        kind = part.partition(";")[0].strip()
        if weight > 0 and kind in ("", "application/json", "application/hal+json", "application/*", "*/*"):
            return ""
        if weight > 0 and kind in FORMATS.values():
            return kind
    return None


def _weight(part: str) -> float:
    found = re.search(r";\s*q\s*=\s*([0-9.]{1,5})\s*(?:;|$)", part)
    try:
        return 1.0 if found is None else float(found[1])
    except ValueError:
        return 0.0
