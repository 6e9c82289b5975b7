"""Bulks: many commands in one request."""

from uuid import uuid4

from functions.bulk import Bulks
from shared.synthetic import EVENT_TYPE

from .capability import Capability
from .claims import CLAIMS
from .composition import Composition
from .declaring import Access, Need
from .ingestion import intake
from .operations import operation_signer
from .sending import to_lanes
from .uploads import upload_endpoints, uploads

__all__ = ["capability"]


def capability(composition: Composition) -> Capability:
    """A route for any commands, one for each handler that has its own, and one that tells how far a bulk came."""
    settings = composition.settings
    taken = (one for one in composition.registry.accepted if one.webhook is None and not one.internal)
    handled = [one for one in taken if one.event_type != EVENT_TYPE]
    bulks = Bulks(
        lambda: composition.get(intake),
        lambda: composition.get(uploads),
        composition.get(operation_signer),
        composition.get(upload_endpoints),
        max_body=settings.max_body_bytes,
        streams=settings.http_streams and settings.can_stream,
        public_path=settings.public_path,
        now=composition.now,
        new_id=uuid4,
    )
    return Capability(
        name="bulk",
        routes=bulks.routes(composition.registry.routes, handled),
        needs=[
            *to_lanes("The API puts the commands of bulks here, by their lane."),
            Need(
                access=Access.WRITE, to=CLAIMS, why="Keeps how far a bulk has come, and reads bulks that were uploaded."
            ),
        ],
    )
