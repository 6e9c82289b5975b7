"""The last stage, settle: a delayed copy, or a dead letter; the original completes after that."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.dead_letters import DeadLetter, DeadLetterStore, InboxRecords, Suspects
from shared.messages import Category, ErrorCode, Failure, Headers, Lane
from shared.resilience import RetryBudget
from shared.sending import Lanes
from shared.state import Conflict, StateStore
from shared.telemetry import log_event
from shared.work import Dead, Ended, RetryLater

from .message_spans import onward

__all__ = ["Settler"]

KEEP_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Settler:
    """What happens to messages that aren't done.

    Attributes
    ----------
    budget:
        The retry budget of an integration, by its name.
    suspects:
        Forgets a message that killed workers once it has its dead letter.
    spent_delay:
        Seconds that a retry waits at least once its integration's budget is spent.
    """

    store: StateStore
    lanes: Lanes
    dead_letters: DeadLetterStore
    budget: Callable[[str], RetryBudget]
    spent_delay: float
    now: Callable[[], datetime]
    suspects: Suspects | None = None

    async def settle(self, lane: Lane, ended: Ended) -> None:
        """Return when the original may be completed: its copy is scheduled, or its dead letter stored."""
        match ended.outcome:
            case RetryLater() as retry if ended.headers is not None:
                copy, seconds = await self.put_off(lane, ended, ended.headers, retry)
                await self.lanes.send_later(copy, ended.delivery.body, self.now() + timedelta(seconds=seconds))
            case Dead(failure):
                await self._dead_letter(lane, ended, failure)

    async def put_off(self, lane: Lane, ended: Ended, headers: Headers, retry: RetryLater) -> tuple[Headers, float]:
        """The headers of the next try, and the seconds until then."""
        if retry.failure.category is Category.PARTIAL:
            await self._keep_progress(ended)
        seconds = retry.seconds
        if ended.message is not None and retry.counts and not self.budget(ended.message.handler.integration).spend():
            seconds = max(seconds, self.spent_delay)
        copy = replace(headers.next_attempt() if retry.counts else headers.waited(seconds), lane=lane)
        if ended.delivery.span is not None:
            copy = onward(ended, copy, keep=retry.counts)
        log_event(
            "retry later",
            level=logging.WARNING,
            messageId=str(headers.message_id),
            attempt=copy.attempt,
            seconds=round(seconds, 3),
            category=retry.failure.category.value,
            reason=retry.failure.reason,
        )
        if retry.counts:
            await self._keep_retry(copy, seconds)
        return copy, seconds

    async def _keep_retry(self, copy: Headers, seconds: float) -> None:
        """Let whoever asks know when the next attempt comes; nothing depends on it, so it may fail."""
        try:
            async with asyncio.timeout(KEEP_SECONDS):
                await self.store.keep_retry(copy, when=self.now() + timedelta(seconds=seconds), now=self.now())
        except Exception as error:
            log_event("retry not kept", level=logging.WARNING, reason=type(error).__name__)

    async def _keep_progress(self, ended: Ended) -> None:
        """Save what the handler had done; where somebody else changed it meanwhile, the next run starts from theirs."""
        if ended.work is not None and (operations := ended.work.progress()):
            with suppress(Conflict):
                await self.store.commit(ended.work.bucket, operations)

    async def _dead_letter(self, lane: Lane, ended: Ended, failure: Failure) -> None:
        """The dead letter first: whoever dies before the inbox says so leaves a message that comes again."""
        headers, now = ended.headers, self.now()
        delivery = ended.delivery
        if headers is not None and delivery.span is not None:
            headers = onward(ended, headers)
            delivery = replace(delivery, properties={**delivery.properties, "traceparent": headers.traceparent})
        payload_hash = ended.message.payload_hash if ended.message else None
        conflict = failure.code == ErrorCode.MESSAGE_ID_CONFLICT
        dead_letter = DeadLetter.of_message(
            lane,
            delivery,
            headers,
            failure,
            now=now,
            # Another payload under a known id is a dead letter of its own.
            identity=f"{headers.message_id}:{payload_hash.exact}" if conflict and headers and payload_hash else None,
        )
        await self.dead_letters.put(dead_letter)
        if headers is not None and not conflict:
            await InboxRecords(self.store).died(
                replace(headers, lane=lane),
                code=dead_letter.code,
                reason=dead_letter.reason,
                now=self.now(),
                payload_hash=payload_hash,
                its_turn=True,
            )
        if self.suspects is not None and failure.code == ErrorCode.WORKER_LOST:
            await self.suspects.forget(ended.delivery)
        dead_letter.log(lane)
