"""Leased blocks: how instances share a limit without a write for each request, and never admit more than it allows.

The store knows how full a bucket is. An instance leases a block of tokens by one atomic change and spends them by
itself; what it doesn't spend in time is lost, so that a block is never spent beside the tokens that came after it. The
part of the burst that blocks may hold back is left out of the shared bucket: `capacity = burst - rate × LIFE`. Then no
span of time sees more than `burst + rate × seconds`, whoever spends.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import floor
from typing import Protocol

from .plans import Period, Rate

__all__ = ["Block", "BlockStore", "Quota", "SharedRate", "lease_quota", "lease_rate", "period_of"]

LONGEST_LIFE = 5.0
"""Seconds for which a block may be spent, at most."""
_BLOCKS = 4
"""Blocks in a full bucket."""
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class SharedRate:
    """A bucket that instances share.

    Attributes
    ----------
    rate:
        Tokens a second.
    capacity:
        Tokens of the full bucket in the store.
    life:
        Seconds for which a block may be spent.
    block:
        Tokens of the largest block.
    """

    name: str
    rate: float
    capacity: float
    life: float
    block: int

    @classmethod
    def of(cls, name: str, limit: Rate) -> "SharedRate":
        """The shared part of a limit."""
        life = min(LONGEST_LIFE, limit.burst / (2 * limit.rate))
        capacity = limit.burst - limit.rate * life
        return cls(name, limit.rate, capacity, life, max(1, floor(capacity / _BLOCKS)))


@dataclass(frozen=True, slots=True)
class Quota:
    """Tokens of a period; `block` is a hundredth of them, at most 100."""

    name: str
    period: Period
    most: int

    @property
    def block(self) -> int:
        """Tokens of the largest block."""
        return max(1, min(100, self.most // 100))


@dataclass(frozen=True, slots=True)
class Block:
    """What was leased.

    Attributes
    ----------
    tokens:
        All that were wanted, or none; of a quota's last ones, those there are.
    level:
        Tokens that the store has left.
    retry_after:
        Seconds until what was wanted may be there; 0 where it was leased.
    """

    tokens: int
    level: float
    retry_after: float = 0.0


class BlockStore(Protocol):
    """Where the buckets are. Each lease is atomic; any exception means that the store is away."""

    async def lease_rate(self, client: str, bucket: SharedRate, wanted: int) -> Block:
        """So many tokens of a client's bucket, or none."""
        ...

    async def lease_quota(self, client: str, quota: Quota, wanted: int, *, lease: str = "") -> Block:
        """Up to so many tokens of a client's quota.

        `lease` names it, `<instance>.<number>`: where the instance's last lease of this quota has that name, it is
        answered again and nothing more is leased.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


def lease_rate(full_at: float, now: float, bucket: SharedRate, wanted: int) -> tuple[Block, float]:
    """The block, and when the bucket is full again; both times in seconds since 1970.

    The bucket is the moment at which it is full again (the theoretical arrival time of GCRA, ITU-T I.371). One that is
    further away than an empty bucket takes to fill was written by a clock that runs ahead: it is empty, no more.
    """
    fill = bucket.capacity / bucket.rate
    full_at = min(max(full_at, now), now + fill)
    level = bucket.capacity - (full_at - now) * bucket.rate
    least = min(wanted, floor(bucket.capacity + _ROUNDING))
    if level + _ROUNDING < least:
        return Block(0, level, (least - level) / bucket.rate), full_at
    return Block(least, level - least), full_at + least / bucket.rate


def lease_quota(found: tuple[str, int], now: datetime, quota: Quota, wanted: int) -> tuple[Block, tuple[str, int]]:
    """The block, and the period with what of it is used; a period that a clock ahead began isn't taken back."""
    current, following, ends = period_of(quota.period, now)
    period, used = found
    if period < current:
        period, used = current, 0
    elif period > following:
        period = current
    granted = max(0, min(wanted, quota.most - used))
    wait = 0.0 if granted else max(1.0, (ends - now).total_seconds())
    return Block(granted, quota.most - used - granted, wait), (period, used + granted)


def period_of(period: Period, now: datetime) -> tuple[str, str, datetime]:
    """A period's name, that of the next one, and when that begins."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if period is Period.DAY:
        following = midnight + timedelta(days=1)
        return f"{midnight:%Y-%m-%d}", f"{following:%Y-%m-%d}", following
    first = midnight.replace(day=1)
    following = (first + timedelta(days=32)).replace(day=1)
    return f"{first:%Y-%m}", f"{following:%Y-%m}", following
