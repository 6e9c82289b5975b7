"""Dead letters: their store, the drains of what the broker gave up by itself, and the sweep of old ones."""

from functions.dead_letters import Drains, dead_letters_function, has_payload_hash, is_erased, sweep
from functions.triggers import AppName
from shared.blobs import BodyStore
from shared.dead_letters import DeadLetterStore, InboxRecords, QueueDrain
from shared.dead_letters.settings import DeadLetterSettings
from shared.jobs import Job, JobRun, parse_schedule
from shared.messages import Lane

from .capability import Capability
from .claims import CLAIMS, decoder
from .composition import Composition
from .declaring import Access, Container, Need, Table
from .encryption import KEY_NEEDS, SUBJECT_KEYS_TABLE, message_encryption
from .platform import platform
from .sending import LANES
from .state import STATE_TABLE, parking, state_store

__all__ = ["capability", "dead_letter_store", "queue_drain"]

DEAD_LETTERS_TABLE = "deadletters"
DEAD_LETTERS_CONTAINER = "dead-letters"
_SWEEP_SCHEDULE = "0 17 3 * * *"
_APPS = {Lane.HIGH: AppName.HIGH, Lane.NORMAL: AppName.BULK, Lane.LOW: AppName.BULK, Lane.ORDERED: AppName.ORDERED}


def dead_letter_store(composition: Composition) -> DeadLetterStore:
    """The dead-letter store."""
    clients = composition.get(platform)
    table, bodies = clients.table(DEAD_LETTERS_TABLE), BodyStore(clients.container(DEAD_LETTERS_CONTAINER))
    made = DeadLetterStore(table, bodies, encryption=composition.get(message_encryption))
    composition.on_close(made.close)
    return made


def queue_drain(composition: Composition) -> QueueDrain:
    """The drain of all lanes, on the app's own stores."""
    return QueueDrain(
        composition.get(dead_letter_store),
        InboxRecords(composition.get(state_store)),
        has_payload_hash=has_payload_hash(composition.get(decoder)),
        is_erased=is_erased(composition.get(decoder)),
        now=composition.now,
    )


def capability(composition: Composition) -> Capability:
    """One drain per lane, and a daily sweep."""
    drains = Drains(lambda: composition.get(queue_drain))

    async def sweep_dead_letters(_: JobRun) -> bool:
        return not await sweep(
            composition.get(dead_letter_store),
            composition.get(parking),
            retention_days=composition.settings.dead_letter_retention_days,
            now=composition.now,
        )

    drain = [dead_letters_function(lane, drains, queue=LANES[lane].name, app=app) for lane, app in _APPS.items()]
    bodies, records = Container(name=DEAD_LETTERS_CONTAINER), Table(name=DEAD_LETTERS_TABLE)
    return Capability(
        name="dead-letters",
        functions=drain,
        jobs=[
            Job(
                name="sweep-dead-letters",
                app=AppName.STREAMS,
                schedule=parse_schedule(_SWEEP_SCHEDULE),
                call=sweep_dead_letters,
            )
        ],
        resources=[records, bodies],
        needs=[
            Need(access=Access.WRITE, to=records, why="Records what could not be processed, and sweeps old records."),
            Need(access=Access.WRITE, to=bodies, why="Keeps bodies of what could not be processed, sweeps old ones."),
            Need(
                access=Access.READ,
                to=CLAIMS,
                why="Reads the payload of what the broker gave up.",
                by=[one.name for one in drain],
            ),
            Need(access=Access.WRITE, to=Table(name=STATE_TABLE), why="Tells what became of messages, frees keys."),
            Need(
                access=Access.READ,
                to=Table(name=SUBJECT_KEYS_TABLE),
                why="Knows who was erased: nothing of what the broker gave up about them is kept.",
                when="SLUICE_DATA_KEY",
                by=[one.name for one in drain],
            ),
            *KEY_NEEDS,
        ],
        settings=DeadLetterSettings.variables(),
    )
