"""What poison in a stream costs the messages around it."""

from collections.abc import Iterator

from azure.data.tables.aio import TableClient

from .harness import Benchmark
from .lane import Rig, drain, fill, rig
from .messages import orders

POISON_EVERY = 20
POISONED = 320
GOOD = POISONED * (POISON_EVERY - 1) // POISON_EVERY
TURNS = 3
"""Of each side in a round, one after the other: a slow moment of the machine hits both."""


async def _seconds(rig: Rig, count: int, poison_every: int) -> float:
    await fill(rig.client, rig.settings.lane_normal, orders(poison_every=poison_every), count)
    return await drain(rig.client, rig.settings.lane_normal, count, rig.process)


async def _dead(rig: Rig) -> int:
    """How many dead letters there are, each of which must be filed as invalid."""
    async with TableClient.from_connection_string(rig.storage, "deadletters") as table:
        categories = [row["category"] async for row in table.list_entities(select=["category"])]
    if set(categories) - {"invalid"}:
        raise RuntimeError(f"poison was filed as {set(categories)}")
    return len(categories)


def _rounds(rounds: int) -> Iterator[float]:
    with rig() as bed:
        bed.run(_seconds(bed, POISONED, POISON_EVERY))  # links open, code warms up
        for _ in range(rounds):
            without = with_poison = 0.0
            for _ in range(TURNS):
                without += bed.run(_seconds(bed, GOOD, 0))
                with_poison += bed.run(_seconds(bed, POISONED, POISON_EVERY))
            yield with_poison / without
        expected, found = (1 + rounds * TURNS) * (POISONED // POISON_EVERY), bed.run(_dead(bed))
        if found != expected:
            raise RuntimeError(f"{found} of {expected} poison messages are in the dead-letter store")


BENCHMARKS = [
    Benchmark(
        name="poison",
        claim=f"time for good messages with one poison message in {POISON_EVERY} among them / without",
        goal=1.1,
        better="lower",
        rounds=_rounds,
    )
]
