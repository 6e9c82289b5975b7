"""Values of columns as Kafka Connect and Debezium write them in JSON, turned into what JSON itself can say.

Source: Debezium's documentation of its connectors, "Data type mappings", and `io.debezium.time`.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from .change import UnreadableChange

__all__ = ["convert", "declared_schema", "is_unavailable"]

_UNAVAILABLE = "__debezium_unavailable_value"
_UNAVAILABLE_BYTES = base64.b64encode(_UNAVAILABLE.encode()).decode()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_ONE = date(1970, 1, 1)
_NANO, _MICRO, _MILLI = 1, 1_000, 1_000_000
_MOST_SCALE = 10_000


def is_unavailable(value: Any) -> bool:
    """Whether a value stands for one that the database didn't log, since it hasn't changed."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, Mapping) and len(value) == 1:
        return is_unavailable(next(iter(value)))
    return value in (_UNAVAILABLE, _UNAVAILABLE_BYTES) if isinstance(value, str) else False


def declared_schema(name: str) -> Mapping[str, Any]:
    """The schema of a column that is declared by its type's name, with its scale or length after a colon."""
    kind, _, number = name.partition(":")
    return {"name": kind, "parameters": {"scale": number or "0", "length": number or "0"}}


def convert(value: Any, schema: Mapping[str, Any]) -> Any:
    """A value of a column whose schema Kafka Connect's JSON converter wrote beside it.

    Raises
    ------
    UnreadableChange
        It isn't what its schema says.
    """
    if value is None:
        return None
    name = schema.get("name")
    try:
        if isinstance(name, str) and (reader := _READERS.get(name)) is not None:
            return reader(value, schema)
        kind = schema.get("type")
        if kind == "array" and isinstance(schema.get("items"), Mapping):
            return [convert(one, schema["items"]) for one in value]
        if kind == "map" and isinstance(value, Mapping) and isinstance(schema.get("values"), Mapping):
            return {key: convert(one, schema["values"]) for key, one in value.items()}
        if kind == "struct" and isinstance(value, Mapping):
            known = {one["field"]: one for one in schema.get("fields", ())}
            return {key: convert(one, known.get(key, {})) for key, one in value.items()}
    except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise UnreadableChange(f"a value isn't what its type {name or schema.get('type')} says") from error
    return value


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError("no whole number")
    return value


def _fraction(nanoseconds: int) -> str:
    return f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""


def _day(value: Any, _: Mapping[str, Any]) -> Any:
    try:
        return (_DAY_ONE + timedelta(days=_whole(value))).isoformat()
    except OverflowError:
        return value  # outside the years 1 to 9999, as infinity is: the model says whether it takes the number


def _time_of_day(unit: int) -> Callable[[Any, Mapping[str, Any]], Any]:
    def read(value: Any, _: Mapping[str, Any]) -> Any:
        seconds, rest = divmod(_whole(value) * unit, 10**9)
        if not 0 <= seconds <= 86_400:
            raise ValueError("no time of a day")
        return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{_fraction(rest)}"

    return read


def _moment(unit: int) -> Callable[[Any, Mapping[str, Any]], Any]:
    def read(value: Any, _: Mapping[str, Any]) -> Any:
        seconds, rest = divmod(_whole(value) * unit, 10**9)
        try:
            whole = _EPOCH + timedelta(seconds=seconds)
        except OverflowError:
            return value  # as `_day`
        return f"{whole:%Y-%m-%dT%H:%M:%S}".zfill(19) + f"{_fraction(rest)}Z"

    return read


def _duration(unit: int) -> Callable[[Any, Mapping[str, Any]], Any]:
    def read(value: Any, _: Mapping[str, Any]) -> Any:
        seconds, rest = divmod(abs(_whole(value)) * unit, 10**9)
        return f"{'-' if value < 0 else ''}PT{seconds}{_fraction(rest)}S"

    return read


def _without_z(value: Any, _: Mapping[str, Any]) -> Any:
    return value.removesuffix("Z")


def _unscaled(value: Any, scale: int) -> str:
    if abs(scale) > _MOST_SCALE:
        raise ValueError("the scale is out of bounds")
    number = int.from_bytes(_bytes(value), "big", signed=True)
    return f"{Decimal((number < 0, tuple(map(int, str(abs(number)))), -scale)):f}"


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error


def _decimal(value: Any, schema: Mapping[str, Any]) -> Any:
    if isinstance(value, int | float | Decimal):
        return value  # decimal.format=NUMERIC of the converter
    return _unscaled(value, int(schema["parameters"]["scale"]))


def _scaled(value: Any, _: Mapping[str, Any]) -> Any:
    return _unscaled(value["value"], _whole(value["scale"]))


def _bits(value: Any, schema: Mapping[str, Any]) -> Any:
    """The bits as PostgreSQL writes them, the first one the most significant; the bytes are little-endian."""
    length = int(schema.get("parameters", {}).get("length", 0))
    found = f"{int.from_bytes(_bytes(value), 'little'):b}"
    return found if not 0 < length <= _MOST_SCALE else found.zfill(length)


_INFINITIES = {"POSITIVE_INFINITY": "infinity", "NEGATIVE_INFINITY": "-infinity"}


def _structured(value: Any, _: Mapping[str, Any]) -> Any:
    """A day, a time or a moment in parts; one with an offset in seconds keeps it."""
    if (special := value.get("specialValue")) is not None:
        return _INFINITIES[special]
    day = f"{value['year']:04d}-{value['month']:02d}-{value['day']:02d}" if "year" in value else ""
    if "hour" not in value:
        return day
    clock = f"{value['hour']:02d}:{value['minute']:02d}:{value['second']:02d}{_fraction(value.get('nanos') or 0)}"
    offset = value.get("offsetSeconds")
    if offset is None:
        return f"{day}T{clock}Z" if day else clock
    hours, seconds = divmod(abs(_whole(offset)), 3600)
    zone = f"{'-' if offset < 0 else '+'}{hours:02d}:{seconds // 60:02d}" if offset else "Z"
    return f"{day}T{clock}{zone}" if day else clock + zone


def _interval(value: Any, _: Mapping[str, Any]) -> Any:
    years, months, days, hours, minutes = (
        value.get(name) or 0 for name in ("years", "months", "days", "hours", "minutes")
    )
    nanoseconds = (value.get("seconds") or 0) * 10**9 + (value.get("nanos") or 0)
    seconds, rest = divmod(abs(nanoseconds), 10**9)
    return f"P{years}Y{months}M{days}DT{hours}H{minutes}M{'-' if nanoseconds < 0 else ''}{seconds}{_fraction(rest)}S"


_READERS: Mapping[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "io.debezium.time.Date": _day,
    "org.apache.kafka.connect.data.Date": _day,
    "io.debezium.time.Time": _time_of_day(_MILLI),
    "org.apache.kafka.connect.data.Time": _time_of_day(_MILLI),
    "io.debezium.time.MicroTime": _time_of_day(_MICRO),
    "io.debezium.time.NanoTime": _time_of_day(_NANO),
    "io.debezium.time.Timestamp": _moment(_MILLI),
    "org.apache.kafka.connect.data.Timestamp": _moment(_MILLI),
    "io.debezium.time.MicroTimestamp": _moment(_MICRO),
    "io.debezium.time.NanoTimestamp": _moment(_NANO),
    "io.debezium.time.MicroDuration": _duration(_MICRO),
    "io.debezium.time.NanoDuration": _duration(_NANO),
    "io.debezium.time.IsoDate": _without_z,
    "io.debezium.time.IsoTime": _without_z,
    "io.debezium.time.StructuredDate": _structured,
    "io.debezium.time.StructuredTime": _structured,
    "io.debezium.time.StructuredTimestamp": _structured,
    "io.debezium.time.StructuredZonedTime": _structured,
    "io.debezium.time.StructuredZonedTimestamp": _structured,
    "io.debezium.time.StructuredDuration": _interval,
    "org.apache.kafka.connect.data.Decimal": _decimal,
    "io.debezium.data.VariableScaleDecimal": _scaled,
    "io.debezium.data.Bits": _bits,
}
"""What isn't here says in JSON what it means: texts of ISO 8601, JSON, XML, UUIDs, members of an enum, years."""
