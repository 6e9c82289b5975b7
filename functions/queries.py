"""Queries of read models over HTTP: `GET /<view>` with OData's options, in our page format or in OData's."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from shared.classification import Classification
from shared.encryption import ProtectionError
from shared.http import READERS, Route, answer_if_changed, error, reuse
from shared.messages import ErrorCode
from shared.query import (
    MAX_TOP,
    ForbiddenField,
    InvalidQuery,
    Options,
    PageQuery,
    Pages,
    Place,
    QueryPage,
    ViewIndexes,
    parse_options,
)

from .continuation import Continuations
from .odata import ODATA_PAGE, PLAIN, Dialect, EntitySet, context, metadata, odata_json, service_document, set_name
from .openapi import ODATA_METADATA_DOCS, ODATA_SERVICE_DOCS

__all__ = ["AFTER", "VARY", "Queries", "page_size", "preferred"]

AFTER = "$skiptoken"
PAGE = 50
MAX_KEY = 128
VARY = ", Prefer, OData-MaxVersion, OData-Version"
_PREFERRED = re.compile(r"(?:^|,)\s*(?:odata\.)?maxpagesize\s*=\s*\"?([0-9]{1,6})\"?\s*(?:,|;|$)", re.IGNORECASE)


class Queries:
    """Answers queries of all views that declare how they are found.

    Parameters
    ----------
    pages:
        Called with the first request, so that nothing connects before.
    public_url:
        Where callers reach the app; empty where they reach it directly.
    """

    def __init__(
        self,
        declared: Mapping[str, ViewIndexes],
        pages: Callable[[], Pages],
        continuations: Callable[[], Continuations],
        *,
        public_url: str = "",
        now: Callable[[], datetime],
    ) -> None:
        self._declared = declared
        self._pages = pages
        self._continuations = continuations
        self._public_url = public_url
        self._now = now

    def routes(self) -> list[Route]:
        """What a reader of OData asks for first; none where nothing is queried."""
        views = list(self._declared.values())
        described: list[bytes] = []

        async def csdl(request: Request) -> Response:
            if not described:
                described.append(metadata(EntitySet(set_name(one.view), one.properties, one.key) for one in views))
            dialect = Dialect.of(request.headers) or PLAIN
            return Response(described[0], media_type="application/xml", headers=dialect.headers)

        async def service(request: Request) -> Response:
            dialect = Dialect.of(request.headers) or PLAIN
            body = odata_json(service_document((set_name(one.view) for one in views), self._root))
            return Response(body, media_type=dialect.media_type, headers=dialect.headers)

        routes = [("", service, ODATA_SERVICE_DOCS), ("$metadata", csdl, ODATA_METADATA_DOCS)]
        return [
            Route(method="GET", path=path, endpoint=endpoint, access=READERS, docs=docs)
            for path, endpoint, docs in (routes if views else [])
        ]

    async def answer(self, view: str, request: Request, level: Classification) -> Response:
        """One page."""
        declared = self._declared[view]
        dialect = Dialect.of(request.headers)
        try:
            return await self._answer(declared, request, level, dialect)
        except InvalidQuery as refused:
            return error(ErrorCode.BAD_REQUEST, str(refused), now=self._now())
        except ForbiddenField as refused:
            return error(ErrorCode.FORBIDDEN, str(refused), now=self._now())

    async def one(self, view: str, key: str, request: Request, level: Classification) -> Response:
        """One row, as OData has it."""
        declared, dialect = self._declared[view], Dialect.of(request.headers) or PLAIN
        try:
            options = parse_options(dict(request.query_params), declared.properties)
            row = await self._pages().one(view, key, level=level) if 1 <= len(key) <= MAX_KEY else None
        except InvalidQuery as refused:
            return error(ErrorCode.BAD_REQUEST, str(refused), now=self._now())
        except ProtectionError as failure:
            return error(failure.code, "This row can't be decrypted.", now=self._now(), status=500)
        if row is None:
            return error(ErrorCode.NOT_FOUND, f"There is nothing under {view}/{key[:MAX_KEY]}.", now=self._now())
        shown = dialect.row(options.shape(row, declared.properties, whole=True), declared.properties)
        of = f"{self._root}{context(declared, options)}/$entity"
        body = {"@odata.context": of} if dialect.annotated else {}
        return self._odata(request, {**body, **shown}, dialect, {})

    @property
    def _root(self) -> str:
        """Of the service: whole where callers' address is known, since some readers can't follow a link without a host.

        A request tells its address as the platform's own proxy has it, which nobody outside reaches.
        """
        return f"{self._public_url.rstrip('/')}/api/"

    def _odata(
        self, request: Request, body: Mapping[str, Any], dialect: Dialect, headers: Mapping[str, str]
    ) -> Response:
        reused = reuse(max_age=0, stale=0, private=True)
        reused["Vary"] += VARY
        return answer_if_changed(
            request,
            odata_json(body).encode("utf-8", "surrogatepass"),
            now=self._now(),
            headers={**reused, **headers, **dialect.headers},
            media_type=dialect.media_type,
        )

    async def _answer(
        self, declared: ViewIndexes, request: Request, level: Classification, dialect: Dialect | None
    ) -> Response:
        given = dict(request.query_params)
        options = parse_options(given, declared.properties)
        bound = self._bound(declared.view, given, level, dialect)
        place, left = Place(None, options.skip), None if dialect is None else options.top
        if AFTER in given:
            read = await self._continuations().read(given[AFTER], bound)
            if read is None:
                raise InvalidQuery(f"{AFTER}: is no continuation of this query")
            place, left = read
        wanted = preferred(request)
        size = page_size(options, wanted, left, dialect)
        page = await self._page(declared.view, options, place, size, level)
        rows = [options.shape(row.value, declared.properties, whole=dialect is not None) for row in page.rows]
        left = None if left is None else left - len(rows)
        following = None
        if page.next is not None and left != 0 and size:
            token = await self._continuations().make(page.next, left, bound)
            asked = {**given, AFTER: token}
            root = self._root if dialect is not None else f"{urlsplit(self._public_url).path}/api/"
            following = f"{root}{declared.view}?{urlencode(asked)}"
        headers = {} if wanted is None else {"Preference-Applied": f"odata.maxpagesize={size}"}
        if dialect is None:
            own, reused = to_json(_own(rows, following, page)), reuse(max_age=0, stale=0, private=True)
            reused["Vary"] += VARY
            return answer_if_changed(request, own, now=self._now(), headers={**reused, **headers})
        body: dict[str, Any] = {}
        if dialect.annotated:
            body["@odata.context"] = self._root + context(declared, options)
        body |= {} if page.total is None else {"@odata.count": page.total}
        body["value"] = [dialect.row(row, declared.properties) for row in rows]
        body |= {} if following is None else {"@odata.nextLink": following}
        return self._odata(request, body, dialect, headers)

    async def _page(self, view: str, options: Options, place: Place, size: int, level: Classification) -> QueryPage:
        query = PageQuery(
            filter=options.filter, order=options.order, top=max(size, 1), place=place, count=options.count
        )
        page = await self._pages().page(view, query, level=level)
        return page if size else QueryPage([], None, page.total)

    @staticmethod
    def _bound(view: str, given: Mapping[str, str], level: Classification, dialect: Dialect | None) -> str:
        """What a continuation is good for: everything but the size of a page."""
        rest = sorted((name, text) for name, text in given.items() if name not in (AFTER, "$top"))
        return repr((view, rest, int(level), dialect is not None))


def _own(rows: list[dict[str, Any]], following: str | None, page: QueryPage) -> dict[str, Any]:
    body: dict[str, Any] = {"value": rows, "count": len(rows)}
    body |= {} if following is None else {"nextLink": following}
    if page.total is not None:  # by both names: readers of OData that say nothing of it know the other one
        body |= {"totalCount": page.total, "@odata.count": page.total}
    return body


def preferred(request: Request) -> int | None:
    """Rows of a page, as the reader prefers it (`Prefer: maxpagesize`)."""
    found = _PREFERRED.search(request.headers.get("prefer", ""))
    return int(found[1]) if found is not None and int(found[1]) > 0 else None


def page_size(options: Options, preferred: int | None, left: int | None, dialect: Dialect | None) -> int:
    """Rows of this page: `$top` is a page's size in our format, and the whole answer's in OData's."""
    if dialect is None:
        return min(options.top if options.top is not None else PAGE, preferred or MAX_TOP)
    size = min(preferred or ODATA_PAGE, MAX_TOP)
    return size if left is None else min(size, left)
