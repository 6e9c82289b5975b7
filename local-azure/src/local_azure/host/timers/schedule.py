"""When a timer is due: NCRONTAB expressions with seconds, or a plain interval."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from local_azure.host.time_spans import parse_time_span

__all__ = ["Cron", "Interval", "Schedule", "parse_schedule"]

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_PART = re.compile(r"^(?P<low>\*|\w+)(?:-(?P<high>\w+))?(?:/(?P<step>\d+))?$")
# Leap days repeat within eight years, the gap around a skipped leap year.
_HORIZON_DAYS = 8 * 366


class Schedule(Protocol):
    """Says when a timer is due next."""

    def next_after(self, moment: datetime) -> datetime:
        """The first due time strictly after a moment."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Every so often, counted from the last run."""

    period: timedelta

    def next_after(self, moment: datetime) -> datetime:
        return moment + self.period


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def parse(self, text: str) -> frozenset[int]:
        return frozenset(value for part in text.split(",") for value in self._part(part))

    def _part(self, part: str) -> range:
        match = _PART.match(part)
        if match is None:
            raise ValueError(f"{part!r} is no {self.name}")
        step = int(match["step"] or 1)
        if step < 1:
            raise ValueError(f"the step of {part!r} must be 1 or more")
        if match["low"] == "*":
            if match["high"]:
                raise ValueError(f"{part!r} is no {self.name}")
            return range(self.low, self.high + 1, step)
        low = self._value(match["low"])
        high = self._value(match["high"]) if match["high"] else (self.high if match["step"] else low)
        if high < low:
            raise ValueError(f"{part!r} runs backwards")
        return range(low, high + 1, step)

    def _value(self, text: str) -> int:
        if text.isdecimal():
            value = int(text)
        elif text.lower()[:3] in self.names:
            value = self.names.index(text.lower()[:3]) + self.low
        else:
            raise ValueError(f"{text!r} is no {self.name}")
        if not self.low <= value <= self.high:
            raise ValueError(f"{self.name} {value} is not between {self.low} and {self.high}")
        return value


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 6, _DAYS),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """`{second} {minute} {hour} {day} {month} {day of week}`; day and day of the week must both fit."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    def next_after(self, moment: datetime) -> datetime:
        """The first due time strictly after a moment, in whole seconds.

        Raises
        ------
        ValueError
            There is none within eight years, as for 30 February.
        """
        moment = (moment + timedelta(seconds=1)).replace(microsecond=0)
        for _ in range(_HORIZON_DAYS):
            if self._day_fits(moment) and (due := self._time_of_day(moment)) is not None:
                return due
            moment = (moment + timedelta(days=1)).replace(hour=0, minute=0, second=0)
        raise ValueError("the schedule never comes due")

    def _day_fits(self, moment: datetime) -> bool:
        return moment.month in self.months and moment.day in self.days and moment.isoweekday() % 7 in self.weekdays

    def _time_of_day(self, start: datetime) -> datetime | None:
        """The first fitting time of the day at or after a moment."""
        for hour in sorted(hour for hour in self.hours if hour >= start.hour):
            minute_floor = start.minute if hour == start.hour else 0
            for minute in sorted(minute for minute in self.minutes if minute >= minute_floor):
                same = hour == start.hour and minute == start.minute
                seconds = [second for second in self.seconds if not same or second >= start.second]
                if seconds:
                    return start.replace(hour=hour, minute=minute, second=min(seconds))
        return None


def parse_schedule(text: str) -> Schedule:
    """An NCRONTAB expression of six fields (or five, without seconds), or an interval `hh:mm:ss`.

    Raises
    ------
    ValueError
        The text is neither, or never comes due.
    """
    fields = text.split()
    if len(fields) == 1:
        return Interval(parse_time_span(text))
    if len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) != 6:
        raise ValueError(f"{text!r} has {len(fields)} fields; NCRONTAB has six, the first being seconds")
    cron = Cron(*(field.parse(part) for field, part in zip(_FIELDS, fields, strict=True)))
    cron.next_after(datetime(2000, 1, 1))  # noqa: DTZ001 - any moment will do
    return cron
