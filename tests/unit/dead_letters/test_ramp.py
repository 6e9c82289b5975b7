"""A run of replays: waves that grow while they succeed, a rate that is kept, and a stop where they come back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.dead_letters import (
    Action,
    DeadLetter,
    Decision,
    Ramp,
    Redrive,
    RedriveRun,
    ReplayOutcome,
    ReplayResult,
    Report,
    StoredLetter,
)
from shared.dead_letters.rows import from_row, to_row

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
ORDER = Decision(by="operator", reason="the partner is back")


class Clock:
    """Seconds that pass only when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Scripted(Redrive):
    """Decides by script: what a replay does, and what becomes of each message."""

    def __init__(
        self, clock: Clock, outcomes: Iterator[ReplayOutcome], actions: Iterator[Action] | None = None
    ) -> None:
        self.replayed: list[tuple[float, str]] = []
        self.looked = 0
        self._clock = clock
        self._outcomes = outcomes
        self._actions = actions
        self._known: dict[str, ReplayOutcome] = {}

    async def replay(self, letter: StoredLetter, order: Decision) -> ReplayResult:
        self.replayed.append((self._clock.now, letter.id))
        action = next(self._actions) if self._actions else Action.SEND
        return ReplayResult(letter, action, None if action.hands_over else "no")

    async def outcome(self, letter: StoredLetter) -> ReplayOutcome:
        self.looked += 1
        if letter.id not in self._known:
            self._known[letter.id] = next(self._outcomes)
        return self._known[letter.id]


def letters(count: int) -> list[StoredLetter]:
    return [
        from_row(
            to_row(
                DeadLetter(
                    identity=str(number),
                    body=b"",
                    properties={},
                    source="lane:low",
                    category="transient",
                    code="HANDLER_ERROR",
                    reason="",
                    attempts=5,
                    first_failure=NOON,
                    last_failure=NOON,
                )
            )
        )
        for number in range(count)
    ]


async def each(found: list[StoredLetter]) -> AsyncIterator[StoredLetter]:
    for letter in found:
        yield letter


def always(value: Any) -> Iterator[Any]:
    while True:
        yield value


async def run(redrive: Redrive, clock: Clock, count: int, **ramp: Any) -> Report:
    seen: list[int] = []
    going = RedriveRun(
        redrive, Ramp(**ramp), clock=clock, sleep=clock.sleep, watch=lambda report: seen.append(report.handed_over)
    )
    report = await going.replay(each(letters(count)), ORDER)
    assert seen == sorted(seen)
    return report


async def test_everything_is_replayed_while_it_succeeds() -> None:
    clock = Clock()
    redrive = Scripted(clock, always(ReplayOutcome.DONE))
    report = await run(redrive, clock, 137, rate=1_000)
    assert report.stopped is None
    assert (report.handed_over, report.outcomes[ReplayOutcome.DONE]) == (137, 137)
    assert len({name for _, name in redrive.replayed}) == 137


async def test_a_canary_that_fails_stops_the_run() -> None:
    clock = Clock()
    redrive = Scripted(clock, always(ReplayOutcome.FAILED))
    report = await run(redrive, clock, 500, canary=10)
    assert len(redrive.replayed) == 10
    assert report.stopped is not None
    assert "10 of 10 failed again" in report.stopped


async def test_failures_up_to_the_share_are_borne() -> None:
    clock = Clock()
    pattern = iter(([ReplayOutcome.FAILED] * 2 + [ReplayOutcome.DONE] * 8) * 20)
    report = await run(Scripted(clock, pattern), clock, 50, canary=10, max_share=0.2)
    assert report.stopped is None
    assert report.outcomes[ReplayOutcome.FAILED] == 10


async def test_a_later_wave_that_fails_stops_the_run_too() -> None:
    clock = Clock()
    outcomes = iter([ReplayOutcome.DONE] * 10 + [ReplayOutcome.FAILED] * 500)
    redrive = Scripted(clock, outcomes)
    report = await run(redrive, clock, 500, canary=10)
    assert len(redrive.replayed) == 30
    assert report.stopped is not None


async def test_a_wave_without_outcomes_stops_the_run_after_its_patience() -> None:
    clock = Clock()
    redrive = Scripted(clock, always(ReplayOutcome.PENDING))
    report = await run(redrive, clock, 500, canary=4, patience=30, rate=1_000)
    assert len(redrive.replayed) == 4
    assert report.outcomes == {ReplayOutcome.PENDING: 4}
    assert report.stopped is not None
    assert "no outcome after 30 s" in report.stopped
    assert 30 <= clock.now < 32


async def test_without_patience_nobody_looks() -> None:
    clock = Clock()
    redrive = Scripted(clock, always(ReplayOutcome.FAILED))
    report = await run(redrive, clock, 60, patience=0)
    assert (report.handed_over, redrive.looked, report.stopped) == (60, 0, None)


@pytest.mark.parametrize("rate", [0.5, 20.0, 250.0])
async def test_the_rate_is_kept(rate: float) -> None:
    clock = Clock()
    redrive = Scripted(clock, always(ReplayOutcome.DONE))
    await run(redrive, clock, 40, rate=rate, patience=0)
    moments = sorted(moment for moment, _ in redrive.replayed)
    for start in range(40):
        within = [moment for moment in moments[start:] if moment < moments[start] + 1 - 1e-9]
        assert len(within) <= max(1, rate)


async def test_skipped_letters_are_counted_and_fill_no_wave() -> None:
    clock = Clock()
    actions = iter([Action.SKIP_RESOLVED, Action.SKIP_BUSY] * 20 + [Action.SEND] * 20)
    report = await run(Scripted(clock, always(ReplayOutcome.DONE), actions), clock, 60, canary=5, rate=1_000)
    assert report.handed_over == 20
    assert report.actions[Action.SKIP_RESOLVED] == 20
    assert report.stopped is None


async def test_a_broker_that_takes_nothing_stops_the_run() -> None:
    clock = Clock()
    redrive = Scripted(clock, always(ReplayOutcome.DONE), always(Action.UNREACHABLE))
    report = await run(redrive, clock, 500)
    assert len(redrive.replayed) <= 10
    assert report.stopped is not None
    assert report.errors


async def test_one_letter_that_cannot_be_handed_over_does_not_stop_the_others() -> None:
    clock = Clock()
    actions = iter([Action.FAILED] + [Action.SEND] * 40)
    report = await run(Scripted(clock, always(ReplayOutcome.DONE), actions), clock, 41, rate=1_000)
    assert (report.actions[Action.FAILED], report.handed_over, report.stopped) == (1, 40, None)


@pytest.mark.parametrize(
    "wrong",
    [{"canary": 0}, {"canary": 501}, {"max_share": 1.1}, {"max_share": -0.1}, {"patience": -1}, {"rate": 0}],
)
def test_a_ramp_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Ramp(**wrong)


@pytest.mark.parametrize(("by", "reason"), [("", "x"), ("operator", " ")])
def test_an_order_needs_a_name_and_a_reason(by: str, reason: str) -> None:
    with pytest.raises(ValueError, match="a name and a reason"):
        Decision(by=by, reason=reason)
