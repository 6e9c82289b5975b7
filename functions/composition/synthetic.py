"""The synthetic transaction: a marked message a minute, from its acceptance to the row of its view."""

from uuid import uuid4

from pydantic_core import to_json

from functions.triggers import AppName
from shared.health import Check
from shared.messages import Registry
from shared.synthetic import EVENT_TYPE, NAME, VIEW, Marked, SyntheticTransaction, synthetic_integration
from shared.telemetry import Metrics

from .capability import Capability
from .claims import CLAIMS
from .composition import Composition
from .declaring import Access, Need, Table
from .ingestion import intake
from .read_models import VIEWS_TABLE, read_models
from .sending import to_lanes

__all__ = ["capability", "transaction", "with_synthetic"]

_COMPONENT = "synthetic"


def with_synthetic(registry: Registry) -> Registry:
    """The app's integrations, and that of marked messages: every app knows them, whichever sends them, and since when.

    An app that didn't would make a dead letter of each, and hold its key on the ordered lane.
    """
    return registry.beside(synthetic_integration())


def transaction(composition: Composition) -> SyntheticTransaction:
    """Sends marked messages as the API does, and looks at their rows."""

    async def send(marked: Marked) -> None:
        taken, message_id = composition.get(intake), str(uuid4())
        envelope = {
            "messageId": message_id,
            "timestamp": marked.sent_at.isoformat(),
            "source": f"/{NAME}",
            "eventType": EVENT_TYPE,
            "version": "1.0",
            "data": marked.model_dump(mode="json", by_alias=True),
        }
        command = await taken.read(to_json(envelope), kind="application/json", route=None, asked_id=None)
        await taken.accept(command, correlation_id=message_id)

    async def row(key: str) -> Marked | None:
        found = await composition.get(read_models).get(VIEW, key)
        return None if found is None else Marked.model_validate_json(found)

    return SyntheticTransaction(send, row, now=composition.now)


def capability(composition: Composition) -> Capability:
    """A component of health, and what its sending needs, where the settings ask for it."""
    if not composition.settings.synthetic:
        return Capability(name="synthetic", metrics=_METRICS, settings=["SLUICE_SYNTHETIC"])
    check = Check(
        ask=lambda: composition.get(transaction).run(),
        app=AppName.STREAMS,
        interval=60,
        timeout=30,
        threshold=10,
        weight=0,
    )
    by = [_COMPONENT]
    return Capability(
        name="synthetic",
        probes={_COMPONENT: check},
        metrics=_METRICS,
        needs=[
            *to_lanes("Sends marked messages.", by=by),
            Need(access=Access.WRITE, to=CLAIMS, why="Keeps the payloads of marked messages if they are large.", by=by),
            Need(access=Access.READ, to=Table(name=VIEWS_TABLE), why="Sees marked messages arrive.", by=by),
        ],
        settings=["SLUICE_SYNTHETIC"],
    )


_METRICS = (Metrics.synthetic_duration, Metrics.synthetic_runs)
