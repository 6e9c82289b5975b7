"""Replays many dead letters with care: a few first, more only while they succeed, never faster than asked."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from azure.core.exceptions import AzureError

from shared.resilience import TokenBucket

from .record import StoredLetter
from .redrive import Action, Decision, Redrive, ReplayOutcome, ReplayResult

__all__ = ["STORAGE_ERRORS", "Ramp", "RedriveRun", "Report"]

STORAGE_ERRORS = (AzureError, OSError, TimeoutError)

_WORKERS = 8
_POLL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Ramp:
    """How a run grows; seconds where they are times.

    Parameters
    ----------
    canary:
        Messages of the first wave; each wave is twice the one before, up to `largest`.
    max_share:
        Share of a wave (0 to 1) that may fail, or have no outcome within `patience`, before the run stops itself.
    patience:
        Time to wait for a wave's outcomes; 0 sends everything without looking.
    rate:
        Messages a second.
    """

    canary: int = 10
    largest: int = 500
    max_share: float = 0.2
    patience: float = 60.0
    rate: float = 20.0

    def __post_init__(self) -> None:
        if self.canary < 1 or self.largest < self.canary:
            raise ValueError(f"canary ({self.canary}) must be from 1 to {self.largest}")
        if not 0 <= self.max_share <= 1:
            raise ValueError(f"the share of failures ({self.max_share}) must be from 0 to 1")
        if self.patience < 0 or self.rate <= 0:
            raise ValueError(f"patience ({self.patience}) must be 0 or more, rate ({self.rate}) more than 0")


@dataclass(slots=True)
class Report:
    """How a run stands: what was done, and what became of what was handed over."""

    actions: Counter[Action] = field(default_factory=Counter)
    outcomes: Counter[ReplayOutcome] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    stopped: str | None = None

    @property
    def handed_over(self) -> int:
        """Messages on their way again."""
        return sum(count for action, count in self.actions.items() if action.hands_over)

    def note(self, result: ReplayResult) -> None:
        """Count a result; the first few errors are kept in words."""
        self.actions[result.action] += 1
        if result.error is not None and len(self.errors) < 10:
            self.errors.append(f"{result.letter.id}: {result.error}")


class RedriveRun:
    """One run over many dead letters.

    Parameters
    ----------
    clock, sleep:
        Monotonic seconds, and how to wait.
    watch:
        Called at every step, to show progress.
    look:
        Asked at every step, also while outcomes are awaited; what it returns stops the run.
    """

    def __init__(
        self,
        redrive: Redrive,
        ramp: Ramp,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        watch: Callable[[Report], None] = lambda report: None,
        look: Callable[[Report], Awaitable[str | None]] | None = None,
    ) -> None:
        self._redrive = redrive
        self._ramp = ramp
        self._clock = clock
        self._sleep = sleep
        self._watch = watch
        self._ask = look
        self._rate = TokenBucket(capacity=1, rate=ramp.rate, clock=clock)
        self._report = Report()

    async def replay(self, letters: AsyncIterator[StoredLetter], decision: Decision) -> Report:
        """Replay all letters, or stop where too many of a wave come back."""
        size = self._ramp.canary
        while self._report.stopped is None:
            wave = await self._send(letters, decision, size)
            if not wave:
                break
            await self._judge(wave)
            size = min(size * 2, self._ramp.largest)
        return self._report

    async def _send(self, letters: AsyncIterator[StoredLetter], decision: Decision, size: int) -> list[StoredLetter]:
        """Hand over up to `size` letters; those that are skipped don't count."""
        wave: list[StoredLetter] = []
        while len(wave) < size and self._report.stopped is None:
            some = await _take(letters, min(_WORKERS, size - len(wave)))
            if not some:
                break
            for result in await asyncio.gather(*(self._replay(letter, decision) for letter in some)):
                self._report.note(result)
                if result.action.hands_over:
                    wave.append(result.letter)
                elif result.action is Action.UNREACHABLE:
                    self._report.stopped = f"the broker didn't take a message: {result.error}"
                elif result.action is Action.NO_ANSWER:
                    self._report.stopped = f"a store or the key service doesn't answer: {result.error}"
            self._watch(self._report)
            await self._may_go_on()
        return wave

    async def _may_go_on(self) -> bool:
        if self._ask is not None and (why := await self._ask(self._report)) is not None:
            self._report.stopped = self._report.stopped or why
            return False
        return True

    async def _replay(self, letter: StoredLetter, decision: Decision) -> ReplayResult:
        wait = self._rate.reserve()
        if wait:
            await self._sleep(wait)
        return await self._redrive.replay(letter, decision)

    async def _judge(self, wave: list[StoredLetter]) -> None:
        """Wait for the wave's outcomes; stop the run where too many failed or stay away."""
        if self._ramp.patience == 0:
            self._report.outcomes[ReplayOutcome.PENDING] += len(wave)
            return
        waiting, found = wave, Counter[ReplayOutcome]()
        deadline = self._clock() + self._ramp.patience
        while waiting:
            waiting = await self._look(waiting, found)
            if not waiting or self._clock() >= deadline or found[ReplayOutcome.FAILED] > self._allowed(wave):
                break
            if not await self._may_go_on():
                break
            await self._sleep(_POLL_SECONDS)
        found[ReplayOutcome.PENDING] = len(waiting)
        self._report.outcomes += found
        self._watch(self._report)
        if self._report.stopped is None:
            self._stop_if_bad(wave, found)

    async def _look(self, waiting: list[StoredLetter], found: Counter[ReplayOutcome]) -> list[StoredLetter]:
        still: list[StoredLetter] = []
        for start in range(0, len(waiting), _WORKERS):
            some = waiting[start : start + _WORKERS]
            outcomes = await asyncio.gather(*(self._outcome(letter) for letter in some))
            for letter, outcome in zip(some, outcomes, strict=True):
                if outcome is ReplayOutcome.PENDING:
                    still.append(letter)
                else:
                    found[outcome] += 1
        return still

    async def _outcome(self, letter: StoredLetter) -> ReplayOutcome:
        try:
            return await self._redrive.outcome(letter)
        except STORAGE_ERRORS:  # it is looked for again while there is patience
            return ReplayOutcome.PENDING

    def _stop_if_bad(self, wave: list[StoredLetter], found: Counter[ReplayOutcome]) -> None:
        if found[ReplayOutcome.FAILED] > self._allowed(wave):
            self._report.stopped = (
                f"{found[ReplayOutcome.FAILED]} of {len(wave)} failed again, more than {self._ramp.max_share:.0%}"
            )
        elif found[ReplayOutcome.FAILED] + found[ReplayOutcome.PENDING] > self._allowed(wave):
            self._report.stopped = (
                f"{found[ReplayOutcome.PENDING]} of {len(wave)} have no outcome after {self._ramp.patience:g} s: "
                "is the app running, or are they waiting for another try?"
            )

    def _allowed(self, wave: list[StoredLetter]) -> float:
        return self._ramp.max_share * len(wave)


async def _take(letters: AsyncIterator[StoredLetter], count: int) -> list[StoredLetter]:
    taken: list[StoredLetter] = []
    for _ in itertools.repeat(None, count):
        try:
            taken.append(await anext(letters))
        except StopAsyncIteration:
            break
    return taken
