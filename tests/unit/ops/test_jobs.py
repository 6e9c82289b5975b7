"""`jobs`: what the records say of every job, for people and for programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from ops.jobs import FAILING, OK, WRONG, main, report
from shared.jobs import Job, JobRecord, JobRun, parse_schedule
from shared.jobs.records import Outcome
from tests.unit.functions.conftest import ENVIRONMENT

NOW = datetime(2026, 1, 5, 8, 0, 2, tzinfo=UTC)


async def nothing(_: JobRun) -> None:
    """Do nothing."""


def job(name: str) -> Job:
    """A job of the streams app."""
    return Job(name=name, app="streams", schedule=parse_schedule("5m"), call=nothing)


def record(name: str, outcome: Outcome | None, *, holder: str = "", left: int = 60, reason: str = "") -> JobRecord:
    """A run that began eight seconds ago and, where it has an outcome, took 2.5 s."""
    began = NOW - timedelta(seconds=8)
    return JobRecord(
        name=name,
        due=NOW + timedelta(minutes=5),
        holder=holder,
        until=NOW + timedelta(seconds=left) if holder else None,
        run_due=NOW,
        started_at=began,
        ended_at=began + timedelta(seconds=2.5) if outcome else None,
        outcome=outcome,
        reason=reason,
    )


def test_people_see_a_table() -> None:
    """Last run, how long, how it went, and the next one."""
    jobs = [job("sweep-outbox"), job("orders.missed-scans")]
    text, code = report(jobs, {"sweep-outbox": record("sweep-outbox", Outcome.DONE)}, NOW, as_json=False)
    assert code == OK
    assert text.splitlines() == [
        "job                  app      schedule  last run             took   outcome      next run",
        "sweep-outbox         streams  5m        2026-01-05 07:59:54  2.5 s  done         2026-01-05 08:05:02",
        "orders.missed-scans  streams  5m                                    not yet run",
    ]


@pytest.mark.parametrize(
    ("found", "outcome", "code"),
    [
        (record("a", Outcome.DONE), "done", OK),
        (record("a", Outcome.MORE), "more", OK),
        (record("a", None, holder="x"), "running", OK),
        (record("a", None, holder="x", left=-1), "died", FAILING),
        (record("a", Outcome.FAILED, reason="LookupError"), "failed", FAILING),
        (record("a", Outcome.TIMED_OUT), "timed-out", FAILING),
    ],
)
def test_programs_see_an_object_and_an_exit_code(found: JobRecord, outcome: str, code: int) -> None:
    """Something to watch a job with."""
    text, returned = report([job("a")], {"a": found}, NOW, as_json=True)
    (row,) = json.loads(text)["jobs"]
    assert (row["outcome"], row["reason"], returned) == (outcome, found.reason or None, code)
    assert row["dueAt"] == "2026-01-05T08:05:02+00:00"


def test_what_is_wrong_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is asked of a store that the settings don't name."""
    assert main([], {**ENVIRONMENT, "SLUICE_PARKING_SCHEDULE": "often"}) == WRONG
    told = capsys.readouterr().err
    assert "SLUICE_PARKING_SCHEDULE: 'often' is neither an interval nor NCRONTAB" in told
    assert told.count("\n") == 1
