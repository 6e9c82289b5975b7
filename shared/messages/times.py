"""Times: RFC 3339 alone is read, and answers and events are written in one form of it.

Readers of ISO 8601 take more: digits alone for a date or for seconds since 1970, a space, a comma, an offset without a
colon. Two readers then see two moments in one text.
"""

import re
from datetime import UTC, date, datetime

__all__ = ["parse_day", "parse_rfc3339", "rfc3339"]

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
