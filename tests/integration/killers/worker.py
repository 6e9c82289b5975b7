"""A worker on real storage that is handed one batch; what its handlers do may end it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from functions.composition import Composition
from functions.composition.dead_letters import dead_letter_store, given_up_earlier
from functions.composition.processing import parking_drain, processor
from functions.composition.state import state_store
from shared.dead_letters import Filters
from shared.messages import Contract, Delivery, Headers, Integration, Lane, Registry
from shared.settings import Settings
from shared.state import Inbox
from shared.work import Work


class Parcel(Contract):
    """What the messages are about."""

    parcel_id: str
    mood: str = "good"


async def send(parcel: Parcel, work: Work) -> None:
    """Do as the parcel says."""
    if parcel.mood == "exits":
        os._exit(137)
    if parcel.mood == "is killed":  # as a process is that takes too much memory
        os.kill(os.getpid(), signal.SIGKILL)
    if parcel.mood == "blocks":  # until the platform ends it for its time-out
        signal.alarm(1)
        while True:
            pass
    await work.save("parcel", parcel.parcel_id, parcel)


def composed() -> Composition:
    """The app with one handler for every lane, on the stores that the environment names."""
    shop = Integration("shop")
    for lane in Lane:
        shop.handles(f"parcel.{lane.value}", version="1.0", key="parcelId", priority=lane)(send)
    return Composition(Settings.load(), Registry([shop]), parts={given_up_earlier: _NothingEarlier()})


class _NothingEarlier:
    """There is no broker here whose dead letters could come first."""

    async def take(self, deliveries: Sequence[Delivery]) -> None:
        """Go on."""


def delivery(lane: Lane, number: int, mood: str, count: int) -> Delivery:
    """A message as the trigger hands it over."""
    identity, key = f"00000000-0000-4000-8000-{number:012}", f"parcel-{number}"
    now = datetime.now(UTC)
    envelope: dict[str, Any] = {
        "messageId": identity,
        "timestamp": now.isoformat(),
        "source": "test",
        "eventType": f"parcel.{lane.value}",
        "version": "1.0",
        "data": {"parcelId": key, "mood": mood},
    }
    properties = {
        "messageId": identity,
        "eventType": f"parcel.{lane.value}",
        "version": "1.0",
        "source": "test",
        "key": key,
        "priority": lane.value,
        "attempt": 1,
        "firstAttemptAt": now.isoformat(),
        "correlationId": "c",
    }
    return Delivery(
        body=json.dumps(envelope).encode(),
        properties=Headers.from_properties(properties).to_properties(),  # type: ignore[arg-type]
        message_id=identity,
        sequence_number=number,
        delivery_count=count,
    )


async def main(lane: Lane, count: int, first: int, moods: list[str]) -> None:
    """Process one batch, drain what is parked, and print the status of every message and its dead letters."""
    composition = composed()
    batch = [delivery(lane, first + number, mood, count) for number, mood in enumerate(moods)]
    await composition.get(processor).process(lane, batch)
    await composition.get(parking_drain).drain()
    inbox = Inbox(composition.get(state_store))
    rows = [await inbox.find(one.message_id, str(one.properties["key"])) for one in batch]
    letters = [
        [letter.code async for letter in composition.get(dead_letter_store).select(Filters(message_id=one.message_id))]
        for one in batch
    ]
    await composition.close()
    print(json.dumps([[row and row["status"], *codes] for row, codes in zip(rows, letters, strict=True)]))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(Lane(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
