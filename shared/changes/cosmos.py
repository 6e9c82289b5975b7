"""Reads documents of Azure Cosmos DB's change feed, in both of its modes.

Source: Microsoft's page "Change feed modes in Azure Cosmos DB".
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .change import CapturedChange, Operation, Origin, UnreadableChange, position_text

__all__ = ["is_cosmos", "read_cosmos"]

_OPERATIONS = {"create": Operation.CREATE, "replace": Operation.UPDATE, "delete": Operation.DELETE}
_OWN = frozenset({"_rid", "_self", "_etag", "_attachments", "_ts", "_lsn"})


def is_cosmos(document: Mapping[str, Any]) -> bool:
    """Whether a document looks like one of the feed: the system's own fields, or the wrapping of all versions."""
    metadata = document.get("metadata")
    wrapped = isinstance(metadata, Mapping) and ("operationType" in metadata or "changeType" in metadata)
    return wrapped or {"id", "_rid", "_ts", "_etag"} <= document.keys()


def read_cosmos(document: Mapping[str, Any], container: str) -> CapturedChange:
    """The change in a document of the feed.

    Parameters
    ----------
    container:
        Its name, which no document says.

    Raises
    ------
    UnreadableChange
    """
    origin = Origin(connector="cosmos", table=container)
    metadata = document.get("metadata")
    if not isinstance(metadata, Mapping) or "_rid" in document:
        return CapturedChange(  # the latest version: nobody knows what was there before
            operation=Operation.UPDATE,
            origin=origin,
            after=_row(document),
            position=_position(document.get("_lsn"), document.get("_ts")),
            identity=str(document.get("_etag") or ""),
            time=_time(document.get("_ts")),
        )
    kind = metadata.get("operationType") or metadata.get("changeType")
    operation = _OPERATIONS.get(kind) if isinstance(kind, str) else None
    if operation is None:
        raise UnreadableChange(f"the change feed's operation {str(kind)[:40]!r} is unknown")
    current, previous = document.get("current"), document.get("previous")
    if operation is not Operation.DELETE and not (isinstance(current, Mapping) and current):
        raise UnreadableChange("the change feed's document has no current version")
    key = {"id": metadata["id"]} if "id" in metadata else {}
    partition = metadata.get("partitionKey")
    return CapturedChange(
        operation=operation,
        origin=origin,
        before=_row(previous) if isinstance(previous, Mapping) and previous else None,
        after=_row(current) if isinstance(current, Mapping) and operation is not Operation.DELETE else None,
        key={**key, **partition} if isinstance(partition, Mapping) else key,
        position=_position(metadata.get("lsn"), metadata.get("crts")),
        time=_time(metadata.get("crts")),
    )


def _row(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in _OWN}


def _position(lsn: Any, seconds: Any) -> str:
    """The feed numbers batches; many documents have one number, but no two versions of a document."""
    for number in (lsn, seconds):
        if isinstance(number, str) and number.isdecimal():
            number = int(number)
        if type(number) is int and number >= 0:
            return position_text(number)
    return ""


def _time(seconds: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC) if type(seconds) is int else None
    except (OverflowError, OSError, ValueError):
        return None
