"""What a handler gets of `work.call(partner)`: typed calls, each with a key that a re-run repeats."""

import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast
from uuid import UUID

from pydantic import BaseModel

from shared.telemetry import current_traceparent

from .answers import EVENTS, NDJSON, Nothing, check_stream, read_answer, read_model
from .batching import BatchCall, BatchItem
from .client import Client
from .errors import InvalidAnswer, PartnerFailed, PartnerUnavailable
from .graphql import GraphQLAnswer, GraphQLReceived, GraphQLRequest, answer_of, only_reads
from .guard import Caller
from .kept_answers import KeptAnswers
from .paging import Page, Pages
from .paths import check_path, endpoint_of
from .sessions import Received, Request
from .streams import LARGEST_ITEM, EventStream, Lines, ServerEvent, TooLong

__all__ = ["Calls", "Nothing"]

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
In = TypeVar("In", bound=BaseModel)
Out = TypeVar("Out")
MOST_PAGES = 10_000
_GRAPHQL = "application/graphql-response+json, application/json;q=0.9"
Query = Mapping[str, str | int | bool]


class Calls:
    """Calls to one partner for one message.

    Every method takes a path beneath the partner's base URL, and the type of the answer: a model of the boundary, a
    list of them, or `Nothing` where its body doesn't matter. Its options:

    - `query`, `headers`: more of the request.
    - `endpoint`: the class of endpoints that it belongs to; without it the path's first segment.
    - `critical`: its retries are paid from the partner's budget for critical calls.
    - `once`: the answer is written down in a row of its own before the handler goes on. A run after a conflict or a
      crash finds it instead of calling again; between answer and row only the idempotency key protects.
    - `stale`: of a GET, the last good answer serves for so many seconds while the partner can't be called; `age` tells
      how old it is.
    - `fallback`: a function of the PartnerUnavailable whose value serves while the partner can't be called; one that
      raises it again puts the message off, as without.

    The key is made of the message's id and the number of this very call, so that a re-run repeats the same call. Each
    method raises PartnerError and PartnerUnavailable; let them pass, and the failure matrix says what becomes of the
    message.

    Attributes
    ----------
    age:
        Seconds since the latest answer was got; 0 for one that isn't stale.
    headers:
        Of the latest answer, by their names in lower case; none where `once` or a fallback gave it.

    Parameters
    ----------
    numbers:
        How often each call was made for the message so far.
    """

    def __init__(self, client: Client, caller: Caller, answers: KeptAnswers | None, numbers: Counter[str]) -> None:
        self._client = client
        self._caller = caller
        self._answers = answers
        self._numbers = numbers
        self.age = 0.0
        self.headers: Mapping[str, str] = {}

    async def get(self, path: str, answer: type[T], **options: Any) -> T:
        """Read something."""
        return await self.request("GET", path, answer, **options)

    async def post(self, path: str, answer: type[T], body: BaseModel | None = None, **options: Any) -> T:
        """Have something made or done."""
        return await self.request("POST", path, answer, body, **options)

    async def put(self, path: str, answer: type[T], body: BaseModel | None = None, **options: Any) -> T:
        """Put something in its place."""
        return await self.request("PUT", path, answer, body, **options)

    async def patch(self, path: str, answer: type[T], body: BaseModel | None = None, **options: Any) -> T:
        """Change something."""
        return await self.request("PATCH", path, answer, body, **options)

    async def delete(self, path: str, answer: type[T], **options: Any) -> T:
        """Take something away."""
        return await self.request("DELETE", path, answer, **options)

    async def request(
        self,
        method: str,
        path: str,
        answer: type[T],
        body: BaseModel | None = None,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        endpoint: str | None = None,
        critical: bool = False,
        once: bool = False,
        stale: float = 0.0,
        fallback: Callable[[PartnerUnavailable], T] | None = None,
    ) -> T:
        """Make any call; the methods named for HTTP's own are short for it."""
        check_path(path)
        self.age, self.headers = 0.0, {}
        key = self._next_key(f"{method}:{path}")
        kept = self._kept(answer) if once else None
        if kept is not None:
            caller = self._caller
            found = await kept.find(caller.bucket, caller.message_id, key, cast(type[BaseModel], answer))
            if found is not None:
                return cast(T, found)
        value = await self._request(
            method,
            path,
            answer,
            body,
            key=key,
            query=query,
            headers=headers,
            endpoint=endpoint,
            critical=critical,
            stale=stale,
            fallback=fallback,
        )
        if kept is not None:
            return cast(T, await kept.keep(caller.bucket, caller.message_id, key, cast(BaseModel, value)))
        return value

    async def pages(
        self,
        path: str,
        answer: type[T],
        how: Pages,
        *,
        query: Query | None = None,
        most: int = MOST_PAGES,
        **options: Any,
    ) -> AsyncIterator[T]:
        """Read a list page after page: `async for page in calls.pages("/labels", Labels, LinkPages())`.

        Each page is asked for when the one before has been dealt with. The options are those of `get` but `once` and
        `fallback`: a page that isn't the partner's answer doesn't say where the next one is.

        Parameters
        ----------
        how:
            `LinkPages`, `CursorPages` or `OffsetPages`.
        most:
            Pages, at most.

        Raises
        ------
        InvalidAnswer
            The pages go in a circle, are more than `most`, or lead away from the partner.
        """
        if not options.keys().isdisjoint(("once", "fallback")):
            raise TypeError("pages are neither kept nor made up: they take no once and no fallback")
        name = options.setdefault("endpoint", endpoint_of(path))
        page = how.first(Page(path, _texts(query)))
        asked: set[Hashable] = set()
        for _ in range(most):
            asked.add((page.path, frozenset(page.query.items())))
            value = await self.get(page.path, answer, query=page.query, **options)
            headers = self.headers
            yield value
            try:
                after = how.after(page, value, headers, self._client.base_url)
                if after is not None:
                    check_path(after.path)
            except ValueError as error:
                raise InvalidAnswer(self._client.partner.name, name, str(error)) from None
            if after is None:
                return
            page = after
            if (page.path, frozenset(page.query.items())) in asked:
                raise InvalidAnswer(self._client.partner.name, name, "its pages go in a circle")
        raise InvalidAnswer(self._client.partner.name, name, f"more than {most} pages")

    async def graphql(
        self,
        document: str,
        data: type[M],
        variables: BaseModel | None = None,
        *,
        path: str = "/graphql",
        operation: str | None = None,
        partial: bool = False,
        headers: Mapping[str, str] | None = None,
        endpoint: str | None = None,
        critical: bool = False,
    ) -> GraphQLAnswer[M]:
        """Execute a GraphQL document; a document of queries alone is repeated like a GET.

        Parameters
        ----------
        partial:
            Data that comes with errors is taken, and `errors` says what is missing; without, errors are a refusal.

        Raises
        ------
        PartnerRefused
            There are errors, with their codes; `body` has them in the partner's words.
        """
        key = self._next_key(f"GRAPHQL:{path}")
        given = {} if variables is None else variables.model_dump(mode="json", by_alias=True)
        body = GraphQLRequest(query=document, variables=given, operation_name=operation)
        received = await self._request(
            "POST",
            path,
            GraphQLReceived[data],  # type: ignore[valid-type]  # a model of this call's data
            body,
            key=key,
            headers={"Accept": _GRAPHQL, **(headers or {})},
            endpoint=endpoint,
            critical=critical,
            repeatable=only_reads(document),
        )
        return answer_of(self._client.partner.name, endpoint or endpoint_of(path), received, data, partial=partial)

    @asynccontextmanager
    async def lines(
        self,
        path: str,
        answer: type[T],
        body: BaseModel | None = None,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        endpoint: str | None = None,
        largest: int = LARGEST_ITEM,
    ) -> AsyncIterator[AsyncIterator[T]]:
        """Read an answer of lines of JSON (NDJSON), one after the other: `async with calls.lines(…) as labels:`.

        It is a GET, or with a body a POST, in one try. A partner isn't read faster than its lines are taken.

        Raises
        ------
        PartnerError, PartnerUnavailable
            Also from the lines, each of which has at most `largest` bytes.
        """
        method = "GET" if body is None else "POST"
        request = self._streaming(method, path, body, query, headers, endpoint, accept="application/x-ndjson")
        async with self._client.stream(request, self._caller, is_first=self._is_first) as opened:
            self.headers = opened.head.headers
            check_stream(self._client.partner.name, request.endpoint, opened.head, NDJSON)
            found = self._parsed(opened.pieces, request, answer, largest)
            try:
                yield found
            finally:
                await found.aclose()

    async def _parsed(
        self, pieces: AsyncIterator[bytes], request: Request, answer: type[T], largest: int
    ) -> AsyncGenerator[T, None]:
        name, lines = self._client.partner.name, Lines(largest=largest)
        try:
            async for piece in pieces:
                for line in lines.feed(piece):
                    yield read_model(name, request.endpoint, line, answer)
            for line in lines.end():
                yield read_model(name, request.endpoint, line, answer)
        except TooLong as error:
            raise InvalidAnswer(name, request.endpoint, f"answered with {error}") from None

    @asynccontextmanager
    async def events(
        self,
        path: str,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        endpoint: str | None = None,
        last_id: str = "",
        follow: bool = False,
        reconnects: int = 5,
        largest: int = LARGEST_ITEM,
    ) -> AsyncIterator[AsyncIterator[ServerEvent]]:
        """Read server-sent events, one after the other: `async with calls.events("/progress") as events:`.

        A connection that breaks is made anew after the time that the partner asked for (3 seconds without), from the
        last event's id on; so many times in a row without an event, and while the message has time. 204 is the end.

        Parameters
        ----------
        last_id:
            Where an earlier run has come to.
        follow:
            The end of an answer is no end either: it is asked for anew, as browsers do.

        Raises
        ------
        PartnerError, PartnerUnavailable
            Also from the events, each of which has at most `largest` bytes.
        """
        request = self._streaming("GET", path, None, query, headers, endpoint, accept="text/event-stream")
        stream = EventStream(largest=largest, last_id=last_id)
        found = self._followed(request, stream, follow=follow, reconnects=reconnects, largest=largest)
        try:
            yield found
        finally:
            await found.aclose()

    async def _followed(
        self, request: Request, stream: EventStream, *, follow: bool, reconnects: int, largest: int
    ) -> AsyncGenerator[ServerEvent, None]:
        client, name, left, is_first = self._client, self._client.partner.name, reconnects, self._is_first
        while True:
            sent = {**request.headers, "Last-Event-ID": stream.last_id} if stream.last_id else request.headers
            try:
                async with client.stream(request._replace(headers=sent), self._caller, is_first=is_first) as opened:
                    self.headers = opened.head.headers
                    if opened.head.status == 204:
                        return
                    check_stream(name, request.endpoint, opened.head, EVENTS)
                    async for piece in opened.pieces:
                        for event in stream.feed(piece):
                            left = reconnects
                            yield event
                if not follow:
                    return
                failure = PartnerFailed(name, request.endpoint, "ends its events again and again")
            except TooLong as error:
                raise InvalidAnswer(name, request.endpoint, f"answered with {error}") from None
            except PartnerFailed as error:
                failure = error
            is_first = False
            if not left or not client.has_time(self._caller, stream.retry):
                raise failure
            left -= 1
            await client.pause(stream.retry)
            stream = EventStream(largest=largest, last_id=stream.last_id, retry=stream.retry)

    def _streaming(
        self,
        method: str,
        path: str,
        body: BaseModel | None,
        query: Query | None,
        headers: Mapping[str, str] | None,
        endpoint: str | None,
        *,
        accept: str,
    ) -> Request:
        check_path(path)
        key, sent = self._next_key(f"{method}:{path}"), {"Accept": accept, **(headers or {})}
        return self._made(method, path, body, key, query, sent, endpoint)

    @property
    def _is_first(self) -> bool:
        return len(self._numbers) == 1 and self._numbers.total() == 1

    async def together(self, call: BatchCall[In, Out], item: In, *, once: type[Out] | None = None) -> Out:
        """The outcome of one item of a batch call, sent with those of other messages.

        Parameters
        ----------
        once:
            The model of the outcome, which is then written down as with `once=True`.

        Raises
        ------
        PartnerError, PartnerUnavailable
            As of a call; for all of the request's items.
        """
        key = self._next_key(f"BATCH:{call.path}")
        kept = self._kept(once) if once is not None else None
        caller = self._caller
        if kept is not None:
            found = await kept.find(caller.bucket, caller.message_id, key, cast(type[BaseModel], once))
            if found is not None:
                return cast(Out, found)
        outcome = await self._client.batches.add(call, BatchItem(key, item), self._batch)
        if kept is not None:
            return cast(Out, await kept.keep(caller.bucket, caller.message_id, key, cast(BaseModel, outcome)))
        return outcome

    async def _batch(self, call: BatchCall[Any, Any], items: Sequence[BatchItem[Any]]) -> BaseModel:
        key = _key(self._caller.message_id, ",".join(one.key for one in items))
        return await self._request("POST", call.path, call.answer, call.write(items), key=key)

    def _next_key(self, call: str) -> str:
        call = f"{self._client.partner.name}:{call}"
        number = self._numbers[call] = self._numbers.get(call, 0) + 1
        return _key(self._caller.message_id, f"{call}:{number}")

    async def _request(
        self,
        method: str,
        path: str,
        answer: type[T],
        body: BaseModel | None = None,
        *,
        key: str,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        endpoint: str | None = None,
        critical: bool = False,
        stale: float = 0.0,
        fallback: Callable[[PartnerUnavailable], T] | None = None,
        repeatable: bool = False,
    ) -> T:
        client, caller = self._client, self._caller
        partner = client.partner
        request = self._made(method, path, body, key, query, headers, endpoint)
        asked = _asked(request, headers or {}) if stale and method == "GET" else None
        former: tuple[Received, float] | None = None
        self.age, self.headers = 0.0, {}
        try:
            received = await client.call(
                request,
                caller,
                repeatable=repeatable or partner.idempotency_header is not None,
                critical=critical,
                is_first=self._is_first,
            )
        except PartnerUnavailable as error:
            former = None if asked is None else client.former(asked, within=stale)
            if former is not None:
                received = former[0]._replace(age=former[1])
            elif fallback is not None:
                return fallback(error)
            else:
                raise
        self.age, self.headers = received.age, received.headers
        try:
            value = read_answer(partner.name, request, received, answer)
        except InvalidAnswer:
            client.forget(request)
            raise
        if asked is not None and former is None:
            client.remember(asked, received)
        return value

    def _made(
        self,
        method: str,
        path: str,
        body: BaseModel | None,
        key: str,
        query: Query | None,
        headers: Mapping[str, str] | None,
        endpoint: str | None,
    ) -> Request:
        caller, partner = self._caller, self._client.partner
        sent = dict(headers) if headers else {}
        content: bytes | None = None
        if body is not None:
            content = body.model_dump_json(by_alias=True).encode()
            sent["Content-Type"] = "application/json"
        if partner.idempotency_header is not None:
            sent[partner.idempotency_header] = key
        if partner.trusted:
            sent["X-Correlation-ID"] = caller.correlation_id
            if traceparent := current_traceparent() or caller.traceparent:
                sent["traceparent"] = traceparent
        return Request(
            method,
            path,
            endpoint or endpoint_of(path),
            _texts(query) if query else {},
            sent,
            content,
        )

    def _kept(self, answer: type[object]) -> KeptAnswers:
        if self._answers is None:
            raise LookupError("there is no store to write answers down in")
        if not (isinstance(answer, type) and issubclass(answer, BaseModel)):
            raise TypeError("once=True keeps the answer as a model: name one")
        return self._answers


def _asked(request: Request, headers: Mapping[str, str]) -> Hashable:
    """All of the handler's request that an answer depends on."""
    own = sorted((name.lower(), value) for name, value in headers.items())
    return request.path, tuple(sorted(request.query.items())), tuple(own)


def _key(message_id: UUID, call: str) -> str:
    """Of one call of a message: the same whenever it is made again."""
    return hashlib.blake2b(message_id.bytes + call.encode(), digest_size=16).hexdigest()


def _texts(query: Query | None) -> dict[str, str]:
    return {name: _text(value) for name, value in (query or {}).items()}


def _text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
