"""When jobs are due: on every zone's clock, on days of 23 and of 25 hours, within windows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_azure.host.timers.schedule import Cron as HostCron
from local_azure.host.timers.schedule import parse_schedule as parse_as_the_host
from shared.jobs import Schedule, WrongSchedule, parse_schedule, shortest_gap

START = datetime(2026, 1, 30, 23, 59, 58, 500_000, tzinfo=UTC)
BERLIN = "Europe/Berlin"
ZONES = ("UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu", "Africa/Cairo")
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2029, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
NUMBERS = {"second": 59, "minute": 59, "hour": 23}


@st.composite
def clock_fields(draw: st.DrawFn) -> str:
    """Second, minute and hour: a star, a step, a list or a range."""
    parts = []
    for most in NUMBERS.values():
        low, high = sorted((draw(st.integers(0, most)), draw(st.integers(0, most))))
        parts.append(draw(st.sampled_from(["*", f"*/{high + 1}", f"{low}", f"{low},{high}", f"{low}-{high}/7"])))
    return " ".join(parts)


DAYS = st.sampled_from(["* * *", "* * 1-5", "1 * *", "15 */2 *", "* 3,10 0", "29 2 *"])
CRONS = st.builds("{} {}".format, clock_fields(), DAYS)
SPANS = st.sampled_from(["1s", "7s", "30s", "5m", "90m", "1d", "00:05:00"])


def dues(schedule: Schedule, after: str, count: int) -> list[str]:
    """The next due times as the zone's clock shows them."""
    moment, found = datetime.fromisoformat(after).astimezone(UTC), []
    for _ in range(count):
        moment = schedule.next_after(moment)
        found.append(f"{moment.astimezone(ZoneInfo(BERLIN)):%d %H:%M %z}")
    return found


@given(CRONS, MOMENTS)
@settings(max_examples=100, deadline=None)
def test_in_utc_it_is_what_the_functions_host_makes_of_it(text: str, moment: datetime) -> None:
    """Two readers of NCRONTAB, written apart, agree."""
    assert parse_schedule(text).next_after(moment) == parse_as_the_host(text).next_after(moment)


@given(st.one_of(CRONS, SPANS), st.sampled_from(ZONES), MOMENTS, st.sampled_from(["", "22:00-06:00", "01:30-02:30"]))
@settings(max_examples=100, deadline=None)
def test_the_next_run_is_strictly_later_and_none_is_left_out(
    text: str, zone: str, moment: datetime, between: str
) -> None:
    """From just before a due time one comes to it, from the time itself beyond."""
    try:
        schedule = parse_schedule(text, zone=zone, between=between)
    except WrongSchedule:
        assert between  # never in the window
        return
    due = schedule.next_after(moment)
    assert due > moment
    assert due.tzinfo is UTC
    assert schedule.next_after(due) > due
    assert schedule.next_after(due - timedelta(seconds=1)) == due
    assert schedule.next_after(moment + (due - moment) / 2) == due


@given(clock_fields(), st.sampled_from([BERLIN, "Australia/Lord_Howe", "America/Santiago"]), st.data())
@settings(max_examples=60, deadline=None)
def test_around_a_change_of_the_clock_it_is_what_looking_at_every_second_finds(
    clock: str, zone: str, data: st.DataObject
) -> None:
    """The rule, told the slow way."""
    changes = {
        BERLIN: ("2026-03-29T01:00", "2026-10-25T01:00"),
        "Australia/Lord_Howe": ("2026-10-03T15:30", "2026-04-04T15:00"),
        "America/Santiago": ("2026-09-06T04:00", "2026-04-05T03:00"),
    }
    change = datetime.fromisoformat(data.draw(st.sampled_from(changes[zone]))).replace(tzinfo=UTC)
    begin = change - timedelta(minutes=data.draw(st.integers(0, 75)))
    schedule = parse_schedule(f"{clock} * * *", zone=zone)
    found, moment = [], begin
    while (moment := schedule.next_after(moment)) < change + timedelta(hours=2):
        found.append(moment)
    assert found == slowly(clock, ZoneInfo(zone), begin, change, change + timedelta(hours=2))


def slowly(clock: str, zone: ZoneInfo, begin: datetime, change: datetime, end: datetime) -> list[datetime]:
    """Every second looked at; seconds that the clock leaps over run at the change."""
    plain = parse_as_the_host(f"{clock} * * *")
    assert isinstance(plain, HostCron)
    repeats = clock.split()[2].startswith("*")

    def fits(wall: datetime) -> bool:
        return wall.second in plain.seconds and wall.minute in plain.minutes and wall.hour in plain.hours

    found = set()
    gap = int(((change.astimezone(zone).utcoffset() or timedelta()) - before(change, zone)).total_seconds())
    wall_at_change = (change + before(change, zone)).replace(tzinfo=None)
    if change > begin and any(fits(wall_at_change + timedelta(seconds=number)) for number in range(gap)):
        found.add(change)
    moment = begin.replace(microsecond=0)
    while (moment := moment + timedelta(seconds=1)) < end:
        local = moment.astimezone(zone)
        if fits(local.replace(tzinfo=None, fold=0)) and (repeats or not local.fold):
            found.add(moment)
    return sorted(found)


def before(change: datetime, zone: ZoneInfo) -> timedelta:
    """The offset just before a change."""
    return (change - timedelta(seconds=1)).astimezone(zone).utcoffset() or timedelta()


def test_a_day_of_23_hours() -> None:
    """What the missing hour would have had runs once, when it is over; what runs all the time goes on."""
    nightly = parse_schedule("0 30 2 * * *", zone=BERLIN)
    assert dues(nightly, "2026-03-28T12:00+01:00", 2) == ["29 03:00 +0200", "30 02:30 +0200"]
    half = parse_schedule("0 */30 * * * *", zone=BERLIN)
    assert dues(half, "2026-03-29T01:15+01:00", 3) == ["29 01:30 +0100", "29 03:00 +0200", "29 03:30 +0200"]


def test_a_day_of_25_hours() -> None:
    """A daily job runs once, when the hour comes first; what runs all the time runs in both."""
    nightly = parse_schedule("0 30 2 * * *", zone=BERLIN)
    assert dues(nightly, "2026-10-24T12:00+02:00", 2) == ["25 02:30 +0200", "26 02:30 +0100"]
    half = parse_schedule("0 */30 * * * *", zone=BERLIN)
    assert dues(half, "2026-10-25T02:10+02:00", 4) == [
        "25 02:30 +0200",
        "25 02:00 +0100",
        "25 02:30 +0100",
        "25 03:00 +0100",
    ]


def test_a_window_is_on_the_zone_s_clock() -> None:
    """It opens at the hour that people there see, whether the day has 23, 24 or 25 hours."""
    night = parse_schedule("2h", zone=BERLIN, between="22:00-06:00")
    assert dues(night, "2026-01-05T12:00+01:00", 6) == [
        "05 23:00 +0100",
        "06 01:00 +0100",
        "06 03:00 +0100",
        "06 05:00 +0100",
        "06 23:00 +0100",
        "07 01:00 +0100",
    ]
    assert dues(night, "2026-10-25T01:00+02:00", 4) == [
        "25 02:00 +0200",
        "25 03:00 +0100",
        "25 05:00 +0100",
        "25 23:00 +0100",
    ]
    assert night.text == "2h between 22:00 and 06:00 Europe/Berlin"


def test_an_interval_is_the_same_for_every_instance() -> None:
    """Whenever it was started."""
    schedule = parse_schedule("5m")
    assert {schedule.next_after(START + timedelta(seconds=number)).minute for number in range(2, 200)} == {5}


@pytest.mark.parametrize(
    ("text", "options", "why"),
    [
        ("", {}, "neither"),
        ("* * * *", {}, "neither"),
        ("60 * * * * *", {}, "second 60 is not between 0 and 59"),
        ("* * * * * 7", {}, "day of the week 7"),
        ("*/0 * * * * *", {}, "1 or more"),
        ("a * * * * *", {}, "'a' is no second"),
        ("9-3 * * * * *", {}, "backwards"),
        ("*-3 * * * * *", {}, "is no second"),
        ("² * * * * *", {}, "is no second"),
        ("0 0 0 30 2 *", {}, "never comes due"),
        ("0s", {}, "between one second and a year"),
        ("25:00:00", {}, "neither"),
        ("5m", {"zone": "Europe/Atlantis"}, "no time zone"),
        ("5m", {"zone": "../etc/passwd"}, "no time zone"),
        ("5m", {"between": "night"}, "no window"),
        ("5m", {"between": "22:00-22:00"}, "ends when it begins"),
        ("0 0 12 * * *", {"between": "22:00-06:00"}, "never comes due"),
    ],
)
def test_what_is_no_schedule_is_refused_with_its_reason(text: str, options: dict[str, str], why: str) -> None:
    """When it is declared, not when it would be due."""
    with pytest.raises(WrongSchedule, match=why):
        parse_schedule(text, **options)


@pytest.mark.parametrize(
    ("text", "seconds"), [("*/5 * * * * *", 5), ("0 0,7 * * * *", 420), ("30s", 30), ("1d", 86400)]
)
def test_how_often_somebody_has_to_look(text: str, seconds: int) -> None:
    """The shortest time between two runs."""
    assert shortest_gap(parse_schedule(text), after=START) == timedelta(seconds=seconds)


def test_due_times_of_a_year_are_in_order_and_as_many_as_days() -> None:
    """A daily job runs once on each of 365 days, two of which have another length."""
    schedule = parse_schedule("0 30 2 * * *", zone=BERLIN)
    moments = [schedule.next_after(datetime(2025, 12, 31, 23, tzinfo=UTC))]
    while (following := schedule.next_after(moments[-1])) < datetime(2026, 12, 31, 23, tzinfo=UTC):
        moments.append(following)
    assert len({f"{one.astimezone(ZoneInfo(BERLIN)):%m-%d}" for one in moments}) == len(moments) == 365
    assert all(earlier < later for earlier, later in pairwise(moments))
