"""What an operator has stopped, and what may be wrong with that.

PauseError
├── UnknownName
├── NotPaused
└── TooManyPauses
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

__all__ = ["Kind", "NotPaused", "Pause", "PauseError", "TooManyPauses", "UnknownName", "known_name"]


class PauseError(ValueError):
    """A pause can't be begun or ended; the message says why, and what there is."""


class UnknownName(PauseError):
    """Nothing that could be paused has this name."""


class NotPaused(PauseError):
    """There is no such pause to end."""


class TooManyPauses(PauseError):
    """One row keeps all pauses, so that every instance reads them in one request."""


class Kind(StrEnum):
    """What can be paused."""

    LANE = "lane"
    INTEGRATION = "integration"
    PARTNER = "partner"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """A pause, begun and perhaps ended.

    Attributes
    ----------
    released:
        Everything that was set aside for it is back on its lane.
    """

    kind: Kind
    name: str
    by: str
    reason: str
    at: datetime
    ended_by: str = ""
    ended_reason: str = ""
    ended_at: datetime | None = None
    released: bool = False

    def is_of(self, kind: Kind, name: str) -> bool:
        """Whether it is about this."""
        return self.kind is kind and self.name == name

    def to_json(self) -> dict[str, Any]:
        """For the row, and for programs."""
        ended = (
            {}
            if self.ended_at is None
            else {
                "endedBy": self.ended_by,
                "endedReason": self.ended_reason,
                "endedAt": _text(self.ended_at),
                "released": self.released,
            }
        )
        begun = {"kind": self.kind.value, "name": self.name, "by": self.by, "reason": self.reason, "at": _text(self.at)}
        return begun | ended

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read it back."""
        ended = value.get("endedAt")
        return cls(
            kind=Kind(value["kind"]),
            name=value["name"],
            by=value["by"],
            reason=value["reason"],
            at=datetime.fromisoformat(value["at"]),
            ended_by=value.get("endedBy", ""),
            ended_reason=value.get("endedReason", ""),
            ended_at=None if ended is None else datetime.fromisoformat(ended),
            released=bool(value.get("released", False)),
        )


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def known_name(kind: Kind, name: str, known: Collection[str]) -> str:
    """The name, if it is one of those that there are.

    Raises
    ------
    UnknownName
        It isn't; the message lists them.
    """
    if name in known:
        return name
    there_are = f"there are {', '.join(sorted(known))}" if known else "there is none"
    raise UnknownName(f"no {kind.value} is called {name!r}: {there_are}")
