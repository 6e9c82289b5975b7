"""The batch triggers: messages of a lane, and events of the hub, as their consumers take them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC
from typing import Any, List  # noqa: UP035 - the worker refuses list[...] in a trigger's annotation

import azure.functions as func

from shared.messages import Delivery, Lane
from shared.processing import BatchProcessor
from shared.streams import NEVER, Annotations, StreamConsumer, StreamEvent

from .triggers import AppName, Function, HubTrigger, QueueTrigger

__all__ = ["delivery_of", "lane_function", "message_function", "stream_function"]


_ELSEWHERE = frozenset(
    {"SequenceNumber", "Offset", "OffsetString", "PartitionKey", "EnqueuedTimeUtc", "x-opt-enqueued-time"}
)
"""System properties that say again what an event has elsewhere."""


def delivery_of(message: func.ServiceBusMessage) -> Delivery:
    """What we rely on of a message: its body and application properties, which no host shifts."""
    properties: dict[str, Any] = dict(message.application_properties or {})
    return Delivery(
        body=message.get_body(),
        properties=properties,
        message_id=message.message_id or "",
        sequence_number=int(message.sequence_number or 0),
        delivery_count=int(message.delivery_count or 1),
    )


def lane_function(lane: Lane, processor: Callable[[], BatchProcessor], *, queue: str, app: AppName) -> Function:
    """The batch function of a lane; the ordered one takes a key's session at a time."""

    async def process(messages: List[func.ServiceBusMessage]) -> None:  # noqa: UP006
        await processor().process(lane, [delivery_of(message) for message in messages])

    process.__name__ = f"lane_{lane}"
    trigger = QueueTrigger(queue=queue, sessions=lane is Lane.ORDERED)
    return Function(call=process, trigger=trigger, app=app)


def message_function(name: str, take: Callable[[Delivery], Awaitable[None]], *, queue: str, app: AppName) -> Function:
    """The function of a queue whose messages are dealt with side by side, each on its own."""

    async def process(message: func.ServiceBusMessage) -> None:
        await take(delivery_of(message))

    process.__name__ = name
    return Function(call=process, trigger=QueueTrigger(queue=queue, many=False), app=app)


def stream_events(events: List[func.EventHubEvent], *, annotated: bool = False) -> list[StreamEvent]:  # noqa: UP006
    """Bodies with their place in the log, and what their senders put beside them; `annotated` with the rest too."""
    if not events:
        return []
    # Every event has the metadata of the whole batch, and decodes them for itself: asking one of them is enough.
    metadata: Mapping[str, Any] = events[0].metadata or {}
    context = metadata.get("PartitionContext") or {}
    partition = str(context.get("PartitionId", "")) if isinstance(context, dict) else ""
    beside = metadata.get("PropertiesArray")
    properties = beside if isinstance(beside, list) and len(beside) == len(events) else [{}] * len(events)
    annotations = _annotations(metadata, events) if annotated else [None] * len(events)
    return [
        StreamEvent(
            body=event.get_body(),
            partition=partition,
            offset=str(event.offset or ""),
            sequence_number=int(event.sequence_number or 0),
            properties=own or {},
            annotations=more,
        )
        for event, own, more in zip(events, properties, annotations, strict=True)
    ]


def _annotations(metadata: Mapping[str, Any], events: Sequence[func.EventHubEvent]) -> list[Annotations]:
    system = metadata.get("SystemPropertiesArray") or [{}] * len(events)
    return [
        Annotations(
            enqueued=event.enqueued_time.replace(tzinfo=UTC) if event.enqueued_time else NEVER,
            system={name: value for name, value in (own or {}).items() if name not in _ELSEWHERE},
        )
        for event, own in zip(events, system, strict=True)
    ]


def stream_function(
    name: str,
    consumer: Callable[[], StreamConsumer],
    *,
    hub: str,
    group: str,
    app: AppName = AppName.STREAMS,
    annotated: bool = False,
) -> Function:
    """The function of a consumer group; `consumer` is called when the first events come."""

    async def consume(events: List[func.EventHubEvent]) -> None:  # noqa: UP006
        await consumer().deliver(stream_events(events, annotated=annotated))

    consume.__name__ = name
    return Function(call=consume, trigger=HubTrigger(hub=hub, group=group), app=app)
