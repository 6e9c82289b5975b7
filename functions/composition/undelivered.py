"""What Event Grid couldn't deliver: its container is emptied into the app, or into the one store of dead letters."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from functions.triggers import AppName
from shared.blobs import ForeignBlobs
from shared.jobs import Job, JobRun, parse_schedule
from shared.undelivered import UndeliveredDrain

from .capability import Capability
from .claims import CLAIMS
from .composition import Composition
from .dead_letters import DEAD_LETTER_BODIES, DEAD_LETTERS, DRAIN_SECONDS, LAST_SECONDS, dead_letter_store
from .declaring import Access, Container, Need
from .platform import platform
from .rotation import secret_events
from .sending import to_lanes
from .webhooks import webhooks

__all__ = ["UNDELIVERED", "capability", "deliver", "undelivered_drain"]

UNDELIVERED = Container(name="undelivered-events")
_VAULT_EVENTS = "Microsoft.KeyVault."
_SCHEDULE = "5m"


async def deliver(composition: Composition, event: Mapping[str, Any]) -> bool:
    """Events of the vault go where its subscription brings them; others to whoever handles them as a webhook."""
    if str(event.get("type") or event.get("eventType")).startswith(_VAULT_EVENTS):
        await composition.get(secret_events).take(event)
        return True
    return await composition.get(webhooks).take_undelivered(event)


def undelivered_drain(composition: Composition) -> UndeliveredDrain:
    """Brings each event where a subscription would have."""
    blobs = composition.closing(ForeignBlobs(composition.get(platform).container(UNDELIVERED.name)))
    return UndeliveredDrain(
        blobs, partial(deliver, composition), composition.get(dead_letter_store), now=composition.now
    )


def capability(composition: Composition) -> Capability:
    """A job; nobody waits for it, and Event Grid itself takes five minutes."""

    async def drain(run: JobRun) -> bool:
        return not await composition.get(undelivered_drain).drain(lambda: run.time_left() > LAST_SECONDS)

    return Capability(
        name="undelivered",
        jobs=[
            Job(
                name="drain-undelivered-events",
                app=AppName.STREAMS,
                schedule=parse_schedule(_SCHEDULE),
                call=drain,
                seconds=DRAIN_SECONDS,
            )
        ],
        resources=[UNDELIVERED],
        needs=[
            Need(access=Access.WRITE, to=UNDELIVERED, why="Takes what Event Grid could not deliver."),
            *to_lanes("Brings webhooks of Event Grid that were not delivered."),
            Need(access=Access.WRITE, to=CLAIMS, why="Keeps large events that Event Grid could not deliver."),
            Need(access=Access.WRITE, to=DEAD_LETTERS, why="Records events that nobody here is for."),
            Need(access=Access.WRITE, to=DEAD_LETTER_BODIES, why="Keeps their bodies."),
        ],
    )
