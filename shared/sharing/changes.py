"""What commits changed, from the table's log itself: the files that they added, removed, or say the changed rows in."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import unquote

from .errors import BadQuestion

__all__ = ["Change", "Commit", "LogReader", "commits", "version_at"]

MOST_VERSIONS = 1_000
"""Of one answer; who wants more asks in parts."""
_AT_ONCE = 8
LogReader = Callable[[int], Awaitable[bytes | None]]
"""From a version to its file of the log; None where the log doesn't have it any more."""


@dataclass(frozen=True, slots=True)
class Change:
    """A file that a commit added or removed, or in which it says which rows it changed (`cdf`)."""

    kind: Literal["add", "remove", "cdf"]
    path: str
    size: int
    partition: Mapping[str, str | None]
    stats: str | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """One version of the table: when, in milliseconds since 1970, the schema that it set, and what it changed."""

    version: int
    timestamp: int
    metadata: Mapping[str, Any] | None
    changes: tuple[Change, ...]


async def commits(read: LogReader, first: int, last: int, *, rows: bool, change_feed: bool) -> AsyncIterator[Commit]:
    """The commits from the first to the last version, in order.

    Parameters
    ----------
    rows:
        Which rows changed is asked for, and not only which files: then a commit that rewrote rows must say so.
    change_feed:
        Whether the table's commits say so.

    Raises
    ------
    BadQuestion
        The log doesn't reach so far back, or rewrote rows without saying which.
    """
    if last - first >= MOST_VERSIONS:
        raise BadQuestion(f"Ask for {MOST_VERSIONS} versions at most: name an endingVersion.")
    waiting: list[asyncio.Task[bytes | None]] = []
    following = first
    try:
        for version in range(first, last + 1):
            while following <= last and len(waiting) < _AT_ONCE:
                waiting.append(asyncio.ensure_future(read(following)))
                following += 1
            text = await waiting.pop(0)
            if text is None:
                raise BadQuestion(f"The table's log doesn't have version {version} any more.")
            yield await asyncio.to_thread(_commit, version, text, rows=rows, change_feed=change_feed)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _commit(version: int, text: bytes, *, rows: bool, change_feed: bool) -> Commit:
    actions = [json.loads(line) for line in text.splitlines() if line.strip()]
    timestamp, metadata = 0, None
    found: dict[str, list[Change]] = {"add": [], "remove": [], "cdf": []}
    for action in actions:
        if (info := action.get("commitInfo")) is not None:
            timestamp = int(info.get("inCommitTimestamp") or info.get("timestamp") or 0)
        metadata = action.get("metaData", metadata)
        for name, kind in (("add", "add"), ("remove", "remove"), ("cdc", "cdf")):
            if (file := action.get(name)) is not None and (kind == "cdf" or file.get("dataChange", True)):
                found[kind].append(_change(kind, file))
    if rows and found["cdf"]:  # they say it all: the files of that commit are only where its rows are now
        return Commit(version, timestamp, metadata, tuple(found["cdf"]))
    if rows and found["remove"] and not change_feed:
        raise BadQuestion(
            f"Version {version} of the table rewrote rows and doesn't say which, as the erasure of a person does: "
            "read the table anew, and its changes from the version after."
        )
    return Commit(version, timestamp, metadata, (*found["add"], *found["remove"]))


def _change(kind: Any, file: Mapping[str, Any]) -> Change:
    if file.get("deletionVector"):
        raise BadQuestion("The table has deletion vectors: it can't be shared as Parquet files.")
    return Change(
        kind,
        unquote(file["path"]),
        int(file.get("size") or 0),
        file.get("partitionValues") or {},
        file.get("stats") if kind == "add" else None,
    )


async def version_at(read: LogReader, at: datetime, last: int, *, after: bool) -> int:
    """The first version at a time or later, or else (`after` false) the last one that isn't later.

    Raises
    ------
    BadQuestion
        There is none in the log.
    """
    asked = at.timestamp() * 1_000
    low, high = 0, last  # the versions' times grow; what the log has forgotten was before
    while low <= high:
        middle = (low + high) // 2
        text = await read(middle)
        stamp = float("-inf") if text is None else await asyncio.to_thread(_stamp, text)
        if stamp < asked or (not after and stamp == asked):
            low = middle + 1
        else:
            high = middle - 1
    found = low if after else high
    if not 0 <= found <= last:
        raise BadQuestion("The table has no version at or after that time." if after else "The table is younger.")
    if await read(found) is None:
        raise BadQuestion("The table's log doesn't reach back so far.")
    return found


def _stamp(text: bytes) -> float:
    for line in text.splitlines():
        if (info := json.loads(line).get("commitInfo")) is not None:
            return float(info.get("inCommitTimestamp") or info.get("timestamp") or 0)
    return 0.0
