"""Polling: a job for each list of a partner that is asked for by the clock."""

import asyncio
from collections import Counter
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import BaseModel

from functions.triggers import AppName
from shared.jobs import Job, JobRun
from shared.messages import MessageError
from shared.partners import Caller, Poll, StateRow, poll_once
from shared.pausing import Kind

from .capability import Capability, Command
from .claims import CLAIMS
from .composition import Composition
from .declaring import Access, Need
from .ingestion import intake
from .partners import partners
from .pausing import pause_watch
from .sending import to_lanes
from .state import STATE, state_store

__all__ = ["capability", "poll_row"]

APP = AppName.ORDERED
"""Where handlers run anyway, with all that they may do, and where a clock ticks all the time."""


def poll_row(composition: Composition, name: str) -> StateRow:
    """Where a poll's position is kept."""
    return StateRow(composition.get(state_store), f"poll:{name}")


def capability(composition: Composition) -> Capability:
    """Jobs, and the command that shows and sets positions.

    Raises
    ------
    ValueError
        A poll sends what nobody handles, or two polls have one name.
    """
    found = composition.registry.declared(Poll)
    for poll in found:
        try:
            composition.registry.handler(poll.sends, poll.version)
        except MessageError:
            raise ValueError(f"the poll {poll.job} sends {poll.sends} {poll.version}, which nobody handles") from None
    command = Command(name="polls", summary="show or set how far a poll has come", module="ops.polls")
    if not found:
        return Capability(name="polling", commands=[command])
    return Capability(
        name="polling",
        jobs=[_job(composition, poll) for poll in found],
        commands=[command],
        needs=[
            *to_lanes("Sends what polls find."),
            Need(access=Access.WRITE, to=CLAIMS, why="Keeps large items that polls find."),
            Need(access=Access.WRITE, to=STATE, why="Keeps how far each poll has come."),
        ],
    )


def _job(composition: Composition, poll: Poll) -> Job:
    handler = composition.registry.handler(poll.sends, poll.version)

    async def call(run: JobRun) -> bool | None:
        if not composition.get(partners).knows(poll.partner):
            return None  # the stage has no such partner
        if await composition.get(pause_watch).of(Kind.PARTNER, poll.partner.name) is not None:
            return True  # still due: it goes on with the first tick after the pause

        async def keep(message_id: UUID, event_type: str, version: str, data: BaseModel) -> None:
            await composition.get(intake).take(
                handler,
                message_id,
                data.model_dump(mode="json", by_alias=True),
                source=f"/polls/{poll.job}",
                correlation_id=str(message_id),
                client=f"poll:{poll.job}",
            )

        identity = uuid5(NAMESPACE_URL, f"sluice:poll:{poll.job}:{run.due.isoformat()}")
        caller = Caller(
            message_id=identity,
            correlation_id=str(identity),
            bucket=0,
            deadline=asyncio.get_running_loop().time() + run.time_left(),
            batch=True,
        )
        calls = composition.get(partners).calls(poll.partner, caller, Counter())
        return await poll_once(poll, calls, poll_row(composition, poll.job), keep, run, now=composition.now())

    return Job(name=poll.job, app=APP, schedule=poll.schedule, call=call)
