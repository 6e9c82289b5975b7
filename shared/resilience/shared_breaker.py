"""A circuit breaker whose state all instances share.

Each instance counts for itself; what is shared are the transitions, by compare-and-set, so that nothing is written
while all is well. An instance with traffic reads the row every other second. Where the store is away, each decides
alone.

    closed ── too many failures ──▶ open ── its time is over ──▶ one instance probes ── well ──▶ closed
                                     ▲                                   │
                                     └────────── failed, for longer ─────┘
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Self
from uuid import uuid4

from .failure_window import BreakerPolicy, FailureWindow, Result
from .shared_row import SharedRow, Snapshot

__all__ = ["BreakerOpen", "Permit", "SharedBreaker"]

READ_EVERY = 2.0
"""Seconds: with the time of a read, all instances know of a transition well within 5."""
_LEASE_SPARE = 5.0
"""Seconds that a probe's lease outlasts its call: the clocks of instances differ a little."""


class BreakerOpen(Exception):
    """The call isn't to be made.

    Attributes
    ----------
    after:
        Seconds until the breaker may be closed.
    """

    def __init__(self, after: float, reason: str) -> None:
        super().__init__(reason)
        self.after = after
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call; `epoch` counts the transitions that its instance has seen."""

    epoch: int
    probe: bool = False


_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _State:
    """`times`: how often it opened in a row, 0 while it is closed. `ends`: when somebody may probe."""

    times: int = 0
    ends: datetime = _NEVER
    reason: str = ""
    prober: str = ""

    @classmethod
    def of(cls, found: Snapshot) -> Self:
        values = found.values
        return cls(
            times=int(values.get("times", 0)),
            ends=values.get("endsAt") or _NEVER,
            reason=str(values.get("reason", "")),
            prober=str(values.get("prober", "")),
        )

    def values(self) -> dict[str, object]:
        ends = self.ends if self.times else None
        return {"times": self.times, "endsAt": ends, "reason": self.reason, "prober": self.prober}


class SharedBreaker:
    """One instance's side of a breaker.

    Parameters
    ----------
    row:
        Where the transitions are shared; None leaves each instance alone.
    longest:
        Seconds that a call takes at most.
    clock, now, random:
        Seconds, monotonic; the time of day; 0 … 1.
    changed:
        Called after a transition of this instance's doing: what it is now, and why.
    """

    def __init__(
        self,
        policy: BreakerPolicy,
        row: SharedRow | None,
        *,
        longest: float,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        random: Callable[[], float],
        changed: Callable[[str, str], None] = lambda state, reason: None,
    ) -> None:
        self._policy = policy
        self._row = row
        self._lease = timedelta(seconds=longest + _LEASE_SPARE)
        self._clock = clock
        self._now = now
        self._random = random
        self._changed = changed
        self._window = FailureWindow(policy)
        self._state = _State()
        self._epoch = 0
        self._permit = Permit(0)
        self._stored = Snapshot()
        self._unshared = False
        self._read_at = -inf
        self._name = uuid4().hex

    @property
    def is_open(self) -> bool:
        """Whether calls are refused, as far as this instance knows."""
        return self._state.times > 0

    async def admit(self) -> Permit:
        """Leave to make a call.

        Raises
        ------
        BreakerOpen
        """
        moment = self._clock()
        if moment - self._read_at >= READ_EVERY:
            self._read_at = moment  # the others don't wait for this read
            await self._refresh()
        state = self._state
        if not state.times:
            return self._permit
        self.check()
        now = self._now()
        # Whoever asks here meanwhile sees that the place is taken.
        self._set(replace(state, prober=self._name, ends=now + self._lease))
        if not await self._share():
            raise self._refusal()
        return Permit(self._epoch, probe=True)

    def check(self) -> None:
        """Raise BreakerOpen where calls are refused for a while yet, as far as this instance knows."""
        if self._state.times and self._now() < self._state.ends:
            raise self._refusal()

    def _refusal(self) -> BreakerOpen:
        after = (self._state.ends - self._now()).total_seconds()
        return BreakerOpen(max(0.0, after), self._state.reason)

    async def record(self, permit: Permit, result: Result, *, took: float, asked: float | None = None) -> None:
        """Count a call that was admitted.

        Parameters
        ----------
        asked:
            Seconds that the partner asked to be left alone.
        """
        if permit.epoch != self._epoch:
            return  # of a time that is over
        if not permit.probe:
            if reason := self._window.add(result, took=took, now=self._clock()):
                await self._open(reason, asked)
        elif result is Result.GOOD:
            self._set(_State())
            if await self._share():
                self._changed("closed", "the probe went well")
        else:
            await self._open("the probe failed", asked)

    async def _open(self, reason: str, asked: float | None) -> None:
        times = self._state.times + 1
        seconds = self._policy.opening(times, asked=asked, drawn=self._random())
        self._set(_State(times=times, ends=self._now() + timedelta(seconds=seconds), reason=reason))
        if await self._share():
            self._changed("open", reason)

    def _set(self, state: _State) -> None:
        if state != self._state:
            self._state = state
            self._epoch += 1
            self._permit = Permit(self._epoch)
            self._window.clear()

    async def _share(self) -> bool:
        """Write this instance's transition; False where another instance was first: then its state counts."""
        if self._row is None:
            return True
        try:
            written = await self._row.write(self._state.values(), self._stored)
            if written is None:
                self._adopt(await self._row.read())
                return False
        except Exception:  # the store is away: what this instance has seen counts
            self._unshared = True
            return True
        self._stored, self._unshared = written, False
        return True

    async def _refresh(self) -> None:
        if self._row is None:
            return
        try:
            found = await self._row.read()
        except Exception:
            return
        if found.version != self._stored.version:
            self._adopt(found)
        elif self._unshared:
            await self._share()

    def _adopt(self, found: Snapshot) -> None:
        self._stored, self._unshared = found, False
        self._set(_State.of(found))
