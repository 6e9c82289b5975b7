"""What the routes of Delta Sharing say of themselves in the API's description."""

from typing import Any

from .schemas import ANSWERS, Named, reference

__all__ = ["sharing_docs"]

_CORRELATION = {"X-Correlation-ID": reference("headers", "CorrelationId")}
_TEXT, _COUNT = {"type": "string"}, {"type": "integer", "minimum": 0}
_TIME = {"type": "string", "format": "date-time"}
_VERSION = {"delta-table-version": {"description": "The table's version.", "schema": _COUNT}}
_SUMMARIES = {
    "shares": ("listShares", "The shares of this recipient"),
    "{share}": ("getShare", "One share"),
    "schemas": ("listSchemas", "The schemas of a share: the lake's layers"),
    "tables": ("listTables", "The tables of a schema"),
    "all-tables": ("listAllTables", "The tables of a share"),
    "version": ("getTableVersion", "The table's version, in a header"),
    "metadata": ("getTableMetadata", "Protocol and metadata of a table, a line each"),
    "query": ("queryTable", "The files of a table, each with a link that opens it for a while"),
    "changes": ("getTableChanges", "What changed between versions of a table, file by file"),
}
_QUERY = {
    "predicateHints": {"type": "array", "items": _TEXT, "description": "Comparisons in SQL; best effort."},
    "jsonPredicateHints": {"type": "string", "description": "A tree of comparisons as JSON; best effort."},
    "limitHint": {**_COUNT, "description": "So many rows are enough."},
    "version": _COUNT,
    "timestamp": _TIME,
    "startingVersion": {**_COUNT, "description": "The files that were added and removed since then."},
    "endingVersion": _COUNT,
    "maxFiles": {**_COUNT, "description": "Files of a page, for clients that take an endStreamAction."},
    "pageToken": _TEXT,
}
_PARAMETERS = {
    "maxResults": _COUNT,
    "pageToken": _TEXT,
    "version": _COUNT,
    "timestamp": _TIME,
    "startingVersion": _COUNT,
    "startingTimestamp": _TIME,
    "endingVersion": _COUNT,
    "endingTimestamp": _TIME,
    "includeHistoricalMetadata": {"type": "boolean"},
}
_TAKEN = {
    **dict.fromkeys(("shares", "schemas", "tables", "all-tables"), ("maxResults", "pageToken")),
    "version": ("startingTimestamp",),
    "metadata": ("version", "timestamp"),
    "changes": (
        "startingVersion",
        "startingTimestamp",
        "endingVersion",
        "endingTimestamp",
        "includeHistoricalMetadata",
    ),
}
_NAMES = {"type": "object", "required": ["name"], "properties": {"name": _TEXT, "schema": _TEXT, "share": _TEXT}}
_ITEM = Named("SharedItem", _NAMES)
_PAGE = {
    "type": "object",
    "required": ["items"],
    "properties": {"items": {"type": "array", "items": _ITEM}, "nextPageToken": _TEXT},
}


def sharing_docs(what: str) -> dict[str, Any]:
    """One operation, by the last part of its path."""
    name, summary = _SUMMARIES[what]
    errors = {
        status: {**reference("responses", answer), "description": ANSWERS[answer]["description"]}
        for status, answer in (("404", "NotFound"), *([("413", "PayloadTooLarge")] if what == "query" else []))
    }
    body = {"application/json": {"schema": Named("SharedTableQuery", {"type": "object", "properties": _QUERY})}}
    return {
        "operationId": name,
        "summary": summary,
        "description": "By the Delta Sharing protocol. The token is a profile file's: no other credential opens it.",
        "tags": ["sharing"],
        "parameters": [
            {"name": one, "in": "query", "required": False, "schema": _PARAMETERS[one]} for one in _TAKEN.get(what, ())
        ],
        **({"requestBody": {"required": False, "content": body}} if what == "query" else {}),
        "responses": {"200": _answer(what), **(errors if what != "shares" else {})},
    }


def _answer(what: str) -> dict[str, Any]:
    if what == "version":
        return {"description": "It is.", "headers": _CORRELATION | _VERSION}
    if what in ("metadata", "query", "changes"):
        lines = {"application/x-ndjson": {"schema": _TEXT}}
        return {"description": "Lines of JSON.", "headers": _CORRELATION | _VERSION, "content": lines}
    schema: Any = Named("SharedItems", _PAGE)
    if what == "{share}":
        schema = Named("Share", {"type": "object", "required": ["share"], "properties": {"share": _ITEM}})
    return {"description": "It is.", "headers": _CORRELATION, "content": {"application/json": {"schema": schema}}}
