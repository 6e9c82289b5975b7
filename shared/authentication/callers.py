"""Who calls the API, and as what."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Caller", "Role"]


class Role(StrEnum):
    """What a caller may do."""

    PRODUCER = "producer"
    """Sends messages, and asks what became of its own."""
    READER = "reader"
    """Reads views and operations; sees Public, Internal and Confidential data."""
    OPERATOR = "operator"
    """Reads what a reader does, and Restricted data too."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller; `client` names it, and what it sent belongs to that name."""

    client: str
    roles: frozenset[Role]
