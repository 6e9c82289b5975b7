"""Answers questions to datasets: what may be asked is checked, its files are chosen and fetched, DuckDB reads them."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from shared.classification import Classification
from shared.lake.tables import Layer
from shared.query import ForbiddenField, Kind
from shared.query.filters import names_in
from shared.query.indexes import Field

from .columns import Column
from .delta import DeltaTables, commit_path, parse_changes
from .encoding import ENCODERS, json_rows
from .engine import Engine, Run
from .errors import Busy, NoSuchDataset, TooMuch, VersionGone
from .files import FileCache, Source, files_gone
from .pipeline import FilterStep, GroupStep, Step, result_columns
from .pruning import pruned
from .snapshots import DataFile, Snapshot
from .statements import CHANGE, Scan, counting, selecting
from .streaming import pieces

__all__ = ["LAYERS", "Datasets", "Limits", "Question", "Reading"]

T = TypeVar("T")
LAYERS: Mapping[str, Classification] = {
    "silver": Classification.CONFIDENTIAL,
    "gold": Classification.CONFIDENTIAL,
    "quarantine": Classification.RESTRICTED,
}
"""The layers that have tables, and the access level that a caller needs to know of them."""
MAX_COMMITS = 1_000
_LOG_BYTES = 67_108_864
"""Of the commits that are read for one question: they are in memory at once."""
_LOOKS_AT_ONCE = 8
_NAME = re.compile(r"[a-z][a-z0-9_]{0,126}")
_LOOK_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one question may take: bytes of files, rows of an answer that isn't paged, seconds of computing."""

    bytes: int
    rows: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is asked of a version of a table.

    Attributes
    ----------
    steps:
        Those of `$apply`, and `$filter` as the last.
    since:
        A version: what changed after it is asked for instead of the rows.
    """

    snapshot: Snapshot
    level: Classification
    steps: tuple[Step, ...] = ()
    select: tuple[str, ...] = ()
    order: tuple[Field, ...] = ()
    since: int | None = None

    @property
    def columns(self) -> Mapping[str, Column]:
        """What the steps begin with."""
        return columns_of(self.snapshot, changes=self.since is not None)

    @property
    def shown(self) -> Mapping[str, Column]:
        """The columns of the answer."""
        found = result_columns(self.steps, self.columns)
        return {name: found[name] for name in self.select} if self.select else found

    @property
    def hidden(self) -> frozenset[str]:
        """Those of them that this caller sees as nulls."""
        return frozenset(name for name, one in self.shown.items() if one.level > self.level)

    @property
    def masked(self) -> frozenset[str]:
        """The table's columns that this caller doesn't see."""
        return frozenset(name for name, one in self.columns.items() if one.level > self.level)


def columns_of(snapshot: Snapshot, *, changes: bool) -> Mapping[str, Column]:
    """The columns that a question begins with: those of changes have one more."""
    more = {CHANGE: Column(name=CHANGE, kind=Kind.TEXT, type="VARCHAR", nullable=False)} if changes else {}
    return {**more, **snapshot.columns}


class Reading:
    """A question whose files are here; it is asked for a page or for all of it, once.

    Attributes
    ----------
    commits:
        Of the table's log, which were read to know what changed.
    """

    def __init__(
        self,
        question: Question,
        scans: Sequence[Scan],
        run: Run,
        executor: ThreadPoolExecutor,
        limits: Limits,
        *,
        commits: int = 0,
    ) -> None:
        self.commits = commits
        self._question = question
        self._scans = scans
        self._run = run
        self._executor = executor
        self._limits = limits

    @property
    def scanned(self) -> int:
        """Of the files that are read."""
        return sum(max(file.size, 0) for scan in self._scans for file in scan.files)

    async def count(self) -> int:
        """The number of all rows."""
        question = self._question
        return await self._in_thread(lambda: self._run.number(counting(self._scans, question.columns, question.steps)))

    async def page(self, *, top: int, skip: int) -> list[dict[str, Any]]:
        """Some rows as JSON has them."""
        shown = self._question.shown
        statement = self._statement(top, skip)

        def read() -> list[dict[str, Any]]:
            return [row for batch in self._run.rows(statement) for row in json_rows(batch, shown)]

        return await self._in_thread(read)

    async def whole(self, kind: str, *, top: int | None, skip: int) -> AsyncGenerator[bytes, None]:
        """All rows in one of the formats, piece by piece.

        Raises
        ------
        TooMuch
            There are more rows than the caller may have in one answer.
        """
        most = self._limits.rows
        known = [file.rows for scan in self._scans for file in scan.files]
        grouped = any(isinstance(step, GroupStep) for step in self._question.steps)
        bound = None if grouped or None in known else sum(one or 0 for one in known)
        if (top is None or top > most) and (bound is None or bound > most):
            rows = await self.count()
            wanted = min(max(rows - skip, 0), rows if top is None else top)
            if wanted > most:
                raise TooMuch(
                    f"The answer has {wanted} rows; you may have {most} at once.",
                    limit="rows",
                    rows=wanted,
                    most=most,
                    help="Filter more, aggregate, or ask for a part by $top and $skip.",
                )
        statement, shown = self._statement(top, skip), self._question.shown
        return pieces(lambda: ENCODERS[kind](self._run.rows(statement), shown), self._executor, self._run.stop)

    def _statement(self, top: int | None, skip: int) -> Any:
        question = self._question
        return selecting(
            self._scans,
            question.columns,
            question.steps,
            question.shown,
            hidden=question.hidden,
            unsorted=question.masked,
            order=question.order,
            top=top,
            skip=skip,
        )

    async def _in_thread(self, call: Callable[[], T]) -> T:
        working = asyncio.get_running_loop().run_in_executor(self._executor, call)
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            self._run.stop(TimeoutError("nobody waits for this any more"))
            with suppress(Exception):
                await working
            raise


class Datasets:
    """The tables of the lake, for questions.

    Parameters
    ----------
    at_once:
        Questions that are answered side by side, half of them for one client at most; beyond that callers are asked to
        come again.
    """

    def __init__(self, tables: DeltaTables, source: Source, files: FileCache, engine: Engine, *, at_once: int) -> None:
        self._tables = tables
        self._source = source
        self._files = files
        self._engine = engine
        self._places = asyncio.Semaphore(at_once)
        self._of_one = max(at_once // 2, 1)
        self._taken: Counter[str] = Counter()
        self._executor = ThreadPoolExecutor(at_once, thread_name_prefix="dataset")

    async def names(self, level: Classification) -> list[tuple[str, str]]:
        """Layer and name of every table that a caller may know of."""
        return [
            (layer, name)
            for layer, needed in LAYERS.items()
            if level >= needed
            for name in await self._source.folders(layer)
            if _NAME.fullmatch(name)
        ]

    async def open(
        self,
        layer: str,
        name: str,
        level: Classification,
        as_of: int | datetime | None = None,
        *,
        since: int | None = None,
    ) -> Snapshot:
        """A version of a table; with `since`, what changed after that one is to be asked of it.

        Raises
        ------
        NoSuchDataset, VersionGone, Unreadable, Unreachable
        """
        if layer not in LAYERS or level < LAYERS[layer] or not _NAME.fullmatch(name):
            raise NoSuchDataset(f"There is no dataset {layer[:64]}/{name[:64]}.")
        return await self._tables.snapshot(Layer(layer), name, as_of, since=since)

    @asynccontextmanager
    async def reading(self, question: Question, limits: Limits, *, client: str | None = None) -> AsyncIterator[Reading]:
        """Have a question answered; raises before anything is read where it may not be.

        Parameters
        ----------
        client:
            Who asks; None where callers are not checked at all.

        Raises
        ------
        DatasetError, ForbiddenField
        """
        check_allowed(question)
        if self._places.locked():
            raise Busy("As many questions as may be are being answered.")
        async with AsyncExitStack() as stack:
            if client is not None:
                stack.enter_context(self._place_of(client))
            await stack.enter_async_context(self._places)
            files = chosen(question, await self._sets(question), limits)
            loop = asyncio.get_running_loop()
            newest = question.snapshot.newest and question.since is None
            local = [
                await stack.enter_async_context(self._files.copies(question.snapshot.path, one, newest=newest))
                for one in files
            ]
            paths = [path for one in local for path in one]
            run = await loop.run_in_executor(self._executor, self._engine.open, paths)
            stack.callback(run.close)
            watching = asyncio.create_task(_watched(run, limits.seconds), name="dataset's time")
            stack.callback(watching.cancel)
            scans = [
                Scan(
                    files=one,
                    paths=here,
                    types=await loop.run_in_executor(self._executor, run.types, here) if here else {},
                )
                for one, here in zip(files, local, strict=True)
            ]
            commits = 0 if question.since is None else question.snapshot.version - question.since
            yield Reading(question, scans, run, self._executor, limits, commits=commits)

    @contextmanager
    def _place_of(self, client: str) -> Iterator[None]:
        """One of the places that a client may have: the others stay free for everybody else."""
        if self._taken[client] >= self._of_one:
            raise Busy(f"{self._of_one} questions of yours are being answered.")
        self._taken[client] += 1
        try:
            yield
        finally:
            self._taken[client] -= 1
            if not self._taken[client]:
                del self._taken[client]

    async def _sets(self, question: Question) -> list[tuple[DataFile, ...]]:
        """The files of a version; or those that came after another one, and those that went."""
        snapshot, since = question.snapshot, question.since
        if since is None:
            return [snapshot.files]
        if since > snapshot.version:
            raise VersionGone(f"changesSince: there is no version {since} yet; the newest is {snapshot.version}.")
        if snapshot.version - since > MAX_COMMITS:
            raise TooMuch(
                f"changesSince: {snapshot.version - since} versions lie between; {MAX_COMMITS} may.",
                limit="versions",
                help="Read the rows of a version whole, and its changes from there.",
            )
        commits: list[bytes] = []
        size = 0
        for version in range(since + 1, snapshot.version + 1):
            commit = await self._source.read(f"{snapshot.path}/{commit_path(version)}")
            if commit is None:
                raise VersionGone(f"changesSince: the log doesn't reach back to version {since} any more.")
            commits.append(commit)
            size += len(commit)
            if size > _LOG_BYTES:
                raise TooMuch(
                    f"changesSince: the log has more than {_LOG_BYTES} bytes between the versions.",
                    limit="bytes",
                    most=_LOG_BYTES,
                    help="Read the rows of a version whole, and its changes from there.",
                )
        loop = asyncio.get_running_loop()
        changes = await loop.run_in_executor(self._executor, parse_changes, commits, snapshot.columns)
        known = {file.path: file for file in snapshot.files}
        added = [known.get(file.path, file) for file in changes.added]
        return [await self._sized(snapshot.path, added), await self._sized(snapshot.path, changes.removed)]

    async def _sized(self, table: str, files: Sequence[DataFile]) -> tuple[DataFile, ...]:
        """Files with their sizes, which the log needn't say of those that went."""
        places = asyncio.Semaphore(_LOOKS_AT_ONCE)

        async def sized(file: DataFile) -> DataFile:
            if file.size > 0:
                return file
            async with places:
                size = await self._source.size(f"{table}/{file.path}")
            if size is None:
                raise files_gone()
            return replace(file, size=size)

        return tuple(await asyncio.gather(*map(sized, files)))

    async def close(self) -> None:
        """Let go of threads and copies."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        await self._files.close()


def check_allowed(question: Question) -> None:
    """Nothing is filtered, grouped or sorted by a column that the caller doesn't see.

    Raises
    ------
    ForbiddenField
    """
    columns = question.columns
    for step in question.steps:
        match step:
            case FilterStep(term):
                _check_seen("$filter", sorted(names_in(term)), columns, question.level)
            case GroupStep(keys, aggregates):
                _check_seen("$apply", [*keys, *(one.of for one in aggregates if one.of)], columns, question.level)
        columns = result_columns([step], columns)
    _check_seen("$orderby", [one.name for one in question.order], columns, question.level)


def _check_seen(option: str, names: Sequence[str], columns: Mapping[str, Column], level: Classification) -> None:
    for name in names:
        if columns[name].level > level:
            raise ForbiddenField(f"{option}: you may not see {name}, so you can't ask by it")


def chosen(question: Question, sets: Sequence[tuple[DataFile, ...]], limits: Limits) -> list[tuple[DataFile, ...]]:
    """The files of each set that may have rows of the answer, by the filters before anything is grouped.

    Raises
    ------
    TooMuch
        They are larger than the caller's questions may read.
    """
    found = list(sets)
    if question.since is None:
        for step in question.steps:
            if isinstance(step, GroupStep):
                break
            found = [pruned(files, step.term, question.columns) for files in found]
    number = sum(map(len, found))
    size = sum(max(file.size, 0) for files in found for file in files)
    if size > limits.bytes:
        helps = sorted(name for name, one in question.snapshot.columns.items() if one.partition)
        by = f"by {' or '.join(helps)}, which it is partitioned by" if helps else "by a column that it is sorted by"
        raise TooMuch(
            f"{number} files of {size} bytes would be read; a question of yours may read {limits.bytes}.",
            limit="bytes",
            bytes=size,
            most=limits.bytes,
            files=number,
            help=f"Filter {by}: for example a few days.",
        )
    return found


async def _watched(run: Run, seconds: float) -> None:
    """Stop what has computed for too long."""
    while run.busy_seconds() <= seconds:  # noqa: ASYNC110  # no event says it: only computing counts
        await asyncio.sleep(_LOOK_SECONDS)
    run.stop(
        TooMuch(
            f"This took longer than {seconds:g} s, which is what a question of yours may take.",
            limit="seconds",
            most=seconds,
            help="Filter more, or aggregate less.",
        )
    )
