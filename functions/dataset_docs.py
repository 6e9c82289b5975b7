"""What the routes of datasets say of themselves in the API's description."""

from collections.abc import Mapping
from typing import Any

from shared.datasets import ARROW, CSV, FORMATS, NDJSON, PARQUET

from .schemas import ANSWERS, Named, reference

__all__ = ["CATALOGUE_DOCS", "DATASET_DOCS", "LAYER_DOCS"]

_CORRELATION = {"X-Correlation-ID": reference("headers", "CorrelationId")}
_TEXT: Mapping[str, Any] = {"type": "string"}
_COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 0}
_ROW = {"type": "object", "additionalProperties": True}
_COLUMN = {
    "type": "object",
    "required": ["name", "type"],
    "properties": {
        "name": _TEXT,
        "type": {"type": "string", "description": "OData's name of it."},
        "nullable": {"type": "boolean"},
        "classification": _TEXT,
        "masked": {"type": "boolean", "description": "You see nulls, and can't ask by it."},
        "min": {"description": "The lowest value, where the log knows it."},
        "max": {"description": "The highest value, where the log knows it."},
    },
}
_DATASET = {
    "type": "object",
    "required": ["layer", "name", "href"],
    "properties": {
        "layer": _TEXT,
        "name": _TEXT,
        "href": _TEXT,
        "version": _COUNT,
        "written": {"type": "string", "format": "date-time"},
        "ageSeconds": _COUNT,
        "owner": {"type": ["string", "null"]},
        "description": {"type": ["string", "null"]},
        "rows": {"type": ["integer", "null"]},
        "files": _COUNT,
        "bytes": _COUNT,
        "partitionedBy": {"type": "array", "items": _TEXT},
        "columns": {"type": "array", "items": _COLUMN},
        "error": {"type": "string", "description": "Why it can't be read now."},
    },
}
_CATALOGUE = {
    "type": "object",
    "required": ["value", "count"],
    "properties": {"value": {"type": "array", "items": Named("Dataset", _DATASET)}, "count": _COUNT},
}
_PAGE = {
    "type": "object",
    "required": ["value", "count", "version"],
    "properties": {
        "value": {"type": "array", "items": _ROW},
        "count": _COUNT,
        "version": {**_COUNT, "description": "The version of the table that all pages are of."},
        "nextLink": {"type": "string", "description": "Where there is more."},
        "totalCount": {**_COUNT, "description": "Of all rows, where `$count` was asked."},
        "@odata.count": _COUNT,
        "$masked": {"type": "array", "items": _TEXT, "description": "Columns that you see as nulls."},
    },
}


def _named(status: int, name: str) -> dict[str, Any]:
    return {str(status): {**reference("responses", name), "description": ANSWERS[name]["description"]}}


def _json(description: str, schema: Any) -> dict[str, Any]:
    return {
        "description": description,
        "headers": _CORRELATION | {"ETag": reference("headers", "ETag")},
        "content": {"application/json": {"schema": schema}},
    }


def _asked(name: str, schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


_NOT_CHANGED = {
    "304": {"description": "As `If-None-Match` has it.", "headers": _CORRELATION},
    **_named(412, "PreconditionFailed"),
}
CATALOGUE_DOCS: Mapping[str, Any] = {
    "operationId": "listDatasets",
    "summary": "The lake's tables: schema, owner, freshness, statistics, version",
    "tags": ["datasets"],
    "responses": {"200": _json("Those that you may read.", Named("Datasets", _CATALOGUE)), **_NOT_CHANGED},
}
LAYER_DOCS: Mapping[str, Any] = {
    "operationId": "listDatasetsOfLayer",
    "summary": "The tables of a layer; for readers of OData its service document",
    "tags": ["datasets"],
    "responses": {"200": _json("Those that you may read.", Named("Datasets", _CATALOGUE)), **_NOT_CHANGED},
}
_ROWS = _json(
    "A page, which `nextLink` leads on from; or all rows, in a format that data tools read. An answer that isn't whole"
    " breaks off before the end that HTTP knows.",
    Named("DatasetPage", _PAGE),
)
_ROWS["content"] |= {
    NDJSON: {"schema": _TEXT},
    CSV: {"schema": _TEXT},
    ARROW: {"schema": {"type": "string", "format": "binary"}},
    PARQUET: {"schema": {"type": "string", "format": "binary"}},
}
_LONG, _SHORT = {"type": "string", "maxLength": 4_096}, {"type": "string", "maxLength": 1_024}
DATASET_DOCS: Mapping[str, Any] = {
    "operationId": "readDataset",
    "summary": "The rows of a table, filtered, grouped, sorted, of any version that is there",
    "tags": ["datasets"],
    "parameters": [
        _asked("$filter", _LONG, "Which rows, by OData's grammar; behind `$apply` of its result."),
        _asked("$apply", _LONG, "`filter(...)/groupby((a,b),aggregate(c with sum as d,$count as n))`."),
        _asked("$select", _SHORT, "Fields of each row, with commas between."),
        _asked("fields", _SHORT, "Another name of `$select`."),
        _asked("$orderby", _SHORT, "Fields, each with `asc` or `desc` after it or nothing."),
        _asked("$top", _COUNT, "Rows of a page, 50 without; in other formats of all of the answer."),
        _asked("$skip", {"type": "integer", "minimum": 0, "maximum": 10_000}, "Rows to leave out first."),
        _asked("$count", {"type": "boolean"}, "Whether `totalCount` is wanted."),
        _asked("$skiptoken", _LONG, "Where to go on; `nextLink` has it."),
        _asked("asOf", _TEXT, "A version by its number, or by a time at which it was the newest."),
        _asked("changesSince", _TEXT, "A version: what changed since; `_change_type` is `insert` or `delete`."),
        _asked("format", {"type": "string", "enum": list(FORMATS)}, "Instead of `Accept`."),
        _asked("$format", _TEXT, "Another name of `format`."),
    ],
    "responses": {
        "200": _ROWS,
        **_NOT_CHANGED,
        **_named(404, "NotFound"),
        "410": {**reference("responses", "NotFound"), "description": "The version, or its files, are gone."},
    },
}
