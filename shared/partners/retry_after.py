"""How long a partner asks to wait, in every form that partners say it. Pure: the time is passed in.

Retry-After in seconds or as a date (RFC 9110, 10.2.3) wins; then Azure's forms in milliseconds; then what the headers
of rate limits tell: `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11), `RateLimit-Reset` (its -07), and
`X-RateLimit-Reset` in seconds, as an epoch in seconds or milliseconds (GitHub and others), or as a date (Atlassian).
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import inf, isfinite

__all__ = ["LONGEST_ASKED", "remaining", "retry_after"]

LONGEST_ASKED = 3_600.0
"""Seconds that are believed; more than that isn't waited for, but asked again."""

_EPOCH = 1_000_000_000.0
"""A number of seconds from here on is a moment: September 2001, or a wait of 31 years."""
_RATE_LIMIT = re.compile(r'\s*"[^"\\]*"\s*(?P<parameters>(?:;[^,";]*)*)(?:,|$)')
"""Each character in one way alone: a header of semicolons must not take exponential time."""
_LONGEST = 1_024
"""Characters of a header that is read."""


_LEFT = ("ratelimit-remaining", "x-ratelimit-remaining", "x-rate-limit-remaining")
_QUOTAS = frozenset({*_LEFT, "ratelimit", "x-shopify-shop-api-call-limit"})


def retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Seconds to wait, 0 to an hour; None where there is nothing that can be understood.

    A date or moment that has passed is 0.

    Parameters
    ----------
    headers:
        By their names in lower case. One of more than 1,024 characters says nothing.
    """
    headers = _short(headers)
    for name, scale in (("retry-after", 1.0), ("x-ms-retry-after-ms", 0.001), ("retry-after-ms", 0.001)):
        if (found := _wait(headers.get(name), now, scale)) is not None:
            return found
    for wait, left in _quotas(headers.get("ratelimit", "")):
        if left <= 0 and wait is not None:
            return _believed(wait)
    for name in ("ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset"):
        if (found := _wait(headers.get(name), now, 1.0)) is not None:
            return found
    return None


def remaining(headers: Mapping[str, str]) -> float | None:
    """Calls that the partner has left in its window; None where it doesn't say."""
    if _QUOTAS.isdisjoint(headers):  # which is usual
        return None
    headers = _short(headers)
    quotas = [left for _, left in _quotas(headers.get("ratelimit", ""))]
    for name in _LEFT:
        if (found := _number(headers.get(name))) is not None:
            quotas.append(found)
    used, slash, most = headers.get("x-shopify-shop-api-call-limit", "").partition("/")
    if slash and (spent := _number(used)) is not None and (limit := _number(most)) is not None:
        quotas.append(limit - spent)
    return max(0.0, min(quotas)) if quotas else None


def _short(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if len(value) <= _LONGEST}


def _wait(value: str | None, now: datetime, scale: float) -> float | None:
    if value is None:
        return None
    number = _number(value)
    if number is None:
        return _until(_date(value), now)
    if scale == 1.0 and number >= _EPOCH:
        seconds = number / 1_000 if number >= _EPOCH * 1_000 else number
        return _believed(seconds - now.timestamp())
    return _believed(number * scale)


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if isfinite(number) else None


def _date(value: str) -> datetime | None:
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            found = read(value.strip())
        except (ValueError, TypeError, OverflowError):
            continue
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return None


def _until(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else _believed((moment - now).total_seconds())


def _believed(seconds: float) -> float:
    return min(max(0.0, seconds), LONGEST_ASKED)


def _quotas(value: str) -> list[tuple[float | None, float]]:
    """(seconds to more, what is left) of each quota; one that is malformed is ignored, as the draft says."""
    found: list[tuple[float | None, float]] = []
    position = 0
    while (item := _RATE_LIMIT.match(value, position)) and item.end() > position:
        position = item.end()
        pairs = (one.strip().partition("=") for one in item["parameters"].split(";"))
        given = {name: _number(text) for name, _, text in pairs}
        left = given.get("r")
        if left is not None and 0 <= left < inf:
            found.append((given.get("t"), left))
    return found
