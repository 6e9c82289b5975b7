"""Changes of other databases: a hub that connectors write to, for integrations that handle changes of a table."""

from collections.abc import Sequence

from functions.changes import ChangeConsumer, ChangeIntake
from shared.changes.settings import ChangeSettings
from shared.streams import StreamEvent

from .capability import Capability
from .claims import CLAIMS
from .composition import Composition
from .dead_letters import DEAD_LETTER_BODIES, DEAD_LETTERS, dead_letter_store
from .declaring import Access, Hub, Need
from .encryption import KEY_NEEDS
from .ingestion import intake
from .sending import to_lanes
from .streams import stream_consumer

__all__ = ["capability", "change_consumer", "change_intake"]


CHANGES = Hub(name="%SLUICE_CHANGE_HUB%", groups=("%SLUICE_CHANGE_GROUP%",))


def change_intake(composition: Composition) -> ChangeIntake:
    """Puts changes on the ordered lane, whoever read them."""
    return ChangeIntake(composition.registry, lambda: composition.get(intake))


def change_consumer(composition: Composition) -> ChangeConsumer:
    """Reads what connectors wrote."""
    return ChangeConsumer(composition.get(change_intake), composition.get(dead_letter_store), now=composition.now)


def capability(composition: Composition) -> Capability:
    """A function for the hub of changes; nothing where no integration handles changes."""
    if not composition.registry.feeds:
        return Capability(name="changes", settings=list(ChangeSettings.variables()))

    async def apply(events: Sequence[StreamEvent]) -> None:
        await composition.get(change_consumer).apply(events)

    consumer = stream_consumer(composition, "take_changes", apply, hub=CHANGES, group=CHANGES.groups[0])
    return Capability(
        name="changes",
        functions=[consumer.function],
        jobs=[consumer.job],
        probes={"changes": consumer.lag},
        resources=[CHANGES],
        settings=list(ChangeSettings.variables()),
        needs=[
            *consumer.needs,
            *to_lanes("Changes are put here, on the ordered lane.", by=consumer.names),
            Need(access=Access.WRITE, to=CLAIMS, why="Keeps large changes.", by=consumer.names),
            Need(access=Access.WRITE, to=DEAD_LETTERS, why="Records events that are no changes.", by=consumer.names),
            Need(access=Access.WRITE, to=DEAD_LETTER_BODIES, why="Keeps their bodies.", by=consumer.names),
            *KEY_NEEDS,
        ],
    )
