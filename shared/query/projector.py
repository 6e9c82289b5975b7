"""Turns a batch of events into rows of read models."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from opentelemetry.trace import SpanKind
from pydantic import BaseModel

from shared.classification import plan_of
from shared.dead_letters import DeadLetterStore
from shared.encryption import KeysUnavailable
from shared.messages import CloudEvent, ErrorCode, Projection, Registry, validate_json
from shared.privacy import EncryptedModel, FieldProtection, clear_text
from shared.state import pack
from shared.streams import StreamEvent, StreamReader
from shared.telemetry import hiding, messaging, span

from .row_writes import ViewChange, ViewRow
from .views import ReadModels

__all__ = ["CannotChange", "Projector", "projected"]

Decrypt = Callable[[CloudEvent, type[BaseModel]], Awaitable[BaseModel]]


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
        self._views = views
        self._reader = StreamReader(
            dead_letters,
            consumer="read models",
            source="events",
            failure=ErrorCode.PROJECTION_ERROR,
            now=now,
            fields=fields,
        )
        self._projected = partial(projected, registry=registry, decrypt=self._reader.decrypt, fields=fields)

    async def project(self, events: Sequence[StreamEvent]) -> None:
        """Return when every event is in the read models or dead-lettered."""
        delivered = await self._reader.read(events, self._projected)
        attributes = messaging(
            "process", "events", system="eventhubs", CONSUMER_GROUP="read models", ROWS=len(delivered.made)
        )
        if len(delivered.parts) == 1:  # one event's work is in its trace; that of several is linked to each
            about: dict[str, Any] = {"parent": delivered.parts[0][1].traceparent}
        else:
            about = {"links": delivered.links}
        with span("process events", kind=SpanKind.CONSUMER, **about, attributes=attributes):
            await self._reader.store(delivered, self._views.put)


class CannotChange(ValueError):
    """An event can't be applied to its row as it is: the event's fault, and not an outage."""


async def projected(
    event: CloudEvent,
    *,
    registry: Registry,
    decrypt: Decrypt,
    fields: FieldProtection | None,
    view: str | None = None,
) -> list[ViewRow | ViewChange]:
    """The rows that an event makes, of one view or of all; changes where rows depend on what they were.

    Raises
    ------
    ProtectionError, KeysUnavailable, ValidationError
        And whatever the projections raise.
    """
    made: list[ViewRow | ViewChange] = []
    for projection in registry.projections(event.type):
        if view not in (None, projection.view):
            continue
        data = await decrypt(event, projection.model)
        if projection.view in registry.folded:
            made.append(_change(event, projection, data, fields))
            continue
        with hiding(data):
            row = projection.call(data)
        stored = await _encrypted(row, projection, event.subject, fields)
        made.append(
            ViewRow(
                view=projection.view,
                key=event.subject,
                value=stored.text,
                event_id=event.id,
                sequence=event.sequence,
                tokens=stored.tokens,
            )
        )
    return made


def _change(event: CloudEvent, projection: Projection, data: BaseModel, fields: FieldProtection | None) -> ViewChange:
    async def apply(text: str | None) -> EncryptedModel | None:
        try:
            if projection.folds:
                before = None if text is None else await _stored(text, projection, event.subject, fields)
                with hiding(data), hiding(data if before is None else before):
                    row = projection.call(data, before)
            else:
                with hiding(data):
                    row = projection.call(data)
            return None if row is None else await _encrypted(row, projection, event.subject, fields)
        except KeysUnavailable:
            raise
        except Exception as error:  # a user's code, and a row that it can't read
            raise CannotChange(f"{event.type} can't be applied to its row: {type(error).__name__}") from error

    return ViewChange(view=projection.view, key=event.subject, event_id=event.id, sequence=event.sequence, apply=apply)


async def _stored(text: str, projection: Projection, key: str, fields: FieldProtection | None) -> BaseModel:
    """The row so far, its protected fields in clear; those of an erased person are None."""
    model = projection.shown
    if model is None:
        raise TypeError(f"the projection into {projection.view} says nothing of its row: annotate what it returns")
    clear = clear_text(text, model) if fields is None else await fields.decrypt(text, model, _place(projection, key))
    return validate_json(model.model_validate_json, clear.encode())


async def _encrypted(
    row: BaseModel | None, projection: Projection, key: str, fields: FieldProtection | None
) -> EncryptedModel:
    if row is None:
        raise TypeError(f"the projection into {projection.view} makes nothing: only one that may says `| None`")
    if projection.shown is None and plan_of(type(row)).protects:
        raise TypeError(f"the projection into {projection.view} says nothing of its row: annotate what it returns")
    if fields is None:
        stored = EncryptedModel(row.model_dump_json(by_alias=True), {})
    else:
        stored = await fields.encrypt(row, _place(projection, key))
    pack(stored.text)  # a row that no table holds is this event's failure, not the batch's
    return stored


def _place(projection: Projection, key: str) -> tuple[str, str, str]:
    """What a row's fields are encrypted for: the view, whatever version of it."""
    return ("view", projection.view, key)
