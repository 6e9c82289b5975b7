"""The integration that takes marked messages: a contract, an event and a view of their own.

So what they leave behind is in no view, no event and no count of the business, whatever reads those.
"""

from datetime import datetime
from typing import Any

from shared.messages import Contract, Integration, Lane

__all__ = ["EVENT_TYPE", "NAME", "VIEW", "Marked", "synthetic_integration"]

NAME = "synthetic"
EVENT_TYPE = "synthetic.sent"
_ARRIVED = "synthetic.arrived"
VIEW = "synthetic"


class Marked(Contract):
    """A marked message; its key is its lane, so that it leaves one row a lane behind."""

    lane: Lane
    run: str
    sent_at: datetime


def synthetic_integration() -> Integration:
    """A fresh one: it is added to the app's own."""
    made = Integration(NAME)

    def lane(marked: Marked) -> Lane:
        return marked.lane

    @made.handles(EVENT_TYPE, version="1.0", key="lane", priority=lane)
    async def arrive(marked: Marked, work: Any) -> None:
        await work.save(NAME, marked.lane.value, marked)
        work.publish(_ARRIVED, marked)

    @made.projects(_ARRIVED, into=VIEW)
    def row(marked: Marked) -> Marked:
        return marked

    return made
