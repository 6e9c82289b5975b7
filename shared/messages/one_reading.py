"""Values that every reader reads alike: times and days as RFC 3339 writes them, and decimal numbers of a contract.

Pydantic, and readers of ISO 8601, take more: digits alone for a date or for seconds since 1970, a space, an offset
without a colon, `1_000` or Arabic digits for a decimal, and an exponent that makes a few characters a number of a
gigabyte. Two readers then see two values in one text.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from pydantic_core import CoreSchema, core_schema

from .strict_json import EVERY_INTEGER

__all__ = ["parse_day", "parse_rfc3339", "rfc3339", "with_one_reading"]

_NO_SCHEMA = frozenset({"metadata", "default", "serialization", "config", "cls", "function", "expected"})
_DECIMAL = re.compile(r"[+-]?[0-9]{1,4300}(\.[0-9]{1,4300})?([eE][+-]?[0-9]{1,3})?")


def with_one_reading(schema: CoreSchema) -> CoreSchema:
    """A model's schema whose times and days are read as RFC 3339 writes them, and decimals as JSON does; any nesting.

    A time whose field has no rule about offsets may come without one. A decimal may be a text, for readers to whom
    numbers are doubles.
    """
    replaced: CoreSchema = _walk(schema)
    return replaced


def _walk(part: Any) -> Any:
    if isinstance(part, list):
        return [_walk(one) for one in part]
    if isinstance(part, tuple):
        return tuple(_walk(one) for one in part)
    if not isinstance(part, dict):
        return part
    kind = part.get("type")
    if not isinstance(kind, str):  # no schema but the fields of one, which may have any names
        return {name: _walk(value) for name, value in part.items()}
    if kind == "function-before" and part["function"].get("function") in _READERS.values():
        return part
    if kind == "datetime" and part.get("tz_constraint") == "aware":
        kind = "aware"
    if kind in _READERS:
        return core_schema.no_info_before_validator_function(_READERS[kind], part)
    return {name: value if name in _NO_SCHEMA else _walk(value) for name, value in part.items()}


def _aware(value: Any) -> Any:
    return parse_rfc3339(value) if isinstance(value, str) else _instance(value, datetime)


def _time(value: Any) -> Any:
    return parse_rfc3339(value, offset=False) if isinstance(value, str) else _instance(value, datetime)


def _day(value: Any) -> Any:
    return parse_day(value) if isinstance(value, str) else _instance(value, date)


def _decimal(value: Any) -> Any:
    if isinstance(value, str):
        if _DECIMAL.fullmatch(value) is None:
            raise ValueError("must be a number as in JSON: 12.50")
        return Decimal(value)
    if isinstance(value, float) and value.is_integer():
        return Decimal(int(value if abs(value) < EVERY_INTEGER else Decimal(repr(value))))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Decimal(repr(value))
    return _instance(value, Decimal)


def _instance(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError("must be a text" if kind is not Decimal else "must be a number or a text")
    return value


_READERS: dict[str, Callable[[Any], Any]] = {"aware": _aware, "datetime": _time, "date": _day, "decimal": _decimal}


_DATE, _HOURS, _MINUTES = r"[0-9]{4}-[0-9]{2}-[0-9]{2}", r"(?:[01][0-9]|2[0-3])", r":[0-5][0-9]"
_MOMENT = re.compile(rf"{_DATE}[Tt]{_HOURS}{_MINUTES}:[0-9]{{2}}(?:\.[0-9]{{1,32}})?([Zz]|[+-]{_HOURS}{_MINUTES})?")
_DAY = re.compile(_DATE)


def rfc3339(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, as every answer and event writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_rfc3339(text: str, *, offset: bool = True) -> datetime:
    """The moment that a text names, to the microsecond.

    Parameters
    ----------
    offset:
        It must have one; else a text without is a naive datetime.

    Raises
    ------
    ValueError
        It isn't in the form of RFC 3339 (5.6), or there is no such moment, a leap second included.
    """
    found = _MOMENT.fullmatch(text)
    if found is None or (offset and found[1] is None):
        raise ValueError("must be a time as in RFC 3339, with an offset: 2026-01-31T12:00:00Z")
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        raise ValueError("must be a time that exists") from None


def parse_day(text: str) -> date:
    """The day that a text names as RFC 3339 writes it; raises ValueError."""
    if _DAY.fullmatch(text) is None:
        raise ValueError("must be a day as in RFC 3339: 2026-01-31")
    return date.fromisoformat(text)
