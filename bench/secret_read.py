"""What a secret costs that is held, beside a dictionary look-up behind an `await`."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime

from shared.secrets import Policy, Secret, SecretCache, Version

from .harness import Benchmark

READS = 5_000
TURNS = 40


class _Nowhere:
    """A vault that answers at once."""

    async def read(self, name: str, version: str | None) -> Secret:
        """Any secret."""
        return Secret(name, "-", "1", datetime(2026, 1, 1, tzinfo=UTC))

    async def versions(self, name: str) -> Sequence[Version]:
        """No others."""
        return []

    async def close(self) -> None:
        """Nothing is open."""


class _Dictionary:
    """The least that a cache could be."""

    def __init__(self, secrets: dict[str, Secret]) -> None:
        self._secrets = secrets

    async def get(self, name: str) -> Secret:
        """Look it up."""
        return self._secrets[name]


async def _seconds(get: Callable[[str], Awaitable[Secret]], names: Sequence[str]) -> float:
    started = time.perf_counter()
    for _ in range(READS // len(names)):
        for name in names:
            await get(name)
    return time.perf_counter() - started


async def _round(names: Sequence[str]) -> float:
    cache = SecretCache(_Nowhere(), Policy())
    dictionary = _Dictionary({name: await cache.get(name) for name in names})
    ours, bare = [], []
    for _ in range(TURNS):  # in turn, and the fastest of each: whatever is slower was disturbed
        bare.append(await _seconds(dictionary.get, names))
        ours.append(await _seconds(cache.get, names))
    await cache.close()
    return min(ours) / min(bare)


def _rounds(rounds: int) -> Iterator[float]:
    names = [f"secret-{number}" for number in range(50)]
    asyncio.run(_round(names))
    for _ in range(rounds):
        yield asyncio.run(_round(names))


BENCHMARKS = [
    Benchmark(
        name="secret-read",
        claim="time of a warm read of 50 secrets in turn / time of a dictionary look-up behind an await",
        goal=2.0,
        better="lower",
        rounds=_rounds,
    )
]
