"""When a job is due: NCRONTAB or an interval, on a time zone's clock, within a window. Pure; moments are in UTC.

A clock that goes forward or back is met like Debian's cron does it (cron(8)): what is due in the missing hour
runs once, at the end of the gap; in an hour that comes twice a schedule whose hours are `*` runs both times, any other
in the first alone.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = ["Cron", "Every", "Schedule", "Window", "WrongSchedule", "parse_schedule", "shortest_gap"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_PART = re.compile(r"(?P<low>\*|\w+)(?:-(?P<high>\w+))?(?:/(?P<step>\d+))?")
_SPAN = re.compile(r"(?P<count>\d{1,6})(?P<unit>[smhd])")
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d):([0-5]\d)")
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
# Leap days repeat within eight years, the gap around a skipped leap year.
_HORIZON_DAYS = 8 * 366


class WrongSchedule(ValueError):
    """A schedule that can't be followed; the message quotes it and says why."""


class Schedule(Protocol):
    """Says when something is due next."""

    @property
    def text(self) -> str:
        """As it was written."""

    def next_after(self, moment: datetime) -> datetime:
        """The first due time strictly after a moment, in UTC."""

    def allowed_from(self, moment: datetime) -> datetime:
        """From when on something that came due before a moment may run: at once, but for a window that is closed."""


@dataclass(frozen=True, slots=True)
class Every:
    """Every so often, by the clock: every instance, and every start, comes to the same times.

    Example
    -------
    >>> parse_schedule("5m").next_after(datetime(2026, 1, 5, 8, 27, tzinfo=UTC)).isoformat()
    '2026-01-05T08:30:00+00:00'
    """

    text: str
    period: timedelta

    def next_after(self, moment: datetime) -> datetime:
        """The first due time strictly after a moment."""
        return _EPOCH + ((moment - _EPOCH) // self.period + 1) * self.period

    def allowed_from(self, moment: datetime) -> datetime:
        """At once."""
        return moment


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def parse(self, text: str) -> tuple[int, ...]:
        return tuple(sorted({value for part in text.split(",") for value in self._part(part)}))

    def _part(self, part: str) -> range:
        match = _PART.fullmatch(part)
        if match is None or (match["low"] == "*" and match["high"]):
            raise WrongSchedule(f"{part!r} is no {self.name}")
        step = int(match["step"] or 1)
        if step < 1:
            raise WrongSchedule(f"the step of {part!r} must be 1 or more")
        if match["low"] == "*":
            return range(self.low, self.high + 1, step)
        low = self._value(match["low"])
        high = self._value(match["high"]) if match["high"] else (self.high if match["step"] else low)
        if high < low:
            raise WrongSchedule(f"{part!r} runs backwards")
        return range(low, high + 1, step)

    def _value(self, text: str) -> int:
        if text.lower()[:3] in self.names:
            return self.names.index(text.lower()[:3]) + self.low
        if not (text.isascii() and text.isdecimal()):
            raise WrongSchedule(f"{text!r} is no {self.name}")
        if not self.low <= int(text) <= self.high:
            raise WrongSchedule(f"{self.name} {text} is not between {self.low} and {self.high}")
        return int(text)


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
    """NCRONTAB as the Functions host reads it: `{second} {minute} {hour} {day} {month} {day of week}`.

    Day and day of the week must both fit, unlike in crontab(5).
    """

    text: str
    zone: ZoneInfo
    seconds: tuple[int, ...] = field(repr=False)
    minutes: tuple[int, ...] = field(repr=False)
    hours: tuple[int, ...] = field(repr=False)
    days: tuple[int, ...] = field(repr=False)
    months: tuple[int, ...] = field(repr=False)
    weekdays: tuple[int, ...] = field(repr=False)
    repeats: bool = field(repr=False)

    def next_after(self, moment: datetime) -> datetime:
        """The first due time strictly after a moment."""
        local = moment.astimezone(self.zone)
        wall = self._next(local.replace(tzinfo=None, fold=0))
        if local.fold and not self.repeats:
            while self._ambiguous(wall):  # had its turn when this hour came first
                wall = self._next(wall)
        fold = 1 if local.fold and self._ambiguous(wall) else 0
        due = self._instant(wall, fold)
        if self.repeats and (turn := self._clock_goes_back(moment, min(due, moment + 26 * timedelta(hours=1)))):
            again = turn.astimezone(self.zone).replace(tzinfo=None, fold=0)
            second = self._next(again - _SECOND)
            if self._ambiguous(second):
                due = min(due, self._instant(second, 1))
        return due

    def allowed_from(self, moment: datetime) -> datetime:
        """At once."""
        return moment

    def _instant(self, wall: datetime, fold: int) -> datetime:
        """When the clock of the zone shows this; for a time that it leaps over, the end of the gap."""
        instant = wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC)
        if instant.astimezone(self.zone).replace(tzinfo=None, fold=0) == wall:
            return instant
        before = wall.replace(tzinfo=self.zone, fold=1).astimezone(UTC)
        return self._change(before, instant)

    def _ambiguous(self, wall: datetime) -> bool:
        first, second = (wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        return first < second

    def _clock_goes_back(self, after: datetime, until: datetime) -> datetime | None:
        if until <= after or self._offset(until) >= self._offset(after):
            return None
        return self._change(after, until)

    def _change(self, before: datetime, after: datetime) -> datetime:
        """The first second with another offset; there is one change between the two moments."""
        old = self._offset(before)
        while after - before > _SECOND:
            middle = before + (after - before) // (2 * _SECOND) * _SECOND
            if self._offset(middle) == old:
                before = middle
            else:
                after = middle
        return after

    def _offset(self, moment: datetime) -> timedelta:
        return moment.astimezone(self.zone).utcoffset() or timedelta()

    def _next(self, wall: datetime) -> datetime:
        """The first fitting time of a clock without changes, strictly after one."""
        wall = (wall + _SECOND).replace(microsecond=0)
        for _ in range(_HORIZON_DAYS):
            fits = wall.month in self.months and wall.day in self.days and wall.isoweekday() % 7 in self.weekdays
            if fits and (due := self._time_of_day(wall)) is not None:
                return due
            wall = (wall + _DAY).replace(hour=0, minute=0, second=0)
        raise WrongSchedule(f"{self.text!r} never comes due")

    def _time_of_day(self, start: datetime) -> datetime | None:
        """The first fitting time of the day at or after a moment."""
        for hour in (hour for hour in self.hours if hour >= start.hour):
            least = start.minute if hour == start.hour else 0
            for minute in (minute for minute in self.minutes if minute >= least):
                same = hour == start.hour and minute == start.minute
                for second in self.seconds:
                    if not same or second >= start.second:
                        return start.replace(hour=hour, minute=minute, second=second)
        return None


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the day in which a schedule may come due, on a zone's clock; may pass midnight.

    Example
    -------
    >>> night = Window(parse_schedule("15m"), time(22), time(6), ZoneInfo("Europe/Berlin"))
    >>> night.next_after(datetime(2026, 1, 5, 12, tzinfo=UTC)).isoformat()
    '2026-01-05T21:00:00+00:00'
    """

    schedule: Schedule
    begin: time
    end: time
    zone: ZoneInfo

    @property
    def text(self) -> str:
        """As it was written, with the window."""
        return f"{self.schedule.text} between {self.begin:%H:%M} and {self.end:%H:%M} {self.zone.key}"

    def next_after(self, moment: datetime) -> datetime:
        """The first due time in the window strictly after a moment."""
        horizon = moment + _HORIZON_DAYS * _DAY
        while moment < horizon:
            due = self.schedule.next_after(moment)
            if self._open_at(due):
                return due
            moment = self.allowed_from(due) - _SECOND
        raise WrongSchedule(f"{self.text!r} never comes due")

    def allowed_from(self, moment: datetime) -> datetime:
        """At once, or when the window opens."""
        return moment if self._open_at(moment) else _daily(self.begin, self.zone).next_after(moment)

    def _open_at(self, moment: datetime) -> bool:
        now = moment.astimezone(self.zone).time()
        if self.begin < self.end:
            return self.begin <= now < self.end
        return now >= self.begin or now < self.end


def _daily(clock: time, zone: ZoneInfo) -> Cron:
    days, months, weekdays = (tuple(range(one.low, one.high + 1)) for one in _FIELDS[3:])
    return Cron("", zone, (clock.second,), (clock.minute,), (clock.hour,), days, months, weekdays, repeats=False)


def parse_schedule(text: str, *, zone: str = "UTC", between: str = "") -> Schedule:
    """NCRONTAB of six fields (or five, without seconds), or an interval: `30s`, `5m`, `2h`, `1d` or `hh:mm:ss`.

    Parameters
    ----------
    zone:
        The clock that cron and window go by, for example `Europe/Berlin`.
    between:
        `22:00-06:00`: comes due within these hours only.

    Raises
    ------
    WrongSchedule
        The text is neither, or never comes due, or nobody knows the zone.
    """
    clock = _zone(zone)
    schedule: Schedule = _every(text) or _cron(text, clock)
    if between:
        schedule = _window(schedule, between, clock)
    try:
        schedule.next_after(_EPOCH)
    except OverflowError:
        raise WrongSchedule(f"{text!r} never comes due") from None
    return schedule


def shortest_gap(schedule: Schedule, *, after: datetime, runs: int = 8) -> timedelta:
    """The shortest time between some coming runs: how often somebody has to look."""
    moments = [schedule.next_after(after)]
    for _ in range(runs):
        moments.append(schedule.next_after(moments[-1]))
    return min(later - earlier for earlier, later in pairwise(moments))


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise WrongSchedule(f"{name!r} is no time zone") from None


def _every(text: str) -> Every | None:
    if (span := _SPAN.fullmatch(text)) is not None:
        seconds = int(span["count"]) * _UNITS[span["unit"]]
    elif (clock := _CLOCK.fullmatch(text)) is not None:
        hours, minutes, rest = (int(part) for part in clock.groups())
        seconds = hours * 3_600 + minutes * 60 + rest
    else:
        return None
    if not 1 <= seconds <= 366 * 86_400:
        raise WrongSchedule(f"{text!r} must be between one second and a year")
    return Every(text, timedelta(seconds=seconds))


def _cron(text: str, zone: ZoneInfo) -> Cron:
    parts = text.split()
    if len(parts) == 5:
        parts = ["0", *parts]
    if len(parts) != len(_FIELDS):
        raise WrongSchedule(f"{text!r} is neither an interval nor NCRONTAB, which has six fields from seconds on")
    try:
        values = [one.parse(part) for one, part in zip(_FIELDS, parts, strict=True)]
    except WrongSchedule as wrong:
        raise WrongSchedule(f"{text!r}: {wrong}") from None
    seconds, minutes, hours, days, months, weekdays = values
    return Cron(text, zone, seconds, minutes, hours, days, months, weekdays, parts[2].startswith("*"))


def _window(schedule: Schedule, text: str, zone: ZoneInfo) -> Window:
    try:
        begin, end = (time.fromisoformat(part.strip()) for part in text.split("-"))
    except ValueError:
        raise WrongSchedule(f"{text!r} is no window, for example 22:00-06:00") from None
    if begin == end or begin.tzinfo is not None or end.tzinfo is not None:
        raise WrongSchedule(f"{text!r} is no window: it ends when it begins")
    return Window(schedule, begin, end, zone)
