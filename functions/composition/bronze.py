"""Bronze: every event of the hub as a file, by a function, unless Event Hubs Capture writes them."""

from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import urlsplit

from functions.triggers import AppName
from shared.blobs import WholeFiles
from shared.environment import Connection
from shared.jobs import Job, JobRun, parse_schedule
from shared.lake.bronze import BronzeFiles, BronzeReader, BronzeWriter, compact, sweep
from shared.streams import StreamEvent
from shared.streams.hub import HubLog
from shared.telemetry import log_event

from .capability import Capability
from .composition import Composition
from .declaring import Access, Need
from .lake import BRONZE
from .platform import platform
from .sending import EVENTS
from .streams import stream_consumer

__all__ = ["bronze_files", "bronze_reader", "bronze_writer", "capability", "namespace_of"]

_GROUP = "%SLUICE_BRONZE_GROUP%"
_COMPACT, _SWEEP = "compact-bronze", "sweep-bronze"
_COMPACT_SCHEDULE, _SWEEP_SCHEDULE = "15m", "0 7 4 * * *"


def namespace_of(connection: Connection) -> str:
    """The name of an Event Hubs namespace, as Capture has it in its paths; a machine's own is its host."""
    text = connection.connection_string.get_secret_value() if connection.connection_string is not None else ""
    parts = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    host = urlsplit(parts.get("Endpoint", f"sb://{connection.address}")).hostname or "localhost"
    return host.partition(".")[0] if ".servicebus." in host else host


def bronze_files(composition: Composition) -> BronzeFiles:
    """The files of the app's hub."""
    settings = composition.settings
    container = composition.get(platform).lake_container(settings.bronze_container)
    root = f"{namespace_of(settings.event_hubs)}/{settings.event_hub}"
    return composition.closing(BronzeFiles(WholeFiles(container), root))


def bronze_reader(composition: Composition) -> BronzeReader:
    """Reads them, whoever wrote them."""
    return BronzeReader(composition.get(bronze_files))


def bronze_writer(composition: Composition) -> BronzeWriter:
    """Writes them."""
    clients = composition.get(platform)
    return BronzeWriter(composition.get(bronze_files), HubLog(clients.event_reader).identity)


def capability(composition: Composition) -> Capability:
    """A function for the event log, and the jobs that keep its files in shape; nothing where there is no lake."""
    settings = composition.settings
    if settings.lake is None:
        return Capability(name="bronze")

    async def write(events: Sequence[StreamEvent]) -> None:
        await composition.get(bronze_writer).write(events)

    async def put_together(run: JobRun) -> bool:
        files, reader = composition.get(bronze_files), composition.get(bronze_reader)
        fewer, more = await compact(files, reader, now=composition.now, time_left=run.time_left)
        if fewer:
            log_event("bronze compacted", fewer=fewer, complete=not more)
        return more

    async def delete_old(run: JobRun) -> bool:
        retention = timedelta(days=settings.bronze_retention_days)
        files = composition.get(bronze_files)
        deleted, more = await sweep(files, retention=retention, now=composition.now, time_left=run.time_left)
        log_event("bronze swept", deleted=deleted, complete=not more)
        return more

    compacting = Job(name=_COMPACT, app=AppName.LAKE, schedule=parse_schedule(_COMPACT_SCHEDULE), call=put_together)
    sweeping = Job(name=_SWEEP, app=AppName.LAKE, schedule=parse_schedule(_SWEEP_SCHEDULE), call=delete_old)
    ends = settings.bronze_retention_days > 0
    if settings.bronze_capture:
        keeping = Need(access=Access.WRITE, to=BRONZE, why="Deletes files that are past their retention.", by=[_SWEEP])
        return Capability(name="bronze", jobs=[sweeping] if ends else [], needs=[keeping] if ends else [])
    writing = stream_consumer(composition, "bronze", write, hub=EVENTS, group=_GROUP, app=AppName.LAKE, annotated=True)
    return Capability(
        name="bronze",
        functions=[writing.function],
        jobs=[writing.job, compacting, *([sweeping] if ends else [])],
        probes={"bronze": writing.lag},
        needs=[
            *writing.needs,
            Need(
                access=Access.WRITE,
                to=BRONZE,
                why="Keeps every event as it came, puts small files together and deletes old ones.",
                by=[*writing.names, _COMPACT, *([_SWEEP] if ends else [])],
            ),
        ],
    )
