"""Sends what is due: one delivery after its own schedule, or a subscription's deliveries in order.

At least once: what came of a POST is written after it, so that a process that dies in between sends again. At most
once: the row says before the POST that it is under way, and nobody sends it again.

The row first, then the message of the next try, then what it says of the receiver: who fails or dies in between leaves
a message that comes again, finds a row that is further on, and sends the next try's message then.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import NamedTuple
from uuid import uuid4

from opentelemetry.trace import SpanKind

from shared.audit import SecurityEvent, security_event
from shared.encryption import ProtectionError
from shared.messages import CloudEvent
from shared.resilience import BoundedCache
from shared.tables import Conflict
from shared.telemetry import Metrics, Name, log_event, span

from .deliveries import Attempt, Deliveries, Delivery, DeliveryStatus, Turn
from .endpoint import Endpoint, Endpoints, PutOff
from .payload import Payload, Payloads
from .receiver_auth import Credentials, NoCredential, Proof
from .schedule import DISABLED_AFTER, Outcome, Verdict, judge
from .sender import Answer, Sender
from .signing import signed_headers
from .store import SubscriptionStore
from .subscription import Mode, Status, Subscription
from .wakes import Wake, WakeQueue

__all__ = ["Deliverer"]

_FRESH_SECONDS = 2.0
"""A subscription's change is seen by every instance after so long."""
_TURN_BUDGET, _TURN_RENEWED = 20.0, 5.0
"""Seconds that a turn lasts, and after which it is taken again meanwhile."""
_TURN_TAKEN = 2.0
_PAGE = 20
_KEPT_CHARACTERS = 512
_KNOWN = 2_000


class _Sent(NamedTuple):
    """What one POST came to: attempts that counted by then, and the moment of the next try, if there is one."""

    verdict: Verdict
    attempts: int
    next_at: datetime | None


class Deliverer:
    """Deals with the messages of the queue; only outages of storage, broker and key service leave it.

    Parameters
    ----------
    clock:
        Seconds, monotonic.
    random:
        Returns 0 … 1.
    turn_seconds:
        For how long a turn in order is its holder's: longer than one POST and what is written of it. Nobody sends in
        order for so long after a holder has died.
    """

    def __init__(
        self,
        subscriptions: SubscriptionStore,
        deliveries: Deliveries,
        queue: WakeQueue,
        payloads: Payloads,
        sender: Sender,
        endpoints: Endpoints,
        credentials: Credentials,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        random: Callable[[], float],
        turn_seconds: float = 45.0,
    ) -> None:
        self._subscriptions = subscriptions
        self._deliveries = deliveries
        self._queue = queue
        self._payloads = payloads
        self._sender = sender
        self._endpoints = endpoints
        self._credentials = credentials
        self._now = now
        self._clock = clock
        self._random = random
        self._turn_seconds = turn_seconds
        self._known: BoundedCache[tuple[str, str], Subscription] = BoundedCache(_KNOWN, ttl=_FRESH_SECONDS, clock=clock)

    async def deliver(self, wake: Wake, *, again: bool) -> None:
        """Return when what is due was dealt with, or its next message is on its way.

        Parameters
        ----------
        again:
            The broker has delivered this very message before: whoever had it may have died on the way.
        """
        subscription = await self._subscription(wake)
        if subscription is None:
            return
        if not wake.delivery:
            with suppress(Conflict):  # the turn has become somebody else's
                await self._in_order(subscription, forced=wake.forced)
            return
        endpoint = self._endpoint(subscription)
        try:
            endpoint.admit()  # who is put off costs nothing more
            due = await self._due(subscription, wake, again=again)
            if due is None:
                return
            sent = await self._send(subscription, *due)
        except PutOff as later:
            await self._queue.send(wake if wake.event else wake.known(), when=self._after(later.after))
            return
        except Conflict:  # another message of the same delivery was faster
            return
        if sent is None:
            return
        if sent.next_at is not None:
            await self._again(wake, sent.attempts, sent.next_at)
        await self._judge_receiver(subscription, sent.verdict)

    async def _subscription(self, wake: Wake) -> Subscription | None:
        found = self._known.get((wake.owner, wake.subscription))
        if found is None:
            found = await self._subscriptions.get(wake.owner, wake.subscription)
            if found is not None:
                self._known.put((wake.owner, wake.subscription), found)
        return found

    def _endpoint(self, subscription: Subscription) -> Endpoint:
        return self._endpoints.of(subscription.owner, subscription.id, subscription.concurrency, subscription.rate)

    async def _due(self, subscription: Subscription, wake: Wake, *, again: bool) -> tuple[Delivery, CloudEvent] | None:
        """The delivery of a message and its event, unless there is nothing to be done about it any more."""
        if wake.event and not again and subscription.mode is Mode.AT_LEAST_ONCE:
            event = CloudEvent.from_json(wake.event)
            if subscription.status is Status.ENABLED:
                body, now = wake.event.decode(), self._now()
                return Delivery.of(subscription.id, event, body, identity=wake.delivery, now=now), event
        found = await self._deliveries.get(subscription.id, wake.delivery)
        if found is None or found.status.ended:
            return None
        if subscription.status is Status.DISABLED:
            await self._deliveries.put(replace(found, status=DeliveryStatus.MISSED, next_at=None))
            return None
        if found.status is DeliveryStatus.SENDING:  # sent at most once, by a process that died: nobody knows
            return None
        if found.attempts != wake.attempt:
            if (again or wake.returned) and found.attempts > wake.attempt:
                await self._again(wake, found.attempts, found.next_at or self._now())
            return None
        return found, _event(found)

    async def _again(self, wake: Wake, attempts: int, when: datetime) -> None:
        await self._queue.send(replace(wake.known(), attempt=attempts, returns=0, returned=False), when=when)

    def _after(self, seconds: float) -> datetime:
        return self._now() + timedelta(seconds=seconds)

    async def _send(self, subscription: Subscription, delivery: Delivery, event: CloudEvent) -> _Sent | None:
        """Send once; None where the event can't be sent any more.

        Raises
        ------
        PutOff
            Nothing was sent.
        Conflict
            Another message of the same delivery was faster.
        """
        endpoint = self._endpoint(subscription)
        unproven = await endpoint.enter()
        answer: Answer | None = None
        try:
            try:
                payload = await self._payloads.make(event, subscription, delivery.id)
            except ProtectionError as error:  # nobody can read it any more
                await self._end(delivery, DeliveryStatus.FAILED, f"the event can't be decrypted: {error.code}")
                return None
            try:
                proof = await self._credentials.proof(subscription)
            except NoCredential as missing:  # before the row says that it is under way: nothing is
                answer = self._unsent(subscription, missing)
            else:
                if subscription.mode is Mode.AT_MOST_ONCE:
                    await self._deliveries.put(replace(delivery, status=DeliveryStatus.SENDING))
                    delivery = replace(delivery, etag=None)
                answer = await self._post(subscription, delivery, event, payload, proof)
        finally:
            endpoint.exit(None if answer is not None and answer.own else answer, unproven=unproven)
        if answer.refused:
            security_event(
                SecurityEvent.REFUSED_ADDRESS,
                answer.problem,
                method="POST",
                path=f"/subscriptions/{subscription.id}",
                client=subscription.owner,
            )
        return await self._record(subscription, delivery, payload, answer, endpoint)

    def _unsent(self, subscription: Subscription, missing: NoCredential) -> Answer:
        if missing.own:  # what a receiver's token endpoint does is its subscriber's to see
            log_event("webhook put off", level=logging.WARNING, subscription=subscription.id, error=missing)
        return Answer(
            status=None,
            seconds=0.0,
            headers={},
            problem=str(missing),
            refused=missing.refused,
            unsent=True,
            own=missing.own,
        )

    async def _post(
        self, subscription: Subscription, delivery: Delivery, event: CloudEvent, payload: Payload, proof: Proof
    ) -> Answer:
        attributes = {
            "sluice.webhook.subscription": subscription.id,
            Name.EVENT_TYPE: event.type,
            Name.KEY: event.subject,
            Name.CORRELATION: event.correlation_id,
            Name.ATTEMPT: delivery.attempts + 1,
        }
        with span("send webhook", kind=SpanKind.CLIENT, parent=event.traceparent, attributes=attributes) as current:
            body = payload.body
            signed = signed_headers(
                delivery.message_id, body, subscription.signing_secrets(self._now()), now=self._now()
            )
            headers = {**proof.headers, "Content-Type": payload.content_type, **signed}
            answer = await self._sender.post(subscription.url, body, headers, identity=proof.identity)
            if answer.status == HTTPStatus.UNAUTHORIZED:
                self._credentials.refused(subscription, proof)
            current.set_attribute("http.response.status_code", answer.status or 0)
            if not answer.good:
                current.set_attribute("sluice.outcome", answer.problem or "refused")
        Metrics.webhook_duration.record(answer.seconds, subscription=subscription.id)
        return answer

    async def _record(
        self, subscription: Subscription, delivery: Delivery, payload: Payload, answer: Answer, endpoint: Endpoint
    ) -> _Sent:
        now = self._now()
        age = now - delivery.created_at
        verdict = judge(answer, attempt=delivery.attempts + 1, now=now, random=self._random, age=age)
        Metrics.webhook_deliveries.add(subscription=subscription.id, outcome=verdict.outcome.value)
        if verdict.outcome is Outcome.THROTTLED and verdict.seconds is not None:
            endpoint.rest(verdict.seconds)
        once = subscription.mode is Mode.AT_MOST_ONCE
        next_at = None if verdict.seconds is None or (once and verdict.counts) else self._after(verdict.seconds)
        attempt = Attempt(
            at=now,
            status=answer.status,
            seconds=answer.seconds,
            answer=None if payload.protected else _printable(answer.body),
            problem=answer.problem or ("" if answer.good else "the receiver refused it"),
        )
        recorded = replace(
            delivery,
            status=_status(verdict, ended=next_at is None),
            attempts=delivery.attempts + verdict.counts,
            tries=(*delivery.tries, attempt.to_json()),
            next_at=next_at,
        )
        await self._deliveries.put(recorded)
        if recorded.status is DeliveryStatus.FAILED and verdict.outcome in (Outcome.FAILED, Outcome.UNSENT):
            log_event(
                "webhook given up",
                level=logging.WARNING,
                subscription=subscription.id,
                delivery=delivery.id,
                eventType=delivery.event_type,
                attempts=recorded.attempts,
            )
        return _Sent(verdict, recorded.attempts, next_at)

    async def _end(self, delivery: Delivery, status: DeliveryStatus, problem: str) -> None:
        attempt = Attempt(at=self._now(), status=None, seconds=0.0, problem=problem)
        ended = replace(delivery, status=status, next_at=None, tries=(*delivery.tries, attempt.to_json()))
        await self._deliveries.put(ended)

    async def _judge_receiver(self, subscription: Subscription, verdict: Verdict) -> None:
        """Remember since when a receiver fails; disable one that is gone, or has failed for five days."""
        if verdict.outcome is Outcome.UNSENT:
            return
        now = self._now()
        if verdict.outcome is Outcome.DELIVERED:
            if subscription.failing_since is not None:
                await self._change(subscription, lambda one: replace(one, failing_since=None))
            return
        if verdict.outcome is Outcome.GONE:
            await self._disable(subscription, "the receiver answered 410")
        elif subscription.failing_since is None:
            await self._change(subscription, lambda one: replace(one, failing_since=one.failing_since or now))
        elif now - subscription.failing_since >= DISABLED_AFTER:
            await self._disable(subscription, "the receiver has failed for five days")

    async def _disable(self, subscription: Subscription, reason: str) -> None:
        now = self._now()

        def disabled(one: Subscription) -> Subscription:
            if one.status is Status.DISABLED or one.url != subscription.url:
                return one
            return replace(one, status=Status.DISABLED, reason=reason, changed_at=now)

        changed = await self._change(subscription, disabled)
        if changed is not None and changed.status is Status.DISABLED:
            log_event(
                "webhook disabled",
                level=logging.ERROR,
                subscription=subscription.id,
                client=subscription.owner,
                reason=reason,
            )
            Metrics.webhook_disabled.add()

    async def _change(
        self, subscription: Subscription, make: Callable[[Subscription], Subscription]
    ) -> Subscription | None:
        def counted(one: Subscription) -> Subscription:
            made = make(one)
            return made if made == one else replace(made, version=one.version + 1)  # its owner sees another one

        changed = await self._subscriptions.change(subscription.owner, subscription.id, counted)
        if changed is not None:
            self._known.put((subscription.owner, subscription.id), changed)
        return changed

    async def _in_order(self, subscription: Subscription, *, forced: bool) -> None:
        """Send what waits, the first one first, until one fails or the time is over; one instance at a time."""
        wake = Wake(owner=subscription.owner, subscription=subscription.id)
        turn = await self._turn(subscription, forced=forced)
        if turn is None:
            return
        taken = self._clock()
        ends = taken + _TURN_BUDGET
        next_at: datetime | None = None
        try:
            while next_at is None and (waiting := await self._deliveries.in_order(subscription.id, most=_PAGE)):
                for place, identity in waiting:
                    if self._clock() >= ends:
                        next_at = self._now()
                    elif (found := await self._deliveries.get(subscription.id, identity)) is None:
                        await self._deliveries.forget(subscription.id, place)
                    else:
                        if self._clock() - taken >= _TURN_RENEWED:
                            wanted = turn._replace(until=self._after(self._turn_seconds))
                            turn, taken = await self._deliveries.take_turn(subscription.id, wanted), self._clock()
                        next_at = await self._next_in_order(subscription, found)
                        subscription = await self._subscription(wake) or subscription
                    if next_at is not None:
                        break
        finally:
            free = self._now()
            if next_at is not None:
                await self._queue.send(wake, when=next_at if next_at > free else None)
            with suppress(Conflict):  # it took so long that somebody else has it
                await self._deliveries.take_turn(subscription.id, turn._replace(until=free, not_before=next_at or free))

    async def _turn(self, subscription: Subscription, *, forced: bool) -> Turn | None:
        """The turn, if it is free and its next try is due; whoever comes meanwhile comes again."""
        now = self._now()
        found = await self._deliveries.turn(subscription.id)
        wake = Wake(owner=subscription.owner, subscription=subscription.id, forced=forced)
        if found is not None and found.until > now:
            await self._queue.send(wake, when=self._after(_TURN_TAKEN))
            return None
        if found is not None and found.not_before > now and not forced:
            return None  # the message of its next try is on its way
        wanted = Turn(uuid4().hex, self._after(self._turn_seconds), now, None if found is None else found.etag)
        try:
            return await self._deliveries.take_turn(subscription.id, wanted)
        except Conflict:
            await self._queue.send(wake, when=self._after(_TURN_TAKEN))
            return None

    async def _next_in_order(self, subscription: Subscription, delivery: Delivery) -> datetime | None:
        """Send one; the moment of its next try, which holds up all after it."""
        if delivery.status.ended or delivery.status is DeliveryStatus.SENDING:
            status = DeliveryStatus.FAILED if delivery.status is DeliveryStatus.SENDING else delivery.status
            await self._deliveries.put(replace(delivery, status=status))
            return None
        if subscription.status is Status.DISABLED:
            await self._deliveries.put(replace(delivery, status=DeliveryStatus.MISSED, next_at=None))
            return None
        try:
            sent = await self._send(subscription, delivery, _event(delivery))
        except PutOff as later:
            return self._after(later.after)
        except Conflict:
            return self._now()
        if sent is None:
            return None
        await self._judge_receiver(subscription, sent.verdict)
        return sent.next_at


def _status(verdict: Verdict, *, ended: bool) -> DeliveryStatus:
    if verdict.outcome is Outcome.DELIVERED:
        return DeliveryStatus.DELIVERED
    if verdict.outcome is Outcome.GONE:
        return DeliveryStatus.MISSED
    return DeliveryStatus.FAILED if ended else DeliveryStatus.PENDING


def _event(delivery: Delivery) -> CloudEvent:
    return CloudEvent.from_json((delivery.event or "").encode())


def _printable(body: bytes) -> str:
    text = body.decode("utf-8", "replace")[:_KEPT_CHARACTERS]
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one == "\n" else "\N{REPLACEMENT CHARACTER}" for one in text)
