"""The batch triggers: messages of a lane, and events of the hub, as their consumers take them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, List  # noqa: UP035 - the worker refuses list[...] in a trigger's annotation

import azure.functions as func

from shared.messages import Delivery, Lane
from shared.processing import BatchProcessor
from shared.streams import StreamConsumer, StreamEvent

from .triggers import AppName, Function, HubTrigger, QueueTrigger

__all__ = ["delivery_of", "lane_function", "message_function", "stream_function"]


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


def stream_events(events: List[func.EventHubEvent]) -> list[StreamEvent]:  # noqa: UP006
    """Bodies with their place in the log, and what their senders put beside them."""
    beside = (events[0].metadata or {}).get("PropertiesArray") if events else None
    properties = beside if isinstance(beside, list) and len(beside) == len(events) else [{}] * len(events)
    return [
        StreamEvent(
            body=event.get_body(),
            partition=_partition(event),
            offset=str(event.offset or ""),
            sequence_number=int(event.sequence_number or 0),
            properties=own or {},
        )
        for event, own in zip(events, properties, strict=True)
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
