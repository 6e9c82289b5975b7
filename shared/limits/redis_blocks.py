"""Buckets in Redis: a lease is one script, by the server's own clock."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .blocks import Block, BlockStore, Quota, SharedRate, period_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["RedisBlocks"]

_SECONDS = 0.5
_RATE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local rate, capacity, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local fill = capacity / rate
local full_at = math.min(math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now), now + fill)
local level = capacity - (full_at - now) * rate
local least = math.min(wanted, math.floor(capacity + 0.000001))
if level + 0.000001 < least then
  return {0, tostring(level), tostring((least - level) / rate)}
end
redis.call('SET', KEYS[1], string.format('%.6f', full_at + least / rate), 'PX', math.ceil((fill + 1) * 1000))
return {least, tostring(level - least), '0'}
"""
_QUOTA = """
local used = tonumber(redis.call('GET', KEYS[1]) or '0')
local most, wanted = tonumber(ARGV[1]), tonumber(ARGV[2])
local granted = math.max(0, math.min(wanted, most - used))
if granted > 0 then
  redis.call('SET', KEYS[1], string.format('%.0f', used + granted), 'EX', ARGV[3])
end
return {granted, tostring(most - used - granted)}
"""
_KEPT = 86_400
"""Seconds for which a quota is kept after its period's end, for instances whose clocks are late."""


class RedisBlocks(BlockStore):
    """Implements `BlockStore` on Redis 6 or later, or what speaks its protocol.

    Parameters
    ----------
    url:
        Where it is: `rediss://user:password@host:port/0`, without TLS `redis://`. Asked once it worked.
    """

    def __init__(self, url: Callable[[], Awaitable[str]], *, now: Callable[[], datetime]) -> None:
        self._url = url
        self._now = now
        self._redis: Redis | None = None
        self._rate: Any = None
        self._quota: Any = None

    async def _connect(self) -> None:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        url = await self._url()
        if self._redis is None:
            self._redis = Redis.from_url(
                url,
                protocol=2,  # the third costs twice the processor time
                retry=Retry(NoBackoff(), 0),
                socket_connect_timeout=_SECONDS,
                socket_timeout=_SECONDS,
            )
            self._rate = self._redis.register_script(_RATE)
            self._quota = self._redis.register_script(_QUOTA)

    async def lease_rate(self, client: str, bucket: SharedRate, wanted: int) -> Block:
        """See `BlockStore`."""
        if self._redis is None:
            await self._connect()
        arguments = [repr(bucket.rate), repr(bucket.capacity), wanted]
        granted, level, wait = await self._rate(keys=[f"sluice:rate:{bucket.name}:{client}"], args=arguments)
        return Block(int(granted), float(level), float(wait))

    async def lease_quota(self, client: str, quota: Quota, wanted: int) -> Block:
        """See `BlockStore`."""
        if self._redis is None:
            await self._connect()
        now = self._now()
        period, _, ends = period_of(quota.period, now)
        left = (ends - now).total_seconds()
        key = f"sluice:quota:{quota.name}:{period}:{client}"
        granted, level = await self._quota(keys=[key], args=[quota.most, wanted, int(left) + _KEPT])
        return Block(int(granted), float(level), 0.0 if int(granted) else max(1.0, left))

    async def close(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            await self._redis.aclose()
