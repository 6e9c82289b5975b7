"""Keeps tables fast and small: compacts files, checkpoints and shortens the log, deletes what nobody reads any more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.telemetry import log_event

from .errors import LakeError, TableMissing
from .store import LakeStore, Layer

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = ["Maintained", "Retention", "maintain", "maintain_all"]

_TARGET_BYTES = 128 * 1024 * 1024
_SECONDS_LEFT = 60.0
"""A table isn't begun with less time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How far back a table can be read.

    Attributes
    ----------
    files:
        Files that no version has any more are kept for so long: above what the longest reader takes, and a shared link
        is valid; below the time within which an erasure has to be done.
    log:
        Versions that can be read, and changes between them, reach back so far.
    """

    files: timedelta = timedelta(days=7)
    log: timedelta = timedelta(days=7)

    def __post_init__(self) -> None:
        if self.files < timedelta(hours=1) or self.files % timedelta(hours=1):
            raise ValueError("files are kept for whole hours, one or more: readers and commits under way need them")
        if not self.log > timedelta(0):
            raise ValueError("the log is kept for more than no time")

    @property
    def configuration(self) -> dict[str, str]:
        """Table properties of a new table (Delta's own names and form)."""
        return {
            "delta.logRetentionDuration": f"interval {int(self.log.total_seconds())} seconds",
            "delta.deletedFileRetentionDuration": f"interval {int(self.files.total_seconds())} seconds",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintained:
    """What was done to a table.

    Attributes
    ----------
    added, removed:
        Files that compaction made, and those that they stand for.
    deleted:
        Files that were deleted.
    failed:
        Steps that failed; they are done the next time.
    """

    added: int = 0
    removed: int = 0
    deleted: int = 0
    failed: tuple[str, ...] = ()


async def maintain(store: LakeStore, layer: Layer, name: str, retention: Retention) -> Maintained:
    """Compact, checkpoint, clean the log and vacuum, each by itself, on a handle that no committer has.

    It can be broken off and done again at any time, beside readers and committers.

    Raises
    ------
    TableMissing, LakeUnavailable
        It couldn't be opened.
    """
    table = await store.open(layer, name)
    done: dict[str, int] = {}
    failed: list[str] = []
    for step in (_compact, _checkpoint, _vacuum):
        try:
            done |= await store.run(layer, name, step, table, retention)
        except LakeError as error:  # the next run does it
            failed.append(step.__name__.lstrip("_"))
            log_event("a step of a table's maintenance failed", level=30, table=error.table, reason=error.reason)
    return Maintained(**done, failed=tuple(failed))


async def maintain_all(
    store: LakeStore,
    tables: Sequence[tuple[Layer, str]],
    retention: Retention,
    *,
    time_left: Callable[[], float],
) -> bool:
    """Maintain each table that is there; True: the time was over before the last one. What is done is soon done again.

    Raises
    ------
    ExceptionGroup
        Some couldn't be opened, or a step of theirs failed; the others were maintained.
    """
    failures: list[Exception] = []
    for layer, name in tables:
        if time_left() < _SECONDS_LEFT:
            return True
        try:
            done = await maintain(store, layer, name, retention)
        except TableMissing:
            continue
        except LakeError as error:
            failures.append(error)
            continue
        failures += [LakeError(f"{layer}.{name}", f"{step} failed") for step in done.failed]
        if done.removed or done.deleted:
            log_event("lake table maintained", table=f"{layer}.{name}", removed=done.removed, deleted=done.deleted)
    if failures:
        raise ExceptionGroup(f"{len(failures)} steps of the lake's maintenance failed", failures)
    return False


def _compact(table: "DeltaTable", _: Retention) -> dict[str, int]:
    found = table.optimize.compact(target_size=_TARGET_BYTES, max_concurrent_tasks=1)
    return {"added": int(found["numFilesAdded"]), "removed": int(found["numFilesRemoved"])}


def _checkpoint(table: "DeltaTable", _: Retention) -> dict[str, int]:
    table.update_incremental()
    table.create_checkpoint()
    table.cleanup_metadata()
    return {}


def _vacuum(table: "DeltaTable", retention: Retention) -> dict[str, int]:
    """Files that no version names are looked for in the store itself: tombstones are forgotten with the log."""
    hours = int(retention.files.total_seconds()) // 3600
    deleted = table.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True)
    return {"deleted": len(deleted)}
