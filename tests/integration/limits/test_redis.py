"""Limits in a real Redis: the same bounds as in the table, by the server's clock; and what its absence costs."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.limits import Period, Quota, Rate, RedisBlocks, SharedRate, Surroundings
from shared.limits.leased import LeasedRate

LIMIT = Rate(rate=200, burst=100)
BUCKET = SharedRate.of("requests", LIMIT)


class Server:
    """A Redis of the test's own, behind a socket in a folder."""

    def __init__(self, program: str, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        command = [program, "--port", "0", "--unixsocket", str(self.socket), "--save", "", "--dir", str(folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    async def url(self) -> str:
        """Its address, once it listens."""
        for _ in range(200):
            if self.socket.exists():
                break
            await asyncio.sleep(0.05)
        return f"unix://{self.socket}"

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A running server; skipped where Redis isn't installed."""
    program = shutil.which("redis-server") or os.environ.get("SLUICE_TEST_REDIS_SERVER")
    if program is None:
        pytest.skip("redis-server not installed")
    found = Server(program, tmp_path)
    yield found
    found.end()


def now() -> datetime:
    """The time of day."""
    return datetime.now(UTC)


async def test_instances_share_a_limit(server: Server) -> None:
    stores = [RedisBlocks(server.url, now=now) for _ in range(5)]
    chance = Random(1)
    leases = [
        LeasedRate(
            "acme; DROP",
            BUCKET,
            Surroundings(store, instances=10, clock=time.monotonic, random=chance.random),
        )
        for store in stores
    ]
    admitted: list[float] = []
    await stores[0].lease_rate("somebody", BUCKET, 1)  # connected
    began = time.monotonic()

    async def hammer(lease: LeasedRate) -> None:
        while time.monotonic() < began + 1.5:
            if lease.spend() or await lease.lease() == 0:
                admitted.append(time.monotonic())
            await asyncio.sleep(0.002)

    await asyncio.gather(*map(hammer, leases))
    took = max(admitted) - began
    assert 100 < len(admitted) <= LIMIT.burst + LIMIT.rate * took
    for store in stores:
        await store.close()


async def test_a_whole_block_or_nothing_and_when_there_will_be_one(server: Server) -> None:
    store = RedisBlocks(server.url, now=now)
    slow = SharedRate.of("requests", Rate(rate=1, burst=20))
    first = await store.lease_rate("acme", slow, 10)
    second = await store.lease_rate("acme", slow, 10)
    assert (first.tokens, second.tokens) == (10, 0)
    assert second.retry_after == pytest.approx(10 - (slow.capacity - 10), abs=1)
    assert (await store.lease_rate("other", slow, 10)).tokens == 10
    await store.close()


async def test_a_quota_gives_its_last_tokens_and_no_more(server: Server) -> None:
    store = RedisBlocks(server.url, now=now)
    quota = Quota("day", Period.DAY, 25)
    granted = [(await store.lease_quota("acme", quota, 10)).tokens for _ in range(4)]
    assert granted == [10, 10, 5, 0]
    assert 0 < (await store.lease_quota("acme", quota, 1)).retry_after <= 86_400
    await store.close()


async def test_a_named_lease_is_leased_once(server: Server) -> None:
    store = RedisBlocks(server.url, now=now)
    quota = Quota("day", Period.DAY, 25)
    names = ["one.1", "one.1", "two.1", "one.1", "one.2", "one.2"]
    leased = [await store.lease_quota("acme", quota, 10, lease=name) for name in names]
    assert [one.tokens for one in leased] == [10, 10, 10, 10, 5, 5]
    assert [one.level for one in leased] == [15, 15, 5, 5, 0, 0]
    await store.close()


async def test_a_password_that_was_changed_is_read_again(server: Server) -> None:
    password = "first"

    async def url() -> str:
        return f"{(await server.url()).replace('unix://', 'unix://:' + password + '@')}"

    admin = Redis(unix_socket_path=str(server.socket))
    await server.url()
    await admin.config_set("requirepass", "first")
    store = RedisBlocks(url, now=now)
    assert (await store.lease_rate("acme", BUCKET, 1)).tokens == 1
    await admin.config_set("requirepass", "second")
    await admin.client_kill_filter(_type="normal", skipme=True)
    password = "second"
    with pytest.raises(RedisError):
        await store.lease_rate("acme", BUCKET, 1)
    assert (await store.lease_rate("acme", BUCKET, 1)).tokens == 1
    await admin.aclose()
    await store.close()


async def test_a_dead_server_costs_one_request_a_moment_and_leaves_a_share(server: Server) -> None:
    store = RedisBlocks(server.url, now=now)
    lease = LeasedRate("acme", BUCKET, Surroundings(store, instances=10, clock=time.monotonic, random=lambda: 0.0))
    assert await lease.lease() == 0
    server.end()
    lease.charge(200)
    began = time.monotonic()
    waits = [await lease.lease() for _ in range(50)]
    assert time.monotonic() - began < 3
    assert max(waits) <= 1 / (LIMIT.rate / 10) + 0.01
    await store.close()
