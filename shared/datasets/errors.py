"""What can be wrong with a question to a dataset, beside its text.

DatasetError
├── NoSuchDataset     there is no such table, or this caller may not know of it
├── VersionGone       the version, or files of it, aren't there (any more)
├── TooMuch           the answer would take more than the caller's role may have; never cut short instead
├── CannotCompute     the engine can't: a number grew too large, or the memory isn't enough
├── Unreadable        the table isn't as this app writes tables: others altered it
├── Unreachable       the lake can't be reached
└── Busy              as many questions are being answered as may be at once
"""

from collections.abc import Mapping
from typing import Any

__all__ = [
    "Busy",
    "CannotCompute",
    "DatasetError",
    "NoSuchDataset",
    "TooMuch",
    "Unreachable",
    "Unreadable",
    "VersionGone",
]


class DatasetError(Exception):
    """The message is for callers."""


class NoSuchDataset(DatasetError):
    """There is no such table."""


class VersionGone(DatasetError):
    """The version isn't there: it is too old, its files were vacuumed, or it never was."""


class TooMuch(DatasetError):
    """A limit is passed; `details` has it, what was asked, and what would help."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details: Mapping[str, Any] = details


class CannotCompute(DatasetError):
    """The answer can't be computed."""


class Unreadable(DatasetError):
    """The table, or a file of it, can't be read."""


class Unreachable(DatasetError):
    """The lake doesn't answer; ask again."""


class Busy(DatasetError):
    """Ask again in some seconds."""
