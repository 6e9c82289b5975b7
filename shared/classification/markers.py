"""What a team writes on a field of its model: how sensitive it is, how it may be found, and whom it is about."""

import re
from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Classification", "Confidential", "Internal", "Public", "Restricted", "Subject", "Tokenized"]


class Classification(IntEnum):
    """How sensitive a value is; a field without a marker is internal.

    Public and internal values are logged and stored in clear. Confidential and restricted ones ("protected") are left
    out of logs, traces and error details, and encrypted field by field in state, events and read models; a reader sees
    confidential values, only an operator sees restricted ones.
    """

    PUBLIC = 0
    INTERNAL = 1
    CONFIDENTIAL = 2
    RESTRICTED = 3

    @property
    def protected(self) -> bool:
        """Never in telemetry, never stored in clear."""
        return self >= Classification.CONFIDENTIAL


Public = Classification.PUBLIC
Internal = Classification.INTERNAL
Confidential = Classification.CONFIDENTIAL
Restricted = Classification.RESTRICTED

_KIND = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True)
class Tokenized:
    """Beside its ciphertext the field has a token: the same for the same value, so that rows can be found by it.

    Parameters
    ----------
    kind:
        What the value is, for example `customer`: the same value of two kinds has two tokens.
    keep_format:
        The token has the form of the value: a digit for each digit, a letter for each letter. There are as few tokens
        as values of that form, so that two values may share one: rows aren't found by it.
    """

    kind: str
    keep_format: bool = False

    def __post_init__(self) -> None:
        _check_kind("Tokenized", self.kind)


@dataclass(frozen=True, slots=True)
class Subject:
    """The field names the person that the protected fields of its model are about: they can be erased together.

    Parameters
    ----------
    kind:
        What kind of person it is.
    """

    kind: str = "customer"

    def __post_init__(self) -> None:
        _check_kind("Subject", self.kind)


def _check_kind(marker: str, kind: str) -> None:
    if not _KIND.fullmatch(kind):
        raise ValueError(f"{marker}(kind={kind!r}): use lower-case letters, digits and hyphens")
