"""A secret's value and what is known of it, in a form that can be logged by mistake."""

from dataclasses import dataclass, field
from datetime import datetime

__all__ = ["Secret", "Version"]


@dataclass(frozen=True, slots=True)
class Secret:
    """One version of a secret. Its repr leaves the value out.

    Attributes
    ----------
    created, expires:
        As the vault tells them, in UTC; whole seconds.
    vault:
        The address of the vault that it came from.
    """

    name: str
    value: str = field(repr=False)
    version: str
    created: datetime
    expires: datetime | None = None
    vault: str = ""

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled: its value would leave the process")


@dataclass(frozen=True, slots=True)
class Version:
    """A version in a secret's history, without its value."""

    version: str
    created: datetime
    enabled: bool = True
    expires: datetime | None = None
