"""The event stream's trigger: events of a hub as their consumer takes them."""

from collections.abc import Callable, Mapping
from typing import Any, List  # noqa: UP035 - the worker refuses list[...] in a trigger's annotation

import azure.functions as func

from shared.streams import StreamConsumer, StreamEvent

from .triggers import AppName, Function, HubTrigger

__all__ = ["stream_function"]


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


def stream_function(name: str, consumer: Callable[[], StreamConsumer], *, hub: str, group: str) -> Function:
    """The function of a consumer group; `consumer` is called when the first events come."""

    async def consume(events: List[func.EventHubEvent]) -> None:  # noqa: UP006
        await consumer().deliver(stream_events(events))

    consume.__name__ = name
    return Function(call=consume, trigger=HubTrigger(hub=hub, group=group), app=AppName.STREAMS)
