"""Retention: the sweep of large payloads and values that nothing refers to any more."""

from collections.abc import Collection
from datetime import timedelta

from functions.triggers import AppName
from shared.blobs import BlobSweeper
from shared.jobs import Job, JobRun, parse_schedule

from .capability import Capability
from .claims import CLAIMS, claim_store
from .composition import Composition
from .dead_letters import DEAD_LETTERS, dead_letter_store
from .declaring import Access, Need
from .pausing import set_aside
from .state import STATE, VALUES, large_values, parking, state_store

__all__ = ["capability", "claim_sweeper", "value_sweeper"]


def claim_sweeper(composition: Composition) -> BlobSweeper:
    """Deletes the payloads of messages that are long gone."""
    dead_letters, parked = composition.get(dead_letter_store), composition.get(parking)
    aside = composition.get(set_aside)

    async def in_use(names: Collection[str]) -> Collection[str]:
        """In the order in which a message may move on meanwhile: it must not slip past between two of the looks."""
        set_aside = {name async for name in aside.claims() if name in names}
        waiting = {name async for name in parked.claims() if name in names}
        return set_aside | waiting | {name async for name in dead_letters.claims() if name in names}

    retention = timedelta(days=composition.settings.claim_retention_days)
    return composition.get(claim_store).sweeper(in_use=in_use, retention=retention, now=composition.now)


def value_sweeper(composition: Composition) -> BlobSweeper:
    """Deletes large values that no row refers to any more."""
    in_use = composition.get(state_store).values_in_use
    return composition.get(large_values).sweeper(in_use=in_use, retention=timedelta(days=1), now=composition.now)


def capability(composition: Composition) -> Capability:
    """A sweep of each, at the same time."""

    async def sweep_claims(_: JobRun) -> bool:
        return not (await composition.get(claim_sweeper).sweep()).complete

    async def sweep_values(_: JobRun) -> bool:
        return not (await composition.get(value_sweeper).sweep()).complete

    schedule = parse_schedule(composition.settings.claim_sweep_schedule)
    return Capability(
        name="retention",
        jobs=[
            Job(name="sweep-claims", app=AppName.STREAMS, schedule=schedule, call=sweep_claims),
            Job(name="sweep-values", app=AppName.STREAMS, schedule=schedule, call=sweep_values),
        ],
        needs=[
            Need(access=Access.WRITE, to=CLAIMS, why="Sweeps payloads whose messages are long gone."),
            Need(access=Access.WRITE, to=VALUES, why="Sweeps values that no row refers to."),
            Need(access=Access.READ, to=DEAD_LETTERS, why="Which payloads are still in use."),
            Need(access=Access.WRITE, to=STATE, why="Which values are in use."),
        ],
    )
