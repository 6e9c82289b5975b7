"""A limit that instances share: never more than the plan, nearly all of it used, whatever the instances do."""

from __future__ import annotations

import asyncio
import logging
import random
import traceback
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.limits import Block, BlockStore, Period, Quota, Rate, RedisBlocks, SharedRate, Surroundings, TableBlocks
from shared.limits.blocks import lease_quota, lease_rate
from shared.limits.leased import LeasedQuota, LeasedRate
from shared.tables import MemoryTable, Operation
from shared.telemetry import Metrics
from tests.unit.shared.http.test_shedding import metrics
from tests.unit.virtual_time import START, VirtualTime

__all__ = ["metrics"]
LIMIT = Rate(rate=100, burst=100)
BUCKET = SharedRate.of("requests", LIMIT)


@pytest.fixture
def time() -> Iterator[VirtualTime]:
    """Time that passes only while everybody waits."""
    found = VirtualTime()
    yield found
    found.close()


class SlowTable(MemoryTable):
    """Answers after a few milliseconds, as a store in another building does; counts what is written."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__("state")
        self.chance = chance
        self.is_away = False
        self.writes = self.conflicts = 0

    async def _wait(self) -> None:
        await asyncio.sleep(0.003 + 0.01 * self.chance.random())
        if self.is_away:
            raise ConnectionError("away")

    async def get(self, partition: str, row: str, *, select=()):  # type: ignore[no-untyped-def]
        """See `Table`."""
        await self._wait()
        return await super().get(partition, row, select=select)

    async def submit(self, operations: list[Operation]) -> list[str | None]:  # type: ignore[override]
        """See `Table`."""
        await self._wait()
        self.writes += 1
        try:
            return await super().submit(operations)
        except Exception:
            self.conflicts += 1
            raise


def instance(time: VirtualTime, table: MemoryTable, seed: int, *, ahead: float = 0.0) -> Surroundings:
    """One instance, whose clock may be ahead."""
    chance = random.Random(seed)
    store = TableBlocks(table, now=lambda: time.now() + timedelta(seconds=ahead), random=chance.random)
    return Surroundings(store, instances=10, clock=time.clock, random=chance.random)


async def hammer(lease: LeasedRate, time: VirtualTime, admitted: list[float], *, ends: float, pace: float) -> None:
    """Ask so often, whatever the answer is."""
    while time.clock() < ends:
        if lease.spend() or await lease.lease() == 0:
            admitted.append(time.clock())
        await asyncio.sleep(1 / pace)


def most_in_any_span(moments: list[float], limit: Rate) -> float:
    """By how many requests the fullest span of time is over the limit; zero or less where it is kept."""
    level, last, most = 0.0, 0.0, 0.0
    for moment in sorted(moments):
        level = max(0.0, level - limit.rate * (moment - last)) + 1
        last, most = moment, max(most, level)
    return most - limit.burst


def test_ten_instances_never_admit_more_than_the_plan_and_use_nearly_all_of_it(time: VirtualTime) -> None:
    table = SlowTable(random.Random(1))
    admitted: list[float] = []

    async def run() -> None:
        leases = [LeasedRate("acme", BUCKET, instance(time, table, seed)) for seed in range(10)]
        await asyncio.gather(*(hammer(one, time, admitted, ends=30, pace=150) for one in leases))

    time.run(run())
    assert len(admitted) <= LIMIT.burst + LIMIT.rate * 30
    assert most_in_any_span(admitted, LIMIT) <= 1e-6
    assert len(admitted) >= 0.9 * (LIMIT.burst + LIMIT.rate * 30)
    assert table.writes <= len(admitted) / 2


def test_an_instance_alone_needs_a_write_for_six_requests(time: VirtualTime) -> None:
    table = SlowTable(random.Random(8))
    admitted: list[float] = []
    time.run(hammer(LeasedRate("acme", BUCKET, instance(time, table, 1)), time, admitted, ends=10, pace=95))
    assert len(admitted) >= 800
    assert table.writes <= len(admitted) / 5
    assert table.conflicts == 0


def test_a_client_below_its_limit_is_never_refused_however_its_requests_are_spread(time: VirtualTime) -> None:
    table = SlowTable(random.Random(2))
    limit = SharedRate.of("requests", Rate(rate=10, burst=20))
    refused = 0

    async def run() -> None:
        nonlocal refused
        chance = random.Random(3)
        leases = [LeasedRate("acme", limit, instance(time, table, seed)) for seed in range(10)]
        for _ in range(300):
            one = chance.choice(leases)
            if not one.spend() and await one.lease() > 0:
                refused += 1
            await asyncio.sleep(1 / 6)

    time.run(run())
    assert refused == 0


def test_an_outage_of_the_store_leaves_each_instance_its_share_and_no_burst_comes_after_it(time: VirtualTime) -> None:
    table = SlowTable(random.Random(4))
    admitted: list[float] = []

    async def run() -> None:
        leases = [LeasedRate("acme", BUCKET, instance(time, table, seed)) for seed in range(10)]
        work = [asyncio.create_task(hammer(one, time, admitted, ends=30, pace=150)) for one in leases]
        await asyncio.sleep(8)
        table.is_away = True
        await asyncio.sleep(10)
        table.is_away = False
        await asyncio.gather(*work)

    time.run(run())
    assert most_in_any_span(admitted, LIMIT) <= 1e-6
    assert sum(10 <= one < 18 for one in admitted) >= 0.8 * 8 * LIMIT.rate
    assert sum(24 <= one < 30 for one in admitted) >= 0.9 * 6 * LIMIT.rate


def test_one_clock_that_jumps_ahead_starves_nobody(time: VirtualTime) -> None:
    table = SlowTable(random.Random(5))
    before: list[float] = []
    after: list[float] = []

    async def run() -> None:
        await hammer(LeasedRate("acme", BUCKET, instance(time, table, 1, ahead=3_600)), time, before, ends=1, pace=300)
        await hammer(LeasedRate("acme", BUCKET, instance(time, table, 2)), time, after, ends=11, pace=300)

    time.run(run())
    assert before
    assert len(after) >= 0.85 * 10 * LIMIT.rate


@given(
    rate=st.floats(0.1, 1_000),
    burst_seconds=st.floats(0.5, 30),
    steps=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 500)), max_size=60),
)
def test_leases_never_pass_the_bucket(rate: float, burst_seconds: float, steps: list[tuple[float, int]]) -> None:
    bucket = SharedRate.of("requests", Rate(rate=rate, burst=max(2, int(rate * burst_seconds))))
    now = began = START.timestamp()
    full_at, leased = 0.0, 0
    for wait, wanted in steps:
        now += wait
        block, full_at = lease_rate(full_at, now, bucket, wanted)
        leased += block.tokens
        assert leased <= bucket.capacity + rate * (now - began) + 0.01
        assert (block.tokens == 0) == (block.retry_after > 0)
        if not block.tokens:
            again, _ = lease_rate(full_at, now + block.retry_after + 0.001, bucket, wanted)
            assert again.tokens


def test_a_charge_is_owed_and_paid_before_the_next_request(time: VirtualTime) -> None:
    table = MemoryTable("state")

    async def run() -> float:
        lease = LeasedRate("acme", BUCKET, instance(time, table, 1))
        assert await lease.lease() == 0
        lease.charge(150)
        refused = 0
        for _ in range(40):
            refused += await lease.lease() > 0
            await asyncio.sleep(0.05)
        return refused * 0.05

    assert 0.9 <= time.run(run()) <= 1.5


class _OneBlock(BlockStore):
    """Leases one block, then never answers."""

    def __init__(self) -> None:
        self.asked = 0

    async def lease_rate(self, client: str, bucket: SharedRate, wanted: int) -> Block:
        """See `BlockStore`."""
        self.asked += 1
        if self.asked > 1:
            await asyncio.Event().wait()
        return Block(wanted, 0.0)

    async def lease_quota(self, client: str, quota: Quota, wanted: int, *, lease: str = "") -> Block:
        """See `BlockStore`."""
        raise ConnectionError("away")

    async def close(self) -> None:
        """Nothing is open."""


def test_a_store_that_hangs_is_waited_for_once(time: VirtualTime) -> None:
    async def run() -> tuple[float, int]:
        store = _OneBlock()
        around = Surroundings(store, instances=10, clock=time.clock, random=lambda: 0.5)
        lease = LeasedRate("acme", BUCKET, around)
        assert await lease.lease() == 0
        for _ in range(100):
            if not lease.spend():
                await lease.lease()
        return time.clock(), store.asked

    took, asked = time.run(run())
    assert took < 1.5
    assert asked == 2


def test_a_quota_is_never_passed_by_instances_that_share_it(time: VirtualTime) -> None:
    table = SlowTable(random.Random(6))
    quota = Quota("day", Period.DAY, 1_000)
    admitted = 0

    async def run() -> None:
        nonlocal admitted
        leases = [
            LeasedQuota("acme", quota, instance(time, table, seed), period=lambda: ("2026-01-05", 50_000.0))
            for seed in range(10)
        ]
        for turn in range(2_000):
            one = leases[turn % 10]
            admitted += one.spend() or await one.lease() == 0

    time.run(run())
    assert admitted == 1_000


def test_a_quota_starts_anew_with_its_period_and_a_clock_ahead_takes_nothing_back() -> None:
    quota = Quota("day", Period.DAY, 100)
    block, row = lease_quota(("", 0), START, quota, 100)
    assert (block.tokens, row) == (100, ("2026-01-05", 100))
    refused, _ = lease_quota(row, START, quota, 1)
    assert refused.tokens == 0
    assert 0 < refused.retry_after <= 86_400
    ahead, row = lease_quota(row, START + timedelta(days=1), quota, 30)
    assert (ahead.tokens, row) == (30, ("2026-01-06", 30))
    block, row = lease_quota(row, START, quota, 100)  # the clock that is right shares the period that was begun
    assert (block.tokens, row) == (70, ("2026-01-06", 100))
    block, row = lease_quota(("2030-01-01", 100), START, quota, 10)  # no quota waits for four years
    assert (block.tokens, row) == (0, ("2026-01-05", 100))
    month = Quota("month", Period.MONTH, 10)
    assert lease_quota(("2025-12", 10), START, month, 5)[1] == ("2026-01", 5)


def test_an_outage_lets_a_quota_pass_that_wasnt_used_up_and_counts_it_after(time: VirtualTime) -> None:
    table = SlowTable(random.Random(7))
    quota = Quota("day", Period.DAY, 10)

    async def run() -> int:
        lease = LeasedQuota("acme", quota, instance(time, table, 1), period=lambda: ("2026-01-05", 50_000.0))
        table.is_away = True
        passed = sum([await lease.lease() == 0 for _ in range(4)])
        table.is_away = False
        await asyncio.sleep(6)
        for _ in range(20):
            passed += lease.spend() or await lease.lease() == 0
        return passed

    assert time.run(run()) == 10


class _LateTable(MemoryTable):
    """Writes, and answers too late while it is slow."""

    is_slow = True

    async def submit(self, operations: list[Operation]) -> list[str | None]:  # type: ignore[override]
        """See `Table`."""
        found = await super().submit(operations)
        if self.is_slow:
            await asyncio.sleep(5)
        return found


def test_a_lease_whose_answer_came_too_late_is_not_paid_twice(time: VirtualTime) -> None:
    table = _LateTable("state")
    quota = Quota("day", Period.DAY, 100_000)

    async def run() -> int:
        leases = [
            LeasedQuota("acme", quota, instance(time, table, seed), period=lambda: ("2026-01-05", 50_000.0))
            for seed in (1, 2)
        ]
        passed = 0
        while time.clock() < 60:
            table.is_slow = time.clock() < 40
            for one in leases:
                passed += one.spend() or await one.lease() == 0
            await asyncio.sleep(0.1)
        return passed

    passed = time.run(run())
    (row,) = table.rows.values()
    assert passed > 800
    assert passed <= row["used"] <= passed + 2 * 2 * quota.block


def test_what_passed_in_an_outage_after_an_unknown_lease_is_paid_at_once(time: VirtualTime) -> None:
    table = _LateTable("state")
    quota = Quota("day", Period.DAY, 50)

    async def run() -> list[float]:
        lease = LeasedQuota("acme", quota, instance(time, table, 1), period=lambda: ("2026-01-05", 50_000.0))
        outage = [await lease.lease() for _ in range(8)]
        table.is_slow = False
        await asyncio.sleep(6)
        return outage + [await lease.lease() for _ in range(4)]

    assert time.run(run()) == [0.0] * 12
    (row,) = table.rows.values()
    assert row["used"] == 12


def test_a_store_that_is_away_is_told_of_once_and_again_when_it_is_back(
    time: VirtualTime, caplog: pytest.LogCaptureFixture, metrics: None
) -> None:
    table = SlowTable(random.Random(9))

    async def run() -> None:
        lease = LeasedRate("acme", BUCKET, instance(time, table, 1))
        table.is_away = True
        for _ in range(5):
            await lease.lease()
            await asyncio.sleep(3)
        table.is_away = False
        await asyncio.sleep(3)
        await lease.lease()

    with caplog.at_level(logging.INFO):
        time.run(run())
    told = [one.getMessage() for one in caplog.records if "limits shared" in one.getMessage()]
    assert len(told) == 2
    assert "no more" in told[0]
    assert "again" in told[1]
    assert [one.value for one in Metrics.limits_failures.points()] == [5]


async def test_an_address_that_cannot_be_read_is_not_quoted() -> None:
    async def url() -> str:
        return "rediss://:s3cr/et@cache:10000/0"

    store = RedisBlocks(url, now=lambda: START)
    with pytest.raises(ValueError, match="can't be read") as failed:
        await store.lease_rate("acme", BUCKET, 1)
    assert "s3cr" not in "".join(traceback.format_exception(failed.value))


def test_rows_that_two_instances_create_at_once_are_one(time: VirtualTime) -> None:
    table = MemoryTable("state")

    async def run() -> float:
        one, other = (instance(time, table, seed).store for seed in (1, 2))
        await asyncio.gather(one.lease_rate("acme", BUCKET, 5), other.lease_rate("acme", BUCKET, 5))
        return (await one.lease_rate("acme", BUCKET, 1)).level

    assert time.run(run()) == pytest.approx(BUCKET.capacity - 11, abs=0.5)
    assert len(table.rows) == 1
