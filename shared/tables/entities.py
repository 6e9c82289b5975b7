"""An entity's columns as the JSON of the Table service, and back.

Types as in "Payload format for Table service operations": JSON itself carries text, booleans and 32-bit integers, any
other type is named beside its value.
"""

import base64
import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from .operations import Entity

__all__ = ["decode", "decode_all", "encode"]

_TYPE = "@odata.type"
_INT32 = 2**31
_INT64 = 2**63
_MICROSECONDS = 26
"""Characters of a time up to its microseconds; the service writes tenths of them after that."""


def encode(columns: Mapping[str, Any]) -> str:
    """The columns as JSON; a column without a value is left out.

    Raises
    ------
    TypeError
        The service has no such type.
    """
    return json.dumps(dict(_encoded(columns)), separators=(",", ":"), allow_nan=False)


def _encoded(columns: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in columns.items():
        if isinstance(value, str):
            yield name, str(value)
        elif isinstance(value, bool) or (isinstance(value, int) and -_INT32 <= value < _INT32):
            yield name, value
        elif value is not None:
            kind, text = _typed(name, value)
            yield name, text
            yield name + _TYPE, kind


def _typed(name: str, value: Any) -> tuple[str, Any]:
    if isinstance(value, int) and -_INT64 <= value < _INT64:
        return "Edm.Int64", str(value)
    if isinstance(value, datetime):
        return "Edm.DateTime", f"{value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
    if isinstance(value, bytes):
        return "Edm.Binary", base64.b64encode(value).decode()
    if isinstance(value, float):
        special = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return "Edm.Double", value if math.isfinite(value) else special
    if isinstance(value, UUID):
        return "Edm.Guid", str(value)
    raise TypeError(f"{name}: a table keeps no {type(value).__name__} like this one")


def decode(body: bytes | str) -> Entity:
    """The entity of a point read's answer; a naive time is UTC."""
    return _entity(json.loads(body))


def decode_all(body: bytes | str) -> list[Entity]:
    """The entities of a query's answer."""
    return [_entity(found) for found in json.loads(body)["value"]]


def _entity(answer: dict[str, Any]) -> Entity:
    etag = answer.get("odata.etag")
    columns = {
        name: _decoded(value, answer.get(name + _TYPE))
        for name, value in answer.items()
        if not name.startswith("odata.") and not name.endswith(_TYPE) and name != "Timestamp"
    }
    return Entity(columns, etag)


def _decoded(value: Any, kind: str | None) -> Any:
    match kind:
        case "Edm.DateTime":
            return datetime.fromisoformat(value.removesuffix("Z")[:_MICROSECONDS]).replace(tzinfo=UTC)
        case "Edm.Binary":
            return base64.b64decode(value)
        case "Edm.Int64":
            return int(value)
        case "Edm.Double":
            return float(value)
        case "Edm.Guid":
            return UUID(value)
        case _:
            return value
