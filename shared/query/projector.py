"""Turns a batch of facts into rows of read models; a poison event is parked and the rest goes on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from shared.classification import plan_of
from shared.dead_letters import DeadLetter, DeadLetterStore, stack_fingerprint
from shared.encryption import KeysUnavailable
from shared.messages import CloudEvent, ErrorCode, MessageError, Projection, Registry
from shared.privacy import EncryptedModel, FieldProtection, clear_text
from shared.state import pack
from shared.telemetry import hiding, link_to, log_event, redacted_error, span

from .views import ReadModels, ViewRow

__all__ = ["Projector", "StreamEvent"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamEvent:
    """An event as Event Hubs delivers it, with its place in the log."""

    body: bytes
    partition: str
    offset: str
    sequence_number: int


class Projector:
    """Keeps the read models; only storage's own errors and those of the key service leave it, for the trigger's
    retry policy.

    Parameters
    ----------
    fields:
        Opens the protected fields of facts and seals those of rows; without it both are in clear.
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
        self._dead_letters = dead_letters
        self._now = now
        self._fields = fields

    async def project(self, events: Sequence[StreamEvent]) -> None:
        """Return when every event is shown or parked."""
        rows: list[ViewRow] = []
        links = []
        for event in events:
            fact: CloudEvent | None = None
            try:
                fact = CloudEvent.from_json(event.body)
                rows += [await self._row(fact, one) for one in self._registry.projections(fact.type)]
            except KeysUnavailable:
                raise
            except Exception as error:  # a projection is the user's code: whatever it raises concerns this event only
                await self._park(event, fact, error)
            else:
                links.append(link_to(fact.traceparent))
        with span("project", links=[link for link in links if link], attributes={"sluice.rows": len(rows)}):
            if rows:
                await self._views.put(rows)

    async def _row(self, fact: CloudEvent, projection: Projection) -> ViewRow:
        if self._fields is None:
            text = clear_text(fact.data, projection.model)
        else:
            text = await self._fields.decrypt(fact.data, projection.model, ("event", fact.id, fact.type))
        data = projection.model.model_validate_json(text)
        with hiding(data):
            row = projection.call(data)
        if projection.shown is None and plan_of(type(row)).protects:
            raise TypeError(f"the projection into {projection.view} says nothing of its row: annotate what it returns")
        if self._fields is None:
            encrypted = EncryptedModel(row.model_dump_json(by_alias=True), {})
        else:
            encrypted = await self._fields.encrypt(row, ("view", projection.view, fact.subject))
        pack(encrypted.text)  # a row that no table holds is this event's failure, not the batch's
        return ViewRow(
            view=projection.view,
            key=fact.subject,
            value=encrypted.text,
            event_id=fact.id,
            sequence=fact.sequence,
            tokens=encrypted.tokens,
        )

    async def _park(self, event: StreamEvent, fact: CloudEvent | None, error: Exception) -> None:
        now = self._now()
        code, reason = _why(error)
        position: dict[str, Any] = {
            "partition": event.partition,
            "offset": event.offset,
            "sequenceNumber": event.sequence_number,
        }
        await self._dead_letters.put(
            DeadLetter(
                identity=f"events:{event.partition}:{event.sequence_number}",
                body=event.body,
                properties={},
                source="events",
                category="permanent" if code == ErrorCode.PROJECTION_ERROR else "invalid",
                code=code,
                reason=reason,
                attempts=1,
                first_failure=now,
                last_failure=now,
                event_type=fact.type if fact else None,
                key=fact.subject if fact else None,
                correlation_id=fact.correlation_id if fact else None,
                traceparent=fact.traceparent if fact else None,
                fingerprint=stack_fingerprint(error),
                position=position,
            )
        )
        log_event("event parked", level=40, code=code, reason=reason, **position)


def _why(error: Exception) -> tuple[str, str]:
    if isinstance(error, MessageError):
        return error.code, error.message
    if isinstance(error, ValidationError):
        return ErrorCode.VALIDATION_ERROR, f"{error.error_count()} fields of the event are wrong"
    return ErrorCode.PROJECTION_ERROR, redacted_error(error)
