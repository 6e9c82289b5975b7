"""Answers of datasets: rows that come piece by piece, the catalogue's entries, and what is wrong as an error."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.classification import Classification
from shared.datasets import (
    NDJSON,
    Busy,
    CannotCompute,
    DatasetError,
    NoSuchDataset,
    Snapshot,
    TooMuch,
    Unreachable,
    Unreadable,
    VersionGone,
)
from shared.http import SLOWEST, error
from shared.messages import ErrorCode, rfc3339
from shared.query import ForbiddenField, InvalidQuery

__all__ = ["REFUSED", "DatasetAnswer", "entry", "refusal"]

REFUSED = (DatasetError, InvalidQuery, ForbiddenField)
"""What `refusal` has an answer for."""
_RETRY_AFTER = 2
_PIECE_SECONDS = 30.0
"""How long a reader may take nothing at all."""


def refusal(failure: Exception, *, now: datetime) -> Response:
    """Why a question isn't answered."""
    match failure:
        case ForbiddenField():
            return error(ErrorCode.FORBIDDEN, str(failure), now=now)
        case NoSuchDataset():
            return error(ErrorCode.NOT_FOUND, str(failure), now=now)
        case VersionGone():
            return error(ErrorCode.NOT_FOUND, str(failure), now=now, status=410)
        case TooMuch():
            return error(ErrorCode.BAD_REQUEST, str(failure), now=now, details=failure.details)
        case Busy() | Unreachable():
            return error(ErrorCode.UNAVAILABLE, str(failure), now=now, retry_after=_RETRY_AFTER)
        case Unreadable():
            return error(ErrorCode.UNREADABLE, str(failure), now=now, status=500)
        case CannotCompute() | InvalidQuery():
            return error(ErrorCode.BAD_REQUEST, str(failure), now=now)
    raise failure


class DatasetAnswer(Response):
    """Rows, sent as they come. One that fails midway breaks off: HTTP's own end is never sent.

    Parameters
    ----------
    first:
        The first piece, which was awaited before the status was sent.
    stack:
        Holds what the answer reads from, until it is sent.
    seconds:
        Of computing. Twice as many, and what the bytes take at the slowest pace that bodies may come at, are for the
        whole answer: it keeps a place that others wait for.
    """

    def __init__(
        self,
        first: bytes | None,
        rest: AsyncGenerator[bytes, None],
        stack: AsyncExitStack,
        *,
        kind: str,
        seconds: float,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(headers=dict(headers), media_type=kind)
        del self.headers["content-length"]
        self._first = first
        self._rest = rest
        self._stack = stack
        self._kind = kind
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all of it."""
        clock = asyncio.get_running_loop().time
        ends = clock() + 2 * self._seconds

        async def sent(piece: bytes) -> None:
            """Fast readers don't save time up: one piece is bounded too."""
            nonlocal ends
            ends += (takes := len(piece) / SLOWEST)
            patience.reschedule(min(ends, clock() + _PIECE_SECONDS + takes))
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            patience.reschedule(ends)

        async with self._stack, asyncio.timeout_at(ends) as patience:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            try:
                if self._first is not None:
                    await sent(self._first)
                    async for piece in self._rest:
                        await sent(piece)
            except Exception as failure:
                if self._kind == NDJSON and not isinstance(failure, (OSError, asyncio.TimeoutError)):
                    line = to_json({"$error": _failure(failure)}) + b"\n"
                    await send({"type": "http.response.body", "body": line, "more_body": True})
                raise
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _failure(failure: Exception) -> dict[str, Any]:
    if isinstance(failure, DatasetError):
        return {"code": ErrorCode.UNREADABLE if isinstance(failure, Unreadable) else ErrorCode.BAD_REQUEST}
    return {"code": ErrorCode.INTERNAL_ERROR}


def entry(found: Snapshot | str, layer: str, name: str, level: Classification, *, href: str, now: datetime) -> Any:
    """A table in the catalogue; where it can't be read, why not."""
    named = {"layer": layer, "name": name, "href": href}
    if isinstance(found, str):
        return {**named, "error": found}
    rows = [file.rows for file in found.files]
    return {
        **named,
        "version": found.version,
        **_freshness(found.written, now),
        "owner": found.owner or None,
        "description": found.description or None,
        "rows": None if None in rows else sum(one or 0 for one in rows),
        "files": len(found.files),
        "bytes": sum(max(file.size, 0) for file in found.files),
        "partitionedBy": [one.name for one in found.columns.values() if one.partition],
        "columns": [_column(found, column.name, level) for column in found.columns.values()],
    }


def _freshness(written: datetime | None, now: datetime) -> dict[str, Any]:
    if written is None:
        return {}
    return {"written": rfc3339(written), "ageSeconds": max(int((now - written).total_seconds()), 0)}


def _column(found: Snapshot, name: str, level: Classification) -> dict[str, Any]:
    column = found.columns[name]
    shown: dict[str, Any] = {
        "name": name,
        "type": str(column.kind),
        "nullable": column.nullable,
        "classification": column.level.name.lower(),
    }
    if column.level > level:
        return {**shown, "masked": True}
    low, high = bounds(found, name)
    if low is not None and high is not None:
        shown |= {"min": _shown(low), "max": _shown(high)}
    return shown


def bounds(found: Snapshot, name: str) -> tuple[Any, Any]:
    """The lowest and the highest value of a column, where every file that has any tells its own."""
    lows: list[Any] = []
    highs: list[Any] = []
    for file in found.files:
        if name in file.partition:
            low = high = file.partition[name]
        elif name in file.nulls and file.nulls[name] == file.rows:
            continue
        else:
            low, high = file.low.get(name), file.high.get(name)
            if low is None or high is None:
                return None, None
        if low is not None:
            lows.append(low)
            highs.append(high)
    return min(lows, default=None), max(highs, default=None)


def _shown(value: Any) -> Any:
    return rfc3339(value) if isinstance(value, datetime) else value if isinstance(value, int | float) else str(value)
