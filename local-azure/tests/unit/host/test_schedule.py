"""Timer schedules: NCRONTAB as Azure reads it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_azure.host.timers.schedule import Cron, Interval, parse_schedule

START = datetime(2026, 1, 30, 23, 59, 58, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*/5 * * * * *", "2026-01-31T00:00:00+00:00"),
        ("* * * * * *", "2026-01-30T23:59:59+00:00"),
        ("0 */5 * * * *", "2026-01-31T00:00:00+00:00"),
        ("0 30 9 * * *", "2026-01-31T09:30:00+00:00"),
        ("0 30 9 * * mon-fri", "2026-02-02T09:30:00+00:00"),
        ("0 30 9 * jan Mon", "2027-01-04T09:30:00+00:00"),
        ("0 0 0 29 2 *", "2028-02-29T00:00:00+00:00"),
        ("15/20 0 0 1 * *", "2026-02-01T00:00:15+00:00"),
        ("0 0 0 13 * 5", "2026-02-13T00:00:00+00:00"),
        ("30 9 * * *", "2026-01-31T09:30:00+00:00"),
        ("0 0 8,17 * * *", "2026-01-31T08:00:00+00:00"),
    ],
)
def test_next_due_time(expression: str, expected: str) -> None:
    """Six fields with seconds first, names, lists, steps; day and weekday must both fit."""
    assert parse_schedule(expression).next_after(START).isoformat() == expected


@pytest.mark.parametrize(
    "expression",
    ["", "* * * *", "60 * * * * *", "* * 24 * * *", "* * * 0 * *", "* * * * * 7", "*/0 * * * * *", "a * * * * *",
     "9-3 * * * * *", "0 0 0 30 2 *", "* * * * * * *", "25:00:00"],
)  # fmt: skip
def test_refuses_what_is_no_schedule(expression: str) -> None:
    """Also what never comes due."""
    with pytest.raises(ValueError, match=r"."):
        parse_schedule(expression)


def test_an_interval_counts_from_the_last_run() -> None:
    schedule = parse_schedule("00:01:30")
    assert schedule == Interval(timedelta(seconds=90))
    assert schedule.next_after(START) == START + timedelta(seconds=90)


fields = st.builds(
    Cron,
    seconds=st.frozensets(st.integers(0, 59), min_size=1, max_size=4),
    minutes=st.frozensets(st.integers(0, 59), min_size=1, max_size=4),
    hours=st.frozensets(st.integers(0, 23), min_size=1),
    days=st.frozensets(st.integers(1, 31), min_size=20),
    months=st.frozensets(st.integers(1, 12), min_size=6),
    weekdays=st.frozensets(st.integers(0, 6), min_size=3),
)


@given(fields, st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)))  # noqa: DTZ001
def test_no_due_time_is_skipped(cron: Cron, moment: datetime) -> None:
    """Nothing between the moment and the next due time fits; the due time itself does, and its successor is later."""
    due = cron.next_after(moment)
    assert due > moment
    assert cron.next_after(due) > due
    assert cron.next_after(due - timedelta(seconds=1)) == due
    middle = moment + (due - moment) / 2
    assert cron.next_after(middle) == due
