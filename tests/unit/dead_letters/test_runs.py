"""Runs of replays: seen while they go on, stopped by somebody else, gone on with by the next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import Any

from azure.core.exceptions import ServiceRequestError

from ops.dead_letters.rendering import run_json, runs_table
from shared.dead_letters import Decision, Ramp, RedriveRun, ReplayOutcome, Report, RunBook
from shared.dead_letters.runs import KEPT, LOST_AFTER
from shared.tables import MemoryTable
from tests.unit.dead_letters.test_ramp import ORDER, Clock, Scripted, each, letters

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
ENOUGH = Decision(by="grace", reason="the partner\nfell over")


class Replays:
    """A book of runs on a clock that both move by."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.table = MemoryTable()
        self.book = RunBook(self.table, now=lambda: NOON + timedelta(seconds=self.clock.now))

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.clock.now)


async def test_a_run_is_seen_and_stopped_by_somebody_else_and_the_next_goes_on() -> None:
    replays = Replays()
    redrive = Scripted(replays.clock, repeat(ReplayOutcome.DONE))
    noted = replays.book.begin("run-1", ORDER, clock=replays.clock)
    seen: list[int] = []

    async def look(report: Report) -> str | None:
        why = await noted.look(report)
        (state,) = await replays.book.all()
        seen.append(state.report["handedOver"])
        assert run_json(state, replays.now())["state"] == "going on"
        if report.handed_over >= 20:
            await replays.book.ask_to_stop("run-1", ENOUGH)
        return why

    run = RedriveRun(redrive, Ramp(rate=4), clock=replays.clock, sleep=replays.clock.sleep, look=look)
    all_letters = letters(100)
    report = await run.replay(each(all_letters), ORDER)
    await noted.end(report)
    assert report.stopped == "grace asked for it: the partner\nfell over"
    assert 20 <= report.handed_over < 50
    assert seen == sorted(seen)
    (state,) = await replays.book.all()
    assert state.report["handedOver"] == report.handed_over
    assert "stopped: grace asked for it" in runs_table([state], replays.now())
    assert "\nfell over" not in runs_table([state], replays.now())

    left = all_letters[report.handed_over :]
    again = replays.book.begin("run-2", ORDER, clock=replays.clock)
    run = RedriveRun(redrive, Ramp(rate=100), clock=replays.clock, sleep=replays.clock.sleep, look=again.look)
    rest = await run.replay(each(left), ORDER)
    await again.end(rest)
    assert rest.stopped is None
    assert len({identity for _, identity in redrive.replayed}) == 100
    assert [(one.run, one.ended) for one in await replays.book.all()] == [("run-2", "done"), ("run-1", report.stopped)]


async def test_a_stop_is_heard_while_outcomes_are_awaited() -> None:
    replays = Replays()
    noted = replays.book.begin("run-1", ORDER, clock=replays.clock)
    await replays.book.ask_to_stop("run-1", ENOUGH)
    redrive = Scripted(replays.clock, repeat(ReplayOutcome.PENDING))
    run = RedriveRun(redrive, Ramp(patience=3_600), clock=replays.clock, sleep=replays.clock.sleep, look=noted.look)
    report = await run.replay(each(letters(5)), ORDER)
    assert report.stopped == "grace asked for it: the partner\nfell over"
    assert replays.clock.now < 10


async def test_a_run_that_was_killed_is_told_from_one_that_waits() -> None:
    replays = Replays()
    noted = replays.book.begin("run-1", ORDER, clock=replays.clock)
    await noted.look(Report())
    (state,) = await replays.book.all()
    assert not state.lost(replays.now() + LOST_AFTER)
    assert state.lost(replays.now() + LOST_AFTER + timedelta(seconds=1))
    assert run_json(state, replays.now() + timedelta(hours=1))["state"].startswith("killed")
    await noted.end(None, failed="failed: ConnectionError")
    assert run_json((await replays.book.all())[0], replays.now())["state"] == "failed: ConnectionError"


async def test_signs_of_life_are_a_second_apart_and_the_list_is_bounded() -> None:
    replays = Replays()
    writes = 0
    submit = replays.table.submit

    async def counting(operations: object) -> object:
        nonlocal writes
        writes += 1
        return await submit(operations)  # type: ignore[arg-type]

    vars(replays.table)["submit"] = counting
    noted = replays.book.begin("run-1", ORDER, clock=replays.clock)
    for _ in range(100):
        await noted.look(Report())
        replays.clock.now += 0.1
    assert 9 <= writes <= 11
    for number in range(KEPT + 5):
        await replays.book.begin(f"run-{number:03}", ORDER, clock=replays.clock).end(Report())
        replays.clock.now += 1
    found = await replays.book.all()
    assert len(found) == KEPT
    assert found[0].run == f"run-{KEPT + 4:03}"


def away(replays: Replays, name: str, times: int) -> None:
    """Have the table fail so often."""
    whole, left = getattr(replays.table, name), times

    async def failing(*arguments: Any, **more: Any) -> Any:
        nonlocal left
        left -= 1
        if left >= 0:
            raise ServiceRequestError("the state is away")
        return await whole(*arguments, **more)

    vars(replays.table)[name] = failing


async def test_progress_that_cannot_be_written_ends_no_run() -> None:
    replays = Replays()
    noted = replays.book.begin("run-1", ORDER, clock=replays.clock)
    away(replays, "submit", 10**6)
    redrive = Scripted(replays.clock, repeat(ReplayOutcome.DONE))
    run = RedriveRun(redrive, Ramp(rate=4), clock=replays.clock, sleep=replays.clock.sleep, look=noted.look)
    report = await run.replay(each(letters(60)), ORDER)
    await noted.end(report)
    assert (report.handed_over, report.outcomes[ReplayOutcome.DONE], report.stopped) == (60, 60, None)


async def test_a_run_that_nobody_can_stop_any_more_stops_and_judges_what_it_sent() -> None:
    """A read that fails now and then is borne."""
    replays = Replays()
    noted = replays.book.begin("run-1", ORDER, clock=replays.clock)
    away(replays, "get", 2)
    for _ in range(5):
        assert await noted.look(Report()) is None
        replays.clock.now += 1
    away(replays, "get", 10**6)
    redrive = Scripted(replays.clock, repeat(ReplayOutcome.DONE))
    run = RedriveRun(redrive, Ramp(rate=4), clock=replays.clock, sleep=replays.clock.sleep, look=noted.look)
    report = await run.replay(each(letters(100)), ORDER)
    assert "nobody could stop it" in (report.stopped or "")
    assert 0 < report.handed_over == report.outcomes[ReplayOutcome.DONE] < 100


async def test_outcomes_that_cannot_be_read_now_are_awaited() -> None:
    replays = Replays()
    redrive = Scripted(replays.clock, repeat(ReplayOutcome.DONE))
    whole, failures = redrive.outcome, iter([True] * 7)

    async def outcome(letter: Any) -> ReplayOutcome:
        if next(failures, False):
            raise ServiceRequestError("the state is away")
        return await whole(letter)

    vars(redrive)["outcome"] = outcome
    run = RedriveRun(redrive, Ramp(rate=100), clock=replays.clock, sleep=replays.clock.sleep)
    report = await run.replay(each(letters(10)), ORDER)
    assert (report.outcomes[ReplayOutcome.DONE], report.stopped) == (10, None)


async def test_old_runs_are_neither_read_nor_kept() -> None:
    replays = Replays()
    names = [f"{NOON - timedelta(days=days):%Y%m%dT%H%M%SZ}-0000" for days in (0, 20, 40, 400)]
    for name in names:
        await replays.book.begin(name, ORDER, clock=replays.clock).end(Report())
        await replays.book.ask_to_stop(name, ENOUGH)
    assert {one.run for one in await replays.book.all()} == set(names[:2])
    assert await replays.book.sweep(NOON - timedelta(days=30)) == 4
    left = {row for _, row in replays.table.rows}
    assert left == {*names[:2], *(f"stop:{name}" for name in names[:2])}
    assert await replays.book.sweep(NOON - timedelta(days=30)) == 0
