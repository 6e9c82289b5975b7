"""Delta Sharing over HTTP: what recipients read of the lake, by the protocol that pandas, Spark and Power BI speak."""

import base64
import binascii
import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from shared.classification import Classification
from shared.http import RECIPIENTS, BadBody, Route, caller_of, error, read_body
from shared.messages import ErrorCode, parse_rfc3339
from shared.privacy import access_level_of
from shared.sharing import (
    Answer,
    BadQuestion,
    ChangesAsked,
    LakeAway,
    NotAllowed,
    NotReadable,
    NotShared,
    Recipient,
    SharedTable,
    Shares,
    SharingError,
    SharingServer,
    TableQuery,
)
from shared.telemetry import log_event

from .sharing_docs import sharing_docs

__all__ = ["PREFIX", "SharingEndpoints"]

PREFIX = "delta-sharing"
"""Of the paths under `/api`: a profile file's endpoint ends with it."""
LARGEST_QUERY = 128 * 1024
LARGEST_PAGE = 1_000
_NDJSON = "application/x-ndjson; charset=utf-8"
_TABLE = "shares/{share}/schemas/{schema}/tables/{table}"
_SECONDS = 60.0
_RETRY_AFTER_SECONDS = 2
_CODES: Mapping[type[SharingError], ErrorCode] = {
    NotShared: ErrorCode.NOT_FOUND,
    NotAllowed: ErrorCode.FORBIDDEN,
    NotReadable: ErrorCode.BAD_REQUEST,
    BadQuestion: ErrorCode.BAD_REQUEST,
    LakeAway: ErrorCode.UNAVAILABLE,
}


class _Seen(NamedTuple):
    """What a recipient may see: its shares (None where callers aren't checked) and its access level."""

    shares: frozenset[str] | None
    level: Classification

    def may(self, share: str) -> bool:
        return self.shares is None or share.lower() in self.shares


class SharingEndpoints:
    """Answers recipients.

    Parameters
    ----------
    server:
        Called with the first request, so that nothing connects before.
    """

    def __init__(self, shares: Shares, server: Callable[[], SharingServer], *, now: Callable[[], datetime]) -> None:
        self._shares = shares
        self._server = server
        self._now = now

    def routes(self) -> list[Route]:
        """Those of the protocol."""
        paged = frozenset({"maxResults", "pageToken"})
        changes = {"startingVersion", "startingTimestamp", "endingVersion", "endingTimestamp"}
        found: list[tuple[str, str, Any, Collection[str]]] = [
            ("GET", "shares", self.list_shares, paged),
            ("GET", "shares/{share}", self.get_share, ()),
            ("GET", "shares/{share}/schemas", self.list_schemas, paged),
            ("GET", "shares/{share}/all-tables", self.list_tables, paged),
            ("GET", "shares/{share}/schemas/{schema}/tables", self.list_tables, paged),
            ("GET", f"{_TABLE}/version", self.version, {"startingTimestamp"}),
            ("GET", f"{_TABLE}/metadata", self.metadata, {"version", "timestamp"}),
            ("POST", f"{_TABLE}/query", self.query, ()),
            ("GET", f"{_TABLE}/changes", self.changes, {*changes, "includeHistoricalMetadata"}),
        ]
        return [
            Route(
                method=method,
                path=f"{PREFIX}/{path}",
                endpoint=self._answering(endpoint),
                access=RECIPIENTS,
                query=frozenset(query),
                docs=sharing_docs(path.rpartition("/")[2]),
                seconds=_SECONDS,
            )
            for method, path, endpoint, query in found
        ]

    def _answering(self, endpoint: Any) -> Any:
        """The endpoint, whose errors have the protocol's members beside ours."""

        async def answered(request: Request) -> Response:
            try:
                found: Response = await endpoint(request)
            except SharingError as refused:
                return self._error(_CODES[type(refused)], str(refused), isinstance(refused, LakeAway))
            except BadBody as wrong:
                return self._error(wrong.code, wrong.message)
            return found

        return answered

    def _error(self, code: ErrorCode, message: str, again: bool = False) -> Response:
        ours = error(code, message, now=self._now(), retry_after=_RETRY_AFTER_SECONDS if again else None)
        body = {"errorCode": str(code), "message": message, **json.loads(bytes(ours.body))}
        headers = {"Retry-After": str(_RETRY_AFTER_SECONDS)} if again else {}
        return JSONResponse(body, status_code=ours.status_code, headers=headers)

    async def list_shares(self, request: Request) -> Response:
        """The shares of this recipient."""
        seen = _seen(request)
        return _listed(request, [{"name": name} for name in self._shares.names if seen.may(name)])

    async def get_share(self, request: Request) -> Response:
        """One share."""
        return JSONResponse({"share": {"name": self._share(request)}})

    async def list_schemas(self, request: Request) -> Response:
        """The schemas of a share: the lake's layers of which it has tables."""
        share = self._share(request)
        return _listed(request, [{"name": name, "share": share} for name in self._shares.schemas(share)])

    async def list_tables(self, request: Request) -> Response:
        """The tables of a share, or of one of its schemas."""
        found = self._shares.tables(self._share(request), request.path_params.get("schema"))
        return _listed(request, [{"name": one.name, "schema": one.schema, "share": one.share} for one in found])

    async def version(self, request: Request) -> Response:
        """The table's version, in a header."""
        since = _time(request.query_params, "startingTimestamp")
        found = await self._server().version(self._table(request), _seen(request).level, since=since)
        return Response(headers={"delta-table-version": str(found)})

    async def metadata(self, request: Request) -> Response:
        """Protocol and metadata of the table."""
        _capabilities(request)
        asked = request.query_params
        version, timestamp = _number(asked, "version"), _time(asked, "timestamp")
        _one_of(version=version, timestamp=timestamp)
        table = self._table(request)
        found = await self._server().metadata(table, _seen(request).level, version=version, timestamp=timestamp)
        return _lines(request, found, [])

    async def query(self, request: Request) -> Response:
        """The files of the table, with links that open each for a while."""
        capabilities = _capabilities(request)
        asked = _object(await read_body(request, limit=LARGEST_QUERY))
        table, level = self._table(request), _seen(request).level
        if any(asked.get(name) is not None for name in ("startingVersion", "startingTimestamp")):
            return await self._changed(request, table, replace(_changes(asked), rows=False, history=True), "query")
        question = _question(asked, pages="includeendstreamaction" in capabilities)
        found = await self._server().query(table, level, question)
        self._log(request, "query", table, found)
        return _lines(request, found, [_end(found)] if "includeendstreamaction" in capabilities else [])

    async def changes(self, request: Request) -> Response:
        """Which rows changed between versions."""
        _capabilities(request)
        return await self._changed(request, self._table(request), _changes(request.query_params), "changes")

    async def _changed(self, request: Request, table: SharedTable, asked: ChangesAsked, what: str) -> Response:
        found = await self._server().changes(table, _seen(request).level, asked)
        self._log(request, what, table, found)
        wanted = "includeendstreamaction" in _capabilities(request)
        return _lines(request, found, [_end(found)] if wanted else [])

    def _share(self, request: Request) -> str:
        share = self._shares.share(request.path_params["share"])
        if not _seen(request).may(share):
            raise NotShared("There is no such share.")
        return share

    def _table(self, request: Request) -> SharedTable:
        return self._shares.table(self._share(request), request.path_params["schema"], request.path_params["table"])

    def _log(self, request: Request, what: str, table: SharedTable, found: Answer) -> None:
        caller = caller_of(request)
        log_event(
            "share read",
            level=logging.INFO,
            client="" if caller is None else caller.client,
            what=what,
            share=table.share,
            table=f"{table.schema}.{table.name}",
            version=found.version,
            files=found.files,
        )


def _seen(request: Request) -> _Seen:
    """Without callers there is nobody to keep anything from."""
    caller = caller_of(request)
    if caller is None:
        return _Seen(None, access_level_of(None))
    if not isinstance(caller, Recipient):  # the guard lets nobody else in
        raise NotShared("There is no such share.")
    return _Seen(caller.shares, access_level_of({caller.sees}))


def _listed(request: Request, items: Sequence[Mapping[str, str]]) -> Response:
    """A page of a list: `pageToken` is the number of the item that it begins with."""
    most, first = request.query_params.get("maxResults"), request.query_params.get("pageToken") or "0"
    size = LARGEST_PAGE if most is None else _whole("maxResults", most)
    begins = _whole("pageToken", first)
    ends = begins + (size or LARGEST_PAGE)
    more = {"nextPageToken": str(ends)} if ends < len(items) else {}
    return JSONResponse({"items": list(items[begins:ends]), **more})


def _capabilities(request: Request) -> frozenset[str]:
    """What the client can do besides; raises BadQuestion where it can't read what is answered here."""
    found: dict[str, str] = {}
    for part in request.headers.get("delta-sharing-capabilities", "").split(";"):
        name, _, value = part.strip().partition("=")
        found[name.lower()] = value.lower()
    formats = found.get("responseformat", "parquet").split(",")
    if "parquet" not in [one.strip() for one in formats]:
        raise BadQuestion("Tables are shared as responseformat=parquet alone.")
    return frozenset(name for name in ("includeendstreamaction",) if found.get(name) == "true")


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        raise BadQuestion("The body isn't valid JSON.") from None
    if not isinstance(found, dict):
        raise BadQuestion("The body must be a JSON object.")
    return found


def _question(asked: Mapping[str, Any], *, pages: bool) -> TableQuery:
    version, timestamp = _number(asked, "version"), _time(asked, "timestamp")
    _one_of(version=version, timestamp=timestamp)
    hints, json_hint = asked.get("predicateHints"), asked.get("jsonPredicateHints")
    if hints is not None and not (isinstance(hints, list) and all(isinstance(one, str) for one in hints)):
        raise BadQuestion("predicateHints: must be a list of texts.")
    if json_hint is not None and not isinstance(json_hint, str):
        raise BadQuestion("jsonPredicateHints: must be a text.")
    most = _number(asked, "maxFiles") if pages else None
    after = None
    if pages and asked.get("pageToken"):
        pinned, after = _place(asked["pageToken"])
        if timestamp is None and version not in (None, pinned):
            raise BadQuestion("pageToken: is of another version.")
        version, timestamp = pinned, None
    return TableQuery(
        version=version,
        timestamp=timestamp,
        hints=tuple(hints or ()),
        json_hint=json_hint,
        limit=_number(asked, "limitHint"),
        after=after,
        most=most or None,
    )


def _changes(asked: Mapping[str, Any]) -> ChangesAsked:
    found = ChangesAsked(
        starting_version=_number(asked, "startingVersion"),
        starting_timestamp=_time(asked, "startingTimestamp"),
        ending_version=_number(asked, "endingVersion"),
        ending_timestamp=_time(asked, "endingTimestamp"),
        history=str(asked.get("includeHistoricalMetadata", "")).lower() == "true",
    )
    _one_of(startingVersion=found.starting_version, startingTimestamp=found.starting_timestamp)
    _one_of(endingVersion=found.ending_version, endingTimestamp=found.ending_timestamp)
    _one_of(startingVersion=found.starting_version, version=asked.get("version"))
    return found


def _one_of(**given: Any) -> None:
    if all(value is not None for value in given.values()):
        raise BadQuestion(f"{', '.join(given)}: name one of them.")


def _number(asked: Mapping[str, Any], name: str) -> int | None:
    value = asked.get(name)
    if isinstance(value, bool) or not isinstance(value, int | str | None):
        raise BadQuestion(f"{name}: must be a whole number, 0 or more.")
    return None if value is None else _whole(name, str(value))


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadQuestion(f"{name}: must be a whole number, 0 or more.")
    return int(text)


def _time(asked: Mapping[str, Any], name: str) -> datetime | None:
    value = asked.get(name)
    if value is None:
        return None
    try:
        return parse_rfc3339(value)
    except (ValueError, TypeError):
        raise BadQuestion(f"{name}: must be a time like 2026-01-05T08:26:00Z.") from None


def _place(token: Any) -> tuple[int, str]:
    """The version that a page is of, and the file that it begins after."""
    try:
        version, after = json.loads(base64.urlsafe_b64decode(str(token).encode("ascii")))
        if isinstance(version, int) and version >= 0 and isinstance(after, str):
            return version, after
    except (ValueError, TypeError, binascii.Error, RecursionError):
        pass
    raise BadQuestion("pageToken: isn't one of this table's.")


def _end(found: Answer) -> bytes:
    """The last line of who asked for it."""
    ends = found.ends
    action: dict[str, Any] = {} if ends is None else {"minUrlExpirationTimestamp": int(ends.timestamp() * 1_000)}
    if found.more is not None:
        token = base64.urlsafe_b64encode(json.dumps([found.version, found.more]).encode()).decode()
        action["nextPageToken"] = token
    return json.dumps({"endStreamAction": action}, separators=(",", ":")).encode() + b"\n"


def _lines(request: Request, found: Answer, last: Sequence[bytes]) -> Response:
    def content() -> Iterator[bytes]:
        yield from found.lines
        yield from last

    headers = {"delta-table-version": str(found.version)}
    if "delta-sharing-capabilities" in request.headers:
        wanted = ";includeendstreamaction=true" if "includeendstreamaction" in _capabilities(request) else ""
        headers["delta-sharing-capabilities"] = f"responseformat=parquet{wanted}"
    return StreamingResponse(content(), media_type=_NDJSON, headers=headers)
