"""How far a bulk has come: what its last line says, and what is kept of it for who lost the connection."""

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from shared.messages import parse_rfc3339, rfc3339

__all__ = ["STALE", "Progress", "Status"]

STALE = timedelta(seconds=60)
"""What is still at work writes several times in that time; what doesn't has died."""


class Status(StrEnum):
    """Where a bulk is."""

    PROCESSING = "processing"
    COMPLETED = "completed"
    STOPPED = "stopped"
    """It could not go on; `error` says why."""
    INTERRUPTED = "interrupted"
    """The client left, or the process died."""
    UNKNOWN = "unknown"
    """Nothing is kept of it: it has just begun, or was longer ago than a day."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Counts of a bulk.

    Attributes
    ----------
    through:
        Number of the last line before which every line was accepted or refused: after it the rest is sent again.
    failed:
        Lines that could not be kept just now, or of which the broker didn't say whether it has them.
    updated:
        When this was so.
    """

    status: Status = Status.PROCESSING
    through: int = 0
    accepted: int = 0
    refused: int = 0
    failed: int = 0
    error: dict[str, Any] | None = field(default=None)
    updated: datetime

    def seen(self, now: datetime) -> Self:
        """As it is to be understood at a later time."""
        if self.status is Status.PROCESSING and now - self.updated > STALE:
            return replace(self, status=Status.INTERRUPTED)
        return self

    def to_dict(self) -> dict[str, Any]:
        """As answers have it."""
        found = {**asdict(self), "status": self.status.value, "updated": rfc3339(self.updated)}
        if self.error is None:
            del found["error"]
        return found

    def to_json(self) -> bytes:
        """As it is kept."""
        return json.dumps(self.to_dict(), separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Read back what was kept."""
        found = json.loads(content)
        return cls(**{**found, "status": Status(found["status"]), "updated": parse_rfc3339(found["updated"])})
