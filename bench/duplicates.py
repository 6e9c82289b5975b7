"""What a message costs that comes a second time."""

import time
from collections.abc import Iterator, Sequence

from shared.processing import Delivery

from .harness import Benchmark
from .lane import Rig, drain, fill, refill, rig
from .messages import orders

MESSAGES = 320
TURNS = 3
"""In a round, one after the other: a slow moment of the machine hits both sides."""
WARM_UP = 128


async def _seconds(rig: Rig, count: int) -> tuple[float, float]:
    """From hand-over to outcome, the first time and the second: the broker's own part is the same both times."""
    queue = rig.settings.lane_normal
    spent = [0.0]

    async def process(deliveries: Sequence[Delivery]) -> None:
        started = time.perf_counter()
        await rig.process(deliveries)
        spent[-1] += time.perf_counter() - started

    sent = await fill(rig.client, queue, orders(), count)
    await drain(rig.client, queue, count, process)
    spent.append(0.0)
    await refill(rig.client, queue, sent)
    await drain(rig.client, queue, count, process)
    return spent[0], spent[1]


def _rounds(rounds: int) -> Iterator[float]:
    with rig() as bed:
        bed.run(_seconds(bed, WARM_UP))
        for _ in range(rounds):
            turns = [bed.run(_seconds(bed, MESSAGES)) for _ in range(TURNS)]
            yield sum(again for _, again in turns) / sum(first for first, _ in turns)


BENCHMARKS = [
    Benchmark(
        name="duplicates",
        claim="time from the batch's hand-over to its outcome for messages that come a second time / the first time",
        goal=0.3,
        better="lower",
        rounds=_rounds,
    )
]
