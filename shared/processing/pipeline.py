"""The pipeline: decode → deduplicate → handle → commit → publish → settle.

Each stage takes what the stage before gave, as values that nobody changes, and none calls back. Every message gets an
outcome of its own; only infrastructure failure fails the batch. `docs/life-of-a-message.md` shows the whole way.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, nullcontext
from typing import TypeVar
from uuid import UUID

from opentelemetry.trace import SpanKind

from shared.dead_letters import (
    KILLER,
    MOST_DEATHS,
    RETURNS,
    SUSPICIOUS_DELIVERY,
    GivenUpEarlier,
    Suspects,
    headers_of,
)
from shared.messages import Delivery, Lane
from shared.ordered import OrderedKeys
from shared.outbox import Outbox
from shared.pausing import PauseGate
from shared.resilience import LaneTurns
from shared.state import Inbox, StateStore
from shared.telemetry import TRACING, Metrics, Name, link_to, log_event, messaging, span
from shared.work import Dead, Done, Duplicate, Ended, Fresh, Handled, Message, Parked, RetryLater

from . import message_metrics, message_spans
from .decoding import Decoder
from .deduplication import Deduplication, Recent
from .handling import Limits, Runner, commit, groups
from .settling import Settler

__all__ = ["BatchFailed", "BatchProcessor"]


GRACE_SECONDS = 5.0
"""Time for storage and broker after the handlers' budget: both together stay below the lock."""
PART_BYTES = 64 * 1024 * 1024
"""Payloads of a batch that are in memory at one time, before parsing."""
TOGETHER_SECONDS = 0.25
"""What ends within so long is committed, and published, together; a slower neighbour isn't waited for."""
LONGEST_HOLD = 5.0
MAX_RERUNS = 5
"""Runs of a handler whose commit keeps meeting conflicts."""

_RECEIVING = {lane: messaging("receive", lane.value) for lane in Lane}

T = TypeVar("T")
Settle = Callable[[Ended], Awaitable[None]]
Decoded = TypeVar("Decoded", bound=Message | Ended)


class BatchFailed(Exception):
    """Storage or the broker failed: the batch goes back to its queue, what was committed is remembered."""


class BatchProcessor:
    """Leads the batches of all lanes through the stages."""

    def __init__(
        self,
        *,
        decoder: Decoder,
        store: StateStore,
        runner: Runner,
        outbox: Outbox,
        settler: Settler,
        limits: Limits,
        turns: LaneTurns[Lane],
        ordered: OrderedKeys | None = None,
        admission: PauseGate | None = None,
        recent: Recent | None = None,
        suspects: Suspects | None = None,
        earlier: GivenUpEarlier | None = None,
    ) -> None:
        self._decoder = decoder
        self._recent = recent or Recent()
        self._deduplication = Deduplication(store, self._recent, outbox.rows)
        self._runner = runner
        self._store = store
        self._outbox = outbox
        self._settler = settler
        self._limits = limits
        self._ordered = ordered
        self._turns = turns
        self._admission = admission
        self._suspects = suspects
        self._earlier = earlier

    async def process(self, lane: Lane, deliveries: Sequence[Delivery]) -> None:
        """Return when every message has its outcome and the batch may be completed.

        Raises
        ------
        BatchFailed
            The batch must be delivered again.
        """
        started = asyncio.get_running_loop().time()
        ends = started + self._limits.batch_budget + GRACE_SECONDS
        received, admitted = len(deliveries), deliveries
        links = [link for one in deliveries if (link := link_to(one.properties.get("traceparent")))]
        attributes = {**_RECEIVING[lane], Name.BATCH_COUNT: received}
        outcomes: Counter[type] = Counter()
        if Metrics.messages_received.is_on:
            Metrics.messages_received.add(received, lane=lane.value)
            Metrics.messages_active.add(received, lane=lane.value)
        with span(f"receive {lane.value}", kind=SpanKind.CLIENT, links=links, attributes=attributes):
            try:
                async with asyncio.timeout_at(ends):
                    if lane is Lane.ORDERED and self._earlier is not None:
                        await self._earlier.take(deliveries)  # before any of them is parked for a pause
                    if self._admission is not None:
                        admitted = [deliveries[number] for number in await self._admission.admit(lane, deliveries)]
                    with self._turns.at_work(lane):
                        outcomes = await self._batch(lane, admitted, started + self._limits.batch_budget)
            except Exception as error:
                Metrics.batches_failed.add(lane=lane.value)
                log_event("batch failed", level=logging.ERROR, error=error, lane=lane.value, received=received)
                await _hold(deliveries, ends, ends if lane is Lane.ORDERED else LONGEST_HOLD)
                raise BatchFailed(f"{type(error).__name__}: the batch goes back to its queue") from error
            finally:
                if Metrics.messages_active.is_on:
                    Metrics.messages_active.add(-received, lane=lane.value)
        log_event(
            "batch",
            lane=lane.value,
            received=received,
            paused=received - len(admitted),
            done=outcomes[Done],
            duplicates=outcomes[Duplicate],
            retried=outcomes[RetryLater],
            dead=outcomes[Dead],
            parked=outcomes[Parked],
            milliseconds=round((asyncio.get_running_loop().time() - started) * 1_000),
        )

    async def _batch(self, lane: Lane, admitted: Sequence[Delivery], deadline: float) -> Counter[type]:
        """All but the suspects, in pieces, then each suspect alone: those last of which workers have died.

        On the ordered lane, where nothing may be overtaken, all go one at a time as soon as one of them is a suspect.
        """
        suspects, others = _split(admitted) if self._suspects is not None else ([], admitted)
        if lane is Lane.ORDERED and suspects:
            suspects, others = admitted, []
        outcomes: Counter[type] = Counter()
        async with aclosing(self._turns.slices(lane, others)) as pieces:
            async for piece in pieces:
                for part in _parts(piece):
                    outcomes += await self._part(lane, part, deadline)
        if self._suspects is not None and suspects:
            deaths = await _all(self._suspects.deaths(one) for one in suspects)
            order = range(len(suspects))
            for number in order if lane is Lane.ORDERED else sorted(order, key=deaths.__getitem__):
                async with self._suspects.alone:
                    outcomes += await self._alone(self._suspects, lane, suspects[number], deaths[number], deadline)
        return outcomes

    async def _alone(
        self, suspects: Suspects, lane: Lane, delivery: Delivery, deaths: int, deadline: float
    ) -> Counter[type]:
        if deaths >= MOST_DEATHS:
            ended = await self._killer(suspects, delivery)
            await self._settler.settle(lane, ended)
            return Counter([type(self._ended(ended).outcome)])
        async with suspects.running(delivery, deaths):
            return await self._part(lane, [delivery], deadline)

    async def _killer(self, suspects: Suspects, delivery: Delivery) -> Ended:
        """The end of a message that nobody dares to run: it may have been dealt with before its worker died."""
        headers = headers_of(delivery)
        row = None if headers is None else await Inbox(self._store).find(str(headers.message_id), headers.key)
        if row is None or row["status"] == "replaying":
            return Ended(delivery, Dead(KILLER), headers)
        await suspects.forget(delivery)
        return Ended(delivery, Duplicate(), headers)

    async def take_turn(self, delivery: Delivery, settle: Settle) -> Ended:
        """Process one message of the ordered lane whose turn it is, and settle it as the caller does.

        Whatever storage raises is passed on: the message waits where it was, and isn't counted. Keys are drained side
        by side, so that the death of a worker accuses all of them: from then on those go one at a time.
        """
        ended = await self._turn(delivery)
        await settle(ended)
        return self._ended(ended)

    async def _turn(self, delivery: Delivery) -> Ended:
        if self._suspects is None:
            return await self._run(delivery)
        deaths = await self._suspects.deaths(delivery)
        async with self._suspects.alone if deaths else nullcontext():
            if deaths >= MOST_DEATHS:
                return await self._killer(self._suspects, delivery)
            async with self._suspects.running(delivery, deaths):
                return await self._run(delivery)

    async def _run(self, delivery: Delivery) -> Ended:
        async with asyncio.timeout(self._limits.batch_budget + GRACE_SECONDS):
            decoded = await self._read(Lane.ORDERED, delivery)
            if isinstance(decoded, Ended):
                return decoded
            deadline = asyncio.get_running_loop().time() + self._limits.batch_budget
            (ended,) = await self._wave(Lane.ORDERED, [decoded], deadline, _leave)
            return ended

    async def _part(self, lane: Lane, deliveries: Sequence[Delivery], deadline: float) -> Counter[type]:
        """What was read may be large: nothing of it outlives this."""
        decoded = await _all(self._read(lane, delivery) for delivery in deliveries)
        for one in decoded:
            if isinstance(one, Message) and one.headers.attempt == 1:
                self._settler.budget(one.handler.integration).earn()
        if lane is Lane.ORDERED and self._ordered is not None:
            ended = await self._in_order(self._ordered, decoded, deadline)
        else:
            ended = await self._in_waves(lane, decoded, deadline)
        return Counter(type(one.outcome) for one in ended)

    async def _read(self, lane: Lane, delivery: Delivery) -> Message | Ended:
        if TRACING.sinks:
            delivery = message_spans.begun(lane, delivery)
        if self._recent.is_put_off(delivery):
            return Ended(delivery, Duplicate())
        decoded = await self._decoder.read(delivery)
        if delivery.span is not None:
            message_spans.read(delivery, decoded)
        return decoded

    def _ended(self, one: Ended) -> Ended:
        if one.delivery.span is not None:
            message_spans.ended(one, now=self._settler.now())
        if Metrics.messages_processed.is_on:
            message_metrics.ended(one, now=self._settler.now())
        return one

    async def _in_waves(self, lane: Lane, decoded: Sequence[Message | Ended], deadline: float) -> list[Ended]:
        """What can't be read is settled beside the others' work, unless another message goes by its id.

        That one must be dealt with first: the record of a death would have it taken for a second delivery.
        """
        ids = Counter(one.headers.message_id for one in decoded if one.headers is not None)
        alone: list[Ended] = []
        later: list[Ended] = []
        for one in decoded:
            if isinstance(one, Ended):
                (alone if one.headers is None or ids[one.headers.message_id] == 1 else later).append(one)
        messages = [one for one in decoded if isinstance(one, Message)]

        async def settle(one: Ended) -> None:
            if isinstance(one.outcome, RetryLater | Dead):
                await self._settler.settle(lane, one)
            if isinstance(one.outcome, RetryLater):
                self._recent.put_off(one.delivery)
            if one.delivery.span is not None or Metrics.messages_processed.is_on:
                self._ended(one)

        async def work() -> list[Ended]:
            return [one for wave in _waves(messages) for one in await self._wave(lane, wave, deadline, settle)]

        ended, *_ = await _all([work(), *(_settled(settle, one) for one in alone)])
        await _all(settle(one) for one in later)
        return [*alone, *ended, *later]

    async def _in_order(self, ordered: OrderedKeys, decoded: Sequence[Message | Ended], deadline: float) -> list[Ended]:
        """Each wave is settled before the next one looks: what failed holds its key by then."""
        result: list[Ended] = []
        for wave in _waves([one for one in decoded if one.headers is not None]):
            turns = await ordered.whose_turn(wave)

            async def settle(one: Ended, holding: frozenset[UUID] = turns.holding) -> None:
                await ordered.settle(one, holds_key=one.headers is not None and one.headers.message_id in holding)
                self._ended(one)

            messages = [one for one in turns.now if isinstance(one, Message)]
            unread = [one for one in turns.now if isinstance(one, Ended)]
            ended, *_ = await _all(
                [
                    self._wave(Lane.ORDERED, messages, deadline, settle),
                    *(_settled(settle, one) for one in unread),
                ]
            )
            result += [*map(self._ended, turns.parked), *unread, *ended]
        nameless = [one for one in decoded if isinstance(one, Ended) and one.headers is None]
        await _all(self._settler.settle(Lane.ORDERED, one) for one in nameless)
        return [*result, *map(self._ended, nameless)]

    async def _wave(self, lane: Lane, messages: Sequence[Message], deadline: float, settle: Settle) -> list[Ended]:
        """One message per key: later messages of a key wait for the wave before. Each is settled when it has ended."""
        buckets: dict[int, list[Message]] = {}
        for message in messages:
            buckets.setdefault(message.bucket, []).append(message)
        ended: list[Ended] = []
        published = 0

        async def end(one: Ended) -> None:
            ended.append(one)
            await settle(one)

        async def publish(_: object = None) -> None:
            nonlocal published
            fresh, published = ended[published:], len(ended)
            await self._publish(fresh)

        try:
            await _as_they_end((self._bucket(lane, *each, deadline, end) for each in buckets.items()), publish)
        finally:
            await publish()  # also what was committed before something failed
        return ended

    async def _bucket(self, lane: Lane, bucket: int, messages: Sequence[Message], deadline: float, end: Settle) -> None:
        """Buckets don't wait for each other: storage works on one while the processor works on another."""
        known = await self._deduplication.sort(bucket, messages)

        async def run(one: Fresh | Ended) -> Handled | None:
            result = one if isinstance(one, Ended) else await self._runner.run(lane, one, deadline)
            if isinstance(result, Handled):
                return result
            await end(result)
            return None

        async def finish(results: Sequence[Handled | None]) -> None:
            for group in groups([one for one in results if one is not None]):
                together = await commit(self._store, bucket, group)
                for one in group:
                    await end(self._done(one) if together else await self._commit_alone(bucket, one))

        await _as_they_end((run(one) for one in known), finish)

    async def _commit_alone(self, bucket: int, handled: Handled) -> Ended:
        """What met a conflict goes through the stages again, by itself, until it doesn't."""
        for _ in range(MAX_RERUNS):
            if await commit(self._store, bucket, [handled]):
                return self._done(handled)
            known = await self._deduplication.again(bucket, handled.message)
            if isinstance(known, Ended):
                return known
            result = await self._runner.rerun(known)
            if isinstance(result, Ended):
                return result
            handled = result
        key = handled.message.headers.key
        raise TimeoutError(f"the state of {key!r} keeps changing; the message goes back to its queue")

    def _done(self, handled: Handled) -> Ended:
        message = handled.message
        self._recent.done(message)
        return Ended(message.delivery, Done(), message.headers, message, handled.work)

    async def _publish(self, ended: Iterable[Ended]) -> None:
        """Publish what was committed; what fails here stays in the outbox and is swept from there."""
        done = [one for one in ended if isinstance(one.outcome, Done) and one.work and one.work.emitted]
        works = [one.work for one in done if one.work is not None]
        if not works:
            return
        try:
            with span(
                "publish",
                **(message_spans.about(done) if TRACING.sinks else {}),
                attributes={Name.EVENTS: sum(len(one.emitted) for one in works)},
            ):
                await self._outbox.publish(works)
        except Exception as error:
            log_event("publish failed", level=logging.WARNING, error=error)
        else:
            for work in works:
                self._recent.published(work.headers.key, work.aggregate.sequence + len(work.emitted))


def _split(deliveries: Sequence[Delivery]) -> tuple[Sequence[Delivery], Sequence[Delivery]]:
    """The suspects, whose deliveries have failed often or which the broker gave up before, and the others."""
    suspects: list[Delivery] = []
    others: list[Delivery] = []
    for one in deliveries:
        suspect = one.delivery_count >= SUSPICIOUS_DELIVERY or one.properties.get(RETURNS)
        (suspects if suspect else others).append(one)
    return suspects, others


async def _hold(deliveries: Sequence[Delivery], ends: float, longest: float) -> None:
    """Wait before giving back: an immediate redelivery would burn the delivery count during a short outage.

    But only until `ends`, on the loop's clock: a batch that is worked on beyond its lock can't be given back any more.
    """
    tries = max((delivery.delivery_count for delivery in deliveries), default=1)
    left = ends - asyncio.get_running_loop().time()
    await asyncio.sleep(max(0.0, min(longest, 0.25 * 2.0 ** min(tries, 10), left)))


def _parts(deliveries: Sequence[Delivery]) -> list[list[Delivery]]:
    """The batch in pieces whose payloads fit in memory together; most batches are one piece."""
    parts: list[list[Delivery]] = []
    size = 0
    for delivery in deliveries:
        more = _payload_size(delivery)
        if not parts or size + more > PART_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(delivery)
        size += more
    return parts


def _payload_size(delivery: Delivery) -> int:
    claimed = delivery.properties.get("claimSize")
    return max(len(delivery.body), claimed if isinstance(claimed, int) else 0)


def _waves(decoded: Sequence[Decoded]) -> list[list[Decoded]]:
    """The n-th message of every key, in the order of the batch; no wave holds a message id twice."""
    following: dict[str | UUID, int] = {}
    waves: list[list[Decoded]] = []
    for one in decoded:
        if one.headers is None:
            raise LookupError("the delivery doesn't say which key it belongs to")
        marks: list[str | UUID] = [one.headers.key, *one.headers.identities]
        number = max(following.get(mark, 0) for mark in marks)
        if number == len(waves):
            waves.append([])
        waves[number].append(one)
        following.update(dict.fromkeys(marks, number + 1))
    return waves


async def _leave(_: Ended) -> None:
    """It is settled once nothing of it is under way."""


async def _settled(settle: Settle, ended: Ended) -> list[Ended]:
    await settle(ended)
    return [ended]


async def _as_they_end(calls: Iterable[Awaitable[T]], take: Callable[[list[T]], Awaitable[None]]) -> None:
    """Hand over the results in order, again and again those that are there; raise the first error when all have ended.

    Nothing keeps running behind a failed batch.
    """
    running = [asyncio.ensure_future(call) for call in calls]
    errors: list[BaseException] = []
    try:
        while running:
            await asyncio.wait(running, timeout=TOGETHER_SECONDS)
            ended, running = [one for one in running if one.done()], [one for one in running if not one.done()]
            results = await asyncio.gather(*ended, return_exceptions=True)
            errors += [one for one in results if isinstance(one, BaseException)]
            try:
                await take([one for one in results if not isinstance(one, BaseException)])
            except Exception as error:
                errors.append(error)
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    if errors:
        raise errors[0]


async def _all(calls: Iterable[Awaitable[T]]) -> list[T]:
    """Await all to their end, then raise the first error: nothing keeps running behind a failed batch."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results  # type: ignore[return-value]  # none of them is an exception
