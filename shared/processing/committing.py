"""Commits the work of many messages: one transaction per bucket, one message at a time where they conflict."""

from collections.abc import Awaitable, Callable, Sequence

from shared.state import Conflict, Operation, StateStore, TooLarge
from shared.telemetry import span

from .lookup import LookUp
from .outcomes import Done, Item
from .recent import Recent

__all__ = ["Committer", "ensure_fits"]

MAX_OPERATIONS = 100
MAX_BYTES = 3 * 1024 * 1024
"""Below the 4 MiB of a transaction, with room for its frame."""
MAX_RERUNS = 5


class Committer:
    """Writes what handlers staged. Errors of the storage itself are left to the caller.

    Parameters
    ----------
    rerun:
        Runs the handler of an item anew when another message has changed what it had read.
    """

    def __init__(
        self, store: StateStore, look_up: LookUp, recent: Recent, rerun: Callable[[Item], Awaitable[None]]
    ) -> None:
        self._store = store
        self._look_up = look_up
        self._recent = recent
        self._rerun = rerun

    async def commit(self, bucket: int, items: Sequence[Item]) -> None:
        """Give every item its outcome."""
        for group in _groups(items):
            operations = [operation for item in group for operation in _operations(item)]
            with span("transaction", attributes={"sluice.bucket": bucket, "sluice.operations": len(operations)}):
                try:
                    await self._store.commit(bucket, operations)
                except Conflict:
                    for item in group:
                        await self._commit_alone(bucket, item)
                else:
                    for item in group:
                        self._done(item)

    async def _commit_alone(self, bucket: int, item: Item) -> None:
        for _ in range(MAX_RERUNS):
            try:
                await self._store.commit(bucket, _operations(item))
            except Conflict:
                await self._look_up.again(bucket, item)
                if item.outcome is None:
                    await self._rerun(item)
                if item.outcome is not None:
                    return
            else:
                self._done(item)
                return
        raise TimeoutError(f"the state of {item.read.headers.key!r} keeps changing; the message goes back to its queue")

    def _done(self, item: Item) -> None:
        item.outcome = Done()
        self._recent.done(item.read)


def ensure_fits(operations: Sequence[Operation]) -> None:
    """Raise TooLarge where one message's work could never be one transaction."""
    if len(operations) > MAX_OPERATIONS:
        raise TooLarge(f"{len(operations)} rows don't fit one transaction ({MAX_OPERATIONS} rows)")
    size = sum(_size(operation) for operation in operations)
    if size > MAX_BYTES:
        raise TooLarge(f"about {size} bytes don't fit one transaction ({MAX_BYTES} bytes)")


def _operations(item: Item) -> list[Operation]:
    if item.work is None:
        raise LookupError("the handler hasn't run")
    return item.work.operations()


def _groups(items: Sequence[Item]) -> list[list[Item]]:
    groups: list[list[Item]] = []
    count = size = 0
    for item in items:
        operations = _operations(item)
        more = sum(_size(operation) for operation in operations)
        if not groups or count + len(operations) > MAX_OPERATIONS or size + more > MAX_BYTES:
            groups.append([])
            count = size = 0
        groups[-1].append(item)
        count += len(operations)
        size += more
    return groups


def _size(operation: Operation) -> int:
    """Bytes of a row on the wire, roughly: binary goes as base64, every column has a name and a type."""
    values = operation.row.values()
    return 400 + sum(100 + (len(value) * 4 // 3 if isinstance(value, str | bytes) else 40) for value in values)
