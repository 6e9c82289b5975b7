"""The lanes' batch triggers: one function per lane, so that each can be scaled or served by an app of its own."""

from collections.abc import Callable
from typing import Any, List  # noqa: UP035 - the worker refuses list[...] in a trigger's annotation

import azure.functions as func

from shared.messages import Delivery, Lane
from shared.processing import BatchProcessor

from .triggers import AppName, Function, QueueTrigger

__all__ = ["delivery_of", "lane_function"]


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
