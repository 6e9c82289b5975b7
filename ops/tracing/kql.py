"""The same question for Application Insights: the KQL that finds a message's spans, and what its answer means. Pure."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from shared.telemetry import Name
from shared.telemetry.span_store import NAMES, Found, StoredSpan

__all__ = ["find_query", "found_of", "newest_query", "spans_of", "trace_query"]

_TABLES = "union AppRequests, AppDependencies"
_COLUMNS = (
    "TimeGenerated, OperationId, Id, ParentId, Name, Type, DurationMs, Success, ResultCode, DependencyType, "
    "AppRoleName, AppRoleInstance, Properties"
)


def trace_query(trace: str, *, most: int) -> str:
    """The spans of a trace, and those of others that link to it."""
    return (
        f"{_TABLES}\n| where OperationId == {_literal(trace)}"
        f" or tostring(Properties['_MS.links']) has {_literal(trace)}\n"
        f"| project {_COLUMNS}\n| order by TimeGenerated asc\n| take {most}"
    )


def find_query(text: str, *, most: int) -> str:
    """The traces that an id, or its beginning, names, the newest first."""
    value = _literal(text)
    kinds = "".join(
        f"    tostring(Properties[{_literal(name)}]) startswith {value}, pack_array({_literal(kind)}, "
        f"tostring(Properties[{_literal(name)}])),\n"
        for name, kind in NAMES.items()
    )
    return (
        f"{_TABLES}\n| extend Found = case(\n{kinds}"
        f"    OperationId startswith {value}, pack_array('trace', OperationId),\n    dynamic(null))\n"
        "| where isnotnull(Found)\n"
        "| summarize Newest = max(TimeGenerated)"
        " by Kind = tostring(Found[0]), Value = tostring(Found[1]), OperationId\n"
        f"| order by Newest desc\n| take {most}"
    )


def newest_query(most: int) -> str:
    """What ended last."""
    return f"{_TABLES}\n| project {_COLUMNS}\n| order by TimeGenerated desc\n| take {most}"


def _literal(text: str) -> str:
    """A KQL string: what somebody typed stays a value."""
    return "'" + "".join(rf"\u{ord(one):04x}" if one in "\\'\"" or not one.isprintable() else one for one in text) + "'"


def found_of(rows: Sequence[Mapping[str, Any]], text: str) -> list[Found]:
    """What `find_query` was answered; where something is exactly the text, only that."""
    found = [Found(str(row["Value"]), str(row["Kind"]), str(row["OperationId"])) for row in rows]
    return [one for one in found if one.value == text] or found


def spans_of(rows: Sequence[Mapping[str, Any]]) -> list[StoredSpan]:
    """Spans as Application Insights keeps them; a row that isn't one is left out."""
    return [one for row in rows if (one := _span(row)) is not None]


def _span(row: Mapping[str, Any]) -> StoredSpan | None:
    try:
        properties = row.get("Properties") or {}
        attributes = dict(json.loads(properties) if isinstance(properties, str) else properties)
        started = _nanoseconds(str(row["TimeGenerated"]))
        links = json.loads(attributes.pop("_MS.links", "[]") or "[]")
        for name in _NUMBERS & attributes.keys():
            attributes[name] = float(attributes[name]) if "." in str(attributes[name]) else int(attributes[name])
        failed = str(row.get("Success", True)).lower() in ("false", "0")
        return StoredSpan(
            trace=str(row["OperationId"]),
            span=str(row["Id"]),
            parent=str(row.get("ParentId") or ""),
            name=str(row["Name"]),
            kind=_kind(row, attributes),
            started=started,
            ended=started + round(float(row.get("DurationMs") or 0) * 1e6),
            problem=str(row.get("ResultCode") or "failed") if failed else None,
            process=f"{row.get('AppRoleName') or ''}/{row.get('AppRoleInstance') or ''}",
            attributes=attributes,
            links=[(str(one["operation_Id"]), str(one["id"])) for one in links],
        )
    except (KeyError, TypeError, ValueError):
        return None


_NUMBERS = frozenset({Name.ATTEMPT, Name.REPLAY, Name.HTTP_STATUS, Name.BATCH_COUNT, Name.CLAIM_SIZE, Name.BODY_SIZE})


def _kind(row: Mapping[str, Any], attributes: Mapping[str, Any]) -> str:
    operation = attributes.get(Name.OPERATION_TYPE)
    if str(row.get("Type", "")) == "AppRequests":
        return "consumer" if operation == "process" else "server"
    if operation == "send":
        return "producer"
    return "internal" if str(row.get("DependencyType", "")).startswith("InProc") else "client"


def _nanoseconds(moment: str) -> int:
    """Of an ISO time, whose seven digits Python reads from 3.11 on as six."""
    whole = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    return int(whole.timestamp()) * 1_000_000_000 + whole.microsecond * 1_000
