"""Limits: how often a client may call by its plan, and what it used."""

import random
import time
from datetime import timedelta
from uuid import uuid4

from functions.triggers import AppName
from functions.usage import usage_route
from shared.environment import SecretReference
from shared.http import Route
from shared.jobs import Job, JobRun, parse_schedule
from shared.limits import (
    BlockStore,
    Limiter,
    Plans,
    RedisBlocks,
    Surroundings,
    TableBlocks,
    TableUsage,
    UsageMeter,
)
from shared.limits.settings import LimitSettings
from shared.tables import Table as TableClient
from shared.telemetry import Metrics

from .capability import Capability
from .composition import Composition
from .declaring import ROUTES, Access, Need, Table
from .platform import platform
from .secrets import secret_cache

__all__ = ["block_store", "capability", "limits", "limits_table", "wrong_routes"]


_SWEEP, _SCHEDULE = "sweep-usage", "0 47 3 * * *"
LIMITS = Table(name="limits")
"""Apart from state, which the app of the API only reads."""


def limits_table(composition: Composition) -> TableClient:
    """Buckets, quotas and usage."""
    return composition.closing(composition.get(platform).table(LIMITS.name))


def block_store(composition: Composition) -> BlockStore:
    """Where the instances share their buckets."""
    store = composition.settings.rate_store
    if store is None:
        return TableBlocks(composition.get(limits_table), now=composition.now)
    text = store.get_secret_value()
    secret = SecretReference.of(text)

    async def url() -> str:
        if secret is None:
            return text
        name = secret.name if secret.version is None else f"{secret.name}/{secret.version}"
        return (await composition.get(secret_cache).get(name)).value

    return composition.closing(RedisBlocks(url, now=composition.now))


def limits(composition: Composition) -> tuple[Limiter, UsageMeter] | None:
    """What limits requests, and what counts them; None where no plans are set."""
    plans = composition.settings.plans
    if plans is None:
        return None
    around = Surroundings(
        composition.get(block_store),
        instances=composition.settings.rate_instances,
        clock=time.monotonic,
        random=random.random,
    )
    usage = TableUsage(composition.get(limits_table))
    meter = UsageMeter(usage, instance=uuid4().hex[:12], now=composition.now)
    return Limiter(plans, around, now=composition.now), composition.closing(meter)


def wrong_routes(plans: Plans | None, routes: list[Route]) -> list[str]:
    """What plans limit that isn't there, or that everybody may call unlimited."""
    known = {one.limit for one in routes if one.access is not None}
    return [
        f"SLUICE_RATE_PLANS: the plan {plan.name} limits {route}, which is no route that callers are checked on"
        for plan in (plans.plans.values() if plans is not None else ())
        for route in plan.routes
        if route not in known
    ]


def capability(composition: Composition) -> Capability:
    """The route that tells of usage, and what it and the limits need."""
    plans = composition.settings.plans or Plans(plans={}, default="")

    async def sweep(run: JobRun) -> bool:
        before = composition.now().date() - timedelta(days=composition.settings.usage_retention_days)
        return not await TableUsage(composition.get(limits_table)).sweep(before, time_left=run.time_left)

    return Capability(
        name="limits",
        routes=[usage_route(lambda: TableUsage(composition.get(limits_table)), plans, now=composition.now)],
        jobs=[Job(name=_SWEEP, app=AppName.STREAMS, schedule=parse_schedule(_SCHEDULE), call=sweep)],
        metrics=[Metrics.requests_limited, Metrics.limits_failures],
        resources=[LIMITS],
        needs=[
            Need(access=Access.WRITE, to=LIMITS, why="Leases tokens of limits, and counts what was used.", by=[ROUTES]),
            Need(access=Access.WRITE, to=LIMITS, why="Deletes usage of long ago.", by=[_SWEEP]),
        ],
        settings=LimitSettings.variables(),
    )
