"""Each run of a job is a span, and what the job does lies within it."""

from __future__ import annotations

import asyncio

from shared.jobs import JobRun
from shared.telemetry import span
from tests.unit.shared.jobs.test_runner import World
from tests.unit.traced import traced


def test_a_run_is_a_span_and_holds_what_it_does() -> None:
    """Also of a run that fails, and of one that is stopped since its time is over."""
    world = World()

    async def sends(_: JobRun) -> None:
        with span("send events"):
            await asyncio.sleep(0)

    async def fails(_: JobRun) -> None:
        raise ConnectionError("the store is away")

    async def hangs(_: JobRun) -> None:
        await asyncio.sleep(600)

    jobs = [
        world.job("sweep", "30s", sends),
        world.job("expire", "30s", fails),
        world.job("drain", "30s", hangs, seconds=3),
    ]
    with traced() as spans:
        world.ticks(world.runner(*jobs), seconds=35)
    world.time.close()
    sweep = spans.named("run sweep")
    assert spans.named("send events").parent_id == sweep.span_id
    assert sweep.attributes["sluice.job.due"] == "2026-01-05T08:00:30+00:00"
    assert sweep.problem is None
    assert "the store is away" in str(spans.named("run expire").problem)
    assert spans.named("run drain").problem == "stopped"
