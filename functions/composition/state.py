"""State: what the app knows of messages and aggregates, and the sweep that forgets messages."""

from datetime import timedelta

from functions.triggers import AppName
from shared.blobs import ValueStore
from shared.health import Check
from shared.jobs import Job, JobRun, parse_schedule
from shared.ordered import Parking
from shared.state import InboxSweeper, StateStore
from shared.state.settings import StateSettings
from shared.telemetry import Metrics

from .capability import Capability
from .composition import Composition
from .declaring import Access, Container, Need, Table
from .platform import platform

__all__ = ["STATE", "capability", "inbox_sweeper", "large_values", "parking", "state_store"]

STATE = Table(name="state", every_account=True)
VALUES = Container(name="state-values")


def state_store(composition: Composition) -> StateStore:
    """Inbox, state and outbox."""
    return composition.closing(
        StateStore(composition.get(platform).tables(STATE.name), buckets=composition.settings.state_buckets)
    )


def large_values(composition: Composition) -> ValueStore:
    """State values that are too large for a row."""
    return composition.closing(ValueStore(composition.get(platform).container(VALUES.name)))


def inbox_sweeper(composition: Composition) -> InboxSweeper:
    """Forgets messages that were dealt with long ago."""
    retention = timedelta(days=composition.settings.inbox_retention_days)
    return InboxSweeper(composition.get(state_store), retention=retention, now=composition.now)


def parking(composition: Composition) -> Parking:
    """The parked keys of the ordered lane, and what waits behind them."""
    return Parking(composition.get(state_store), now=composition.now)


def capability(composition: Composition) -> Capability:
    """Table, container, probe and sweep."""

    async def sweep_inbox(_: JobRun) -> None:
        await composition.get(inbox_sweeper).sweep()

    async def probe() -> None:
        await composition.get(state_store).probe()

    schedule = parse_schedule(composition.settings.inbox_sweep_schedule)
    return Capability(
        name="state",
        jobs=[Job(name="sweep-inbox", app=AppName.STREAMS, schedule=schedule, call=sweep_inbox)],
        probes={"state": Check(ask=probe)},
        metrics=[Metrics.storage_duration, Metrics.connection_wait],
        resources=[STATE, VALUES],
        needs=[Need(access=Access.WRITE, to=STATE, why="Forgets messages that were dealt with long ago.")],
        settings=StateSettings.variables(),
    )
