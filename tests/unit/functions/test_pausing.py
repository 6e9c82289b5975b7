"""Large messages that a pause has set aside: their payloads outlast it, and the way back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from functions.composition import retention
from functions.composition.claims import claim_store
from functions.composition.dead_letters import dead_letter_store
from functions.composition.pausing import pause_book, release, set_aside
from functions.composition.sending import lane_senders
from functions.composition.state import parking
from shared.claim_check import ClaimMissing
from shared.messages import Lane
from shared.pausing import Kind, SetAsideMessage

from .conftest import Running


class Steps:
    """Lanes and claims, in the order in which they are called."""

    def __init__(self, gone: bool) -> None:
        self.taken: list[str] = []
        self._gone = gone

    async def renew(self, name: str) -> None:
        """Begin a payload's retention anew."""
        if self._gone:
            raise ClaimMissing("it was swept")
        self.taken.append(f"renew {name}")

    async def forward(self, lane: Lane, message: Any) -> None:
        """Take a message."""
        self.taken.append(f"{lane} {message.message_id}")


@pytest.mark.parametrize(
    ("claim", "gone", "taken"),
    [
        ("c1", False, ["renew c1", "low m1"]),
        ("c1", True, ["low m1"]),  # whoever reads the message makes a dead letter of it
        (None, False, ["low m1"]),
    ],
)
async def test_a_payload_that_outlasted_a_pause_outlasts_the_queue_too(
    running: Running, claim: str | None, gone: bool, taken: list[str]
) -> None:
    """While it was set aside it was in use, however old; on its lane only its age keeps it from the sweep."""
    steps = Steps(gone)
    app = running.another({lane_senders: steps, claim_store: steps}).composition
    waiting = SetAsideMessage(
        lane="low",
        integration="",
        broker_id="m1",
        sequence_number=1,
        body=b"",
        properties={"attempt": 1} if claim is None else {"attempt": 1, "claim": claim},
        since=datetime.now(UTC),
    )
    await app.get(pause_book).pause(Kind.LANE, "low", by="ada", reason="r")
    await app.get(set_aside).put([waiting])
    await app.get(pause_book).resume(Kind.LANE, "low", by="ada")
    assert await app.get(release).run() == 1
    assert steps.taken == taken


class Stage:
    """Where a message may be: after every look, wherever that was, it has moved on to the next stage."""

    def __init__(self, way: list[Stage], at: list[int]) -> None:
        self._way = way
        self._at = at
        way.append(self)

    async def claims(self) -> AsyncIterator[str]:
        """The message's, if it is here."""
        if self._way[self._at[0]] is self:
            yield "c1"
        self._at[0] = min(self._at[0] + 1, len(self._way) - 1)


class Store:
    """Hands out what the sweep asks for the payloads in use."""

    def sweeper(self, *, in_use: Any, **_: Any) -> Any:
        """What the sweep would ask."""
        return in_use


@pytest.mark.parametrize("at", [0, 1, 2])
async def test_a_payload_is_in_use_wherever_its_message_moves_meanwhile(running: Running, at: int) -> None:
    """From a pause to the keys that wait, and from there to the dead letters."""
    way: list[Stage] = []
    place = [at]
    aside, waiting, dead = Stage(way, place), Stage(way, place), Stage(way, place)
    parts = {set_aside: aside, parking: waiting, dead_letter_store: dead, claim_store: Store()}
    in_use: Any = running.another(parts).composition.get(retention.claim_sweeper)
    assert await in_use(frozenset({"c1", "c2"})) == {"c1"}
