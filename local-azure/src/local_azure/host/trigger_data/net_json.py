"""JSON as Newtonsoft.Json writes and reads it, and .NET's texts of numbers and times."""

import json
import re
import struct
import uuid
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from local_azure.host.time_spans import format_time_span

__all__ = [
    "Single",
    "date_text",
    "indented",
    "json_text",
    "net_datetime",
    "net_datetime_offset",
    "number_text",
    "parsed",
    "rewritten",
    "scalar_text",
]

_NEVER = "9999-12-31T23:59:59.9999999"
_DATE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,7}))?(Z|[+-]\d\d:?\d\d)?")
_DEPTH = 64


class Single(float):
    """A number of single precision, which has fewer digits than the double of the same value."""


_FRACTIONS = frozenset((float, Decimal, Single))
_CONTAINERS = frozenset((dict, list, tuple))


def net_datetime(moment: datetime) -> str:
    """A .NET `DateTime` of unspecified kind: no zone, so that Python reads naive UTC; no zeros behind the point.

    A time without a zone is taken for one in UTC.
    """
    if moment.year == 9999:
        return _NEVER
    text = (moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment).isoformat()
    return text.rstrip("0") if "." in text else text


def net_datetime_offset(moment: datetime) -> str:
    """A .NET `DateTimeOffset` in UTC."""
    return net_datetime(moment) + "+00:00"


def json_text(value: Any) -> str:
    """Compact JSON of a Python value, each type as its .NET counterpart is serialised."""
    text = _write(value) if _has_fractions(value) else _ENCODER.encode(value)
    for mark in "\x85\u2028\u2029":
        if mark in text:
            text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def _has_fractions(value: Any) -> bool:
    """Whether numbers are inside that Python and .NET write differently."""
    kind = type(value)
    if kind is dict:
        value = value.values()
    elif kind is not list and kind is not tuple:
        return kind in _FRACTIONS
    kinds = set(map(type, value))
    if not _FRACTIONS.isdisjoint(kinds):
        return True
    return not _CONTAINERS.isdisjoint(kinds) and any(map(_has_fractions, value))


def _write(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_ENCODER.encode(str(name))}:{_write(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_write, value)) + "]"
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() and abs(value.adjusted()) < 40 else f'"{value}"'
    if isinstance(value, float):
        text = number_text(value)
        if not text.lstrip("-")[0].isdecimal():
            return f'"{text}"'  # NaN and the infinities
        return text if "." in text or "E" in text else f"{text}.0"
    return _ENCODER.encode(value)


def _jsonable(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return b64encode(value).decode()
    if isinstance(value, datetime):
        return net_datetime(value) + "Z"
    if isinstance(value, timedelta):
        return format_time_span(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): inner for key, inner in value.items()}
    if isinstance(value, Iterable):
        return list(value)
    return str(value)


_ENCODER = json.JSONEncoder(default=_jsonable, separators=(",", ":"), ensure_ascii=False)


def number_text(value: float) -> str:
    """A double, or a `Single`, as .NET's ToString writes it: shortest digits, exponents like `1E+20`."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    digits = _single_digits(value) if isinstance(value, Single) else repr(float(value))
    sign, number, exponent = Decimal(digits).as_tuple()
    shown = "".join(map(str, number)).rstrip("0") or "0"
    point = len(number) + int(exponent)  # digits before the decimal point
    front = "-" if sign else ""
    if shown == "0":
        return f"{front}0"
    if point > max(len(shown), 7 if isinstance(value, Single) else 15) or point < -3:
        rest = f".{shown[1:]}" if len(shown) > 1 else ""
        return f"{front}{shown[0]}{rest}E{point - 1:+03d}"
    if point <= 0:
        return f"{front}0.{'0' * -point}{shown}"
    whole, rest = shown[:point].ljust(point, "0"), shown[point:]
    return f"{front}{whole}.{rest}" if rest else f"{front}{whole}"


def _single_digits(value: float) -> str:
    """The shortest decimal that reads back as the same number of single precision."""
    packed = struct.pack("f", value)
    for precision in range(1, 10):
        text = f"{value:.{precision}g}"
        if struct.pack("f", float(text)) == packed:
            return text
    return repr(float(value))


def parsed(text: str) -> Any:
    """What Newtonsoft.Json reads from a text, as Python values; times with an offset come out in the host's zone, UTC.

    Raises
    ------
    ValueError
        The text is no JSON, or is nested deeper than 64.
    """
    try:
        content = json.loads(text)
        return _dated(content, _DEPTH)
    except RecursionError:
        raise ValueError("the JSON is nested too deep") from None


def _dated(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return rewritten(value)
    if isinstance(value, dict | list) and not depth:
        raise ValueError("the JSON is nested deeper than 64")
    if isinstance(value, dict):
        return {name: _dated(inner, depth - 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [_dated(inner, depth - 1) for inner in value]
    return value


def rewritten(text: str) -> str:
    """A text after Newtonsoft.Json has taken it for a time, if it has that form, and written it again."""
    if not 19 <= len(text) <= 40 or text[10] != "T" or (match := _DATE.fullmatch(text)) is None:
        return text
    try:
        moment = datetime.fromisoformat(match[1])
        if zone := (match[3] or "").replace("Z", ""):
            moment = datetime.fromisoformat(match[1] + zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return text
    fraction = (match[2] or "").rstrip("0")
    suffix = "+00:00" if zone else match[3] or ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + (f".{fraction}" if fraction else "") + suffix


def date_text(text: str) -> str | None:
    """A time in a JSON text as .NET shows it by itself, `05/06/2024 07:08:09`; None if it is no time."""
    written = rewritten(text)
    if written == text and _DATE.fullmatch(text) is None:
        return None
    try:
        return f"{datetime.fromisoformat(written[:19]):%m/%d/%Y %H:%M:%S}"
    except ValueError:
        return None


def scalar_text(value: Any) -> str | None:
    """A JSON value that is neither object nor array as .NET's text of it; None for null."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, str):
        return date_text(value) or value
    return str(value)


def indented(value: Any, level: int = 0) -> str:
    """JSON as `JToken.ToString()` writes it: two blanks an inner level."""
    inner, outer = "\n" + "  " * (level + 1), "\n" + "  " * level
    if isinstance(value, dict) and value:
        parts = [f"{inner}{json_text(name)}: {indented(each, level + 1)}" for name, each in value.items()]
        return "{" + ",".join(parts) + outer + "}"
    if isinstance(value, list) and value:
        return "[" + ",".join(f"{inner}{indented(each, level + 1)}" for each in value) + outer + "]"
    return json_text(value)
