"""Makes one view of many events at once: what the projector makes of them one batch after the other, in less time.

Where a row is what its newest event says, earlier ones aren't looked into, unless the newest can't be projected.
"""

from collections.abc import Sequence
from functools import partial

from pydantic import BaseModel

from shared.encryption import KeysUnavailable
from shared.messages import CloudEvent, MessageError, Registry, validate_json
from shared.privacy import FieldProtection, clear_text
from shared.streams import StreamEvent, is_refusal
from shared.telemetry import log_event

from .projector import projected
from .row_writes import ViewChange, ViewRow
from .views import ReadModels

__all__ = ["Replayer"]


class Replayer:
    """Applies events to one view.

    Parameters
    ----------
    rows:
        Where the view's rows are written.
    """

    def __init__(self, registry: Registry, view: str, rows: ReadModels, fields: FieldProtection | None) -> None:
        self._registry = registry
        self._view = view
        self._rows = rows
        self._fields = fields
        self._projected = partial(projected, registry=registry, decrypt=self._decrypt, fields=fields, view=view)

    async def apply(self, events: Sequence[StreamEvent]) -> int:
        """Have the view hold what some events of one partition make of it; returns how many nobody can project.

        Raises
        ------
        KeysUnavailable
            And whatever the table raises: an outage; the same events may be applied again.
        """
        skipped = 0
        by_key: dict[str, list[CloudEvent]] = {}
        for received in events:
            if received.unreadable:
                skipped += 1
                continue
            try:
                event = CloudEvent.from_json(received.body)
            except MessageError:
                skipped += 1
                continue
            if any(one.view == self._view for one in self._registry.projections(event.type)):
                by_key.setdefault(event.subject, []).append(event)
        made: list[ViewRow | ViewChange] = []
        for own in by_key.values():
            found, failed = await self._made(own)
            made += found
            skipped += failed
        return skipped + await self._put(made)

    async def _made(self, own: list[CloudEvent]) -> tuple[list[ViewRow | ViewChange], int]:
        """What the events of one key come to, and how many of those that were looked into failed."""
        found: list[ViewRow | ViewChange] = []
        failed = 0
        folds = self._view in self._registry.folded
        for event in own if folds else sorted(own, key=lambda one: -one.sequence):
            try:
                found += await self._projected(event)
            except KeysUnavailable:
                raise
            except Exception as error:  # a user's code; the live projection has parked it
                failed += 1
                log_event("event not replayed", level=30, view=self._view, event_id=event.id, error=error)
            else:
                if not folds:
                    break
        return found, failed

    async def _decrypt(self, event: CloudEvent, model: type[BaseModel]) -> BaseModel:
        if self._fields is None:
            text = clear_text(event.data, model)
        else:
            text = await self._fields.decrypt(event.data, model, ("event", event.id, event.type))
        return validate_json(model.model_validate_json, text.encode())

    async def _put(self, made: Sequence[ViewRow | ViewChange]) -> int:
        """Store it all at once, or one by one where the store refuses some of it; returns how many it refuses."""
        try:
            await self._rows.put(made)
        except Exception as error:
            if not is_refusal(error):
                raise
            refused = 0
            for one in made:
                try:
                    await self._rows.put([one])
                except Exception as own:
                    if not is_refusal(own):
                        raise
                    refused += 1
                    log_event("event not replayed", level=30, view=self._view, event_id=one.event_id, error=own)
            return refused
        return 0
