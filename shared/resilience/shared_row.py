"""A few values that several instances share: read, and written by compare-and-set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["SharedRow", "Snapshot"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The values as they were, and the version to replace; a row that isn't there has no values and no version."""

    values: Mapping[str, Any] = field(default_factory=dict)
    version: str | None = None


class SharedRow(Protocol):
    """One row of a store. Both raise whatever the store raises where it is away."""

    async def read(self) -> Snapshot:
        """The values as they are now."""
        ...

    async def write(self, values: Mapping[str, Any], expected: Snapshot) -> Snapshot | None:
        """Replace the version that is expected; None, and nothing is written, where it was replaced meanwhile."""
        ...
