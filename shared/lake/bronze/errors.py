"""What can be wrong with bronze: files that can't be trusted, and events that no file has."""

from dataclasses import dataclass

__all__ = ["BronzeError", "BronzeUnavailable", "CorruptFile", "Gap", "MissingEvents"]


class BronzeError(Exception):
    """Bronze can't be read as a whole; the message names file or partition."""


class BronzeUnavailable(BronzeError):
    """The storage doesn't answer, or refuses; another try may succeed."""


class CorruptFile(BronzeError):
    """A file isn't what was written: cut, changed, or no file of events. Nothing of it was given to anybody."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """Events of a partition that no file has, by their sequence numbers, both ends included."""

    partition: str
    first: int
    last: int


class MissingEvents(BronzeError):
    """There is a gap, and nobody allowed that reading may go on behind it."""

    def __init__(self, gap: Gap) -> None:
        super().__init__(f"partition {gap.partition}: no file has the events {gap.first} to {gap.last}")
        self.gap = gap
