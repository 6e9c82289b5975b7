"""Whether a request may pass: every limit of its client's plan has a token for it, or it says when to come again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from math import ceil, inf

from shared.resilience import BoundedCache

from .blocks import Quota, SharedRate, period_of
from .leased import LeasedQuota, LeasedRate, Surroundings
from .plans import Period, Plan, Plans

__all__ = ["Limiter", "Verdict"]

MOST_CLIENTS = 10_000
"""Clients that an instance keeps in mind; another one's tokens are leased anew."""
_WHOLE = "requests"

Lease = LeasedRate | LeasedQuota


class Applied:
    """The limits that a request of a client to a route needs a token of, and what answers say of them."""

    __slots__ = ("leases", "mosts", "names", "policies")

    def __init__(self, *leases: Lease) -> None:
        self.leases = leases
        policies = [_policy(one) for one in leases]
        self.names = [name for name, _, _ in policies]
        self.mosts = [most for _, most, _ in policies]
        self.policies = ", ".join(f'"{name}";q={most};w={window}' for name, most, window in policies).encode()


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
    applied:
        The limits that counted.
    """

    plan: Plan
    applied: Applied
    refused_by: str = ""
    retry_after: int = 0

    def fields(self) -> list[tuple[bytes, bytes]]:
        """How it stands with the limits, as fields of the answer.

        `RateLimit` and `RateLimit-Policy` are structured fields (draft-ietf-httpapi-ratelimit-headers-10, RFC 9651);
        the older three tell of the limit that is nearest to its end, `Reset` in seconds from now.
        """
        applied = self.applied
        if not applied.leases:
            return []
        states: list[str] = []
        nearest, limit, remaining, reset = inf, 0, 0, 0
        for lease, name, most in zip(applied.leases, applied.names, applied.mosts, strict=True):
            left, wait = (0, self.retry_after) if name == self.refused_by else lease.state()
            states.append(f'"{name}";r={left};t={wait}')
            if left / most < nearest:
                nearest, limit, remaining, reset = left / most, most, left, wait
        return [
            (b"ratelimit-policy", applied.policies),
            (b"ratelimit", ", ".join(states).encode()),
            (b"x-ratelimit-limit", b"%d" % limit),
            (b"x-ratelimit-remaining", b"%d" % remaining),
            (b"x-ratelimit-reset", b"%d" % reset),
        ]

    def charge(self, tokens: int) -> None:
        """Take more tokens than the one that the request took; what isn't there is owed, and earned before the next."""
        for one in self.applied.leases:
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
        applied = known.applied(route, self._around, self._periods)
        for number, one in enumerate(applied.leases):
            if one.spend() or (wait := await one.lease()) == 0:
                continue
            for other in applied.leases[:number]:
                other.give_back()
            return Verdict(known.plan, applied, applied.names[number], max(1, ceil(wait)))
        return Verdict(known.plan, applied)

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
        self._common: Applied | None = None
        self._routes: dict[str, Applied] = {}

    def applied(self, route: str, around: Surroundings, periods: dict[Period, "_Period"]) -> Applied:
        if self._common is None:
            rates = [] if self.plan.rate is None else [SharedRate.of(_WHOLE, self.plan.rate)]
            self._common = Applied(
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
            self._routes[route] = Applied(own, *self._common.leases)
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
