"""Subscriptions over HTTP: who wants which events, and what became of each; everybody sees their own alone."""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from shared.audit import SecurityEvent, security_event
from shared.classification import Plan
from shared.dead_letters.json_patch import patched
from shared.encryption import ProtectionError
from shared.http import READERS, BadBody, Route, caller_of, error, precondition, read_body
from shared.messages import CloudEvent, ErrorCode, InvalidMessage, MessageError, describe, parse_strict
from shared.privacy import access_level_of
from shared.subscriptions import (
    MOST_OF_ONE,
    TEST_EVENT,
    AddressPolicy,
    Deliveries,
    Delivery,
    DeliveryStatus,
    Payloads,
    ReceiverAuth,
    RefusedAddress,
    Status,
    Subscription,
    SubscriptionStore,
    Target,
    Wake,
    WakeQueue,
    check_url,
    conditions_of,
    is_protected,
    matches_type,
    new_secret,
)
from shared.tables import Conflict
from shared.telemetry import hide, log_event

from .subscription_docs import subscription_docs
from .subscription_models import (
    ApiKeyAuthentication,
    ChangedSubscription,
    MutualTlsAuthentication,
    NewSubscription,
    OAuth2Authentication,
    Replay,
    delivery_view,
    subscription_view,
)
from .unavailable import FAILURES, failed

__all__ = ["Subscriptions"]

_LARGEST = 64 * 1024
_PAGE, _MOST = 50, 200
_ID = re.compile(r"[0-9a-f-]{1,64}")
_REPLAYED, _REPLAYED_AT_ONCE = 500, 16
"""Deliveries that one request sends again, so that it answers within its time; of so many the events are in memory."""
_LEAD = timedelta(seconds=3)
"""A message waits so long for the row that is written after it."""
_NOT_KEPT = "This could not be kept just now. Send it again."

M = TypeVar("M", bound=BaseModel)


class _Refused(Exception):
    def __init__(self, answer: Response) -> None:
        super().__init__("refused")
        self.answer = answer


class Subscriptions:
    """The endpoints.

    Parameters
    ----------
    store, deliveries, queue:
        Called with the first request, so that nothing connects before.
    events:
        By type those that can be subscribed to, with what is protected in them.
    resolve:
        The addresses of a host: each must be one that webhooks may go to.
    overlap:
        For how long bodies are signed with the secret before the current one too.
    source:
        Of test events.
    has_certificate:
        Whether there is one to show to receivers.
    """

    def __init__(
        self,
        store: Callable[[], SubscriptionStore],
        deliveries: Callable[[], Deliveries],
        queue: Callable[[], WakeQueue],
        payloads: Callable[[], Payloads],
        events: Mapping[str, Sequence[Plan]],
        policy: AddressPolicy,
        resolve: Callable[[Target], Any],
        *,
        overlap: timedelta,
        source: str,
        public_path: str = "",
        has_certificate: bool = False,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._deliveries = deliveries
        self._queue = queue
        self._payloads = payloads
        self._events = events
        self._policy = policy
        self._resolve = resolve
        self._overlap = overlap
        self._source = source
        self._path = f"{public_path}/api/subscriptions"
        self._has_certificate = has_certificate
        self._now = now

    def routes(self) -> list[Route]:
        """All of them."""
        one = "subscriptions/{id}"
        delivery = one + "/deliveries/{delivery}"
        endpoints: list[tuple[str, str, Any, frozenset[str]]] = [
            ("POST", "subscriptions", self.create, frozenset()),
            ("GET", "subscriptions", self.owned, frozenset()),
            ("GET", one, self.show, frozenset()),
            ("PATCH", one, self.change, frozenset()),
            ("DELETE", one, self.delete, frozenset()),
            ("POST", one + "/secret", self.rotate, frozenset()),
            ("POST", one + "/test", self.test, frozenset()),
            ("POST", one + "/replay", self.replay, frozenset()),
            ("GET", one + "/deliveries", self.list_deliveries, frozenset({"status", "top", "after"})),
            ("GET", delivery, self.show_delivery, frozenset()),
            ("POST", delivery + "/resend", self.resend, frozenset()),
            ("GET", delivery + "/payload", self.payload, frozenset()),
        ]
        types = list(self._events)
        models: dict[str, type[BaseModel]] = {
            "create": NewSubscription,
            "change": ChangedSubscription,
            "replay": Replay,
        }
        return [
            Route(
                method=method,
                path=path,
                endpoint=self._answering(call),
                access=READERS,
                query=query,
                docs=subscription_docs(call.__name__, models.get(call.__name__), most=_MOST, event_types=types),
            )
            for method, path, call, query in endpoints
        ]

    def _answering(self, call: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            try:
                answer: Response = await call(request)
                return answer
            except _Refused as refused:
                return refused.answer
            except BadBody as refused:
                return error(refused.code, refused.message, now=self._now())
            except MessageError as refused:
                return error(refused.code, refused.message, now=self._now(), details=refused.details)
            except RefusedAddress as refused:
                client = _owner(request)
                security_event(
                    SecurityEvent.REFUSED_ADDRESS,
                    str(refused),
                    method=request.method,
                    path=request.url.path,
                    client=client,
                )
                return error(ErrorCode.FORBIDDEN, f"url: {refused}.", now=self._now())
            except FAILURES as failure:
                return failed(failure, _NOT_KEPT, now=self._now())

        return endpoint

    async def create(self, request: Request) -> Response:
        """Make one; its secret is shown now, and never again."""
        asked = await self._body(request, NewSubscription)
        await self._check_url(asked.url)
        authentication = await self._authentication(asked.authentication)
        self._check_types(asked.event_types)
        self._check_filter(asked.filter)
        owner, now = _owner(request), self._now()
        if len(await self._store().owned(owner)) >= MOST_OF_ONE:
            return self._no(ErrorCode.BAD_REQUEST, f"There are {MOST_OF_ONE} subscriptions of yours already.", 409)
        made = Subscription(
            id=f"sub_{uuid4().hex}",
            owner=owner,
            url=asked.url,
            event_types=tuple(asked.event_types),
            filters=asked.filter,
            description=asked.description,
            ordered=asked.ordered,
            mode=asked.mode,
            payload_format=asked.payload_format,
            rate=asked.rate,
            concurrency=asked.concurrency,
            authentication=authentication,
            level=_level(request),
            secrets=(new_secret(secrets.token_bytes),),
            created_at=now,
            changed_at=now,
        )
        await self._store().create(made)
        self._log("created", made)
        answer = self._shown(made, status=201, secret=made.secrets[0])
        answer.headers["Location"] = f"{self._path}/{made.id}"
        return answer

    async def owned(self, request: Request) -> Response:
        """All of the caller's."""
        found = [subscription_view(one) for one in await self._store().owned(_owner(request))]
        return _json({"value": found, "count": len(found)})

    async def show(self, request: Request) -> Response:
        """One."""
        return self._shown(await self._own(request))

    async def change(self, request: Request) -> Response:
        """Change one, if it still is what `If-Match` says."""
        asked = await self._body(request, ChangedSubscription)
        given = asked.model_fields_set
        if "url" in given:
            await self._check_url(asked.url)
        authentication = await self._authentication(asked.authentication)
        self._check_types(asked.event_types)
        now = self._now()
        level = _level(request)

        def made(one: Subscription) -> Subscription:
            self._check_version(request, one)
            values: dict[str, Any] = {name: getattr(asked, name) for name in given}
            if "filter" in values:
                values["filters"] = self._merged(one.filters, values.pop("filter"))
            if "authentication" in values:
                values["authentication"] = authentication
            if "event_types" in values:
                values["event_types"] = tuple(values["event_types"])
            changed = replace(one, **values, version=one.version + 1, changed_at=now, level=level)
            if changed.status is Status.ENABLED and (one.status is Status.DISABLED or changed.url != one.url):
                changed = replace(changed, reason="", failing_since=None)
            return changed

        changed = await self._store().change(_owner(request), request.path_params["id"], made)
        if changed is None:
            raise self._missing(request)
        if changed.status is Status.ENABLED and "status" in given and changed.ordered:
            await self._queue().send(Wake(owner=changed.owner, subscription=changed.id, forced=True))
        self._log("changed", changed)
        return self._shown(changed)

    async def delete(self, request: Request) -> Response:
        """Delete one, if it still is what `If-Match` says: nothing more is sent."""

        def check(one: Subscription) -> None:
            self._check_version(request, one)

        deleted = await self._store().delete(_owner(request), request.path_params["id"], check)
        if deleted is None:
            raise self._missing(request)
        self._log("deleted", deleted)
        return Response(status_code=204)

    async def rotate(self, request: Request) -> Response:
        """A new secret, shown now and never again; the one before signs a while. With `If-Match` of that version."""
        made, now = new_secret(secrets.token_bytes), self._now()

        def rotated(one: Subscription) -> Subscription:
            self._check_version(request, one)
            return replace(
                one,
                secrets=(made, *one.secrets[:1]),
                previous_until=now + self._overlap,
                version=one.version + 1,
                changed_at=now,
            )

        changed = await self._store().change(_owner(request), request.path_params["id"], rotated)
        if changed is None:
            raise self._missing(request)
        self._log("secret rotated", changed)
        return self._shown(changed, secret=made)

    async def test(self, request: Request) -> Response:
        """Send a test event, as any other is sent."""
        one = await self._own(request)
        if one.status is Status.DISABLED:
            return self._no(ErrorCode.BAD_REQUEST, "It is disabled: enable it first.", 409)
        event = CloudEvent(
            id=str(uuid4()),
            type=TEST_EVENT,
            source=self._source,
            subject=one.id,
            time=self._now(),
            version="1.0",
            data='{"test":true}',
            correlation_id=request.headers.get("x-correlation-id", ""),
        )
        delivery = Delivery.of(one.id, event, event.to_json().decode(), now=self._now())
        wake = Wake(owner=one.owner, subscription=one.id, delivery=delivery.id)
        await self._wake_and_write(wake, lambda: self._deliveries().begin([delivery]))
        return _json(delivery_view(delivery), status=202)

    async def replay(self, request: Request) -> Response:
        """Send again what never reached the receiver, of events since a moment."""
        asked = await self._body(request, Replay)
        one = await self._own(request)
        if one.status is Status.DISABLED:
            return self._no(ErrorCode.BAD_REQUEST, "It is disabled: enable it first.", 409)
        found = await self._deliveries().missed(one.id, since=asked.since, most=_REPLAYED + 1)
        places = asyncio.Semaphore(_REPLAYED_AT_ONCE)

        async def again(identity: str) -> bool:
            async with places:
                delivery = await self._deliveries().get(one.id, identity)
                is_due = delivery is not None and delivery.status in (DeliveryStatus.MISSED, DeliveryStatus.FAILED)
                return delivery is not None and is_due and await self._again(one, delivery)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(again(delivery.id)) for delivery in found[:_REPLAYED]]
        except ExceptionGroup as failures:  # the others have ended; what wasn't sent is found by the next request
            raise failures.exceptions[0] from None
        return _json({"replayed": sum(task.result() for task in tasks), "more": len(found) > _REPLAYED}, status=202)

    async def list_deliveries(self, request: Request) -> Response:
        """The newest deliveries, of one status or of any."""
        one = await self._own(request)
        asked = request.query_params
        top, after, status = asked.get("top", str(_PAGE)), asked.get("after", ""), asked.get("status")
        if not (top.isascii() and top.isdecimal() and len(top) <= 3 and 1 <= int(top) <= _MOST):
            return self._no(ErrorCode.BAD_REQUEST, f"top: must be 1 to {_MOST}.", 400)
        if status is not None and status not in [each.value for each in DeliveryStatus]:
            return self._no(ErrorCode.BAD_REQUEST, f"status: one of {', '.join(DeliveryStatus)}.", 400)
        if after and not _ID.fullmatch(after):
            return self._no(ErrorCode.BAD_REQUEST, "after: must be the id of a delivery.", 400)
        wanted = None if status is None else DeliveryStatus(status)
        page = await self._deliveries().page(one.id, top=int(top), after=after, status=wanted)
        body: dict[str, Any] = {"value": [delivery_view(each) for each in page.found], "count": len(page.found)}
        if page.after is not None:
            only = f"&status={status}" if status else ""
            body["nextLink"] = f"{self._path}/{one.id}/deliveries?top={top}&after={page.after}{only}"
        return _json(body)

    async def show_delivery(self, request: Request) -> Response:
        """One delivery with its attempts."""
        _, delivery = await self._own_delivery(request)
        return _json(delivery_view(delivery))

    async def resend(self, request: Request) -> Response:
        """Send one again, whatever became of it."""
        one, delivery = await self._own_delivery(request)
        if one.status is Status.DISABLED:
            return self._no(ErrorCode.BAD_REQUEST, "It is disabled: enable it first.", 409)
        if delivery.event is None:
            return self._no(ErrorCode.BAD_REQUEST, "Its event is too large to be kept.", 409)
        if not await self._again(one, delivery):
            return self._no(ErrorCode.BAD_REQUEST, "It is being sent just now.", 409)
        return _json(delivery_view(replace(delivery, status=DeliveryStatus.PENDING, attempts=0)), status=202)

    async def payload(self, request: Request) -> Response:
        """The event's data as the caller may see it: what a link in a body leads to."""
        one, delivery = await self._own_delivery(request)
        if delivery.event is None:
            raise self._missing(request)
        event = CloudEvent.from_json(delivery.event.encode())
        try:
            data = await self._payloads().data(event, replace(one, level=_level(request)))
        except ProtectionError as failure:
            return error(failure.code, "This can't be decrypted.", now=self._now(), status=500)
        return Response(data, media_type="application/json")

    async def _again(self, one: Subscription, delivery: Delivery) -> bool:
        """Have a delivery begin anew; False where somebody sends it just now, or its event was too large to be kept."""
        if delivery.event is None:
            return False
        fresh = replace(delivery, status=DeliveryStatus.PENDING, attempts=0, next_at=None)
        name = "" if delivery.order else delivery.id
        wake = Wake(owner=one.owner, subscription=one.id, delivery=name, forced=bool(delivery.order))
        try:
            await self._wake_and_write(wake, lambda: self._deliveries().put(fresh))
        except Conflict:
            return False
        return True

    async def _wake_and_write(self, wake: Wake, write: Callable[[], Awaitable[object]]) -> None:
        """Send a message for a moment from now, and write its row meanwhile: no row waits for a message that never was.

        A message without its row does nothing.
        """
        starts = self._now() + _LEAD
        await self._queue().send(wake, when=starts)
        await write()
        if self._now() >= starts:  # it may have come before the row
            await self._queue().send(wake)

    async def _own(self, request: Request) -> Subscription:
        found = await self._store().get(_owner(request), request.path_params["id"])
        if found is None:
            raise self._missing(request)
        return found

    async def _own_delivery(self, request: Request) -> tuple[Subscription, Delivery]:
        one = await self._own(request)
        identity = request.path_params["delivery"]
        found = await self._deliveries().get(one.id, identity) if _ID.fullmatch(identity) else None
        if found is None:
            raise self._missing(request)
        return one, found

    def _missing(self, _: Request) -> _Refused:
        return _Refused(error(ErrorCode.NOT_FOUND, "There is nothing of yours under that id.", now=self._now()))

    def _no(self, code: ErrorCode, message: str, status: int) -> Response:
        return error(code, message, now=self._now(), status=status)

    async def _body(self, request: Request, model: type[M]) -> M:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in ("application/json", "application/merge-patch+json"):
            raise BadBody(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "Send Content-Type: application/json.")
        content = parse_strict(await read_body(request, limit=_LARGEST))
        try:
            return model.model_validate(content)
        except ValidationError as wrong:
            raise describe(wrong) from None

    async def _check_url(self, url: str) -> None:
        """Refuse an address that no socket would be made to anyway: the subscriber learns it now."""
        target = check_url(url, self._policy)
        try:
            addresses = await self._resolve(target)
        except (OSError, TimeoutError):
            raise RefusedAddress("the host's name can't be resolved") from None
        for address in addresses:
            self._policy.check(address)

    async def _authentication(
        self, asked: ApiKeyAuthentication | OAuth2Authentication | MutualTlsAuthentication | None
    ) -> ReceiverAuth | None:
        """As it is kept; refuses a token endpoint that isn't called, and a certificate that isn't there."""
        if asked is None:
            return None
        if isinstance(asked, OAuth2Authentication):
            await self._check_url(asked.token_url)
        if isinstance(asked, MutualTlsAuthentication) and not self._has_certificate:
            raise InvalidMessage("authentication: this app has no certificate of its own to show")
        found = asked.value()
        hide(found.secret)
        return found

    def _check_types(self, patterns: list[str]) -> None:
        for one in patterns:
            if not any(matches_type(one, each) for each in self._events):
                raise InvalidMessage(f"eventTypes: nothing is published as {one}")

    def _check_version(self, request: Request, one: Subscription) -> None:
        if precondition(request.method, request.headers, _etag(one), None) is not None:
            message = "It has changed since. Read it again."
            raise _Refused(error(ErrorCode.PRECONDITION_FAILED, message, now=self._now()))

    def _merged(self, filters: Mapping[str, Any], patch: Mapping[str, Any]) -> Mapping[str, Any]:
        """A filter after a merge patch: what isn't named stays, so that no condition goes unasked."""
        merged: dict[str, Any] = patched(filters, patch)
        try:
            conditions_of(merged)
        except ValueError as wrong:
            raise InvalidMessage(f"filter: {wrong}") from None
        self._check_filter(merged)
        return merged

    def _check_filter(self, filters: Mapping[str, Any]) -> None:
        """Refuse to match by what is protected: whether an event comes would tell what is in it."""
        for path in filters:
            if any(is_protected(plan, path) for plans in self._events.values() for plan in plans):
                raise _Refused(self._no(ErrorCode.FORBIDDEN, f"filter: {path} is protected.", 403))

    def _shown(self, one: Subscription, *, status: int = 200, secret: str | None = None) -> Response:
        view = subscription_view(one)
        if secret is not None:
            view["secret"] = secret
        answer = _json(view, status=status)
        answer.headers["ETag"] = _etag(one)
        if secret is not None:
            answer.headers["Cache-Control"] = "no-store"
        return answer

    def _log(self, what: str, one: Subscription) -> None:
        """Who changed what: the record of it."""
        log_event("webhook subscription", what=what, subscription=one.id, client=one.owner, version=one.version)


def _owner(request: Request) -> str:
    caller = caller_of(request)
    return "" if caller is None else caller.client


def _level(request: Request) -> Any:
    caller = caller_of(request)
    return access_level_of(None if caller is None else caller.roles)


def _etag(one: Subscription) -> str:
    return f'"{one.version}"'


def _json(body: Mapping[str, Any], *, status: int = 200) -> Response:
    return Response(to_json(body), status_code=status, media_type="application/json")
