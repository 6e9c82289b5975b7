"""Brings what was set aside back to its lanes, once its pause has ended."""

import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from shared.telemetry import log_event

from .book import PauseBook, PauseState
from .pause import Kind
from .set_aside import SetAside, SetAsideMessage

__all__ = ["Release"]

SETTLE = timedelta(seconds=60)
"""For so long after its end an instance may still have known a pause, and set something aside: its batch's time."""


class Release:
    """Run every few seconds by one instance; costs one point read while no pause has ended.

    Parameters
    ----------
    send:
        Returns when the lane has taken the message.
    """

    def __init__(
        self,
        book: PauseBook,
        aside: SetAside,
        send: Callable[[SetAsideMessage], Awaitable[None]],
        *,
        now: Callable[[], datetime],
        budget: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._book = book
        self._aside = aside
        self._send = send
        self._now = now
        self._budget = budget
        self._clock = clock

    async def run(self) -> int:
        """How many messages went back; what is left goes back the next time."""
        state = await self._book.state()
        ended = state.unreleased
        if not ended:
            return 0
        deadline = self._clock() + self._budget
        sent, all_sent = await self._aside.give_back(
            lambda lane, integration: not _holds(state, lane, integration),
            self._send,
            has_time=lambda: self._clock() < deadline,
        )
        if sent:
            log_event("set aside messages released", messages=sent)
        before = self._now() - SETTLE
        settled = [one for one in ended if one.ended_at is not None and one.ended_at <= before]
        if all_sent and settled:
            await self._book.released(settled)
        return sent


def _holds(state: PauseState, lane: str, integration: str) -> bool:
    if state.find(Kind.LANE, lane) is not None:
        return True
    return bool(integration) and state.find(Kind.INTEGRATION, integration) is not None
