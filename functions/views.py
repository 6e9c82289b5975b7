"""The read models over HTTP: one row by its key, or the rows of a person by token, as far as the caller may see."""

import asyncio
import re
from collections.abc import Callable, Collection, Container, Iterator
from datetime import datetime
from functools import partial
from urllib.parse import urlencode

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from shared.classification import Classification, Tokenized
from shared.encryption import ProtectionError
from shared.http import READERS, Route, answer_if_changed, caller_of, error, key_in_path, max_age_of, reuse
from shared.messages import ErrorCode, Registry
from shared.privacy import access_level_of
from shared.query import NAMES, Freshness, RowCache, ViewReader, findable

from .odata import set_name
from .openapi import find_docs, query_docs, row_docs
from .operations import LONGEST_WAIT, MIN_VERSION, VERSION, until, wanted_wait
from .queries import AFTER, Queries

__all__ = ["Views", "access_level"]

PAGE, MAX_PAGE = 50, 200
MAX_KEY = 128
MAX_VALUE = 256
MAX_DIGITS = 18
WAITING_AT_ONCE = 32
"""Readers of an instance that wait for a row; whoever comes then is answered at once."""
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Views:
    """The endpoints of the read models.

    Parameters
    ----------
    reader, cache:
        Called with the first request, so that nothing connects before.
    queries, queried:
        What answers queries, and of which read models.
    freshness:
        How old a row may be, as answers tell caches.
    hidden:
        Read models without endpoints: they are nobody's outside.
    public_path:
        What a proxy before the app has in front of its paths.
    """

    def __init__(
        self,
        registry: Registry,
        reader: Callable[[], ViewReader],
        cache: Callable[[], RowCache],
        *,
        freshness: Freshness,
        queries: Queries | None = None,
        queried: Collection[str] = (),
        hidden: Container[str] = (),
        public_path: str = "",
        now: Callable[[], datetime],
    ) -> None:
        self._registry = registry
        self._queries = queries
        self._queried = queried
        self._hidden = hidden
        self._public_path = public_path
        self._reader = reader
        self._cache = cache
        self._freshness = freshness
        self._protected = {view for view in registry.views if any(plan.protects for plan in registry.plans(view))}
        self._now = now
        self._waiting = asyncio.Semaphore(WAITING_AT_ONCE)

    def routes(self) -> list[Route]:
        """For each read model: a row by its key and, where it has fields to find by, rows by a value."""
        return [route for name in self._registry.views if name not in self._hidden for route in self._routes(name)]

    def _routes(self, name: str) -> Iterator[Route]:
        async def show(request: Request) -> Response:
            return await self.one(name, key_in_path(request.path_params["key"]), request)

        async def find(request: Request) -> Response:
            return await self.find(name, request)

        models = self._registry.shown(name)
        docs = row_docs(name, models)
        yield Route(
            method="GET",
            path=f"{name}/{{key}}",
            endpoint=show,
            access=READERS,
            docs=docs,
            seconds=LONGEST_WAIT + 10,
        )
        fields = findable(self._registry, name)
        by_value = frozenset(fields) | {"top", "after"} if fields else frozenset()
        if self._queries is not None and name in self._queried:
            yield Route(
                method="GET",
                path=name,
                endpoint=partial(self._asked_by_query, self._queries, name, by_value),
                access=READERS,
                query=NAMES | {AFTER} | by_value,
                docs=query_docs(name, fields, models),
            )
            if (of := set_name(name)) != name:
                yield Route(
                    method="GET",
                    path=of,
                    endpoint=partial(self._asked_by_query, self._queries, name, ()),
                    access=READERS,
                    query=NAMES | {AFTER},
                    described=False,
                    limited_as=f"GET /{name}",
                )
            yield Route(
                method="GET",
                path=f"{of}('{{key}}')",
                endpoint=partial(self._shown_as_odata, self._queries, name),
                access=READERS,
                query=frozenset({"$select", "$expand"}),
                described=False,
                limited_as=f"GET /{name}/{{key}}",
            )
        elif fields:
            yield Route(
                method="GET",
                path=name,
                endpoint=find,
                access=READERS,
                query=by_value,
                docs=find_docs(name, fields, models),
            )

    async def _asked_by_query(
        self, queries: Queries, view: str, by_value: Collection[str], request: Request
    ) -> Response:
        """A query, or the older question by one value, which knows no options."""
        asked = set(request.query_params)
        if not asked & set(by_value):
            return await queries.answer(view, request, access_level(request))
        if more := asked - set(by_value):
            message = f"{min(more)}: can't be combined with {min(asked & set(by_value))}."
            return error(ErrorCode.BAD_REQUEST, message, now=self._now())
        return await self.find(view, request)

    async def _shown_as_odata(self, queries: Queries, view: str, request: Request) -> Response:
        """One row by its key as OData writes it: in quotes, with those within it doubled."""
        key = key_in_path(request.path_params["key"]).replace("''", "'")
        return await queries.one(view, key, request, access_level(request))

    async def one(self, view: str, key: str, request: Request) -> Response:
        """One row of a read model."""
        level, max_age = access_level(request), max_age_of(request.headers)
        found = 1 <= len(key) <= MAX_KEY
        waited: dict[str, str] = {}
        if (given := request.headers.get(MIN_VERSION)) is not None:
            if not (given.isascii() and given.isdecimal() and len(given) <= MAX_DIGITS):
                return error(ErrorCode.BAD_REQUEST, f"{MIN_VERSION}: must be a whole number.", now=self._now())
            if found and not await self._reaches(view, key, int(given), request, waited):
                message = f"{view}/{key} isn't at version {given} yet."
                return error(ErrorCode.PRECONDITION_FAILED, message, now=self._now(), retry_after=1, headers=waited)
            max_age = 0
        try:
            row = await self._cache().one(view, key, level=level, max_age=max_age) if found else None
        except ProtectionError as failure:
            return error(failure.code, "This row can't be decrypted.", now=self._now(), status=500)
        if row is None:
            return error(ErrorCode.NOT_FOUND, f"There is nothing under {view}/{key[:MAX_KEY]}.", now=self._now())
        headers = reuse(
            max_age=self._freshness.max_age,
            stale=self._freshness.stale,
            private=view in self._protected,
            age=row.age,
        )
        headers |= {VERSION: str(row.sequence)} | waited
        return answer_if_changed(request, row.body, now=self._now(), modified=row.modified, headers=headers)

    async def _reaches(self, view: str, key: str, least: int, request: Request, waited: dict[str, str]) -> bool:
        """Whether a row has an event, at once or as soon as the caller wants to wait for it; says how long that is."""

        async def look() -> int:
            return await self._reader().sequence(view, key)

        seconds = wanted_wait(request.headers.getlist("prefer"))
        if not seconds or self._waiting.locked():
            return await look() >= least
        async with self._waiting:
            waited["Preference-Applied"] = f"wait={seconds}"
            return await until(lambda found: found >= least, look, seconds) >= least

    async def find(self, view: str, request: Request) -> Response:
        """The rows of a read model with one value in a tokenized field; for who may see such a field only."""
        level = access_level(request)
        if level < Classification.RESTRICTED:
            return error(ErrorCode.FORBIDDEN, "Only an operator finds rows by such a value.", now=self._now())
        asked = _asked(request, findable(self._registry, view))
        if isinstance(asked, str):
            return error(ErrorCode.BAD_REQUEST, asked, now=self._now())
        name, value, top, after = asked
        page = await self._reader().find(view, name, value, level=level, top=top, after=after)
        if page is None:
            return error(ErrorCode.NOT_FOUND, "Rows are found so only where fields are encrypted.", now=self._now())
        body = {"value": page.rows, "count": len(page.rows)}
        if page.after is not None:
            query = urlencode({name: value, "top": top, "after": page.after})
            body["nextLink"] = f"{self._public_path}/api/{view}?{query}"
        headers = reuse(max_age=0, stale=0, private=True)
        return answer_if_changed(request, to_json(body), now=self._now(), headers=headers)


def access_level(request: Request) -> Classification:
    """What a caller may see."""
    caller = caller_of(request)
    return access_level_of(None if caller is None else caller.roles)


def _asked(request: Request, findable: dict[str, Tokenized]) -> tuple[str, str, int, str] | str:
    """Field, value, page size and where to go on; or what is wrong with the question."""
    asked = request.query_params
    names = [name for name in findable if asked.get(name)]
    if len(names) != 1 or len(asked[names[0]]) > MAX_VALUE:
        return f"Ask by one of: {', '.join(findable)}; its value has 1 to {MAX_VALUE} characters."
    top, after = asked.get("top", str(PAGE)), asked.get("after", "")
    if not (top.isascii() and top.isdecimal() and len(top) <= 3 and 1 <= int(top) <= MAX_PAGE):
        return f"top: must be 1 to {MAX_PAGE}."
    if len(after) > MAX_KEY or CONTROL.search(after):
        return f"after: must be a key of at most {MAX_KEY} characters, none of them a control character."
    return names[0], asked[names[0]], int(top), after
