"""Partners: the systems of others that handlers call, and the settings that say where they are."""

import random
import time

from shared.environment import WrongSettings
from shared.partners import KeptAnswers, Partner, Partners, StateRow, Surroundings
from shared.partners.settings import PartnerSettings
from shared.telemetry import Metrics

from .capability import Capability
from .composition import Composition
from .encryption import fields
from .platform import platform
from .secrets import secret_cache
from .state import state_store

__all__ = ["capability", "partners"]


def partners(composition: Composition) -> Partners:
    """The clients of every partner that an integration declares."""
    settings = composition.settings
    made = Partners(
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
    composition.on_close(made.close)
    return made


def capability(composition: Composition) -> Capability:
    """Settings and metrics: handlers call, so that processing's needs cover it.

    Raises
    ------
    WrongSettings
        Two partners have one name, or a setting names one that nobody declares.
    """
    declared = composition.registry.declared(Partner)
    names = [one.name for one in declared]
    names += [f"{one.name}.{target.name}" for one in declared for target in one.targets]
    twice = sorted({one for one in names if names.count(one) > 1})
    unknown = sorted(set(composition.settings.partner_base_urls()) - set(names))
    wrong = [
        *(f"the partner {name} is declared twice" for name in twice),
        *(f"SLUICE_PARTNER_URLS: no integration declares the partner {name}" for name in unknown),
    ]
    if wrong:
        raise WrongSettings(f"Wrong settings: {'; '.join(wrong)}")
    return Capability(
        name="partners",
        metrics=[Metrics.partner_calls, Metrics.partner_duration, Metrics.partner_open],
        settings=PartnerSettings.variables(),
    )
