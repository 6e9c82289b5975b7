"""What stands before the routes, from the settings."""

import time

from functions.door import Door
from shared.http import AdaptiveLimit, OverloadWatch, ShedPolicy
from shared.sending import Lanes

from .composition import Composition
from .limits import limits
from .sending import lane_senders

__all__ = ["door", "overload_watch"]


def overload_watch(composition: Composition) -> OverloadWatch | None:
    """Looks whether this process has too much to do; None where nothing is shed."""
    settings = composition.settings
    if not settings.shed:
        return None
    policy = ShedPolicy(
        least=settings.shed_least,
        most=settings.shed_most,
        lag=settings.shed_lag_seconds,
        storage=settings.shed_storage_seconds,
        backlog=settings.shed_backlog,
    )

    def waiting() -> int:
        lanes: object = composition.get(lane_senders)
        return lanes.waiting if isinstance(lanes, Lanes) else 0

    return composition.closing(OverloadWatch(AdaptiveLimit(policy, clock=time.monotonic), waiting=waiting))


def door(composition: Composition) -> Door:
    """How requests come in."""
    settings = composition.settings
    return Door(
        limits=composition.get(limits),
        overload=composition.get(overload_watch),
        origins=settings.origins,
        deprecated=settings.deprecated,
    )
