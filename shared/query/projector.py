"""Turns a batch of events into rows of read models."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from opentelemetry.trace import SpanKind

from shared.dead_letters import DeadLetterStore
from shared.messages import CloudEvent, ErrorCode, Registry
from shared.privacy import FieldProtection
from shared.streams import StreamEvent, StreamReader
from shared.telemetry import messaging, span

from .projecting import projected
from .row_writes import ViewChange, ViewRow
from .views import ReadModels

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

    async def _rows(self, event: CloudEvent) -> list[ViewRow | ViewChange]:
        return [
            await projected(event, one, self._registry, self._reader.decrypt, self._fields)
            for one in self._registry.projections(event.type)
        ]
