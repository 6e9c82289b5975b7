"""What one event makes of a view: its row, or what its row becomes, encrypted as the row's model asks for."""

from collections.abc import Awaitable, Callable

from pydantic import BaseModel

from shared.classification import plan_of
from shared.encryption import KeysUnavailable
from shared.messages import CloudEvent, Projection, Registry, validate_json
from shared.privacy import EncryptedModel, FieldProtection, clear_text
from shared.state import pack
from shared.telemetry import hiding

from .row_writes import ViewChange, ViewRow

__all__ = ["CannotChange", "projected"]

Decrypt = Callable[[CloudEvent, type[BaseModel]], Awaitable[BaseModel]]


class CannotChange(ValueError):
    """An event can't be applied to its row as it is: the event's fault, and not an outage."""


async def projected(
    event: CloudEvent, projection: Projection, registry: Registry, decrypt: Decrypt, fields: FieldProtection | None
) -> ViewRow | ViewChange:
    """The row that an event makes, or the change where rows of its view depend on what they were.

    Raises
    ------
    ProtectionError, KeysUnavailable, ValidationError
        And whatever the projection raises.
    """
    data = await decrypt(event, projection.model)
    if projection.view in registry.folded:
        return _change(event, projection, data, fields)
    with hiding(data):
        row = projection.call(data)
    stored = await _encrypted(row, projection, event.subject, fields)
    return ViewRow(
        view=projection.view,
        key=event.subject,
        value=stored.text,
        event_id=event.id,
        sequence=event.sequence,
        tokens=stored.tokens,
    )


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
