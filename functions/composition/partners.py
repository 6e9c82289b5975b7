"""Partners: the systems of others that handlers call, and the settings that say where they are."""

import random
import time
from math import ceil

from shared.environment import WrongSettings
from shared.messages import Registry
from shared.partners import KeptAnswers, Partner, Partners, StateRow, Surroundings, has_address
from shared.partners.settings import PartnerSettings
from shared.processing.handling import CALLS_SHARE
from shared.telemetry import Metrics

from .capability import Capability
from .composition import Composition
from .encryption import fields
from .platform import platform
from .secrets import secret_cache
from .state import state_store

__all__ = ["capability", "lane_lock", "partners", "work_seconds"]

COMMIT_SECONDS = 5.0
"""After its handlers a batch is committed and settled; `shared.processing` gives it as long."""
SPARE_SECONDS = 2.0
"""Before the first call a batch is decoded and looked up."""
LOCK_SHARE = 0.8
"""Of a lock that a batch may use up: the host and the broker need the rest."""
SHORTEST_LOCK = 30


def partners(composition: Composition) -> Partners:
    """The clients of every partner that an integration declares."""
    settings = composition.settings
    return composition.closing(
        Partners(
            composition.registry.declared(Partner),
            urls=settings.partner_base_urls(),
            proxies=settings.partner_proxies,
            answers=KeptAnswers(composition.get(state_store), composition.get(fields), now=composition.now),
            secrets=composition.get(secret_cache) if settings.key_vault is not None else None,
            identity=composition.get(platform).token,
            around=Surroundings(
                clock=time.monotonic,
                now=composition.now,
                random=random.random,
                row=lambda name: StateRow(composition.get(state_store), name),
            ),
        )
    )


def work_seconds(registry: Registry) -> float:
    """Whole seconds of a handler, at least: its calls' share holds the longest agreed call, and what is before it."""
    agreed = [one.timeouts.total for one in registry.declared(Partner)]
    return float(ceil((max(agreed) + SPARE_SECONDS) / CALLS_SHARE)) if agreed else 0.0


def lane_lock(registry: Registry) -> str:
    """The lanes' lock: a batch isn't renewed, so the longest call and its commit fit into 0.8 of it."""
    seconds = ceil((work_seconds(registry) + COMMIT_SECONDS) / LOCK_SHARE)
    return f"PT{max(SHORTEST_LOCK, seconds)}S"


def _too_short(composition: Composition) -> list[str]:
    """Settings that leave a partner less time than was agreed with it; what isn't set follows the partners."""
    settings, needed = composition.settings, work_seconds(composition.registry)
    given = {
        "SLUICE_HANDLER_TIMEOUT_SECONDS": ("handler_timeout_seconds", settings.handler_timeout_seconds),
        "SLUICE_BATCH_BUDGET_SECONDS": ("batch_budget_seconds", settings.batch_budget_seconds),
    }
    urls = settings.partner_base_urls()
    called = [one for one in composition.registry.declared(Partner) if has_address(one, urls)]
    slowest = max(called, key=lambda one: one.timeouts.total, default=None)
    return [
        f"{name} is {seconds:g}: the partner {slowest.name} may take {slowest.timeouts.total:g} s, "
        f"so set {needed:g} or more, or nothing"
        for name, (attribute, seconds) in given.items()
        if slowest is not None and attribute in settings.model_fields_set and seconds < needed
    ]


def capability(composition: Composition) -> Capability:
    """Settings and metrics: handlers call, so that processing's needs cover it.

    Raises
    ------
    WrongSettings
        Two partners have one name, a setting names one that nobody declares, or leaves one too little time.
    """
    declared = composition.registry.declared(Partner)
    names = [one.name for one in declared]
    names += [f"{one.name}.{target.name}" for one in declared for target in one.targets]
    twice = sorted({one for one in names if names.count(one) > 1})
    unknown = sorted(set(composition.settings.partner_base_urls()) - set(names))
    wrong = [
        *(f"the partner {name} is declared twice" for name in twice),
        *_too_short(composition),
        *(f"SLUICE_PARTNER_URLS: no integration declares the partner {name}" for name in unknown),
    ]
    if wrong:
        raise WrongSettings(f"Wrong settings: {'; '.join(wrong)}")
    return Capability(
        name="partners",
        metrics=[Metrics.partner_calls, Metrics.partner_duration, Metrics.partner_open],
        settings=PartnerSettings.variables(),
    )
