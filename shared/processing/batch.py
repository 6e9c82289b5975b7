"""Processes a batch: every message gets an outcome of its own, only infrastructure failure fails the batch."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, Protocol
from uuid import UUID

from opentelemetry.trace import SpanKind

from shared.messages import Headers, Lane, MessageError
from shared.resilience import LaneTurns
from shared.state import Outbox, StateStore
from shared.telemetry import link_to, log_event, span

from .committing import Committer
from .decoding import Decoder
from .failures import classify
from .lookup import LookUp
from .ordered import OrderedKeys
from .outcomes import Dead, Delivery, Done, Duplicate, Item, Parked, RetryLater
from .recent import Recent
from .running import Limits, Runner
from .settling import Settler

__all__ = ["Admission", "BatchFailed", "BatchProcessor"]


GRACE_SECONDS = 5.0
"""Time for storage and broker after the handlers' budget: both together stay below the lock."""
PART_BYTES = 64 * 1024 * 1024
"""Payloads of a batch that are in memory at one time, before parsing."""


class BatchFailed(Exception):
    """Storage or the broker failed: the batch goes back to its queue, what was committed is remembered."""


class Admission(Protocol):
    """Decides what may be processed now; `shared.pausing` has one."""

    async def admit(self, lane: Lane, deliveries: Sequence[Delivery]) -> list[int]:
        """The numbers of those that may; the others wait safely when this returns, and count as dealt with."""
        ...


class BatchProcessor:
    """Decode, look up the inbox, run handlers, commit in groups, publish, settle."""

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
        admission: Admission | None = None,
        recent: Recent | None = None,
    ) -> None:
        self._decoder = decoder
        self._recent = recent or Recent()
        self._look_up = LookUp(store, self._recent, outbox.cleared)
        self._runner = runner
        self._outbox = outbox
        self._settler = settler
        self._limits = limits
        self._ordered = ordered
        self._turns = turns
        self._admission = admission
        self._committer = Committer(store, self._look_up, self._recent, runner.rerun)

    async def process(self, lane: Lane, deliveries: Sequence[Delivery]) -> None:
        """Return when every message has its outcome and the batch may be completed.

        Raises
        ------
        BatchFailed
            The batch must be delivered again.
        """
        started = asyncio.get_running_loop().time()
        ends = started + self._limits.batch_budget + GRACE_SECONDS
        items = [Item(delivery) for delivery in deliveries]
        received = len(items)
        links = [link for item in items if (link := link_to(item.delivery.properties.get("traceparent")))]
        attributes = {"messaging.destination.name": lane.value, "messaging.batch.message_count": len(items)}
        with span("batch", kind=SpanKind.CONSUMER, links=links, attributes=attributes):
            try:
                async with asyncio.timeout_at(ends):
                    if self._admission is not None:
                        admitted = await self._admission.admit(lane, deliveries)
                        items = [items[number] for number in admitted]
                    with self._turns.at_work(lane):
                        async for piece in self._turns.slices(lane, items):
                            await self._process(lane, piece, deadline=started + self._limits.batch_budget)
            except Exception as error:
                log_event("batch failed", level=logging.ERROR, error=error, lane=lane.value, received=received)
                await _hold(items, ends)
                raise BatchFailed(f"{type(error).__name__}: the batch goes back to its queue") from error
        outcomes = Counter(type(item.outcome) for item in items)
        log_event(
            "batch",
            lane=lane.value,
            received=received,
            paused=received - len(items),
            done=outcomes[Done],
            duplicates=outcomes[Duplicate],
            retried=outcomes[RetryLater],
            dead=outcomes[Dead],
            parked=outcomes[Parked],
            milliseconds=round((asyncio.get_running_loop().time() - started) * 1_000),
        )

    async def _process(self, lane: Lane, items: Sequence[Item], *, deadline: float) -> None:
        for part in _parts(items):
            await _all(self._decode(item) for item in part)
            self._earn(part)
            if lane is Lane.ORDERED and self._ordered is not None:
                await self._in_order(self._ordered, part, deadline)
            else:
                await self._in_waves(lane, part, deadline)
            for item in part:  # what was read may be large, and isn't needed any more
                item.message = item.work = None

    async def _in_waves(self, lane: Lane, items: list[Item], deadline: float) -> None:
        """What can't be read is settled beside the others' work, unless another message goes by its id.

        That one must be dealt with first: the record of a death would have it taken for a second delivery.
        """
        ids = Counter(item.headers.message_id for item in items if item.headers is not None)
        unread: list[Item] = []
        others: list[Item] = []
        for item in items:
            alone = item.headers is None or ids[item.headers.message_id] == 1
            (unread if item.outcome is not None and alone else others).append(item)

        async def work() -> None:
            for wave in _waves(item for item in others if item.outcome is None):
                await self._wave(lane, wave, deadline)

        await _all([work(), *(self._settler.settle(lane, item) for item in unread)])
        await _all(self._settler.settle(lane, item) for item in others)

    async def _in_order(self, ordered: OrderedKeys, items: list[Item], deadline: float) -> None:
        """Each wave is settled before the next one looks: what failed holds its key by then."""
        for wave in _waves(item for item in items if item.headers is not None):
            turn = await ordered.whose_turn(wave)
            await self._wave(Lane.ORDERED, [item for item in turn if item.outcome is None], deadline)
            await _all(ordered.settle(item) for item in turn)
        await _all(self._settler.settle(Lane.ORDERED, item) for item in items if item.headers is None)

    async def take_turn(self, delivery: Delivery) -> Item:
        """Process one message of the ordered lane whose turn it is; what becomes of it is up to the caller.

        Whatever storage raises is passed on: the message waits where it was.
        """
        item = Item(delivery)
        async with asyncio.timeout(self._limits.batch_budget + GRACE_SECONDS):
            await self._decode(item)
            if item.outcome is None:
                deadline = asyncio.get_running_loop().time() + self._limits.batch_budget
                await self._wave(Lane.ORDERED, [item], deadline)
        return item

    async def _decode(self, item: Item) -> None:
        try:
            item.headers = Headers.from_properties(item.delivery.properties)
            item.message = await self._decoder.decode(item.delivery, item.headers)
        except MessageError as error:
            item.outcome = Dead(classify(error))

    def _earn(self, items: Iterable[Item]) -> None:
        first = Counter(
            item.message.handler.integration for item in items if item.message and item.message.headers.attempt == 1
        )
        for integration, tries in first.items():
            self._settler.budget(integration).earn(tries)

    async def _wave(self, lane: Lane, items: list[Item], deadline: float) -> None:
        """One message per key: later messages of a key wait for the wave before."""
        buckets: dict[int, list[Item]] = {}
        for item in items:
            buckets.setdefault(item.read.bucket, []).append(item)
        try:
            await _all(self._bucket(lane, bucket, group, deadline) for bucket, group in buckets.items())
        finally:
            await self._publish(items)

    async def _bucket(self, lane: Lane, bucket: int, items: list[Item], deadline: float) -> None:
        """Buckets don't wait for each other: storage works on one while the processor works on another."""
        await self._look_up.all(bucket, items)
        await _all(self._runner.run(lane, item, deadline) for item in items if item.outcome is None)
        if ready := [item for item in items if item.outcome is None]:
            await self._committer.commit(bucket, ready)

    async def _publish(self, items: Iterable[Item]) -> None:
        """Publish what was committed; what fails here stays in the outbox and is swept from there."""
        works = [item.work for item in items if isinstance(item.outcome, Done) and item.work and item.work.said]
        try:
            await self._outbox.publish(works)
        except Exception as error:
            log_event("publish failed", level=logging.WARNING, error=error)
        else:
            for work in works:
                self._recent.published(work.headers.key, work.aggregate.sequence + len(work.said))


async def _hold(items: Sequence[Item], ends: float) -> None:
    """Wait before giving back: an immediate redelivery would burn the delivery count during a short outage.

    But only until `ends`, on the loop's clock: a batch that is held beyond its lock can't be given back any more.
    """
    tries = max((item.delivery.delivery_count for item in items), default=1)
    left = ends - asyncio.get_running_loop().time()
    await asyncio.sleep(max(0.0, min(5.0, 0.25 * 2.0 ** min(tries, 10), left)))


def _parts(items: Sequence[Item]) -> list[list[Item]]:
    """The batch in pieces whose payloads fit in memory together; most batches are one piece."""
    parts: list[list[Item]] = []
    size = 0
    for item in items:
        more = _payload_size(item)
        if not parts or size + more > PART_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(item)
        size += more
    return parts


def _payload_size(item: Item) -> int:
    claimed = item.delivery.properties.get("claimSize")
    return max(len(item.delivery.body), claimed if isinstance(claimed, int) else 0)


def _waves(items: Iterable[Item]) -> list[list[Item]]:
    """The n-th message of every key, in the order of the batch; no wave holds a message id twice."""
    following: dict[str | UUID, int] = {}
    waves: list[list[Item]] = []
    for item in items:
        headers = item.headers or item.read.headers
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
