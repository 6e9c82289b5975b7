"""Gives effect to outcomes: a delayed copy, or a dead letter; the original completes after that."""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.dead_letters import DeadLetter, DeadLetterStore, InboxRecords, stack_fingerprint, unread_identity
from shared.messages import ErrorCode, Headers, Lane
from shared.resilience import RetryBudget
from shared.sending import Lanes
from shared.state import Conflict, StateStore, Work
from shared.telemetry import log_event

from .failures import Category, Failure
from .outcomes import Dead, Item, RetryLater

__all__ = ["Settler"]


@dataclass(frozen=True, kw_only=True)
class Settler:
    """What happens to messages that aren't done.

    Attributes
    ----------
    budget:
        The retry budget of an integration, by its name.
    spent_delay:
        Seconds that a retry waits at least once its integration's budget is spent.
    """

    store: StateStore
    lanes: Lanes
    dead_letters: DeadLetterStore
    budget: Callable[[str], RetryBudget]
    spent_delay: float
    source: str
    now: Callable[[], datetime]

    async def settle(self, lane: Lane, item: Item) -> None:
        """Return when the original may be completed: its copy is scheduled, or its dead letter stored."""
        match item.outcome:
            case RetryLater() as retry if item.headers is not None:
                await self._retry(lane, item, item.headers, retry)
            case Dead(failure):
                await self._bury(lane, item, failure)

    async def _retry(self, lane: Lane, item: Item, headers: Headers, retry: RetryLater) -> None:
        copy, seconds = await self.put_off(lane, item, headers, retry)
        await self.lanes.send_later(copy, item.delivery.body, self.now() + timedelta(seconds=seconds))

    async def put_off(self, lane: Lane, item: Item, headers: Headers, retry: RetryLater) -> tuple[Headers, float]:
        """The headers of the next try, and the seconds until then."""
        if retry.failure.category is Category.PARTIAL:
            await self._keep_progress(item)
        seconds = retry.seconds
        if item.message is not None and retry.counts and not self.budget(item.message.handler.integration).spend():
            seconds = max(seconds, self.spent_delay)
        copy = replace(headers.next_attempt() if retry.counts else headers, lane=lane)
        log_event(
            "retry later",
            level=logging.WARNING,
            messageId=str(headers.message_id),
            attempt=copy.attempt,
            seconds=round(seconds, 3),
            category=retry.failure.category.value,
            reason=retry.failure.reason,
        )
        return copy, seconds

    async def _keep_progress(self, item: Item) -> None:
        """Save what the handler had done; where somebody else changed it meanwhile, the next run starts from theirs."""
        if item.work is not None and (operations := item.work.progress()):
            with suppress(Conflict):
                await self.store.commit(item.work.bucket, operations)

    async def _bury(self, lane: Lane, item: Item, failure: Failure) -> None:
        headers = item.headers
        now = self.now()
        await self.dead_letters.put(
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
            await self._record(replace(headers, lane=lane), item, failure)
        log_event(
            "dead letter",
            level=logging.ERROR,
            lane=lane.value,
            messageId=str(headers.message_id) if headers else item.delivery.message_id,
            code=str(failure.code),
            category=failure.category.value,
            reason=failure.reason,
        )

    async def _record(self, headers: Headers, item: Item, failure: Failure) -> None:
        """The inbox says what became of the message, for its operation and for a second delivery."""
        work = Work(
            headers=headers,
            buckets=self.store.buckets,
            source=self.source,
            load=self.store.find,
            now=self.now,
            fingerprint=item.message.fingerprint if item.message else "",
            aggregate=item.aggregate,
        )
        row = work.inbox_row("dead", code=str(failure.code), reason=failure.reason[:4_000])
        await InboxRecords(self.store).bury(headers.key, row)


def _identity(lane: Lane, item: Item, failure: Failure) -> str:
    """The same at every delivery; another payload under a known id is a dead letter of its own."""
    if item.headers is None:
        return unread_identity(lane.value, item.delivery.message_id, item.delivery.sequence_number)
    if failure.code == ErrorCode.MESSAGE_ID_CONFLICT:
        return f"{item.headers.message_id}:{item.read.fingerprint}"
    return str(item.headers.message_id)
