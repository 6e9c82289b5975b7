"""Trigger data as the host sends it to the Python worker: which .NET type becomes which wire type."""

import base64
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.functions.meta import Datum

from local_azure.host.time_spans import format_time_span

__all__ = [
    "byte_arrays",
    "collection",
    "data_of",
    "host_metadata",
    "json_datum",
    "longs",
    "net_datetime",
    "net_datetime_offset",
    "strings",
    "text_of",
    "with_body_properties",
]


@dataclass(frozen=True, slots=True)
class _Strings:
    string: list[str]


@dataclass(frozen=True, slots=True)
class _Bytes:
    bytes: list[bytes]


@dataclass(frozen=True, slots=True)
class _Longs:
    sint64: list[int]


def strings(values: Iterable[str | None]) -> Datum:
    """A `string[]`: null and empty elements are dropped, so what follows them shifts to another index."""
    return Datum(_Strings([value for value in values if value]), "collection_string")


def byte_arrays(values: Iterable[bytes]) -> Datum:
    """A `byte[][]`: complete, empty elements included."""
    return Datum(_Bytes(list(values)), "collection_bytes")


def longs(values: Iterable[int]) -> Datum:
    """A `long[]`."""
    return Datum(_Longs(list(values)), "collection_sint64")


def json_datum(value: Any) -> Datum:
    """Everything without a wire type of its own travels as JSON; other arrays as well."""
    return Datum(json.dumps(value, default=_jsonable, separators=(",", ":"), ensure_ascii=False), "json")


def net_datetime(moment: datetime) -> str:
    """A .NET `DateTime` of unspecified kind: no zone, so that Python reads naive UTC; seven digits, no zeros behind."""
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat()
    return text.rstrip("0") if "." in text else text


def net_datetime_offset(moment: datetime) -> str:
    """A .NET `DateTimeOffset` in UTC."""
    return net_datetime(moment) + "+00:00"


def _jsonable(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return text_of(bytes(value))
    if isinstance(value, datetime):
        return net_datetime(value) + "Z"
    if isinstance(value, timedelta):
        return format_time_span(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, Mapping):
        return {text_of(key): inner for key, inner in value.items()}
    if isinstance(value, Iterable):
        return list(value)
    return str(value)


def text_of(value: Any) -> str:
    """Text of an AMQP string, which the SDKs may hand over as bytes; other binary becomes base64, as in .NET."""
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()


def data_of(body: bytes, data_type: str) -> Datum:
    """One body under a binding's `dataType`: bytes if binary, else text with invalid UTF-8 replaced."""
    if data_type.upper() == "BINARY":
        return Datum(body, "bytes")
    return Datum(body.decode("utf-8", "replace"), "string")


def collection(bodies: Sequence[bytes], data_type: str) -> Datum:
    """Many bodies under a binding's `dataType`; as text, empty ones are dropped."""
    if data_type.upper() == "BINARY":
        return byte_arrays(bodies)
    return strings(body.decode("utf-8", "replace") for body in bodies)


def host_metadata(function: str) -> dict[str, Datum]:
    """What the host adds to every trigger's metadata."""
    return {"sys": json_datum({"MethodName": function, "UtcNow": datetime.now(UTC), "RandGuid": uuid.uuid4()})}


def with_body_properties(metadata: Mapping[str, Datum], data: Datum) -> dict[str, Datum]:
    """The metadata of a single message after the host has looked for binding data in its body.

    If the body travels as text and is a JSON object, its properties become metadata, over what the service
    said: a sender can forge message ids and properties. Arrays are left out; names match without case.
    """
    result = dict(metadata)
    if data.type != "string":
        return result
    try:
        content = json.loads(data.value)
    except ValueError:
        return result
    if not isinstance(content, dict):
        return result
    known = {name.lower(): name for name in result}
    for name, value in content.items():
        if isinstance(value, list):
            continue
        result[known.get(name.lower()) or name] = json_datum(value) if isinstance(value, dict) else _as_text(value)
    return result


def _as_text(value: Any) -> Datum:
    if value is None:
        return Datum("", "string")
    return Datum(str(value), "string")
