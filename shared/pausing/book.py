"""Where pauses are kept: one row, which every instance reads in one request and which survives all of them."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared.tables import Create, Entity, Replace, Table, again_on_conflict, etag_of

from .pause import Kind, NotPaused, Pause, TooManyPauses

__all__ = ["PauseBook", "PauseState"]

PARTITION = ROW = "pauses"
MAX_ACTIVE = 40
MAX_ENDED = 20
MAX_REASON = 200
MAX_BY = 64
"""Characters: so many pauses fit the 64 KiB of a column, whatever they say."""


@dataclass(frozen=True, slots=True)
class PauseState:
    """The pauses that hold, oldest first, and the last ones that ended, newest first."""

    active: Sequence[Pause] = ()
    ended: Sequence[Pause] = ()

    def find(self, kind: Kind, name: str) -> Pause | None:
        """The pause that holds this up, if one does."""
        return next((one for one in self.active if one.is_of(kind, name)), None)

    @property
    def unreleased(self) -> Sequence[Pause]:
        """Those that ended and may still have messages set aside."""
        return [one for one in self.ended if not one.released]


class PauseBook:
    """Reads and changes the row."""

    def __init__(self, table: Table, *, now: Callable[[], datetime]) -> None:
        self._table = table
        self._now = now

    async def state(self) -> PauseState:
        """All of it, in one request."""
        return _state(await self._table.get(PARTITION, ROW))

    async def pause(self, kind: Kind, name: str, *, by: str, reason: str) -> bool:
        """Begin a pause; False where it is paused already, which stays as it was.

        Raises
        ------
        TooManyPauses
        """
        new = Pause(kind=kind, name=name, by=by[:MAX_BY], reason=reason[:MAX_REASON], at=self._now())

        async def attempt() -> bool:
            row = await self._table.get(PARTITION, ROW)
            state = _state(row)
            if state.find(kind, name) is not None:
                return False
            if len(state.active) >= MAX_ACTIVE:
                raise TooManyPauses(f"{MAX_ACTIVE} things are paused already: end some of these pauses first")
            if len(state.unreleased) >= MAX_ENDED:
                raise TooManyPauses(f"{MAX_ENDED} pauses ended just now: wait until their messages are back")
            await self._write(row, replace(state, active=[*state.active, new]))
            return True

        return await again_on_conflict(attempt, subject="the row of pauses")

    async def resume(self, kind: Kind, name: str, *, by: str, reason: str = "") -> Pause:
        """End a pause; what was set aside for it goes back to its lanes from now on.

        Raises
        ------
        NotPaused
        """

        async def attempt() -> Pause:
            row = await self._table.get(PARTITION, ROW)
            state = _state(row)
            known = state.find(kind, name)
            if known is None:
                raise NotPaused(f"the {kind.value} {name} isn't paused")
            end = {"ended_by": by[:MAX_BY], "ended_reason": reason[:MAX_REASON], "ended_at": self._now()}
            ended = replace(known, **end)  # type: ignore[arg-type]
            active = [one for one in state.active if one is not known]
            await self._write(row, PauseState(active, [ended, *state.ended]))
            return ended

        return await again_on_conflict(attempt, subject="the row of pauses")

    async def released(self, pauses: Iterable[Pause]) -> None:
        """Note that nothing is set aside for some ended pauses any more."""
        done = list(pauses)

        async def attempt() -> None:
            row = await self._table.get(PARTITION, ROW)
            state = _state(row)
            ended = [replace(one, released=True) if one in done else one for one in state.ended]
            await self._write(row, replace(state, ended=ended))

        await again_on_conflict(attempt, subject="the row of pauses")

    async def _write(self, row: Entity | None, state: PauseState) -> None:
        columns = {
            "PartitionKey": PARTITION,
            "RowKey": ROW,
            "active": _json(state.active),
            "ended": _json(_forgotten(state.ended)),
        }
        await self._table.submit([Create(columns) if row is None else Replace(columns, etag_of(row))])


def _forgotten(ended: Sequence[Pause]) -> Sequence[Pause]:
    """The newest ones, and any that isn't released: forgetting that one would strand its messages."""
    return [one for number, one in enumerate(ended) if number < MAX_ENDED or not one.released]


def _state(row: Entity | None) -> PauseState:
    if row is None:
        return PauseState()
    return PauseState(_pauses(row["active"]), _pauses(row["ended"]))


def _json(pauses: Iterable[Pause]) -> str:
    return json.dumps([one.to_json() for one in pauses], ensure_ascii=False, separators=(",", ":"))


def _pauses(text: str) -> list[Pause]:
    return [Pause.from_json(one) for one in json.loads(text)]
