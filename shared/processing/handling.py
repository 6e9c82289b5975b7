"""The third stage, handle, and the fourth, commit.

A handler gets a place at the bulkhead and a deadline, and whatever it raises becomes an outcome. The work of many
messages of a bucket is committed in few transactions: what a handler may do is what one of them can hold.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from opentelemetry.trace import StatusCode
from pydantic import BaseModel

from shared.blobs import ValueStore
from shared.messages import (
    Category,
    ErrorCode,
    Failure,
    Headers,
    Lane,
    OutgoingCommand,
    Partial,
    Postpone,
    Registry,
    Reject,
    address,
)
from shared.partners import Partners
from shared.pausing import PauseWatch
from shared.privacy import FieldProtection
from shared.resilience import RetryPlan, WeightedBulkhead
from shared.secrets import UnknownSecret
from shared.state import StateStore, TooLarge
from shared.tables import MAX_OPERATIONS, Conflict, Operation
from shared.telemetry import TRACING, Metrics, Name, current_traceparent, hiding, record_exception, span
from shared.work import Dead, Ended, Fresh, Handled, LoadRows, Message, RetryLater, Secrets, Work

from . import message_metrics
from .failures import classify
from .message_spans import about

__all__ = ["Limits", "Runner", "claim_key", "commit", "ensure_fits", "groups"]

PAUSED_SECONDS = 15.0
"""A message whose batch was under way when the pause began comes back after so long, and is set aside then."""
CALLS_SHARE = 0.98
"""Of a handler's time that its calls may take, so that a call which has no more of it ends before its handler does."""
LONGEST_POSTPONED = 3 * 86_400.0
"""Seconds after its acceptance up to which a message waits for a partner without an attempt: a long weekend."""
_UNTIL_IT_APPEARS = RetryPlan(shape="fixed", max_attempts=3, base=60.0, cap=66.0)
"""A secret that the vault doesn't have may be on its way from the deployment beside this one: two minutes are given."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of a batch, in seconds.

    Parameters
    ----------
    handler_timeout:
        Time one handler may take.
    batch_budget:
        Time all handlers of a batch may take; must end well before the lock does.
    """

    handler_timeout: float
    batch_budget: float

    def __post_init__(self) -> None:
        if not 0 < self.handler_timeout <= self.batch_budget:
            raise ValueError(f"handler_timeout {self.handler_timeout} must be above 0, batch_budget not below it")


class Runner:
    """Runs one handler for one message; never raises what the handler raised.

    Parameters
    ----------
    plan:
        The retry plan of event types that have none of their own.
    pauses:
        What an operator has paused; nothing without it.
    random:
        Returns 0 … 1, for the jitter of delays.
    new_work:
        Makes a unit of work; the testing kit's remembers more.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        load: LoadRows,
        buckets: int,
        gate: WeightedBulkhead[Lane],
        plan: RetryPlan,
        limits: Limits,
        source: str,
        values: ValueStore | None = None,
        fields: FieldProtection | None = None,
        secrets: Secrets | None = None,
        partners: Partners | None = None,
        pauses: PauseWatch | None = None,
        now: Callable[[], datetime],
        random: Callable[[], float],
        new_work: Callable[..., Work] = Work,
    ) -> None:
        self._registry = registry
        self._load = load
        self._buckets = buckets
        self._gate = gate
        self._plan = plan
        self._limits = limits
        self._source = source
        self._values = values
        self._fields = fields
        self._secrets = secrets
        self._partners = partners
        self._pauses = pauses
        self._new_work = new_work
        self._now = now
        self._random = random

    async def run(self, lane: Lane, fresh: Fresh, deadline: float) -> Handled | Ended:
        """Run the handler, or put the message off where the batch has no time left for it, or an operator says so."""
        async with self._gate.place(lane):
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return _put_off(fresh, 0.0, "the batch ran out of time")
            integration = fresh.message.handler.integration
            if self._pauses and await self._pauses.holding(lane=lane.value, integration=integration):
                return _put_off(fresh, PAUSED_SECONDS, "paused by an operator")
            if Metrics.messages_age.is_on:
                message_metrics.begun(fresh.message.headers, now=self._now())
            return await self._handle(fresh, min(left, self._limits.handler_timeout))

    async def rerun(self, fresh: Fresh) -> Handled | Ended:
        """Run the handler again on what is known now."""
        return await self._handle(fresh, self._limits.handler_timeout)

    async def _handle(self, fresh: Fresh, seconds: float) -> Handled | Ended:
        message = fresh.message
        headers = message.headers
        attributes = {Name.INTEGRATION: message.handler.integration, Name.EVENT_TYPE: headers.event_type}
        parent = message.delivery.span or headers.traceparent
        with (
            span(f"handle {headers.event_type}", parent=parent, plain=attributes) as current,
            hiding(message.data),
        ):
            began = asyncio.get_running_loop().time()
            work = self._work(fresh, began + seconds * CALLS_SHARE)
            try:
                async with asyncio.timeout(seconds):
                    size = await _call(message, work)
            except BaseException as error:
                task = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                    raise  # the app is closing; this isn't the handler's doing
                failure = classify(error)
                if Metrics.handler_duration.is_on:
                    _took(message, began, "failed")
                outcome = self.after(headers, failure, message.handler.retry)
                with suppress(Exception):  # it may not even be able to say what it is
                    record_exception(current, error)
                current.set_status(StatusCode.ERROR, failure.reason)
                return Ended(message.delivery, outcome, headers, message, work)
        if Metrics.handler_duration.is_on:
            _took(message, began, "done")
        return Handled(message, work, size)

    def _work(self, fresh: Fresh, deadline: float) -> Work:
        headers = fresh.message.headers
        return self._new_work(
            headers=headers,
            buckets=self._buckets,
            source=self._source,
            load=self._load,
            now=self._now,
            payload_hash=fresh.message.payload_hash,
            aggregate=fresh.aggregate,
            address=self._address,
            values=self._values,
            fields=self._fields,
            secrets=self._secrets,
            partners=self._partners,
            deadline=deadline,
            traceparent=current_traceparent() or headers.traceparent,
        )

    def _address(self, event_type: str, version: str, data: BaseModel) -> OutgoingCommand:
        handler = self._registry.handler(event_type, version)
        return address(handler, data, source=self._source, now=self._now())

    def after(self, headers: Headers, failure: Failure, plan: RetryPlan | None) -> RetryLater | Dead:
        """What becomes of a message that failed."""
        if isinstance(failure.error, UnknownSecret):
            plan = _UNTIL_IT_APPEARS
        elif not failure.retryable:
            return Dead(failure)
        if isinstance(failure.error, Postpone) and failure.after is not None:
            return self._postponed(headers, failure, failure.after)
        elapsed = (self._now() - headers.first_attempt_at).total_seconds()
        delay = (plan or self._plan).delay(
            headers.attempt, elapsed=max(0.0, elapsed), asked=failure.after, random=self._random
        )
        if delay is None:
            return Dead(replace(failure, code=ErrorCode.ATTEMPTS_EXHAUSTED) if failure.retryable else failure)
        return RetryLater(delay, failure)

    def _postponed(self, headers: Headers, failure: Failure, seconds: float) -> RetryLater | Dead:
        age = self._now() - (headers.accepted_at or headers.first_attempt_at)
        if age.total_seconds() > LONGEST_POSTPONED and not headers.replay:  # an operator wants it, however old it is
            return Dead(replace(failure, code=ErrorCode.ATTEMPTS_EXHAUSTED))
        return RetryLater(seconds, failure, counts=False)


def _took(message: Message, began: float, outcome: str) -> None:
    """Measure a handler that began at a moment of the loop."""
    Metrics.handler_duration.record(
        asyncio.get_running_loop().time() - began,
        integration=message.handler.integration,
        event_type=message.headers.event_type,
        outcome=outcome,
    )


def _put_off(fresh: Fresh, seconds: float, reason: str) -> Ended:
    failure = Failure(Category.TRANSIENT, ErrorCode.HANDLER_ERROR, reason)
    message = fresh.message
    return Ended(message.delivery, RetryLater(seconds, failure, counts=False), message.headers, message)


async def _call(message: Message, work: Work) -> int:
    """Call the handler; what can't be written fails here, where it is this message's own failure, not its batch's.

    Returns
    -------
    int
        About how many bytes its work is.
    """
    try:
        if message.handler.owned:
            await claim_key(message.headers, work)
        await message.handler.call(message.data, work)
    except Partial:
        ensure_fits(work.progress())
        raise
    await work.encrypt()
    return ensure_fits(work.operations())


_TEXTS = (str, bytes)
MAX_BYTES = 3 * 1024 * 1024
"""Below the 4 MiB of a transaction, with room for its frame."""


async def commit(store: StateStore, bucket: int, group: Sequence[Handled]) -> bool:
    """Commit the work of some messages, all or none; False where another message has changed what one had read."""
    operations = [operation for handled in group for operation in handled.work.operations()]
    attributes = {Name.BUCKET: bucket, Name.OPERATIONS: len(operations)}
    with span("transaction", **(about(group) if TRACING.sinks else {}), attributes=attributes):
        try:
            await store.commit(bucket, operations)
        except Conflict:
            return False
    return True


def ensure_fits(operations: Sequence[Operation]) -> int:
    """About how many bytes one message's work takes on the wire; raises TooLarge where no transaction takes them."""
    if len(operations) > MAX_OPERATIONS:
        raise TooLarge(f"{len(operations)} rows don't fit one transaction ({MAX_OPERATIONS} rows)")
    size = sum(_size(operation) for operation in operations)
    if size > MAX_BYTES:
        raise TooLarge(f"about {size} bytes don't fit one transaction ({MAX_BYTES} bytes)")
    return size


def groups(handled: Sequence[Handled]) -> list[list[Handled]]:
    """The messages in their order, as many together as one transaction takes."""
    found: list[list[Handled]] = []
    count = size = 0
    for one in handled:
        operations = one.work.operations()
        if not found or count + len(operations) > MAX_OPERATIONS or size + one.size > MAX_BYTES:
            found.append([])
            count = size = 0
        found[-1].append(one)
        count += len(operations)
        size += one.size
    return found


def _size(operation: Operation) -> int:
    """Bytes of a row on the wire, roughly: binary goes as base64, every column has a name and a type."""
    values = operation.row.values()
    texts = [len(value) for value in values if isinstance(value, _TEXTS)]
    return 400 + 140 * len(values) + sum(texts) * 4 // 3 - 40 * len(texts)


_KIND = "$owner"


class _Owner(BaseModel):
    """The mark of the client that used a key first."""

    client: str


async def claim_key(headers: Headers, work: Work) -> None:
    """Note the key's first client, in the message's own transaction; refuse any other's message.

    What has no client (a handler sent it, or callers aren't checked) belongs to the app itself and passes.

    Raises
    ------
    Reject
        The key is another client's.
    """
    if headers.sender is None:
        return
    owner = await work.load(_KIND, headers.key, _Owner)
    if owner is None:
        await work.save(_KIND, headers.key, _Owner(client=headers.sender))
    elif owner.client != headers.sender:
        raise Reject("The key belongs to another client, which used it first.", code=ErrorCode.FORBIDDEN)
