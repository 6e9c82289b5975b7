"""Reads durations in the form that host.json and retry policies use: .NET's `[d.]hh:mm:ss[.fffffff]`."""

import re
from datetime import timedelta

__all__ = ["format_time_span", "parse_time_span"]

_TIME_SPAN = re.compile(
    r"^(?:(?P<days>\d+)\.)?(?P<hours>\d{1,2}):(?P<minutes>\d{1,2})(?::(?P<seconds>\d{1,2})"
    r"(?:\.(?P<fraction>\d{1,7}))?)?$"
)


def parse_time_span(text: str) -> timedelta:
    """Duration of `hh:mm:ss`, optionally with days in front and a fraction behind.

    Raises
    ------
    ValueError
        The text has another form, hours exceed 23, or minutes or seconds exceed 59.
    """
    match = _TIME_SPAN.match(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration like 00:00:30")
    hours, minutes = int(match["hours"]), int(match["minutes"])
    seconds = int(match["seconds"] or 0)
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError(f"{text!r} is not a duration like 00:00:30 (hours below 24, minutes and seconds below 60)")
    fraction = int((match["fraction"] or "0").ljust(7, "0")) / 1e7
    return timedelta(days=int(match["days"] or 0), hours=hours, minutes=minutes, seconds=seconds + fraction)


def format_time_span(span: timedelta) -> str:
    """The `[-][d.]hh:mm:ss[.fffffff]` form of a duration."""
    if span < timedelta(0):
        return f"-{format_time_span(-span)}"
    days, rest = span.days, span.seconds
    text = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    if days:
        text = f"{days}.{text}"
    return f"{text}.{span.microseconds:06}0" if span.microseconds else text
