"""What a message costs that comes a second time."""

from collections.abc import Iterator

from .harness import Benchmark
from .lane import Rig, drain, fill, refill, rig
from .messages import orders

MESSAGES = 960
WARM_UP = 128


async def _ratio(rig: Rig, count: int) -> float:
    """From receive to complete, both times."""
    queue = rig.settings.lane_normal
    sent = await fill(rig.client, queue, orders(), count)
    first = await drain(rig.client, queue, count, rig.process)
    await refill(rig.client, queue, sent)
    again = await drain(rig.client, queue, count, rig.process)
    return again / first


def _rounds(rounds: int) -> Iterator[float]:
    with rig() as bed:
        bed.run(_ratio(bed, WARM_UP))
        for _ in range(rounds):
            yield bed.run(_ratio(bed, MESSAGES))


BENCHMARKS = [
    Benchmark(
        name="duplicates",
        claim="time from receive to complete of messages that come a second time / the first time",
        goal=0.3,
        better="lower",
        rounds=_rounds,
    )
]
