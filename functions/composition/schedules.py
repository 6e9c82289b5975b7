"""Schedules of integrations: each a job, whose commands go the way of those that come over HTTP."""

from uuid import UUID

from pydantic import BaseModel
from pydantic_core import to_json

from functions.triggers import AppName
from shared.jobs import Job, JobRun, Scheduled, ScheduledRun
from shared.pausing import Kind

from .capability import Capability
from .claims import CLAIMS
from .composition import Composition
from .declaring import Access, Need
from .ingestion import intake
from .pausing import pause_watch
from .sending import to_lanes

__all__ = ["capability"]

APP = AppName.ORDERED
"""Where handlers run anyway, with all that they may do, and where a clock ticks all the time."""


def capability(composition: Composition) -> Capability:
    """A job for everything that an integration schedules."""
    jobs = [_job(composition, one) for one in composition.registry.scheduled]
    needs = [
        *to_lanes("Sends the commands of scheduled work."),
        Need(access=Access.WRITE, to=CLAIMS, why="Keeps the large payloads of commands that are sent by the clock."),
    ]
    return Capability(name="schedules", jobs=jobs, needs=needs if jobs else [])


def _job(composition: Composition, scheduled: Scheduled) -> Job:
    integration = scheduled.name.partition(".")[0]

    async def call(run: JobRun) -> bool | None:
        if await composition.get(pause_watch).of(Kind.INTEGRATION, integration) is not None:
            return True  # still due: it is begun by the next tick after the pause, and misses nothing

        async def send(message_id: UUID, event_type: str, version: str, data: BaseModel) -> None:
            taken = composition.get(intake)
            envelope = {
                "messageId": str(message_id),
                "timestamp": run.due.isoformat(),
                "source": f"/jobs/{scheduled.name}",
                "eventType": event_type,
                "version": version,
                "data": data.model_dump(mode="json", by_alias=True),
            }
            command = await taken.read(to_json(envelope), kind="application/json", route=None, asked_id=None)
            await taken.accept(command, correlation_id=str(message_id))

        return await scheduled.call(
            ScheduledRun(
                name=scheduled.name,
                due=run.due,
                last_success=run.last_success,
                time_left=run.time_left,
                _send=send,
            )
        )

    return Job(name=scheduled.name, app=APP, schedule=scheduled.schedule, call=call, catch_up=scheduled.catch_up)
