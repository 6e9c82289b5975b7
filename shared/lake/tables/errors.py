"""What goes wrong with a table of the lake, by what to do about it; texts name the table, and no address or key."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "CommitConflict",
    "IncompatibleSchema",
    "LakeError",
    "LakeUnavailable",
    "TableMissing",
    "VersionMissing",
    "WatermarkMoved",
    "named_errors",
]

_LONGEST = 400
_NO_VERSION = re.compile(
    r"not the same as the specified end version|Invalid table version|File not found: \S*_delta_log/|"
    r"Object at location \S*_delta_log/\S* not found"
)
"""How the library says that a version isn't there: it was asked for, or the log doesn't reach back to it any more."""
_STORE = re.compile(r"Generic \w+ error: Error performing")
"""How an error of the store begins that comes out of a reader of the log or of files, and isn't an OSError then."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+")
_MARKUP = re.compile(r"<[^>]*>|[↳]")


class LakeError(Exception):
    """Something of the lake can't be done.

    The tree: TableMissing and VersionMissing (there is no such thing), IncompatibleSchema (somebody has to change the
    table or the model), LakeUnavailable and CommitConflict (another try may succeed), WatermarkMoved (read again what
    was committed). LakeError itself is whatever else the Delta library refuses.

    Parameters
    ----------
    table:
        Layer and name, for example `silver.order_accepted`.
    """

    def __init__(self, table: str, reason: str) -> None:
        super().__init__(f"{table}: {reason}")
        self.table = table
        self.reason = reason


class TableMissing(LakeError):
    """There is no such table."""


class VersionMissing(LakeError):
    """The table hasn't this version, or its log doesn't reach back so far any more."""


class IncompatibleSchema(LakeError):
    """A column of the table has another type than what is to be written, or isn't there any more."""


class LakeUnavailable(LakeError):
    """The store can't be reached, refuses or takes too long. What was being written may have been committed."""


class CommitConflict(LakeError):
    """Somebody else has committed to the table meanwhile."""


class WatermarkMoved(LakeError):
    """The watermarks of the table aren't those from which the rows were made: somebody else has committed some."""

    def __init__(self, table: str, stored: dict[str, int | None]) -> None:
        super().__init__(table, f"the watermarks are {stored} now")
        self.stored = stored


@contextmanager
def named_errors(table: str) -> Iterator[None]:
    """Have what the Delta library raises be one of the errors here."""
    try:
        yield
    except LakeError:
        raise
    except Exception as error:
        raise _named(table, error) from None
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # a panic in Rust, which isn't an Exception
            raise LakeError(table, f"the Delta library failed: {_clean(str(error))}") from None
        raise


def _named(table: str, error: Exception) -> LakeError:
    text = _clean(str(error)) or type(error).__name__
    kind = type(error).__name__
    if kind == "TableNotFoundError" or "ContainerNotFound" in text:
        return TableMissing(table, "there is no such table")
    if _NO_VERSION.search(text):
        return VersionMissing(table, "there is no such version, or its log is gone")
    if kind == "CommitFailedError":
        return CommitConflict(table, text)
    if kind == "SchemaMismatchError":
        return IncompatibleSchema(table, text)
    if isinstance(error, OSError) or _STORE.search(text):
        return LakeUnavailable(table, text)
    return LakeError(table, text)


def _clean(text: str) -> str:
    plain = _MARKUP.sub(" ", _ADDRESS.sub("(address)", _COLOURS.sub("", text)))
    return " ".join(plain.split())[:_LONGEST]
