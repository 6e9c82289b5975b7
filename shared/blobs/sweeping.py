"""Deletes payloads that are past their retention and that nobody refers to any more."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import HttpResponseError, ResourceModifiedError, ResourceNotFoundError

from shared.telemetry import log_event

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient

__all__ = ["BlobSweeper", "InUse", "Sweep"]

InUse = Callable[[Collection[str]], Awaitable[Collection[str]]]
"""Of some names, those that somebody refers to."""

_CURSOR = "sweepcursor"
_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """What a sweep did.

    Attributes
    ----------
    in_use:
        Blobs past their retention that somebody refers to, or that were renewed just then.
    complete:
        Whether it came to the end of the container; else the next one goes on from there.
    """

    seen: int
    deleted: int
    in_use: int
    complete: bool


class BlobSweeper:
    """Goes through a container page by page, for as long as its time allows, and remembers where it stopped.

    Parameters
    ----------
    retention:
        Blobs that were written or renewed within this time are left alone.
    short_lived:
        Another time for those whose names begin with a prefix, which nobody refers to.
    budget:
        Time of one sweep; a batch that has begun is brought to its end, so that every sweep gets on.
    page, batch:
        Blobs that are listed at once, and those that are looked up and deleted together.
    """

    def __init__(
        self,
        container: "ContainerClient",
        *,
        in_use: InUse,
        retention: timedelta,
        now: Callable[[], datetime],
        short_lived: Mapping[str, timedelta] = {},
        budget: timedelta = timedelta(seconds=100),
        page: int = 1_000,
        batch: int = 5_000,
    ) -> None:
        self._container = container
        self._in_use = in_use
        self._retention = retention
        self._now = now
        self._short_lived = short_lived
        self._budget = budget
        self._page = page
        self._batch = batch

    async def sweep(self) -> Sweep:
        """Delete what may go; returns, and logs, what was done."""
        until = asyncio.get_running_loop().time() + self._budget.total_seconds()
        try:
            start = (await self._metadata()).get(_CURSOR)
            done = await self._sweep(start, until)
        except ResourceNotFoundError:  # no container: nothing was ever kept
            done = Sweep(seen=0, deleted=0, in_use=0, complete=True)
        except HttpResponseError as error:
            if error.status_code != 400 or start is None:
                raise
            await self._remember(None)  # the service doesn't know the mark any more
            done = await self._sweep(None, until)
        log_event("blobs swept", container=self._container.container_name, **asdict(done))
        return done

    async def _sweep(self, start: str | None, until: float) -> Sweep:
        seen = deleted = in_use = 0
        old: dict[str, datetime] = {}
        now = self._now()
        pages = self._container.list_blobs(results_per_page=self._page).by_page(start)
        async for page in pages:
            async for blob in page:
                seen += 1
                if blob.last_modified < (cutoff := now - self._lives(blob.name)):
                    old[blob.name] = cutoff
            mark: str | None = pages.continuation_token or None  # type: ignore[attr-defined]
            late = asyncio.get_running_loop().time() >= until
            if mark is None or late or len(old) >= self._batch:
                gone = await self._delete(old)
                deleted, in_use = deleted + gone, in_use + len(old) - gone
                old = {}
                await self._remember(mark)
            if mark is None or late:
                return Sweep(seen=seen, deleted=deleted, in_use=in_use, complete=mark is None)
        return Sweep(seen=seen, deleted=deleted, in_use=in_use, complete=True)

    def _lives(self, name: str) -> timedelta:
        return next((time for prefix, time in self._short_lived.items() if name.startswith(prefix)), self._retention)

    async def _delete(self, old: Mapping[str, datetime]) -> int:
        """Delete those that nobody refers to, unless they are younger than that; returns how many were deleted."""
        if not old:
            return 0
        kept = frozenset(await self._in_use(frozenset(old)))
        slots = asyncio.Semaphore(_AT_ONCE)

        async def delete(name: str) -> int:
            async with slots:
                try:
                    await self._container.delete_blob(name, if_unmodified_since=old[name])
                except ResourceModifiedError:  # renewed since it was listed
                    return 0
                except ResourceNotFoundError:
                    return 1
                return 1

        return sum(await asyncio.gather(*(delete(name) for name in old if name not in kept)))

    async def _metadata(self) -> dict[str, Any]:
        return dict((await self._container.get_container_properties()).metadata or {})

    async def _remember(self, mark: str | None) -> None:
        """Keep the place in the container's metadata, where it is in nobody's way."""
        metadata = await self._metadata()
        if metadata.get(_CURSOR) == mark:
            return
        metadata.pop(_CURSOR, None)
        with suppress(ResourceNotFoundError):
            await self._container.set_container_metadata(metadata if mark is None else {**metadata, _CURSOR: mark})
