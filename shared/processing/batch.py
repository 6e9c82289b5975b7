"""Processes a batch: every message gets an outcome of its own, only infrastructure failure fails the batch."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from opentelemetry.trace import SpanKind

from shared.dead_letters import DeadLetter, DeadLetterStore, stack_fingerprint
from shared.messages import ErrorCode, Headers, Lane, MessageError
from shared.sending import EventPublisher, Fact, Lanes
from shared.state import Conflict, StateStore, Work, inbox_key
from shared.telemetry import current_traceparent, link_to, log_event, span

from .committing import Committer, ensure_fits, inbox_verdict
from .decoding import Decoder
from .failures import Category, Failure, classify
from .outcomes import Dead, Delivery, Done, Duplicate, Item, RetryLater
from .retry_plan import RetryPlan

__all__ = ["BatchFailed", "BatchProcessor", "Limits"]


class BatchFailed(Exception):
    """Storage or the broker failed: the batch goes back to its queue, what was committed is remembered."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of a batch; seconds where they are times.

    Parameters
    ----------
    handler_timeout:
        Time one handler may take.
    batch_budget:
        Time all handlers of a batch may take; must end well before the lock does.
    concurrency:
        Handlers that run side by side.
    """

    handler_timeout: float
    batch_budget: float
    concurrency: int


class BatchProcessor:
    """Decode, look up the inbox, run handlers, commit in groups, publish, settle."""

    def __init__(
        self,
        *,
        decoder: Decoder,
        store: StateStore,
        lanes: Lanes,
        publisher: EventPublisher,
        dead_letters: DeadLetterStore,
        plan: RetryPlan,
        limits: Limits,
        source: str,
        now: Callable[[], datetime],
        random: Callable[[], float],
    ) -> None:
        self._decoder = decoder
        self._store = store
        self._lanes = lanes
        self._publisher = publisher
        self._dead_letters = dead_letters
        self._plan = plan
        self._limits = limits
        self._source = source
        self._now = now
        self._random = random
        self._bulkhead = asyncio.Semaphore(limits.concurrency)
        self._committer = Committer(store, self._rerun)

    async def process(self, lane: Lane, deliveries: Sequence[Delivery]) -> None:
        """Return when every message has its outcome and the batch may be completed.

        Raises
        ------
        BatchFailed
            The batch must be delivered again.
        """
        started = asyncio.get_running_loop().time()
        items = [Item(delivery) for delivery in deliveries]
        links = [link for item in items if (link := link_to(item.delivery.properties.get("traceparent")))]
        attributes = {"messaging.destination.name": lane.value, "messaging.batch.message_count": len(items)}
        with span("batch", kind=SpanKind.CONSUMER, links=links, attributes=attributes):
            try:
                await self._process(lane, items, deadline=started + self._limits.batch_budget)
            except Exception as error:
                log_event("batch failed", level=logging.ERROR, error=error, lane=lane.value, received=len(items))
                await self._hold(items)
                raise BatchFailed(f"{type(error).__name__}: the batch goes back to its queue") from error
        outcomes = Counter(type(item.outcome) for item in items)
        log_event(
            "batch",
            lane=lane.value,
            received=len(items),
            done=outcomes[Done],
            duplicates=outcomes[Duplicate],
            retried=outcomes[RetryLater],
            dead=outcomes[Dead],
            milliseconds=round((asyncio.get_running_loop().time() - started) * 1_000),
        )

    async def _hold(self, items: Sequence[Item]) -> None:
        """Wait before giving back: an immediate redelivery would burn the delivery count during a short outage."""
        tries = max((item.delivery.delivery_count for item in items), default=1)
        await asyncio.sleep(min(5.0, 0.25 * 2.0 ** min(tries, 10)))

    async def _process(self, lane: Lane, items: list[Item], *, deadline: float) -> None:
        await _all(self._decode(item) for item in items)
        for wave in _waves(item for item in items if item.outcome is None):
            await self._wave(wave, deadline)
        await _all(self._settle(lane, item) for item in items)

    async def _decode(self, item: Item) -> None:
        try:
            item.headers = Headers.from_properties(item.delivery.properties)
            item.message = await self._decoder.decode(item.delivery, item.headers)
        except MessageError as error:
            item.outcome = Dead(classify(error))

    async def _wave(self, items: list[Item], deadline: float) -> None:
        """One message per key: later messages of a key wait for the wave before."""
        buckets: dict[int, list[Item]] = {}
        for item in items:
            buckets.setdefault(item.read.bucket, []).append(item)
        await _all(self._look_up(bucket, group) for bucket, group in buckets.items())
        await _all(self._run(item, deadline) for item in items if item.outcome is None)
        try:
            await _all(
                self._committer.commit(bucket, ready)
                for bucket, group in buckets.items()
                if (ready := [item for item in group if item.outcome is None])
            )
        finally:
            await self._publish(items)

    async def _look_up(self, bucket: int, items: list[Item]) -> None:
        rows = await self._store.find(bucket, [inbox_key(item.read.headers.message_id) for item in items])
        for item in items:
            item.outcome = inbox_verdict(item, rows.get(inbox_key(item.read.headers.message_id)))

    async def _run(self, item: Item, deadline: float) -> None:
        async with self._bulkhead:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                late = Failure(Category.TRANSIENT, ErrorCode.HANDLER_ERROR, "the batch ran out of time")
                item.outcome = RetryLater(0.0, late, counts=False)
                return
            await self._handle(item, min(left, self._limits.handler_timeout))

    async def _rerun(self, item: Item) -> None:
        await self._handle(item, self._limits.handler_timeout)

    async def _handle(self, item: Item, seconds: float) -> None:
        message = item.read
        headers = message.headers
        attributes = {"messaging.message.id": str(headers.message_id), "sluice.event_type": headers.event_type}
        with span("handler", parent=headers.traceparent, attributes=attributes) as current:
            item.work = Work(
                headers=headers,
                buckets=self._store.buckets,
                source=self._source,
                load=self._store.find,
                now=self._now,
                fingerprint=message.fingerprint,
                traceparent=current_traceparent() or headers.traceparent,
            )
            try:
                async with asyncio.timeout(seconds):
                    await message.handler.call(message.data, item.work)
                # What can't be written fails here, where it is this message's own failure.
                ensure_fits(item.work.operations())
            except BaseException as error:
                task = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                    raise
                item.outcome = self._after(headers, classify(error))
                with contextlib.suppress(Exception):  # it may not even be able to say what it is
                    current.record_exception(error)

    def _after(self, headers: Headers, failure: Failure) -> RetryLater | Dead:
        if not failure.retryable:
            return Dead(failure)
        delay = self._plan.delay(headers.attempt, asked=failure.after, random=self._random)
        if delay is None:
            return Dead(replace(failure, code=ErrorCode.ATTEMPTS_EXHAUSTED))
        return RetryLater(delay, failure)

    async def _publish(self, items: Iterable[Item]) -> None:
        """Publish what was committed; what fails here stays in the outbox and is swept from there."""
        done = [item for item in items if isinstance(item.outcome, Done) and item.work is not None and item.work.events]
        facts = [
            Fact(item.work.bucket, event.to_json())
            for item in done
            if item.work is not None
            for event in item.work.events
        ]
        try:
            await self._publisher.publish(facts)
            buckets: dict[int, list[str]] = {}
            for item in done:
                if item.work is not None:
                    buckets.setdefault(item.work.bucket, []).extend(item.work.outbox_keys)
            await _all(self._store.delete(bucket, keys) for bucket, keys in buckets.items())
        except Exception as error:
            log_event("publish failed", level=logging.WARNING, error=error, facts=len(facts))

    async def _settle(self, lane: Lane, item: Item) -> None:
        match item.outcome:
            case RetryLater(seconds, failure, counts) if item.headers is not None:
                headers = item.headers.next_attempt() if counts else item.headers
                when = self._now() + timedelta(seconds=seconds)
                await self._lanes.send_later(replace(headers, lane=lane), item.delivery.body, when)
                log_event(
                    "retry later",
                    level=logging.WARNING,
                    messageId=str(headers.message_id),
                    attempt=headers.attempt,
                    seconds=round(seconds, 3),
                    reason=failure.reason,
                )
            case Dead(failure):
                await self._bury(lane, item, failure)

    async def _bury(self, lane: Lane, item: Item, failure: Failure) -> None:
        headers = item.headers
        now = self._now()
        await self._dead_letters.put(
            DeadLetter(
                identity=_identity(lane, item, failure),
                body=item.delivery.body,
                properties=item.delivery.properties,
                source=f"lane:{lane.value}",
                category=failure.category.value,
                code=str(failure.code),
                reason=failure.reason,
                attempts=headers.attempt if headers else item.delivery.delivery_count,
                first_failure=headers.first_attempt_at if headers else now,
                last_failure=now,
                message_id=str(headers.message_id) if headers else item.delivery.message_id or None,
                event_type=headers.event_type if headers else None,
                key=headers.key if headers else None,
                correlation_id=headers.correlation_id if headers else None,
                traceparent=headers.traceparent if headers else None,
                fingerprint=stack_fingerprint(failure.error),
                position={"sequenceNumber": item.delivery.sequence_number},
            )
        )
        if headers is not None and failure.code != ErrorCode.MESSAGE_ID_CONFLICT:
            await self._record_death(headers, item, failure)
        log_event(
            "dead letter",
            level=logging.ERROR,
            lane=lane.value,
            messageId=str(headers.message_id) if headers else item.delivery.message_id,
            code=str(failure.code),
            category=failure.category.value,
            reason=failure.reason,
        )

    async def _record_death(self, headers: Headers, item: Item, failure: Failure) -> None:
        """The inbox says what became of the message, for its operation and for a second delivery."""
        work = Work(
            headers=headers,
            buckets=self._store.buckets,
            source=self._source,
            load=self._store.find,
            now=self._now,
            fingerprint=item.message.fingerprint if item.message else "",
        )
        row = work.inbox_row("dead", code=str(failure.code), reason=failure.reason[:4_000])
        try:
            await self._store.commit(work.bucket, [("create", row)])
        except Conflict:  # recorded by an earlier delivery
            return


def _identity(lane: Lane, item: Item, failure: Failure) -> str:
    if item.headers is None:
        return f"{lane.value}:{item.delivery.sequence_number}:{item.delivery.message_id}"
    if failure.code == ErrorCode.MESSAGE_ID_CONFLICT:
        return f"{item.headers.message_id}:{item.read.fingerprint}"
    return str(item.headers.message_id)


def _waves(items: Iterable[Item]) -> list[list[Item]]:
    """The n-th message of every key, in the order of the batch; no wave holds a message id twice."""
    following: dict[str | UUID, int] = {}
    waves: list[list[Item]] = []
    for item in items:
        headers = item.read.headers
        number = max(following.get(headers.key, 0), following.get(headers.message_id, 0))
        if number == len(waves):
            waves.append([])
        waves[number].append(item)
        following[headers.key] = following[headers.message_id] = number + 1
    return waves


async def _all(calls: Iterable[Awaitable[Any]]) -> None:
    """Await all to their end, then raise the first error: nothing keeps running behind a failed batch."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
