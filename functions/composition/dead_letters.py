"""Dead letters: their store, the drain of what the broker gave up by itself, and the sweep of old ones."""

import random
from datetime import timedelta
from functools import partial

from functions.dead_letters import drain_dead_letters, has_payload_hash, is_erased, sweep
from functions.triggers import AppName
from shared.blobs import BodyStore
from shared.dead_letters import DeadLetterStore, GivenUpEarlier, InboxRecords, QueueDrain, RunBook, Suspects
from shared.dead_letters.settings import DeadLetterSettings
from shared.jobs import Job, JobRun, parse_schedule
from shared.telemetry import Metrics

from .capability import Capability
from .claims import CLAIMS, decoder
from .composition import Composition
from .declaring import Access, Container, Need, Table
from .encryption import KEY_NEEDS, SUBJECT_KEYS, message_encryption
from .platform import platform
from .sending import LANES, lane_queues, lane_senders
from .state import STATE, parking, state_store

__all__ = ["AUDIT_TABLE", "capability", "dead_letter_store", "given_up_earlier", "queue_drain", "run_book", "suspects"]

AUDIT_TABLE = "audit"
"""What operators and rotations did, and how far replays are."""
DEAD_LETTERS = Table(name="deadletters")
DEAD_LETTER_BODIES = Container(name="dead-letters")
_DRAIN = "drain-dead-letters"
_SWEEP_SCHEDULE = "0 17 3 * * *"
DRAIN_SECONDS = 60.0
LAST_SECONDS = 15.0
"""Before its time is over a drain begins nothing new: what it has in hand takes no longer."""


def dead_letter_store(composition: Composition) -> DeadLetterStore:
    """The dead-letter store."""
    clients = composition.get(platform)
    table, bodies = clients.table(DEAD_LETTERS.name), BodyStore(clients.container(DEAD_LETTER_BODIES.name))
    return composition.closing(DeadLetterStore(table, bodies, encryption=composition.get(message_encryption)))


def run_book(composition: Composition) -> RunBook:
    """How far replays of many dead letters are."""
    table = composition.get(platform).table(AUDIT_TABLE)
    composition.on_close(table.close)
    return RunBook(table, now=composition.now)


def suspects(composition: Composition) -> Suspects:
    """What is known of messages that kill their workers."""
    return Suspects(composition.get(state_store))


def queue_drain(composition: Composition) -> QueueDrain:
    """The drain of all lanes, on the app's own stores."""
    return QueueDrain(
        composition.get(dead_letter_store),
        InboxRecords(composition.get(state_store)),
        composition.get(lane_senders),
        composition.get(parking),
        composition.get(suspects),
        has_payload_hash=has_payload_hash(composition.get(decoder)),
        is_erased=is_erased(composition.get(decoder)),
        now=composition.now,
        random=random.random,
    )


def given_up_earlier(composition: Composition) -> GivenUpEarlier:
    """What comes first on the ordered lane."""
    receiver = partial(composition.get(platform).dead_letter_receiver, composition.settings.lane_ordered)
    return composition.closing(GivenUpEarlier(receiver, composition.get(queue_drain)))


def capability(composition: Composition) -> Capability:
    """The drain of all lanes, and a daily sweep."""

    async def drain(run: JobRun) -> bool:
        clients, of_lanes = composition.get(platform), composition.get(queue_drain)
        return not await drain_dead_letters(
            {
                name: (partial(clients.dead_letter_receiver, name), partial(of_lanes.drain, lane))
                for lane, name in lane_queues(composition).items()
            },
            time_left=lambda: run.time_left() > LAST_SECONDS,
        )

    async def sweep_dead_letters(_: JobRun) -> bool:
        days = composition.settings.dead_letter_retention_days
        finished = await sweep(
            composition.get(dead_letter_store), composition.get(parking), retention_days=days, now=composition.now
        )
        await composition.get(run_book).sweep(composition.now() - timedelta(days=days))
        return not finished

    schedule = parse_schedule(_SWEEP_SCHEDULE)
    return Capability(
        name="dead-letters",
        jobs=[
            Job(
                name=_DRAIN,
                app=AppName.STREAMS,
                schedule=parse_schedule(composition.settings.dead_letter_drain_schedule),
                call=drain,
                seconds=DRAIN_SECONDS,
            ),
            Job(name="sweep-dead-letters", app=AppName.STREAMS, schedule=schedule, call=sweep_dead_letters),
        ],
        resources=[DEAD_LETTERS, DEAD_LETTER_BODIES],
        metrics=[Metrics.dead_letters],
        drained=[LANES[lane].name for lane in LANES],
        needs=[
            Need(
                access=Access.WRITE, to=DEAD_LETTERS, why="Records what could not be processed, and sweeps old records."
            ),
            Need(access=Access.WRITE, to=Table(name=AUDIT_TABLE), why="Sweeps what it says of old replays."),
            Need(
                access=Access.WRITE,
                to=DEAD_LETTER_BODIES,
                why="Keeps bodies of what could not be processed, sweeps old ones.",
            ),
            Need(access=Access.READ, to=CLAIMS, why="Reads the payload of what the broker gave up.", by=[_DRAIN]),
            *(
                Need(access=access, to=queue, why=why, by=[_DRAIN])
                for queue in LANES.values()
                for access, why in (
                    (Access.RECEIVE, "Takes what the broker gave up."),
                    (Access.SEND, "Brings back what the broker gave up with its batch."),
                )
            ),
            Need(access=Access.WRITE, to=STATE, why="Tells what became of messages, frees keys."),
            Need(
                access=Access.READ,
                to=SUBJECT_KEYS,
                why="Knows who was erased: nothing of what the broker gave up about them is kept.",
                when="SLUICE_DATA_KEY",
                by=[_DRAIN],
            ),
            *KEY_NEEDS,
        ],
        settings=DeadLetterSettings.variables(),
    )
