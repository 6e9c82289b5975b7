"""A capture beside a test: its row in memory, and what it sent in a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from shared.postgresql import Capturing, ChangeRecord, Progress, ServerAddress, opened
from shared.resilience import Snapshot

__all__ = ["Captured", "MemoryRow"]


class MemoryRow:
    """One row of a store, with versions as the store has them."""

    def __init__(self) -> None:
        self.values: Mapping[str, Any] = {}
        self.version = 0

    async def read(self) -> Snapshot:
        """See `SharedRow`."""
        return Snapshot(self.values, None if not self.version else str(self.version))

    async def write(self, values: Mapping[str, Any], expected: Snapshot) -> Snapshot | None:
        """See `SharedRow`."""
        if expected.version != (None if not self.version else str(self.version)):
            return None
        self.values, self.version = dict(values), self.version + 1
        return Snapshot(self.values, str(self.version))


async def _no_password() -> None:
    return None


class Captured:
    """What captures of one source sent, and how far they have come."""

    def __init__(self, address: ServerAddress, *tables: str, source: str = "crm") -> None:
        self.address = address
        self.tables = tables
        self.source = source
        self.row = MemoryRow()
        self.sent: list[ChangeRecord] = []
        self.seconds = 60.0

    async def send(self, records: Sequence[ChangeRecord]) -> None:
        """Keep them."""
        self.sent.extend(records)

    @property
    def progress(self) -> Progress:
        """As the row has it."""
        return Progress.of(self.row.values)

    def capturing(self, **options: Any) -> Capturing:
        """One run that ends at the end of the log."""
        return Capturing(
            self.source,
            options.pop("tables", self.tables),
            "postgres",
            partial(opened, self.address, _no_password),
            options.pop("row", self.row),
            options.pop("send", self.send),
            options.pop("time_left", lambda: self.seconds),
            slot=options.pop("slot", f"sluice_{self.source}"),
            publication=options.pop("publication", f"sluice_{self.source}"),
            follow=options.pop("follow", False),
            **options,
        )

    async def run(self, **options: Any) -> list[ChangeRecord]:
        """What one run sends."""
        before = len(self.sent)
        await self.capturing(**options).run()
        return self.sent[before:]
