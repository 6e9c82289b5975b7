"""Makes a new version of a view beside the one that is served, flips to it, and back.

Why nothing is lost at the flip: while a version is followed, each instance applies a batch to it before it applies the
batch to the live one. Once every instance has seen that (`SETTLE`), the version is brought up to the log's end as it is
then; whatever comes later, every instance applies to both. From there on the version is never behind the live one.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum

from azure.core.exceptions import AzureError

from shared.query import partitions_of
from shared.streams import EventLog, Positions
from shared.tables import MAX_OPERATIONS, Conflict, Delete, Query, Table
from shared.telemetry import log_event

from .comparing import Mask, compare
from .feed import VersionFeed
from .lease import LEASE_SECONDS, ViewLease
from .versions import REMEMBERED, Stage, ViewVersion, ViewVersions, place_of

__all__ = ["KEPT", "CannotRebuild", "Rebuilder", "Step"]

SETTLE = timedelta(seconds=2 * REMEMBERED)
"""When a stage is so old, every instance goes by it: what they remember is half as old at most, if clocks agree."""
KEPT = timedelta(days=1)
"""For so long the version before is followed and can be served again."""
NEAR = 500
"""Events that a version may be behind in all partitions when instances begin to apply events to it."""
AT_ONCE = 4
"""Partitions that are read at once."""


class CannotRebuild(Exception):
    """What was asked for isn't possible now; the message says why, and what is."""


class Step(StrEnum):
    """What a call of `run` has come to."""

    DONE = "done"
    """There is nothing to do now."""
    MORE = "more"
    """Its time is over, or it waits for the instances: call it again."""
    BUSY = "busy"
    """Somebody else is at it."""
    DIFFERS = "differs"
    """Somebody has to decide: accept the differences, or drop the version."""


Feeds = Callable[[str, int], VersionFeed]
"""Makes the feed of a version of a view."""
VersionPositions = Callable[[str, int], Positions]
"""The positions of a version's feed."""


class Rebuilder:
    """The versions of all views.

    Parameters
    ----------
    table:
        The one of the views' rows.
    live:
        Up to which event the projection has applied everything to the live versions.
    mask:
        By view what reads a row in clear.
    folded:
        Views whose rows events may delete.
    sleep:
        Waits some seconds.
    """

    def __init__(
        self,
        table: Table,
        versions: ViewVersions,
        *,
        views: Collection[str],
        log: EventLog,
        live: Positions,
        positions: VersionPositions,
        feeds: Feeds,
        mask: Callable[[str], Mask],
        folded: frozenset[str] = frozenset(),
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: random.Random | None = None,
    ) -> None:
        self._table = table
        self._versions = versions
        self._views = views
        self._log = log
        self._live = live
        self._positions = positions
        self._make_feed = feeds
        self._feeds: dict[tuple[str, int], VersionFeed] = {}
        self._mask = mask
        self._folded = folded
        self._now = now
        self._sleep = sleep
        self._chance = chance or random.Random()  # noqa: S311 - it chooses samples

    async def ask(self, view: str, *, to: int | None = None, accept: bool = False) -> ViewVersion:
        """Begin to build a version, or go on with the one that is being built.

        Parameters
        ----------
        to:
            Its number; the next one without.
        accept:
            Flip to it even where the comparison finds rows that it lacks, or events were missing.

        Raises
        ------
        CannotRebuild, VersionChanged
        """
        known = await self._known(view)
        if known.stage in (Stage.BUILDING, Stage.FOLLOWING, Stage.DIFFERS):
            if to not in (None, known.other):
                raise CannotRebuild(f"version {known.other} of {view} is being built: drop it first")
            if accept == known.accepts and known.stage is not Stage.DIFFERS:
                return known
            stage = Stage.FOLLOWING if known.stage is Stage.DIFFERS else known.stage
            return await self._versions.change(known, accepts=accept, stage=stage)
        if known.stage is not Stage.NONE:
            raise CannotRebuild(f"version {known.other} of {view} is still there ({known.stage}): drop it first")
        version = known.highest + 1 if to is None else to
        if version <= known.highest:
            raise CannotRebuild(f"version {version} of {view} was given before: use {known.highest + 1} or more")
        log_event("view rebuild began", view=view, version=version)
        return await self._versions.change(
            known,
            other=version,
            highest=version,
            stage=Stage.BUILDING,
            since=self._now(),
            accepts=accept,
            events=0,
            skipped=0,
            missing={},
            report={},
        )

    async def roll_back(self, view: str, *, time_left: Callable[[], float]) -> ViewVersion:
        """Serve the version before again; the one that was served is kept in its place.

        Raises
        ------
        CannotRebuild, VersionChanged, LogUnavailable
        """
        await self._known(view)
        async with self._working_on(view) as is_ours:
            if not is_ours:
                raise CannotRebuild(f"somebody else works on the versions of {view}: try again")
            known = await self._versions.now(view)
            if known.stage is not Stage.KEPT:
                raise CannotRebuild(f"no earlier version of {view} is kept")
            await self._settle(known)
            known, behind = await self._catch_up(known, time_left)
            if behind:
                raise CannotRebuild(f"version {known.other} of {view} is {behind} events behind: try again")
            return await self._flip(known)

    async def drop(self, view: str) -> ViewVersion:
        """Give up the version beside the live one; its rows are deleted by and by.

        Raises
        ------
        CannotRebuild, VersionChanged
        """
        known = await self._known(view)
        if known.stage is Stage.NONE:
            raise CannotRebuild(f"there is only one version of {view}")
        if known.stage is Stage.SWEEPING:
            return known
        return await self._versions.change(known, stage=Stage.SWEEPING, since=self._now())

    async def _known(self, view: str) -> ViewVersion:
        if view not in self._views:
            raise CannotRebuild(f"there is no view {view}: there are {', '.join(sorted(self._views))}")
        return await self._versions.now(view)

    async def run_all(self, time_left: Callable[[], float]) -> bool:
        """Go on with whatever there is to do for any view; True if there is more."""
        more = False
        for view in await self._versions.every():
            more |= await self.run(view, time_left) is Step.MORE
        return more

    async def run(self, view: str, time_left: Callable[[], float]) -> Step:
        """Go on where the last call ended, whoever made it, while there is time (seconds).

        Raises
        ------
        VersionChanged, LogUnavailable
            And whatever the tables raise; what was done until then is kept.
        """
        async with self._working_on(view) as is_ours:
            return await self._run(view, time_left) if is_ours else Step.BUSY

    @asynccontextmanager
    async def _working_on(self, view: str) -> AsyncGenerator[bool, None]:
        """Nobody else works on the view meanwhile; False where somebody does."""
        lease = ViewLease(self._table, view, now=self._now)
        if not await lease.acquire():
            yield False
            return
        holding = asyncio.create_task(_hold(lease))
        try:
            yield True
        finally:
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)
            await lease.release()

    async def _run(self, view: str, time_left: Callable[[], float]) -> Step:
        known = await self._versions.now(view)
        if known.stage is Stage.BUILDING:
            known = await self._build(known, time_left)
            if known.stage is Stage.BUILDING:
                return Step.MORE
        if known.stage is Stage.FOLLOWING:
            return await self._finish(known, time_left)
        if known.stage is Stage.KEPT and self._age(known) >= KEPT:
            known = await self._versions.change(known, stage=Stage.SWEEPING, since=self._now())
        if known.stage is Stage.SWEEPING:
            return await self._sweep(known, time_left)
        return Step.DIFFERS if known.stage is Stage.DIFFERS else Step.DONE

    async def _build(self, known: ViewVersion, time_left: Callable[[], float]) -> ViewVersion:
        """Apply what bronze and the hub hold, until hardly anything is left."""
        while True:
            known, behind = await self._catch_up(known, time_left)
            if behind <= NEAR:
                return await self._versions.change(known, stage=Stage.FOLLOWING, since=self._now())
            if time_left() <= 0:
                return known

    async def _finish(self, known: ViewVersion, time_left: Callable[[], float]) -> Step:
        await self._settle(known)
        known, behind = await self._catch_up(known, time_left)
        if behind or known.other is None:
            return Step.MORE
        places = (place_of(known.view, known.live), place_of(known.view, known.other))
        found = await compare(
            self._table,
            *places,
            mask=self._mask(known.view),
            chance=self._chance,
            deleted=known.view in self._folded,
        )
        known = await self._versions.change(known, report=found.to_json())
        if not (found.is_whole and not known.missing) and not known.accepts:
            await self._versions.change(known, stage=Stage.DIFFERS)
            log_event("view versions differ", level=30, view=known.view, **found.to_json())
            return Step.DIFFERS
        await self._flip(known)
        return Step.DONE

    async def _settle(self, known: ViewVersion) -> None:
        """Wait until every instance goes by a stage."""
        left = SETTLE - self._age(known)
        if left > timedelta(0):
            await self._sleep(left.total_seconds())

    def _age(self, known: ViewVersion) -> timedelta:
        return self._now() - (known.since or self._now())

    async def _catch_up(self, known: ViewVersion, time_left: Callable[[], float]) -> tuple[ViewVersion, int]:
        """Apply what each partition holds now; returns how many events are left, of those or of later ones."""
        if known.other is None:
            return known, 0
        place, extents = (known.view, known.other), await self._log.extents()
        feed = self._feeds.get(place) or self._feeds.setdefault(place, self._make_feed(*place))
        places = asyncio.Semaphore(AT_ONCE)

        async def one(partition: str) -> int:
            nonlocal known
            async with places:
                done = await feed.catch_up(partition, extents[partition].last, time_left=time_left)
            if done.events or done.missing_before is not None:
                missing = known.missing
                if done.missing_before is not None:
                    missing = {**missing, partition: done.missing_before}
                async with counting:
                    known = await self._versions.change(
                        known, events=known.events + done.events, skipped=known.skipped + done.skipped, missing=missing
                    )
            return max(0, extents[partition].last - max(done.sequence, extents[partition].first - 1))

        counting = asyncio.Lock()
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one(partition)) for partition in extents]
        return known, sum(task.result() for task in running)

    async def _flip(self, known: ViewVersion) -> ViewVersion:
        """Serve the other version; the one before is followed from where the projection is."""
        if known.other is None:
            raise CannotRebuild(f"there is no other version of {known.view}")
        before = self._positions(known.view, known.live)
        try:
            for partition in await self._log.partitions():
                if (at := await self._live.get(partition)) is not None:
                    stored = await before.get(partition)
                    etag = None if stored is None else stored.etag
                    await before.advance(partition, replace(at, etag=etag), at.sequence)
        finally:
            await before.close()
        flipped = await self._versions.change(
            known, live=known.other, other=known.live, stage=Stage.KEPT, since=self._now(), accepts=False
        )
        self._feeds.clear()  # with what they remember
        log_event("view flipped", view=known.view, live=flipped.live, kept=flipped.other)
        return flipped

    async def _sweep(self, known: ViewVersion, time_left: Callable[[], float]) -> Step:
        """Delete a version's rows and positions, once nobody writes or reads it any more."""
        if known.other is None:
            return Step.DONE
        await self._settle(known)
        for partition in partitions_of(place_of(known.view, known.other)):
            async with aclosing(
                self._table.query(Query(partition=partition, select=["PartitionKey", "RowKey"]))
            ) as rows:
                keys: list[Mapping[str, str]] = []
                async for row in rows:
                    keys.append({"PartitionKey": row["PartitionKey"], "RowKey": row["RowKey"]})
                    if len(keys) == MAX_OPERATIONS:
                        await self._delete(keys)
                        keys = []
                        if time_left() <= 0:
                            return Step.MORE
                await self._delete(keys)
        positions = self._positions(known.view, known.other)
        try:
            await positions.forget(await self._log.partitions())
        finally:
            await positions.close()
        await self._versions.change(known, other=None, stage=Stage.NONE, since=self._now(), missing={}, report={})
        log_event("view version swept", view=known.view, version=known.other)
        return Step.DONE

    async def _delete(self, keys: list[Mapping[str, str]]) -> None:
        if not keys:
            return
        try:
            await self._table.submit([Delete(one) for one in keys])
        except Conflict:  # somebody has deleted one of them: each on its own
            for one in keys:
                try:
                    await self._table.submit([Delete(one)])
                except Conflict:
                    continue


async def _hold(lease: ViewLease) -> None:
    """What it is taken for is safe to do twice, so a lease that was lost meanwhile stops nothing."""
    while True:
        await asyncio.sleep(LEASE_SECONDS / 3)
        with suppress(AzureError):
            await lease.acquire()
