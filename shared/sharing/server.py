"""A Delta Sharing server without HTTP: what a recipient may know of a shared table, as the protocol's lines.

Source: the Delta Sharing protocol (delta-io/delta-sharing, PROTOCOL.md), response format `parquet`.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from shared.classification import Classification
from shared.datasets import ColumnLevel

from .changes import Change, Commit, LogReader, commits, version_at
from .errors import BadQuestion
from .predicates import understood
from .shares import SharedTable
from .snapshots import SharedFile, Snapshot, check_schema, read_snapshot, require_shareable

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = ["Answer", "ChangesAsked", "LakeFiles", "SharingServer", "TableQuery"]

T = TypeVar("T")

_READING_SECONDS = 30.0
MOST_FILES = 50_000
"""Of one answer: a table of more is to be compacted, or asked for in pages."""
_LINES_AT_ONCE = 200


class LakeFiles(Protocol):
    """The lake as a server sees it: tables by layer and name, their log, and links to their files."""

    async def read(self, layer: str, name: str, call: Callable[["DeltaTable"], T]) -> T:
        """What a blocking call returns of a table that was opened at its last version; raises SharingError."""
        ...

    def log(self, layer: str, name: str) -> LogReader:
        """What reads a table's log."""
        ...

    async def links(self, layer: str, name: str, ends: datetime) -> Callable[[str], str]:
        """From a file's path in the table to a link that ends then."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TableQuery:
    """What is asked of a table's files.

    Attributes
    ----------
    hints:
        `predicateHints`: comparisons in SQL.
    json_hint:
        `jsonPredicateHints`.
    limit:
        So many rows are enough.
    after:
        The path of the last file of the page before.
    most:
        Files of one page; None for all.
    """

    version: int | None = None
    timestamp: datetime | None = None
    hints: Sequence[str] = ()
    json_hint: str | None = None
    limit: int | None = None
    after: str | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesAsked:
    """From which version or time to which one; without an end to the table's last version.

    Attributes
    ----------
    rows:
        Which rows changed, and not only which files.
    history:
        The metadata of every version that set it is wanted too.
    """

    starting_version: int | None = None
    starting_timestamp: datetime | None = None
    ending_version: int | None = None
    ending_timestamp: datetime | None = None
    rows: bool = True
    history: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A version, and lines of JSON in batches.

    Attributes
    ----------
    files:
        How many files the lines name.
    more:
        The path of the last file where there are more: where the next page begins.
    """

    version: int
    lines: Iterator[bytes]
    files: int = 0
    more: str | None = None
    ends: datetime | None = None


class SharingServer:
    """Answers what the protocol asks of one table.

    Parameters
    ----------
    levels:
        From layer and name of a table to how sensitive its columns are.
    link_seconds:
        How long a link lives; never longer than half of the time for which the table keeps what it removed.
    """

    def __init__(
        self,
        lake: LakeFiles,
        *,
        levels: Callable[[str, str], ColumnLevel],
        link_seconds: int,
        now: Callable[[], datetime],
    ) -> None:
        self._lake = lake
        self._levels = levels
        self._lives = timedelta(seconds=link_seconds)
        self._now = now

    async def version(self, table: SharedTable, level: Classification, *, since: datetime | None = None) -> int:
        """The table's last version, or the first at a time or later; raises SharingError."""
        snapshot = await self._snapshot(table, level)
        if since is None:
            return snapshot.version
        return await version_at(self._lake.log(table.schema, table.name), since, snapshot.version, after=True)

    async def metadata(
        self,
        table: SharedTable,
        level: Classification,
        *,
        version: int | None = None,
        timestamp: datetime | None = None,
    ) -> Answer:
        """Protocol and metadata; raises SharingError."""
        snapshot = await self._snapshot(table, level, version=version, timestamp=timestamp)
        return Answer(snapshot.version, iter([_head(snapshot)]))

    async def query(self, table: SharedTable, level: Classification, asked: TableQuery) -> Answer:
        """The files of the table that may have what is asked for; raises SharingError."""
        snapshot = await self._snapshot(table, level, version=asked.version, timestamp=asked.timestamp, asked=asked)
        files, more = _page(snapshot.files, asked)
        link, ends = await self._links(table, snapshot)
        lines = ({"file": _file(one, link, ends)} for one in files)
        return Answer(snapshot.version, _batches(_head(snapshot), lines), len(files), more, ends)

    async def changes(self, table: SharedTable, level: Classification, asked: ChangesAsked) -> Answer:
        """What commits changed: files added and removed, or those in which a commit says what; raises SharingError."""
        snapshot = await self._snapshot(table, level)
        log = self._lake.log(table.schema, table.name)
        first, last = await _between(log, asked, snapshot.version)
        await self._check_before(table, level, first)
        found: list[tuple[Commit, Change | None]] = []
        files = 0
        async for commit in _bounded(
            commits(log, first, last, rows=asked.rows, change_feed=snapshot.has_change_feed), _READING_SECONDS
        ):
            files += len(commit.changes)
            if files > MOST_FILES:
                raise BadQuestion(f"That is more than {MOST_FILES} files: ask for fewer versions.")
            if commit.metadata is not None:
                check_schema(commit.metadata["schemaString"], level, self._levels(table.schema, table.name))
                if asked.history and commit.version > first:
                    found.append((commit, None))
            found += [(commit, one) for one in commit.changes]
        link, ends = await self._links(table, snapshot)
        lines = (
            {"metaData": _historical(commit)} if change is None else _changed(change, commit, link, ends)
            for commit, change in found
        )
        return Answer(first, _batches(_head(snapshot), lines), files, None, ends)

    async def _check_before(self, table: SharedTable, level: Classification, first: int) -> None:
        """Raise SharingError unless the level may see the columns that the table has when a version begins.

        The commits from there on add files with these columns, and remove some, until one sets others.
        """
        if first == 0:  # it sets the columns itself
            return
        try:
            await self._snapshot(table, level, version=first - 1)
        except BadQuestion:
            raise BadQuestion(
                f"The table's log doesn't have version {first - 1} any more, whose columns decide whether what was "
                "changed after it may be seen: begin with a later version."
            ) from None

    async def _snapshot(
        self,
        table: SharedTable,
        level: Classification,
        *,
        version: int | None = None,
        timestamp: datetime | None = None,
        asked: TableQuery | None = None,
    ) -> Snapshot:
        """The table at a version, with the files in which there may be what is asked for."""
        if timestamp is not None:
            last = await self._snapshot(table, level)
            log = self._lake.log(table.schema, table.name)
            version = await version_at(log, timestamp, last.version, after=False)

        async with asyncio.timeout(_READING_SECONDS):
            snapshot = await self._lake.read(table.schema, table.name, lambda opened: _chosen(opened, version, asked))
        require_shareable(snapshot, level, self._levels(table.schema, table.name))
        return snapshot

    async def _links(self, table: SharedTable, snapshot: Snapshot) -> tuple[Callable[[str], str], datetime]:
        ends = self._now() + min(self._lives, max(snapshot.retained / 2, timedelta(seconds=1)))
        return await self._lake.links(table.schema, table.name, ends), ends


async def _bounded(found: AsyncIterator[Commit], seconds: float) -> AsyncIterator[Commit]:
    async with asyncio.timeout(seconds):
        async for one in found:
            yield one


async def _between(log: LogReader, asked: ChangesAsked, last: int) -> tuple[int, int]:
    """The first and the last version that are asked for."""
    first = asked.starting_version
    if first is None and asked.starting_timestamp is not None:
        first = await version_at(log, asked.starting_timestamp, last, after=True)
    if first is None:
        raise BadQuestion("Name a startingVersion or a startingTimestamp.")
    if first > last:
        raise BadQuestion(f"The table's version is {last}.")
    end = asked.ending_version
    if end is None and asked.ending_timestamp is not None:
        end = await version_at(log, asked.ending_timestamp, last, after=False)
    if end is not None and end < first:
        raise BadQuestion("The end is before the beginning.")
    return first, last if end is None else min(end, last)


def _chosen(opened: "DeltaTable", version: int | None, asked: TableQuery | None) -> Snapshot:
    """Without the files in which nothing can be what is asked for; with none where none are asked for."""
    snapshot = read_snapshot(opened, version, files=asked is not None)
    if asked is None or (not asked.hints and asked.json_hint is None):
        return snapshot
    hints = understood(asked.hints, asked.json_hint, snapshot.types(), files=len(snapshot.files))
    files = [one for one in snapshot.files if all(hint.keeps(one.columns) for hint in hints)]
    return replace(snapshot, files=files)


def _page(files: Sequence[SharedFile], asked: TableQuery) -> tuple[Sequence[SharedFile], str | None]:
    """The files of the page, and the last one where there are more.

    A limit counts only where nothing is filtered: nobody knows how many rows of a file are wanted otherwise.
    """
    if asked.after is not None:
        files = [one for one in files if one.path > asked.after]
    if asked.limit is not None and not asked.hints and asked.json_hint is None and asked.most is None:
        rows, enough = 0, 0
        for one in files:
            if rows >= asked.limit or one.rows is None:
                break
            rows += one.rows
            enough += 1
        files = files[:enough] if rows >= asked.limit else files
    if asked.most is not None and len(files) > asked.most:
        return files[: asked.most], files[asked.most - 1].path
    if len(files) > MOST_FILES:
        raise BadQuestion(f"The table has more than {MOST_FILES} files: ask in pages by maxFiles.")
    return files, None


def _batches(head: bytes, lines: Iterator[Mapping[str, Any]]) -> Iterator[bytes]:
    """Lines in pieces of some hundred; links are signed as they are sent, in a thread."""
    batch = [head]
    for line in lines:
        batch.append(_line(line))
        if len(batch) >= _LINES_AT_ONCE:
            yield b"".join(batch)
            batch = []
    yield b"".join(batch)


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _head(snapshot: Snapshot) -> bytes:
    metadata: dict[str, Any] = {
        "id": snapshot.id,
        "format": {"provider": "parquet"},
        "schemaString": snapshot.schema,
        "partitionColumns": list(snapshot.partitions),
        "configuration": {"enableChangeDataFeed": "true"} if snapshot.has_change_feed else {},
        "size": snapshot.size,
        "numFiles": snapshot.count,
        "version": snapshot.version,
    }
    for name, value in (("name", snapshot.name), ("description", snapshot.description)):
        if value is not None:
            metadata[name] = value
    return _line({"protocol": {"minReaderVersion": 1}}) + _line({"metaData": metadata})


def _historical(commit: Commit) -> dict[str, Any]:
    metadata = commit.metadata or {}
    return {
        "id": metadata["id"],
        "format": {"provider": "parquet"},
        "schemaString": metadata["schemaString"],
        "partitionColumns": metadata.get("partitionColumns", []),
        "configuration": {},
        "version": commit.version,
    }


def _file(file: SharedFile, link: Callable[[str], str], ends: datetime) -> dict[str, Any]:
    found = _linked(file.path, file.size, file.partition, link, ends)
    return found if file.stats is None else {**found, "stats": file.stats}


def _changed(change: Change, commit: Commit, link: Callable[[str], str], ends: datetime) -> dict[str, Any]:
    found = _linked(change.path, change.size, change.partition, link, ends)
    found |= {"timestamp": commit.timestamp, "version": commit.version}
    return {change.kind: found if change.stats is None else {**found, "stats": change.stats}}


def _linked(
    path: str, size: int, partition: Mapping[str, str | None], link: Callable[[str], str], ends: datetime
) -> dict[str, Any]:
    return {
        "url": link(path),
        "id": hashlib.sha256(path.encode()).hexdigest()[:32],
        "partitionValues": dict(partition),
        "size": size,
        "expirationTimestamp": int(ends.timestamp() * 1_000),
    }
