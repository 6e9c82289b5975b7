"""Times: RFC 3339 alone is read, and answers and events are written in one form of it.

Readers of ISO 8601 take more: digits alone for a date or for seconds since 1970, a space, a comma, an offset without a
colon. Two readers then see two moments in one text.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from pydantic_core import CoreSchema, core_schema

__all__ = ["parse_rfc3339", "rfc3339", "rfc3339_only"]

_DATE, _HOURS, _MINUTES = r"[0-9]{4}-[0-9]{2}-[0-9]{2}", r"(?:[01][0-9]|2[0-3])", r":[0-5][0-9]"
_MOMENT = re.compile(rf"{_DATE}[Tt]{_HOURS}{_MINUTES}:[0-9]{{2}}(?:\.[0-9]{{1,32}})?([Zz]|[+-]{_HOURS}{_MINUTES})?")
_DAY = re.compile(_DATE)
_NO_SCHEMA = frozenset({"metadata", "default", "serialization", "config", "cls", "function", "expected"})


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


def rfc3339_only(schema: CoreSchema) -> CoreSchema:
    """The schema of a model whose times and days are read as RFC 3339 writes them; any nesting.

    A field without a rule about offsets takes a time without one too.
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
    match part.get("type"):
        case "datetime":
            read = _aware if part.get("tz_constraint") == "aware" else _any_time
            return core_schema.no_info_before_validator_function(read, part)
        case "date":
            return core_schema.no_info_before_validator_function(_day, part)
        case "function-before" if part["function"].get("function") in _READERS:
            return part
    return {name: value if name in _NO_SCHEMA else _walk(value) for name, value in part.items()}


def _aware(value: Any) -> Any:
    return parse_rfc3339(value) if isinstance(value, str) else _instance(value, datetime)


def _any_time(value: Any) -> Any:
    return parse_rfc3339(value, offset=False) if isinstance(value, str) else _instance(value, datetime)


def _day(value: Any) -> Any:
    if not isinstance(value, str):
        return _instance(value, date)
    if _DAY.fullmatch(value) is None:
        raise ValueError("must be a day as in RFC 3339: 2026-01-31")
    return date.fromisoformat(value)


def _instance(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError("must be a text")
    return value


_READERS: tuple[Callable[[Any], Any], ...] = (_aware, _any_time, _day)
