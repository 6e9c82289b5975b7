"""Read models: events become rows, and rows are read over HTTP."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import partial

from functions.continuation import Continuations
from functions.queries import Queries
from functions.triggers import AppName
from functions.views import Views
from shared.classification import Classification
from shared.jobs import Job, JobRun, parse_schedule
from shared.lake.bronze import BronzeReader
from shared.query import (
    Freshness,
    Indexer,
    Pages,
    Projector,
    ReadModels,
    Replayer,
    RowCache,
    ViewIndexes,
    ViewReader,
    indexes_of,
)
from shared.query.settings import ReadingSettings
from shared.streams import Positions, StreamEvent
from shared.synthetic import VIEW
from shared.tables import Table
from shared.telemetry import Metrics, log_event
from shared.views import History, Mask, Rebuilder, RememberingTable, VersionFeed, ViewVersions, place_of

from .bronze import bronze_reader
from .capability import Capability
from .composition import Composition
from .dead_letters import DEAD_LETTER_BODIES, DEAD_LETTERS, dead_letter_store
from .declaring import ROUTES, Access, Need
from .declaring import Table as DeclaredTable
from .encryption import KEY_NEEDS, SUBJECT_KEYS, fields
from .lake import BRONZE
from .operations import operation_keys
from .platform import platform
from .sending import EVENTS
from .streams import POSITIONS, event_log, stream_consumer, stream_positions

__all__ = [
    "VIEWS_TABLE",
    "capability",
    "continuations",
    "declared_indexes",
    "freshness",
    "projector",
    "read_models",
    "rebuilder",
    "row_cache",
    "view_pages",
    "view_reader",
    "view_versions",
]

VIEWS_TABLE = "readmodels"
GROUP = EVENTS.groups[0]


def declared_indexes(composition: Composition) -> Mapping[str, ViewIndexes]:
    """By view the indexes that integrations declare."""
    return indexes_of(composition.registry)


def read_models(composition: Composition) -> ReadModels:
    """The rows."""
    return composition.closing(
        ReadModels(
            composition.get(platform).table(VIEWS_TABLE),
            composition.get(declared_indexes),
            place_of=composition.get(view_versions).place,
        )
    )


def view_versions(composition: Composition) -> ViewVersions:
    """Which version of a view is served."""
    return composition.closing(ViewVersions(composition.get(platform).table(VIEWS_TABLE)))


class VersionFeeds:
    """What applies events to versions that aren't served, each made when it is needed first."""

    def __init__(self, composition: Composition) -> None:
        self._composition = composition
        self._feeds: dict[tuple[str, int], VersionFeed] = {}

    def of(self, view: str, version: int) -> VersionFeed:
        """The feed of a version."""
        if (view, version) not in self._feeds:
            table = self._composition.get(platform).table(VIEWS_TABLE)
            self._feeds[view, version] = version_feed(self._composition, view, version, table)
        return self._feeds[view, version]

    async def project(self, events: Sequence[StreamEvent]) -> None:
        """Apply events to every version that follows, then to what is served: none is behind what anybody reads."""
        async with self._composition.get(view_versions).pinned() as versions:
            for view, found in versions.items():
                if found.followed is not None:
                    await self.of(view, found.followed).deliver(events)
            await self._composition.get(projector).project(events)


class BronzeHistory:
    """Implements `History`: the events that the lake's files hold."""

    def __init__(self, reader: BronzeReader) -> None:
        self._reader = reader

    async def read(self, partition: str, *, after: int, log: str) -> AsyncGenerator[list[StreamEvent], None]:
        """See `History`; what no file has is seen by whoever reads."""
        async for chunk in self._reader.read(partition, after=after, log=log, on_gap=lambda _: None):
            yield chunk


def version_feed(
    composition: Composition, view: str, version: int, table: Table, history: History | None = None
) -> VersionFeed:
    """What applies events to one version of a view."""

    async def place(_: str) -> str:
        return place_of(view, version)

    rows = composition.closing(ReadModels(table, composition.get(declared_indexes), place_of=place))
    replayer = Replayer(composition.registry, view, rows, composition.get(fields))
    positions = composition.closing(version_positions(composition, view, version))
    return VersionFeed(replayer.apply, positions, event_log(composition, EVENTS), history)


def version_positions(composition: Composition, view: str, version: int) -> Positions:
    """Up to which event a version that isn't served holds everything."""
    return stream_positions(composition, EVENTS, f"view:{view}@{version}")


def rebuilder(composition: Composition) -> Rebuilder:
    """Makes new versions of views."""
    reader, versions = composition.get(view_reader), composition.get(view_versions)
    group = composition.settings.resolved(GROUP)

    def mask(view: str) -> Mask:
        async def one(key: str, text: str) -> bytes:
            return (await reader.mask(view, key, text, Classification.RESTRICTED)).body

        return one

    history = None if composition.settings.lake is None else BronzeHistory(composition.get(bronze_reader))

    def feed(view: str, version: int) -> VersionFeed:
        table = composition.get(platform).table(VIEWS_TABLE)
        remembers = RememberingTable(table, folded=view in composition.registry.folded)
        return version_feed(composition, view, version, remembers, history)

    return Rebuilder(
        composition.closing(composition.get(platform).table(VIEWS_TABLE)),
        versions,
        views=composition.registry.views,
        log=event_log(composition, EVENTS),
        live=composition.closing(stream_positions(composition, EVENTS, group)),
        positions=partial(version_positions, composition),
        feeds=feed,
        mask=mask,
        folded=composition.registry.folded,
        now=composition.now,
    )


def indexer(composition: Composition) -> Indexer:
    """Has the rows that are there already found by what is declared now."""
    table = composition.closing(composition.get(platform).table(VIEWS_TABLE))
    return Indexer(
        table,
        composition.get(read_models),
        composition.get(declared_indexes),
        now=composition.now,
        places_of=composition.get(view_versions).places,
    )


def projector(composition: Composition) -> Projector:
    """Keeps the read models."""
    return Projector(
        composition.registry,
        composition.get(read_models),
        composition.get(dead_letter_store),
        now=composition.now,
        fields=composition.get(fields),
    )


def view_reader(composition: Composition) -> ViewReader:
    """Reads the rows as far as a caller may see them."""
    return ViewReader(composition.registry, composition.get(read_models), composition.get(fields))


def view_pages(composition: Composition) -> Pages:
    """Answers queries of views, for every door."""
    return Pages(
        composition.get(declared_indexes),
        composition.get(read_models),
        composition.get(view_reader),
        composition.get(fields),
    )


def continuations(composition: Composition) -> Continuations:
    """Where a reader goes on."""
    return Continuations(composition.get(operation_keys))


def freshness(composition: Composition) -> Freshness:
    """How old a row may be that is served."""
    return Freshness(max_age=composition.settings.read_max_age, stale=composition.settings.read_stale)


def row_cache(composition: Composition) -> RowCache:
    """Single rows, from memory where they may be as old as that."""
    return composition.closing(
        RowCache(
            composition.get(read_models),
            composition.get(view_reader),
            composition.get(freshness),
            capacity=composition.settings.read_cache_bytes,
        )
    )


def capability(composition: Composition) -> Capability:
    """A function for the event log, and the routes of every view."""
    declared = composition.get(declared_indexes)
    queries = Queries(
        declared,
        lambda: composition.get(view_pages),
        lambda: composition.get(continuations),
        public_url=composition.settings.public_url,
        now=composition.now,
    )
    views = Views(
        composition.registry,
        lambda: composition.get(view_reader),
        lambda: composition.get(row_cache),
        queries=queries,
        queried=declared,
        freshness=composition.get(freshness),
        hidden={VIEW},
        public_path=composition.settings.public_path,
        now=composition.now,
    )
    rows = DeclaredTable(name=VIEWS_TABLE)

    async def project(events: Sequence[StreamEvent]) -> None:
        await composition.get(VersionFeeds).project(events)

    async def rebuild_views(run: JobRun) -> bool:
        return await composition.get(rebuilder).run_all(run.time_left)

    async def index_views(run: JobRun) -> bool:
        done = await composition.get(indexer).run(run.time_left)
        if done.seen:
            log_event("views indexed", rows=done.seen, changed=done.changed, complete=done.complete)
        return not done.complete

    indexing = Job(name="index-views", app=AppName.STREAMS, schedule=parse_schedule("5m"), call=index_views)
    rebuilding = Job(name="rebuild-views", app=AppName.STREAMS, schedule=parse_schedule("1m"), call=rebuild_views)
    projecting = stream_consumer(composition, "read_models", project, hub=EVENTS, group=GROUP)
    keeps = [*projecting.names, rebuilding.name]
    return Capability(
        name="read-models",
        functions=[projecting.function],
        jobs=[projecting.job, rebuilding, *([indexing] if declared else [])],
        probes={"read-models": projecting.lag},
        metrics=[Metrics.stream_events, Metrics.stream_delay, Metrics.stream_lag],
        routes=[*views.routes(), *queries.routes()],
        resources=[rows],
        settings=[name for name in ReadingSettings.variables() if "GRAPHQL" not in name],
        needs=[
            *projecting.needs,
            Need(
                access=Access.WRITE,
                to=POSITIONS,
                why="Keeps how far a new version of a view is.",
                by=[rebuilding.name],
            ),
            Need(access=Access.RECEIVE, to=EVENTS, why="Makes a new version of a view.", by=[rebuilding.name]),
            *(
                [
                    Need(
                        access=Access.READ,
                        to=BRONZE,
                        why="Makes a new version of a view of the events that the hub doesn't hold any more.",
                        by=[rebuilding.name],
                    )
                ]
                if composition.settings.lake is not None
                else []
            ),
            Need(access=Access.WRITE, to=rows, why="Keeps the read models.", by=keeps),
            Need(access=Access.READ, to=rows, why="Answers from the read models.", by=[ROUTES]),
            Need(access=Access.WRITE, to=DEAD_LETTERS, why="Records events that could not be projected.", by=keeps),
            Need(
                access=Access.WRITE,
                to=DEAD_LETTER_BODIES,
                why="Keeps the bodies of events that could not be projected.",
                by=keeps,
            ),
            Need(
                access=Access.WRITE,
                to=SUBJECT_KEYS,
                why="Finds, and makes, the keys that protected fields of a person are encrypted under.",
                when="SLUICE_DATA_KEY",
                by=keeps,
            ),
            Need(
                access=Access.READ,
                to=SUBJECT_KEYS,
                why="Decrypts protected fields for callers who may see them.",
                when="SLUICE_DATA_KEY",
                by=[ROUTES],
            ),
            *KEY_NEEDS,
        ],
    )
