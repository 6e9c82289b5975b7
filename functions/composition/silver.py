"""Silver: a job that brings what bronze and the hub have into typed tables, each event once."""

from collections.abc import AsyncGenerator, Sequence

from functions.triggers import AppName
from shared.jobs import Job, JobRun, parse_schedule
from shared.lake.bronze import BronzeReader
from shared.lake.silver import SilverIngest, SilverLine, SilverRebuild, lines_of
from shared.lake.tables import Retention
from shared.streams import EventLog, StreamEvent
from shared.streams.hub import HubLog
from shared.telemetry import log_event

from .bronze import bronze_reader
from .capability import Capability
from .composition import Composition
from .declaring import Access, Need
from .encryption import KEY_NEEDS, SUBJECT_KEYS, subject_keys
from .lake import BRONZE, TABLES, lake_store
from .platform import platform
from .sending import EVENTS

__all__ = ["capability", "event_log", "silver_ingest", "silver_lines", "silver_rebuild", "silver_source"]

_FILL = "fill-silver"


class LakeSource:
    """The log of events: bronze as far as it goes, and then the hub, so that nobody waits for a file."""

    def __init__(self, reader: BronzeReader, hub: EventLog) -> None:
        self._reader = reader
        self._hub = hub

    async def partitions(self) -> Sequence[str]:
        """Those of the hub."""
        return sorted(await self._hub.extents())

    async def read(self, partition: str, *, after: int | None) -> AsyncGenerator[Sequence[StreamEvent], None]:
        """What came after a sequence number, in order, up to the hub's newest event when this began."""
        async for events in self._reader.read_on(partition, self._hub, after=-1 if after is None else after):
            yield events


def event_log(composition: Composition) -> HubLog:
    """The hub, read from a sequence number on."""
    return HubLog(composition.get(platform).event_reader)


def silver_lines(composition: Composition) -> Sequence[SilverLine]:
    """The tables that integrations declare."""
    return lines_of(composition.registry.silvers)


def silver_source(composition: Composition) -> LakeSource:
    """Where silver's rows come from."""
    return LakeSource(composition.get(bronze_reader), composition.get(event_log))


async def silver_ingest(
    composition: Composition, lines: Sequence[SilverLine] | None = None, prefix: str = ""
) -> SilverIngest:
    """What commits to silver, for one run.

    Raises
    ------
    LogUnavailable
    """
    return _ingest(composition, await _log_name(composition), lines, prefix)


async def silver_rebuild(composition: Composition) -> SilverRebuild:
    """What builds all tables anew.

    Raises
    ------
    LogUnavailable
    """
    log = await _log_name(composition)
    return SilverRebuild(
        composition.get(lake_store),
        composition.get(silver_lines),
        lambda lines, prefix: _ingest(composition, log, lines, prefix),
    )


async def _log_name(composition: Composition) -> str:
    """A hub that was made anew counts from the beginning: its watermarks are its own."""
    return f"{composition.settings.event_hub}/{await composition.get(event_log).identity()}"


def _ingest(composition: Composition, log: str, lines: Sequence[SilverLine] | None, prefix: str) -> SilverIngest:
    keys = composition.get(subject_keys)
    return SilverIngest(
        composition.get(lake_store),
        composition.get(silver_lines) if lines is None else lines,
        log=log,
        retention=Retention(),
        now=composition.now,
        erased=None if keys is None else keys.erased_among,
        prefix=prefix,
    )


def capability(composition: Composition) -> Capability:
    """The job, where the settings name a lake.

    Raises
    ------
    WrongSilver
        A declaration can't be followed.
    """
    lines = composition.get(silver_lines)
    if composition.settings.lake is None or not lines:
        return Capability(name="silver")

    async def fill(run: JobRun) -> bool:
        ingest = await silver_ingest(composition)
        applied, more = await ingest.catch_up(composition.get(silver_source), run.time_left)
        if applied.events:
            rows = sum(applied.rows.values())
            log_event(
                "silver filled",
                events=applied.events,
                rows=rows,
                duplicates=applied.duplicates,
                quarantined=applied.quarantined,
            )
        for error in applied.failed.values():
            raise error  # the others have their rows
        return more

    job = Job(name=_FILL, app=AppName.LAKE, schedule=parse_schedule("1m"), call=fill)
    return Capability(
        name="silver",
        jobs=[job],
        needs=[
            Need(access=Access.READ, to=BRONZE, why="Reads the events that silver's rows are made of.", by=[_FILL]),
            Need(access=Access.RECEIVE, to=EVENTS, why="Reads the events that no file has yet.", by=[_FILL]),
            Need(access=Access.WRITE, to=TABLES, why="Keeps events as rows of typed tables.", by=[_FILL]),
            Need(
                access=Access.READ,
                to=SUBJECT_KEYS,
                why="Knows which persons were erased.",
                when="SLUICE_DATA_KEY",
                by=[_FILL],
            ),
            *KEY_NEEDS,
        ],
    )
