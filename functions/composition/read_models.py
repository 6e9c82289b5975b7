"""Read models: events become rows, and rows are read over HTTP."""

from functions.streams import read_models_function
from functions.views import Views
from shared.query import Projector, ReadModels

from .capability import Capability
from .composition import Composition
from .dead_letters import DEAD_LETTERS_CONTAINER, DEAD_LETTERS_TABLE, dead_letter_store
from .declaring import Access, Container, Need, Table
from .encryption import fields
from .platform import platform
from .sending import EVENTS

__all__ = ["VIEWS_TABLE", "capability", "projector", "read_models"]

VIEWS_TABLE = "readmodels"


def read_models(composition: Composition) -> ReadModels:
    """The rows."""
    made = ReadModels(composition.get(platform).table(VIEWS_TABLE))
    composition.on_close(made.close)
    return made


def projector(composition: Composition) -> Projector:
    """Keeps the read models."""
    return Projector(
        composition.registry,
        composition.get(read_models),
        composition.get(dead_letter_store),
        now=composition.now,
        fields=composition.get(fields),
    )


def capability(composition: Composition) -> Capability:
    """A function for the event log, and the routes of every view."""
    views = Views(
        composition.registry,
        lambda: composition.get(read_models),
        lambda: composition.get(fields),
        now=composition.now,
    )
    rows = Table(name=VIEWS_TABLE)
    return Capability(
        name="read-models",
        functions=[read_models_function(lambda: composition.get(projector), hub=EVENTS.name, group=EVENTS.groups[0])],
        routes=views.routes(),
        resources=[rows],
        needs=[
            Need(access=Access.WRITE, to=rows, why="Keeps the read models."),
            Need(
                access=Access.WRITE,
                to=Table(name=DEAD_LETTERS_TABLE),
                why="Records events that could not be projected.",
            ),
            Need(
                access=Access.WRITE,
                to=Container(name=DEAD_LETTERS_CONTAINER),
                why="Keeps the bodies of events that could not be projected.",
            ),
        ],
    )
