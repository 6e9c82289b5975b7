"""A carrier that runs in the test's own loop, and calls to it for one message."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from local_azure.partner.book import Asked
from local_azure.partner.script import Rule, Script
from local_azure.partner.server import RunningPartner, running_partner
from shared.partners import Caller, Calls, KeptAnswers, Partner, PartnerModel, Partners, StateRow, Surroundings
from shared.resilience import RetryPlan
from tests.unit.memory import MemoryState

__all__ = ["NOW", "QUICK", "Label", "Parcel", "World", "world"]

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
QUICK = RetryPlan(max_attempts=3, base=0.01, cap=0.02, max_total=60)


class Parcel(PartnerModel):
    """What the carrier is asked."""

    reference: str


class Label(PartnerModel):
    """What it answers."""

    id: str
    reference: str = ""


@dataclass
class World:
    """A partner, what calls it, and the carrier's own side."""

    partner: Partner
    partners: Partners
    carrier: RunningPartner
    store: MemoryState
    caller: Caller

    def says(self, method: str = "*", path: str = "*", **behaviour: Any) -> None:
        """Have the carrier behave so, before everything that was said earlier."""
        self.carrier.script.rules.insert(0, Rule.of({"method": method, "path": path, **behaviour}))

    def calls(self, *, at: dict[str, str] | None = None, **changed: Any) -> Calls:
        """A run of the message's handler."""
        return self.partners.calls(self.partner, replace(self.caller, **changed), Counter(), **(at or {}))

    @property
    def asked(self) -> list[Asked]:
        """Everything that came to the carrier."""
        return self.carrier.book.asked

    @property
    def labels(self) -> list[dict[str, Any]]:
        """What the carrier made."""
        return self.carrier.book.made.get("labels", [])


@asynccontextmanager
async def world(
    store: MemoryState | None = None,
    *,
    urls: dict[str, str] | None = None,
    given: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[World]:
    """A partner with these options, and a carrier that does what it is asked."""
    partner = Partner("carrier", **{"retry": QUICK, **options})
    state = store or MemoryState()
    script = Script(random=random.Random(0).random)
    async with running_partner(script=script, clock=time.monotonic) as carrier:
        partners = Partners(
            [partner],
            urls={"carrier": carrier.url} if urls is None else urls,
            answers=KeptAnswers(state, None, now=lambda: NOW),
            **(given or {}),
            around=Surroundings(
                clock=time.monotonic, now=lambda: NOW, random=lambda: 0.5, row=lambda name: StateRow(state, name)
            ),
        )
        caller = Caller(
            message_id=UUID(int=1),
            correlation_id="c-1",
            bucket=0,
            deadline=asyncio.get_running_loop().time() + 60,
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        try:
            yield World(partner, partners, carrier, state, caller)
        finally:
            await partners.close()
