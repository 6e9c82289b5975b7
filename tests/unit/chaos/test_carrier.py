"""What became of the labels is counted, and the time that a breaker may take."""

from __future__ import annotations

import asyncio
import json
import time

import aiohttp
import pytest

from local.chaos.carrier import DrillCarrier, last_opening
from local_azure.partner import Asked, Script
from local_azure.partner.server import running_partner


@pytest.mark.parametrize(("away", "seconds"), [(5, 12.5), (10, 12.5), (20, 25.0), (60, 50.0), (100, 100.0)])
def test_a_carrier_comes_back_in_the_opening_that_its_outage_reaches(away: float, seconds: float) -> None:
    """Of 10, 20, 40 and 80 seconds, each a quarter longer at most."""
    assert last_opening(away) == seconds


async def test_labels_are_counted_by_order() -> None:
    """One that is missing, one that is there twice, and the calls while the carrier was away."""
    says: list[str] = []
    async with running_partner(script=Script(random=lambda: 0.99), clock=time.monotonic) as partner:
        carrier = DrillCarrier(partner, orders=3, away=0.2, say=says.append)

        def label(order: str) -> None:
            asked = Asked(
                method="POST",
                path="/labels",
                query={},
                headers={},
                body=json.dumps({"reference": order}).encode(),
                at=partner.seconds(),
                status=201,
            )
            partner.book.asked.append(asked)
            partner.book.do(asked)

        label("A")
        label("A")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(carrier.misbehave())
            while not says:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            async with aiohttp.ClientSession(partner.url) as session:
                with pytest.raises(aiohttp.ClientError):
                    await session.post("/labels", json={"reference": "B"})
        label("B")
        found = carrier.judged({"A", "B", "C"}, {"m1": 1, "m2": 3})
    assert (found.labels, found.missing, found.duplicates, found.away_calls, found.retried) == (2, 1, 1, 1, 1)
    assert not found.hold
    assert 0 <= found.back_seconds < 60
    assert len(partner.script.rules) == 4
