"""The event stream's trigger: events become rows of read models."""

from collections.abc import Callable, Mapping
from typing import Any, List  # noqa: UP035 - the worker refuses list[...] in a trigger's annotation

import azure.functions as func

from shared.query import Projector
from shared.streams import StreamEvent

from .triggers import AppName, Function, HubTrigger

__all__ = ["read_models_function"]


def stream_events(events: List[func.EventHubEvent]) -> list[StreamEvent]:  # noqa: UP006
    """Bodies with their place in the log."""
    return [
        StreamEvent(
            body=event.get_body(),
            partition=_partition(event),
            offset=str(event.offset or ""),
            sequence_number=int(event.sequence_number or 0),
        )
        for event in events
    ]


def _partition(event: func.EventHubEvent) -> str:
    metadata: Mapping[str, Any] = event.metadata or {}
    context = metadata.get("PartitionContext") or {}
    return str(context.get("PartitionId", "")) if isinstance(context, dict) else ""


def read_models_function(projector: Callable[[], Projector], *, hub: str, group: str) -> Function:
    """The read models' function; `projector` is called when the first events come."""

    async def read_models(events: List[func.EventHubEvent]) -> None:  # noqa: UP006
        await projector().project(stream_events(events))

    return Function(call=read_models, trigger=HubTrigger(hub=hub, group=group), app=AppName.STREAMS)
