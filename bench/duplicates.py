"""What a second delivery costs: to the instance that did it first, to another one, and with the broker's part."""

import time
from collections.abc import Iterator, Sequence
from typing import Literal

import integrations
from functions.composition import Composition
from functions.composition.processing import processor
from shared.messages import Delivery, Lane, discover
from shared.processing import BatchProcessor

from .harness import Benchmark
from .lane import Rig, drain, fill, refill, rig
from .messages import orders

MESSAGES = 320
TURNS = 3
"""In a round, one after the other: a slow moment of the machine hits both sides."""
WARM_UP = 128

Counted = Literal["outcome", "receive to complete"]


async def _seconds(rig: Rig, count: int, again: BatchProcessor, counted: Counted) -> tuple[float, float]:
    """The first time, done by the rig's own processor, and the second time, met by `again`."""
    queue = rig.settings.lane_normal
    handed: list[float] = []

    async def drained(processor: BatchProcessor) -> float:
        async def process(deliveries: Sequence[Delivery]) -> None:
            started = time.perf_counter()
            await processor.process(Lane.NORMAL, deliveries)
            handed.append(time.perf_counter() - started)

        handed.clear()
        whole = await drain(rig.client, queue, count, process)
        return whole if counted == "receive to complete" else sum(handed)

    sent = await fill(rig.client, queue, orders(), count)
    first = await drained(rig.composition.get(processor))
    await refill(rig.client, queue, sent)
    return first, await drained(again)


def _rounds(rounds: int, *, elsewhere: bool, counted: Counted) -> Iterator[float]:
    with rig() as bed:
        other = Composition(bed.settings, discover(integrations)) if elsewhere else bed.composition
        bed.run(_seconds(bed, WARM_UP, other.get(processor), counted))
        for _ in range(rounds):
            turns = [bed.run(_seconds(bed, MESSAGES, other.get(processor), counted)) for _ in range(TURNS)]
            yield sum(again for _, again in turns) / sum(first for first, _ in turns)
        if elsewhere:
            bed.run(other.close())


BENCHMARKS = [
    Benchmark(
        name="duplicates",
        claim="time from the batch's hand-over to its outcome for messages that come a second time / the first time",
        goal=0.3,
        better="lower",
        rounds=lambda rounds: _rounds(rounds, elsewhere=False, counted="outcome"),
    ),
    Benchmark(
        name="duplicates-elsewhere",
        claim="the same where another instance meets the second delivery",
        goal=0.3,
        better="lower",
        rounds=lambda rounds: _rounds(rounds, elsewhere=True, counted="outcome"),
    ),
    Benchmark(
        name="duplicates-whole",
        claim="time from receive to complete, with the broker's part, the second time at another instance / the first",
        goal=0.3,
        better="lower",
        rounds=lambda rounds: _rounds(rounds, elsewhere=True, counted="receive to complete"),
    ),
]
