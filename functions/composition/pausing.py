"""Pauses: what an operator has stopped, what waits meanwhile, and how it comes back."""

import time
from contextlib import suppress

from functions.triggers import AppName
from shared.jobs import Job, JobRun, parse_schedule
from shared.messages import Lane, MessageError
from shared.pausing import PauseBook, PauseGate, PauseWatch, Release, SetAside, SetAsideMessage
from shared.sending import broker_message
from shared.tables import Table as TableClient

from .capability import Capability, Command
from .claims import CLAIMS, claim_store
from .composition import Composition
from .declaring import Access, Need
from .platform import platform
from .sending import lane_senders, to_lanes
from .state import STATE, parking

__all__ = ["capability", "pause_book", "pause_gate", "pause_table", "pause_watch", "release", "set_aside"]

_SCHEDULE = "5s"
_COMMANDS = {
    "pause": "stop a lane, an integration or a partner on all instances",
    "resume": "end a pause; what waited is done",
    "pauses": "list what is paused, what waits, and what was paused lately",
}


def pause_table(composition: Composition) -> TableClient:
    """The table of state in the first account."""
    return composition.closing(composition.get(platform).table(STATE.name))


def pause_book(composition: Composition) -> PauseBook:
    """Every pause."""
    return PauseBook(composition.get(pause_table), now=composition.now)


def pause_watch(composition: Composition) -> PauseWatch:
    """What this instance knows of them."""
    return PauseWatch(composition.get(pause_book), clock=time.monotonic)


def set_aside(composition: Composition) -> SetAside:
    """The messages that wait for the end of a pause."""
    return SetAside(composition.get(pause_table), now=composition.now)


def pause_gate(composition: Composition) -> PauseGate:
    """Stands before the processor of every lane."""
    return PauseGate(
        composition.get(pause_watch),
        composition.get(set_aside),
        composition.get(parking),
        integration_of=composition.registry.integration_of,
        now=composition.now,
    )


def release(composition: Composition) -> Release:
    """Brings messages back after a pause."""
    lanes = composition.get(lane_senders)

    async def send(waited: SetAsideMessage) -> None:
        lane = Lane(waited.lane)
        if claim := waited.properties.get("claim"):  # on its lane nothing says any more that the payload is in use
            with suppress(MessageError):  # it is gone: whoever reads the message says so
                await composition.get(claim_store).renew(str(claim))
        message = broker_message(
            waited.body,
            broker_id=waited.broker_id or None,
            properties=waited.properties,
            session_id=str(waited.properties.get("key", "")) if lane is Lane.ORDERED else None,
        )
        await lanes.forward(lane, message)

    return Release(composition.get(pause_book), composition.get(set_aside), send, now=composition.now)


def capability(composition: Composition) -> Capability:
    """The way back, and the operators' commands."""

    async def release_paused(_: JobRun) -> None:
        await composition.get(release).run()

    return Capability(
        name="pausing",
        jobs=[Job(name="release-paused", app=AppName.STREAMS, schedule=parse_schedule(_SCHEDULE), call=release_paused)],
        commands=[Command(name=name, summary=summary, module="ops.pausing") for name, summary in _COMMANDS.items()],
        needs=[
            *to_lanes("Brings back what waited for the end of a pause."),
            Need(access=Access.WRITE, to=CLAIMS, why="Keeps the payloads of what comes back as long as new ones."),
            Need(access=Access.WRITE, to=STATE, why="Knows pauses, and what waits for their end."),
        ],
    )
