"""Turns a batch of events into rows of read models."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from opentelemetry.trace import SpanKind

from shared.classification import plan_of
from shared.dead_letters import DeadLetterStore
from shared.messages import CloudEvent, ErrorCode, Projection, Registry
from shared.privacy import EncryptedModel, FieldProtection
from shared.state import pack
from shared.streams import StreamEvent, StreamReader
from shared.telemetry import hiding, messaging, span

from .views import ReadModels, ViewRow

__all__ = ["Projector"]


class Projector:
    """Keeps the read models; only outages of storage and of the key service leave it.

    Parameters
    ----------
    fields:
        Decrypts the protected fields of events and encrypts those of rows; without it both are in clear.
    """

    def __init__(
        self,
        registry: Registry,
        views: ReadModels,
        dead_letters: DeadLetterStore,
        *,
        now: Callable[[], datetime],
        fields: FieldProtection | None = None,
    ) -> None:
        self._registry = registry
        self._views = views
        self._fields = fields
        self._reader = StreamReader(
            dead_letters,
            consumer="read models",
            source="events",
            failure=ErrorCode.PROJECTION_ERROR,
            now=now,
            fields=fields,
        )

    async def project(self, events: Sequence[StreamEvent]) -> None:
        """Return when every event is in the read models or dead-lettered."""
        delivered = await self._reader.read(events, self._rows)
        attributes = messaging(
            "process", "events", system="eventhubs", CONSUMER_GROUP="read models", ROWS=len(delivered.made)
        )
        if len(delivered.parts) == 1:  # one event's work is in its trace; that of several is linked to each
            about: dict[str, Any] = {"parent": delivered.parts[0][1].traceparent}
        else:
            about = {"links": delivered.links}
        with span("process events", kind=SpanKind.CONSUMER, **about, attributes=attributes):
            await self._reader.store(delivered, self._views.put)

    async def _rows(self, event: CloudEvent) -> list[ViewRow]:
        return [await self._row(event, one) for one in self._registry.projections(event.type)]

    async def _row(self, event: CloudEvent, projection: Projection) -> ViewRow:
        data = await self._reader.decrypt(event, projection.model)
        with hiding(data):
            row = projection.call(data)
        if projection.shown is None and plan_of(type(row)).protects:
            raise TypeError(f"the projection into {projection.view} says nothing of its row: annotate what it returns")
        if self._fields is None:
            stored = EncryptedModel(row.model_dump_json(by_alias=True), {})
        else:
            stored = await self._fields.encrypt(row, ("view", projection.view, event.subject))
        pack(stored.text)  # a row that no table holds is this event's failure, not the batch's
        return ViewRow(
            view=projection.view,
            key=event.subject,
            value=stored.text,
            event_id=event.id,
            sequence=event.sequence,
            tokens=stored.tokens,
        )
