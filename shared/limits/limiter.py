"""Whether a request may pass: every limit of its client's plan has a token for it, or it says when to come again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from shared.resilience import BoundedCache

from .blocks import Quota, SharedRate, period_of
from .leased import LeasedQuota, LeasedRate, Surroundings
from .plans import Period, Plan, Plans

__all__ = ["Limiter", "Verdict"]

MOST_CLIENTS = 10_000
"""Clients that an instance keeps in mind; another one's tokens are leased anew."""
_WHOLE = "requests"

Lease = LeasedRate | LeasedQuota


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a request.

    Attributes
    ----------
    plan:
        The client's plan.
    refused_by:
        The limit that has no token: `requests`, a route, `day` or `month`; empty where the request may pass.
    retry_after:
        Seconds after which it is worth a try.
    leases:
        The limits that counted, for fields of the answer and for later charges.
    """

    plan: Plan
    leases: tuple[Lease, ...]
    refused_by: str = ""
    retry_after: int = 0

    @property
    def headers(self) -> dict[str, str]:
        """How it stands with the limits, as fields of the answer.

        `RateLimit` and `RateLimit-Policy` are structured fields (draft-ietf-httpapi-ratelimit-headers-10, RFC 9651);
        the older three tell of the limit that is nearest to its end, `Reset` in seconds from now.
        """
        if not self.leases:
            return {}
        policies, states = [], []
        nearest: tuple[float, int, int, int] | None = None
        for one in self.leases:
            name, most, window = _policy(one)
            left = 0 if name == self.refused_by else one.remaining
            wait = self.retry_after if name == self.refused_by else ceil(one.full_in)
            policies.append(f'"{name}";q={most};w={window}')
            states.append(f'"{name}";r={left};t={wait}')
            if nearest is None or left / most < nearest[0]:
                nearest = (left / most, most, left, wait)
        assert nearest is not None
        return {
            "RateLimit-Policy": ", ".join(policies),
            "RateLimit": ", ".join(states),
            "X-RateLimit-Limit": str(nearest[1]),
            "X-RateLimit-Remaining": str(nearest[2]),
            "X-RateLimit-Reset": str(nearest[3]),
        }

    def charge(self, tokens: int) -> None:
        """Take more tokens than the one that the request took; what isn't there is owed, and earned before the next."""
        for one in self.leases:
            one.charge(tokens)


class Limiter:
    """Asked once for each request, before anything costly is done for it."""

    def __init__(
        self, plans: Plans, around: Surroundings, *, now: Callable[[], datetime], size: int = MOST_CLIENTS
    ) -> None:
        self._plans = plans
        self._around = around
        self._now = now
        self._clients: BoundedCache[str, _Client] = BoundedCache(size)
        self._periods = {period: _Period(period, now, around.clock) for period in Period}

    async def check(self, client: str, route: str) -> Verdict:
        """Take a token of every limit that a client has for a route such as `POST /orders`."""
        known = self._clients.get(client)
        if known is None:
            known = self._clients.put(client, _Client(client, self._plans.of(client)))
        leases = known.leases(route, self._around, self._periods)
        taken: list[Lease] = []
        for one in leases:
            wait = 0.0 if one.spend() else await one.lease()
            if wait > 0:
                for other in taken:
                    other.give_back()
                return Verdict(known.plan, leases, _policy(one)[0], max(1, ceil(wait)))
            taken.append(one)
        return Verdict(known.plan, leases)

    def plan_of(self, client: str) -> Plan:
        """The plan of a client."""
        return self._plans.of(client)

    async def close(self) -> None:
        """Close the store."""
        await self._around.store.close()


class _Client:
    """What an instance knows of one client."""

    __slots__ = ("_client", "_common", "_routes", "plan")

    def __init__(self, client: str, plan: Plan) -> None:
        self.plan = plan
        self._client = client
        self._common: tuple[Lease, ...] | None = None
        self._routes: dict[str, tuple[Lease, ...]] = {}

    def leases(self, route: str, around: Surroundings, periods: dict[Period, "_Period"]) -> tuple[Lease, ...]:
        if self._common is None:
            rates = [] if self.plan.rate is None else [SharedRate.of(_WHOLE, self.plan.rate)]
            self._common = (
                *(LeasedRate(self._client, one, around) for one in rates),
                *(
                    LeasedQuota(self._client, Quota(period.value, period, most), around, period=periods[period].now)
                    for period, most in self.plan.quotas.items()
                ),
            )
        limit = self.plan.routes.get(route)
        if limit is None:
            return self._common
        if route not in self._routes:
            own = LeasedRate(self._client, SharedRate.of(route, limit), around)
            self._routes[route] = (own, *self._common)
        return self._routes[route]


class _Period:
    """The current period's name and what is left of it, worked out once a second."""

    def __init__(self, period: Period, now: Callable[[], datetime], clock: Callable[[], float]) -> None:
        self._period = period
        self._now = now
        self._clock = clock
        self._until = float("-inf")
        self._found = ("", 0.0)

    def now(self) -> tuple[str, float]:
        if self._clock() >= self._until:
            moment = self._now()
            name, _, ends = period_of(self._period, moment)
            self._found = (name, (ends - moment).total_seconds())
            self._until = self._clock() + min(1.0, self._found[1])
        return self._found


def _policy(lease: Lease) -> tuple[str, int, int]:
    """Name, tokens and seconds of a limit."""
    if isinstance(lease, LeasedRate):
        bucket = lease.bucket
        burst = round(bucket.capacity + bucket.rate * bucket.life)
        return bucket.name, burst, max(1, ceil(burst / bucket.rate))
    seconds = 86_400 if lease.quota.period is Period.DAY else 31 * 86_400
    return lease.quota.name, lease.quota.most, seconds
