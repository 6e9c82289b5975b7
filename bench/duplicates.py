"""What a message costs that comes a second time."""

from collections.abc import Iterator

from .harness import Benchmark
from .lane import Rig, drain, fill, refill, rig
from .messages import orders

MESSAGES = 320
TURNS = 3
"""In a round, one after the other: a slow moment of the machine hits both sides."""
WARM_UP = 128


async def _seconds(rig: Rig, count: int) -> tuple[float, float]:
    """From receive to complete, the first time and the second."""
    queue = rig.settings.lane_normal
    sent = await fill(rig.client, queue, orders(), count)
    first = await drain(rig.client, queue, count, rig.process)
    await refill(rig.client, queue, sent)
    return first, await drain(rig.client, queue, count, rig.process)


def _rounds(rounds: int) -> Iterator[float]:
    with rig() as bed:
        bed.run(_seconds(bed, WARM_UP))
        for _ in range(rounds):
            turns = [bed.run(_seconds(bed, MESSAGES)) for _ in range(TURNS)]
            yield sum(again for _, again in turns) / sum(first for first, _ in turns)


BENCHMARKS = [
    Benchmark(
        name="duplicates",
        claim="time from receive to complete of messages that come a second time / the first time",
        goal=0.3,
        better="lower",
        rounds=_rounds,
    )
]
