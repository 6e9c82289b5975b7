"""Values that every reader reads alike: times, days and decimal numbers of a contract.

Pydantic takes more: digits alone for seconds since 1970, `1_000` or Arabic digits for a decimal, and an exponent that
makes a few characters a number of a gigabyte.
"""

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from pydantic_core import CoreSchema, core_schema

from .times import parse_day, parse_rfc3339

__all__ = ["with_one_reading"]

_NO_SCHEMA = frozenset({"metadata", "default", "serialization", "config", "cls", "function", "expected"})
_DECIMAL = re.compile(r"[+-]?[0-9]{1,4300}(\.[0-9]{1,4300})?([eE][+-]?[0-9]{1,3})?")
_ALL_HELD = 2.0**53
"""Below it a double holds every integer."""


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
        return Decimal(int(value if abs(value) < _ALL_HELD else Decimal(repr(value))))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Decimal(repr(value))
    return _instance(value, Decimal)


def _instance(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError("must be a text" if kind is not Decimal else "must be a number or a text")
    return value


_READERS: dict[str, Callable[[Any], Any]] = {"aware": _aware, "datetime": _time, "date": _day, "decimal": _decimal}
