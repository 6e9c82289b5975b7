"""One instance's part of a shared limit: a block of tokens that it spends, and leases anew when it is spent."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from math import ceil, inf
from uuid import uuid4

from shared.resilience import TokenBucket
from shared.telemetry import Metrics, log_event

from .blocks import Block, BlockStore, Quota, SharedRate

__all__ = ["LeasedQuota", "LeasedRate", "Surroundings"]

STORE_SECONDS = 1.0
"""Within which the store answers, or it is away: a request waits for it."""
AWAY_SECONDS = 2.0
"""For which a store that was away isn't asked."""
_JITTER_BLOCKS = 4
_SPENT_SURELY = 0.7
"""Of what is spent in a block's life at the latest pace: what is leased beyond would be lost."""
_SOONEST = 0.001
_MOST_LEASES = 3
"""Of a quota for one request: one whose outcome was unknown, what is owed since then, and one more."""


class Surroundings:
    """What all leases of an instance have in common.

    Parameters
    ----------
    instances:
        Among which a limit is divided while the store is away.
    clock:
        Seconds, monotonic.
    random:
        Returns 0 … 1.
    instance:
        A name of this process that no other has; a random one by default.
    """

    def __init__(
        self,
        store: BlockStore,
        *,
        instances: int,
        clock: Callable[[], float],
        random: Callable[[], float],
        instance: str = "",
    ) -> None:
        self.store = store
        self.instances = instances
        self.clock = clock
        self.random = random
        self.away_until = -inf
        self._is_away = False
        self._instance = instance or uuid4().hex[:12]
        self._leases = 0

    def name_lease(self) -> str:
        """A name that no other lease has."""
        self._leases += 1
        return f"{self._instance}.{self._leases}"

    async def ask(self, lease: Callable[[], Awaitable[Block]]) -> Block | None:
        """What the store leases; None where it is away."""
        if self.clock() < self.away_until:
            return None
        try:
            async with asyncio.timeout(STORE_SECONDS):
                block = await lease()
        except Exception as failure:  # whatever a store raises: this instance keeps to its share
            self.away_until = self.clock() + AWAY_SECONDS
            Metrics.limits_failures.add(1)
            if not self._is_away:
                self._is_away = True
                log_event("limits shared no more", level=logging.WARNING, error=failure)
            return None
        if self._is_away:
            self._is_away = False
            log_event("limits shared again")
        return block


class LeasedRate:
    """One instance's part of a bucket."""

    __slots__ = (
        "_around",
        "_client",
        "_due",
        "_expires_at",
        "_known",
        "_latest",
        "_leased_at",
        "_leasing",
        "_left",
        "_own",
        "_spent_alone",
        "_waiting",
        "_wanted",
        "bucket",
    )

    def __init__(self, client: str, bucket: SharedRate, around: Surroundings) -> None:
        self.bucket = bucket
        self._client = client
        self._around = around
        self._left = 0
        self._expires_at = self._due = -inf
        self._leased_at = around.clock() - bucket.life
        self._wanted = self._waiting = 0
        self._latest = 1
        self._leasing = asyncio.Lock()
        self._own: TokenBucket | None = None
        self._spent_alone = 0
        self._known = (bucket.capacity, around.clock())

    def spend(self) -> bool:
        """Take a token that was leased; False where there is none."""
        self._wanted += 1
        return self._spend()

    def _spend(self) -> bool:
        if self._left < 1:
            return False
        if self._around.clock() >= self._expires_at:
            self._left = 0
            return False
        self._left -= 1
        return True

    async def lease(self) -> float:
        """Take a token, of a new block where one may be leased; 0, or the seconds after which it is worth a try."""
        if self._around.clock() < self._due and self._around.away_until < self._around.clock():
            return self._due - self._around.clock()
        self._waiting += 1
        try:
            async with self._leasing:
                if self._spend():
                    return 0.0
                if (wait := self._due - self._around.clock()) > 0:
                    return wait
                return await self._lease_block()
        finally:
            self._waiting -= 1

    async def _lease_block(self) -> float:
        clock, bucket = self._around.clock, self.bucket
        began = clock()
        pace = self._wanted / max(began - self._leased_at, _SOONEST)
        wanted = min(bucket.block, 2 * self._latest, max(self._waiting, ceil(pace * bucket.life * _SPENT_SURELY)))
        owed = min(0, self._left)
        block = await self._around.ask(lambda: self._around.store.lease_rate(self._client, bucket, wanted - owed))
        if block is None:
            return self._alone()
        if self._own is not None:  # the bucket filled meanwhile, beside what was spent here
            share = ceil(bucket.capacity / self._around.instances)
            self._left = -min(self._spent_alone, share)
            self._own, self._spent_alone = None, 0
        self._known = (block.level, clock())
        if not block.tokens:
            spread = min(_JITTER_BLOCKS * wanted, max(0.0, bucket.capacity - wanted) / 2)
            self._due = clock() + max(_SOONEST, block.retry_after + self._around.random() * spread / bucket.rate)
            return self._due - clock()
        self._wanted, self._leased_at, self._latest = 0, began, block.tokens
        self._left = owed + block.tokens
        self._expires_at = max(began + bucket.life, clock() + bucket.life / 4)  # of a store that is slow, too
        return 0.0 if self._spend() else _SOONEST

    def _alone(self) -> float:
        """The store is away: this instance's share of the rate, and none of the burst."""
        if self._own is None:
            rate = self.bucket.rate / self._around.instances
            self._own = TokenBucket(capacity=max(1.0, rate), rate=rate, clock=self._around.clock)
            self._own.take(max(1.0, rate))
        wait = self._own.wait()
        if wait > 0:
            return wait
        self._own.take()
        self._spent_alone += 1
        return 0.0

    def give_back(self) -> None:
        """Put a token back that wasn't needed after all."""
        self._left += 1

    def charge(self, tokens: int) -> None:
        """Take more tokens, whether they are there or not: what isn't is owed."""
        self._left -= tokens

    def state(self) -> tuple[int, int]:
        """Tokens that may be had now, as far as this instance knows (its own, and what it last saw in the store), and
        seconds until the bucket is full again, if nobody takes one.
        """
        now, bucket = self._around.clock(), self.bucket
        level, seen_at = self._known
        own = self._left if now < self._expires_at else min(0, self._left)
        left = max(0, int(own + min(bucket.capacity, level + bucket.rate * (now - seen_at))))
        return left, max(0, ceil((bucket.capacity - left) / bucket.rate))


class LeasedQuota:
    """One instance's part of a quota; a block is good until the period's end.

    Parameters
    ----------
    period:
        The period's name and the seconds that are left of it, now.
    """

    __slots__ = (
        "_around",
        "_asked",
        "_client",
        "_leasing",
        "_left",
        "_level",
        "_of",
        "_period",
        "_refused_until",
        "quota",
    )

    def __init__(
        self, client: str, quota: Quota, around: Surroundings, *, period: Callable[[], tuple[str, float]]
    ) -> None:
        self.quota = quota
        self._client = client
        self._around = around
        self._period = period
        self._of = ""
        self._left = 0
        self._level = float(quota.most)
        self._refused_until = -inf
        self._asked: tuple[str, int] | None = None
        self._leasing = asyncio.Lock()

    def spend(self) -> bool:
        """Take a token that was leased; False where there is none."""
        if self._left < 1 or self._period()[0] != self._of:
            return False
        self._left -= 1
        return True

    async def lease(self) -> float:
        """Take a token, of a new block where one may be leased; 0, or the seconds after which it is worth a try.

        While the store is away a quota stops nobody; what passes is counted when it is back.
        """
        async with self._leasing:
            if self.spend():
                return 0.0
            period, ends_in = self._period()
            if period != self._of:
                self._of, self._left, self._level, self._asked = period, 0, float(self.quota.most), None
            elif self._around.clock() < self._refused_until:
                return ends_in
            for _ in range(_MOST_LEASES):
                was_asked = self._asked is not None
                wanted, block = await self._lease_block()
                if block is None:
                    if self._level < 1:  # it was used up before
                        return ends_in
                    self._left -= 1
                    return 0.0
                if self.spend():
                    return 0.0
                if not block.tokens and block.retry_after < 1:  # the others were always quicker
                    return block.retry_after
                if block.tokens < wanted and not was_asked:
                    break
            self._refused_until = self._around.clock() + AWAY_SECONDS
            return ends_in

    async def _lease_block(self) -> tuple[int, Block | None]:
        """Pay what is owed and lease a block; what was asked for and not answered is asked for again, under its name,
        before anything else is.
        """
        if self._asked is None:
            self._asked = self._around.name_lease(), self.quota.block - min(0, self._left)
        name, wanted = self._asked
        store = self._around.store
        block = await self._around.ask(lambda: store.lease_quota(self._client, self.quota, wanted, lease=name))
        if block is not None:
            self._asked = None
            self._left, self._level = self._left + block.tokens, block.level
        return wanted, block

    def give_back(self) -> None:
        """Put a token back that wasn't needed after all."""
        self._left += 1

    def charge(self, tokens: int) -> None:
        """Take more tokens, whether they are there or not: what isn't is owed."""
        self._left -= tokens

    def state(self) -> tuple[int, int]:
        """Tokens that are left, as far as this instance knows, and seconds until the period ends."""
        period, ends_in = self._period()
        return self.quota.most if self._of != period else max(0, int(self._left + self._level)), ceil(ends_in)
