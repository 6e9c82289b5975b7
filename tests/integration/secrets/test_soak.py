"""The promise of the cache on a vault that throttles, fails, hangs and dies: bounded waits, no failure, few reads."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from shared.secrets import Policy, SecretCache
from tests.integration.conftest import RunningIssuer, RunningVault, running_vault

from .conftest import NewCache, NewClient

INSTANCES = 2
TASKS = 16
SECRETS = [f"soak-{number}" for number in range(50)]
POLICY = Policy(ttl=0.6, jitter=0.1, stale=60, patience=0.1, timeout=0.8)
PHASE = 1.6
"""Seconds for each fault, at least: more than two refresh periods."""
READS_IN_PHASE = INSTANCES * len(SECRETS) // 2
"""What the vault must have seen before a phase ends: a busy machine has longer ones."""
PHASE_GIVES_UP = 8.0
TICK = 0.01


class Watch:
    """How long callers waited, and how long the loop itself was held up by the machine."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.lag = 0.0
        self.reads = 0
        self.seen: dict[str, Counter[str]] = {name: Counter() for name in SECRETS}

    async def tick(self) -> None:
        """Measure the loop."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(TICK)
            self.lag = max(self.lag, time.monotonic() - began - TICK)

    async def read(self, cache: SecretCache, until: asyncio.Event) -> None:
        """Read at random, as fast as a busy handler."""
        choose = random.Random(id(cache))
        while not until.is_set():
            name = choose.choice(SECRETS)
            began = time.monotonic()
            secret = await cache.get(name)
            self.longest = max(self.longest, time.monotonic() - began)
            self.reads += 1
            self.seen[name][secret.version] += 1
            await asyncio.sleep(0.002)


@asynccontextmanager
async def beside(running: AbstractContextManager[RunningVault]) -> AsyncIterator[RunningVault]:
    """Start and stop the vault in a thread, so that the readers go on."""
    vault = await asyncio.to_thread(running.__enter__)
    try:
        yield vault
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


def gets(found: dict[str, Any]) -> int:
    """Reads of the soak's secrets that the vault has seen, whatever it answered."""
    return sum(number for name, number in found["items"].get("secrets/get", {}).items() if name in SECRETS)


async def phase(vault: RunningVault) -> None:
    """Go on until the readers have asked so often; the sixth of these makes it three times for every secret."""
    began = time.monotonic()
    before = gets(await asyncio.to_thread(vault.requests))
    await asyncio.sleep(PHASE)
    while (asked := gets(await asyncio.to_thread(vault.requests)) - before) < READS_IN_PHASE:
        assert time.monotonic() - began < PHASE_GIVES_UP, f"the vault was asked {asked} times"
        await asyncio.sleep(0.1)


async def test_sixteen_readers_notice_nothing_of_a_vault_that_fails(
    client: NewClient, instance: NewCache, issuer: RunningIssuer, project: Path, tmp_path: Path
) -> None:
    """Waits stay within the patience, no read fails, and the vault sees what it was promised."""
    async with beside(running_vault(tmp_path, issuer)) as first:
        port = int(first.url.rpartition(":")[2])
        writer = client(first)
        await asyncio.gather(*(writer.write(name, f"value of {name}", tags={}, expires=None) for name in SECRETS))
        caches = [instance(first, POLICY) for _ in range(INSTANCES)]
        for cache in caches:
            await cache.preload(SECRETS)
        first.administer("DELETE", "requests")
        watch, done = Watch(), asyncio.Event()
        began = time.monotonic()
        ticking = asyncio.create_task(watch.tick())
        readers = [asyncio.create_task(watch.read(caches[number % INSTANCES], done)) for number in range(TASKS)]
        await phase(first)
        changed = await writer.write(SECRETS[0], "another value", tags={}, expires=None)
        assert await caches[0].changed(SECRETS[0])
        for fault in ("throttle", "error", "hang", "malformed"):
            await asyncio.to_thread(first.fault, fault, share=0.8, seconds=1.2)
            await phase(first)
            await asyncio.to_thread(first.heal)
        seen = gets(await asyncio.to_thread(first.requests))
    await asyncio.sleep(3 * POLICY.ttl)  # nobody listens
    async with beside(running_vault(tmp_path, issuer, port=port)) as second:
        await phase(second)
        seen += gets(await asyncio.to_thread(second.requests))
        elapsed = time.monotonic() - began
        done.set()
        await asyncio.gather(*readers)  # one that failed says so here
        ticking.cancel()
        current = [await cache.get(SECRETS[0]) for cache in caches]
    assert watch.reads > 10 * seen
    assert watch.longest <= POLICY.patience + 2 * watch.lag + 0.05, watch.longest
    assert seen <= INSTANCES * len(SECRETS) * elapsed / POLICY.ttl + 1
    assert seen >= INSTANCES * len(SECRETS) * 3  # it was asked throughout
    assert {secret.version for secret in current} == {changed.version}
