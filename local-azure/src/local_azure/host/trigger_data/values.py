"""The kinds of values that travel to the worker: which .NET type becomes which field of `TypedData`."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from azure.functions.meta import Datum

from local_azure.host.trigger_data import net_json

__all__ = [
    "LazyMetadata",
    "Metadata",
    "Unbound",
    "body_properties",
    "byte_arrays",
    "collection",
    "data_of",
    "json_datum",
    "longs",
    "strings",
    "text",
    "with_body_properties",
]

Metadata = Mapping[str, Datum]


class Unbound(Exception):
    """The host itself cannot bind what arrived, so that the function is never called."""


@dataclass(frozen=True, slots=True)
class _Strings:
    string: list[str]


@dataclass(frozen=True, slots=True)
class _Bytes:
    bytes: list[bytes]


@dataclass(frozen=True, slots=True)
class _Longs:
    sint64: list[int]


def text(value: str) -> Datum:
    """A `string`."""
    return Datum(value, "string")


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
    """Everything without a kind of its own travels as JSON: single numbers and times, other arrays, objects."""
    return Datum(net_json.json_text(value), "json")


def data_of(body: bytes, data_type: str) -> Datum:
    """One body under a binding's `dataType`: bytes if binary, else text with invalid UTF-8 replaced."""
    if data_type.upper() == "BINARY":
        return Datum(body, "bytes")
    return Datum(body.decode("utf-8", "replace"), "string")


def collection(bodies: Sequence[bytes], data_type: str) -> Datum:
    """Many bodies under a binding's `dataType`; as text, empty ones are dropped.

    Raises
    ------
    Unbound
        Without a `dataType` every body must be JSON, and one is not.
    """
    kind = data_type.upper()
    if kind == "BINARY":
        return byte_arrays(bodies)
    if kind == "STRING":
        return strings(body.decode("utf-8", "replace") for body in bodies)
    try:
        return json_datum([net_json.parsed(body.decode("utf-8", "replace")) for body in bodies])
    except ValueError as error:
        raise Unbound(
            f"one body of the batch is no JSON ({error}), and without dataType binary or string the host makes one "
            "JSON array of them all"
        ) from None


def with_body_properties(metadata: Metadata, data: Datum) -> Metadata:
    """The metadata of a single message after the host has looked for binding data in its body.

    If the body travels as text and is a JSON object, its properties become metadata, over what the service
    set: a sender can forge message ids and properties. Names match without case.
    """
    if data.type != "string":
        return metadata
    properties = body_properties(data.value)
    if not properties:
        return metadata
    known = {name.lower(): name for name in metadata}
    return {**metadata, **{known.get(name.lower()) or name: value for name, value in properties.items()}}


def body_properties(body: str) -> dict[str, Datum]:
    """The metadata in a JSON object: arrays and nulls left out, everything but objects as .NET's text."""
    stripped = body.strip()
    if not (stripped.startswith("{") and stripped.endswith("}")):
        return {}
    try:
        content = net_json.parsed(stripped)
    except ValueError:
        return {}
    result = {}
    for name, value in content.items():
        if isinstance(value, dict):
            result[name] = json_datum(value)
        elif not isinstance(value, list) and (shown := net_json.scalar_text(value)) is not None:
            result[name] = text(shown)
    return result


class LazyMetadata(Mapping[str, Datum]):
    """Metadata that is made when somebody looks at it; the worker's HTTP converter never does."""

    def __init__(self, make: Callable[[], Metadata]) -> None:
        self._make = make
        self._made: Metadata | None = None

    def _values(self) -> Metadata:
        if self._made is None:
            self._made = self._make()
        return self._made

    def __getitem__(self, name: str) -> Datum:
        return self._values()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values())

    def __len__(self) -> int:
        return len(self._values())
