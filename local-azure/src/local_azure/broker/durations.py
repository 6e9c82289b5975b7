"""ISO 8601 durations as the service reads and writes them (.NET's `XmlConvert`)."""

import re
from datetime import timedelta

__all__ = ["FOREVER", "format_duration", "parse_duration"]

FOREVER = timedelta(days=10675199, hours=2, minutes=48, seconds=5, microseconds=477580)
"""The service's longest duration (.NET's `TimeSpan.MaxValue`), its way to say "never"."""

_FOREVER_TEXT = "P10675199DT2H48M5.4775807S"
_DURATION = re.compile(
    r"P(?=.)(?:(?P<years>\d{1,9})Y)?(?:(?P<months>\d{1,9})M)?(?:(?P<days>\d{1,9})D)?"
    r"(?:T(?=.)(?:(?P<hours>\d{1,9})H)?(?:(?P<minutes>\d{1,9})M)?(?:(?P<seconds>\d{1,9}(?:\.\d{1,9})?)S)?)?",
    re.ASCII,
)
_WHOLE_UNITS = ("years", "months", "days", "hours", "minutes")


def parse_duration(text: str) -> timedelta:
    """Read an ISO 8601 duration as the service does: a year is 365 days, a month 30, no weeks, no sign.

    Anything longer than `FOREVER` is `FOREVER`; digits beyond the microsecond are dropped.

    Raises
    ------
    ValueError
        The text is no such duration.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no ISO 8601 duration such as PT30S, PT1H or P14D")
    years, months, days, hours, minutes = (int(match[unit] or 0) for unit in _WHOLE_UNITS)
    whole, _, fraction = (match["seconds"] or "0").partition(".")
    total_days = years * 365 + months * 30 + days
    if total_days > FOREVER.days:
        return FOREVER
    duration = timedelta(
        days=total_days,
        hours=hours,
        minutes=minutes,
        seconds=int(whole),
        microseconds=int(fraction[:6].ljust(6, "0")),
    )
    return min(duration, FOREVER)


def format_duration(duration: timedelta) -> str:
    """Write a duration (not negative) in ISO 8601, in the service's own spelling."""
    if duration < timedelta(0):
        raise ValueError(f"{duration!r} is negative")
    if duration >= FOREVER:
        return _FOREVER_TEXT
    minutes, seconds = divmod(duration.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    second_text = f"{seconds}.{duration.microseconds:06d}".rstrip("0").rstrip(".")
    date = f"{duration.days}D" if duration.days else ""
    units = ((str(hours), "H"), (str(minutes), "M"), (second_text, "S"))
    time = "".join(number + unit for number, unit in units if number != "0")
    if not date and not time:
        return "PT0S"
    return f"P{date}" + (f"T{time}" if time else "")
