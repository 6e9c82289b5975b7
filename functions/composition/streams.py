"""Streams: how far each consumer of the event log is, and what every consumer is made of."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from functions.batches import stream_function
from functions.triggers import AppName, Function
from shared.jobs import Job, JobRun, parse_schedule
from shared.streams import Positions, StreamConsumer, StreamEvent
from shared.streams.hub import HubLog

from .capability import Capability
from .composition import Composition
from .declaring import Access, Hub, Need, Table
from .platform import platform

__all__ = ["Consumer", "capability", "stream_consumer"]

POSITIONS = Table(name="streampositions")
_EVERY = "1m"


@dataclass(frozen=True, kw_only=True)
class Consumer:
    """What a capability offers that consumes events: the function, the job that closes its gaps, what they call."""

    function: Function
    job: Job
    hub: Hub

    @property
    def names(self) -> list[str]:
        """For the needs that are the consumer's own."""
        return [self.function.name, self.job.name]

    @property
    def needs(self) -> list[Need]:
        """What every consumer needs."""
        return [
            Need(
                access=Access.WRITE,
                to=POSITIONS,
                why="Keeps up to which event everything was applied.",
                by=self.names,
            ),
            Need(access=Access.RECEIVE, to=self.hub, why="Reads again what the trigger passed over.", by=self.names),
        ]


def stream_consumer(
    composition: Composition,
    name: str,
    apply: Callable[[Sequence[StreamEvent]], Awaitable[None]],
    *,
    hub: Hub,
    group: str,
) -> Consumer:
    """A consumer group whose events are applied without a gap.

    Parameters
    ----------
    name:
        Its function's: `read_models`.
    apply:
        As `StreamConsumer` has it.
    hub, group:
        Those of the settings, as the trigger names them.
    """

    def consumer(composition: Composition) -> StreamConsumer:
        clients, settings = composition.get(platform), composition.settings
        hub_name = settings.resolved(hub.name)
        positions = Positions(clients.table(POSITIONS.name), hub=hub_name, group=settings.resolved(group))
        composition.on_close(positions.close)
        return StreamConsumer(name, apply, positions, HubLog(lambda: clients.event_reader(hub_name)))

    async def close_gaps(run: JobRun) -> bool:
        return await composition.get(consumer).close_gaps(run.time_left)

    function = stream_function(name, lambda: composition.get(consumer), hub=hub.name, group=group)
    job = Job(
        name=f"close-gaps-{name.replace('_', '-')}",
        app=AppName.STREAMS,
        schedule=parse_schedule(_EVERY),
        call=close_gaps,
    )
    return Consumer(function=function, job=job, hub=hub)


def capability(_: Composition) -> Capability:
    """The table that all consumers share."""
    return Capability(name="streams", resources=[POSITIONS])
