"""Streams: how far each consumer of the event log is, and what every consumer is made of."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from functions.batches import stream_function
from functions.triggers import AppName, Function
from shared.health import Check, Degraded
from shared.jobs import Job, JobRun, parse_schedule
from shared.streams import Lag, LagWatch, Positions, StreamConsumer, StreamEvent
from shared.streams.hub import HubLog
from shared.telemetry import Metrics

from .capability import Capability
from .composition import Composition
from .declaring import Access, Hub, Need, Table
from .platform import platform

__all__ = ["POSITIONS", "Consumer", "capability", "event_log", "stream_consumer", "stream_positions"]

POSITIONS = Table(name="streampositions")
_EVERY = "1m"
LARGEST_LAG = 10_000
"""Events that may wait for a consumer: a minute's at full speed."""
STANDING_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Consumer:
    """What a capability offers that consumes events: function, the job that closes its gaps, lag, what they call."""

    function: Function
    job: Job
    lag: Check
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
    app: AppName = AppName.STREAMS,
    annotated: bool = False,
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
    app:
        Which runs it, its job and its probe.
    annotated:
        Whether the events come with all that is beside their bodies.
    """

    def positions(composition: Composition) -> Positions:
        return composition.closing(stream_positions(composition, hub, composition.settings.resolved(group)))

    def log(composition: Composition) -> HubLog:
        return event_log(composition, hub)

    def consumer(composition: Composition) -> StreamConsumer:
        return StreamConsumer(name, apply, composition.get(positions), composition.get(log))

    def lag_watch(composition: Composition) -> LagWatch:
        return LagWatch(composition.get(positions), composition.get(log))

    async def lag() -> Mapping[str, Any]:
        found = await composition.get(lag_watch).look()
        Metrics.stream_lag.set(found.total, consumer=name)
        return _judged(found)

    async def close_gaps(run: JobRun) -> bool:
        return await composition.get(consumer).close_gaps(run.time_left)

    function = stream_function(
        name, lambda: composition.get(consumer), hub=hub.name, group=group, app=app, annotated=annotated
    )
    job = Job(
        name=f"close-gaps-{name.replace('_', '-')}",
        app=app,
        schedule=parse_schedule(_EVERY),
        call=close_gaps,
    )
    check = Check(ask=lag, app=app, interval=30, timeout=5, threshold=3, weight=0)
    return Consumer(function=function, job=job, lag=check, hub=hub)


def stream_positions(composition: Composition, hub: Hub, group: str) -> Positions:
    """How far a consumer of a hub is; whoever asks closes it."""
    table = composition.get(platform).table(POSITIONS.name)
    return Positions(table, hub=composition.settings.resolved(hub.name), group=group)


def event_log(composition: Composition, hub: Hub) -> HubLog:
    """What a hub holds."""
    clients, name = composition.get(platform), composition.settings.resolved(hub.name)
    return HubLog(lambda: clients.event_reader(name))


def _judged(lag: Lag) -> Mapping[str, Any]:
    """A lag as figures, degraded where it is large or where nothing moves."""
    figures = {"behind": f"{lag.total} events", "largest": f"{LARGEST_LAG} events", "standing": f"{lag.stuck:.0f}s"}
    if lag.stuck >= STANDING_SECONDS:
        raise Degraded("Events are waiting, and nothing moves.", figures)
    if lag.total > LARGEST_LAG:
        raise Degraded("Too many events are waiting.", figures)
    return figures


def capability(_: Composition) -> Capability:
    """The table that all consumers share."""
    return Capability(name="streams", resources=[POSITIONS])
