"""The fourth stage, commit: the work of many messages in few transactions, each of one bucket."""

from collections.abc import Sequence

from shared.state import StateStore, TooLarge
from shared.tables import MAX_OPERATIONS, Conflict, Operation
from shared.telemetry import span

from .outcomes import Handled

__all__ = ["commit", "ensure_fits", "groups"]

_TEXTS = (str, bytes)
MAX_BYTES = 3 * 1024 * 1024
"""Below the 4 MiB of a transaction, with room for its frame."""


async def commit(store: StateStore, bucket: int, group: Sequence[Handled]) -> bool:
    """Commit the work of some messages, all or none; False where another message has changed what one had read."""
    operations = [operation for handled in group for operation in handled.work.operations()]
    with span("transaction", attributes={"sluice.bucket": bucket, "sluice.operations": len(operations)}):
        try:
            await store.commit(bucket, operations)
        except Conflict:
            return False
    return True


def ensure_fits(operations: Sequence[Operation]) -> int:
    """About how many bytes one message's work takes on the wire; raises TooLarge where no transaction takes them."""
    if len(operations) > MAX_OPERATIONS:
        raise TooLarge(f"{len(operations)} rows don't fit one transaction ({MAX_OPERATIONS} rows)")
    size = sum(_size(operation) for operation in operations)
    if size > MAX_BYTES:
        raise TooLarge(f"about {size} bytes don't fit one transaction ({MAX_BYTES} bytes)")
    return size


def groups(handled: Sequence[Handled]) -> list[list[Handled]]:
    """The messages in their order, as many together as one transaction takes."""
    found: list[list[Handled]] = []
    count = size = 0
    for one in handled:
        operations = one.work.operations()
        if not found or count + len(operations) > MAX_OPERATIONS or size + one.size > MAX_BYTES:
            found.append([])
            count = size = 0
        found[-1].append(one)
        count += len(operations)
        size += one.size
    return found


def _size(operation: Operation) -> int:
    """Bytes of a row on the wire, roughly: binary goes as base64, every column has a name and a type."""
    values = operation.row.values()
    texts = [len(value) for value in values if isinstance(value, _TEXTS)]
    return 400 + 140 * len(values) + sum(texts) * 4 // 3 - 40 * len(texts)
