"""Buckets in Redis: a lease is one script, by the server's own clock."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .blocks import Block, BlockStore, Quota, SharedRate, period_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

    _Connected = tuple[Redis, dict[str, Any]]

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
local used = tonumber(redis.call('HGET', KEYS[1], 'used') or '0')
local most, wanted = tonumber(ARGV[1]), tonumber(ARGV[2])
local last = redis.call('HGET', KEYS[1], 'lease:' .. ARGV[4])
if last and ARGV[4] ~= '' then
  local number, tokens = string.match(last, '^(%S+) (%d+)$')
  if number == ARGV[5] then
    return {tonumber(tokens), tostring(most - used)}
  end
end
local granted = math.max(0, math.min(wanted, most - used))
if granted > 0 then
  redis.call('HSET', KEYS[1], 'used', string.format('%.0f', used + granted))
  if ARGV[4] ~= '' then
    redis.call('HSET', KEYS[1], 'lease:' .. ARGV[4], ARGV[5] .. string.format(' %.0f', granted))
  end
  redis.call('EXPIRE', KEYS[1], ARGV[3])
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
        Where it is: `rediss://user:password@host:port/0`, without TLS `redis://`. Asked again after each
        connection that failed.
    """

    def __init__(self, url: Callable[[], Awaitable[str]], *, now: Callable[[], datetime]) -> None:
        self._url = url
        self._now = now
        self._connected: _Connected | None = None

    async def _ask(self, script: str, key: str, arguments: list[Any]) -> Any:
        from redis.exceptions import ConnectionError as Disconnected

        redis, scripts = self._connected or await self._connect()
        try:
            return await scripts[script](keys=[key], args=arguments)
        except Disconnected:  # a password that was changed, too: the address is asked for again
            if self._connected is not None and self._connected[0] is redis:
                self._connected = None
                await redis.aclose()
            raise

    async def _connect(self) -> "_Connected":
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        url = await self._url()
        if self._connected is None:
            try:
                redis = Redis.from_url(
                    url,
                    protocol=2,  # the third costs twice the processor time
                    retry=Retry(NoBackoff(), 0),
                    socket_connect_timeout=_SECONDS,
                    socket_timeout=_SECONDS,
                )
            except ValueError:
                raise ValueError("the address of the Redis can't be read") from None  # the cause may quote the password
            self._connected = redis, {one: redis.register_script(one) for one in (_RATE, _QUOTA)}
        return self._connected

    async def lease_rate(self, client: str, bucket: SharedRate, wanted: int) -> Block:
        """See `BlockStore`."""
        arguments = [repr(bucket.rate), repr(bucket.capacity), wanted]
        granted, level, wait = await self._ask(_RATE, f"sluice:rate:{bucket.name}:{client}", arguments)
        return Block(int(granted), float(level), float(wait))

    async def lease_quota(self, client: str, quota: Quota, wanted: int, *, lease: str = "") -> Block:
        """See `BlockStore`."""
        instance, _, number = lease.rpartition(".")
        now = self._now()
        period, _, ends = period_of(quota.period, now)
        left = (ends - now).total_seconds()
        key = f"sluice:quota:{quota.name}:{period}:{client}"
        arguments = [quota.most, wanted, int(left) + _KEPT, instance, number]
        granted, level = await self._ask(_QUOTA, key, arguments)
        return Block(int(granted), float(level), 0.0 if int(granted) else max(1.0, left))

    async def close(self) -> None:
        """Close the connections."""
        if self._connected is not None:
            await self._connected[0].aclose()
