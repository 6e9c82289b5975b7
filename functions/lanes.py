"""The lanes' batch triggers: one function per lane, so that each can be scaled or served by an app of its own."""

from typing import Any, List  # noqa: UP035 - the worker refuses list[...] in a trigger's annotation

import azure.functions as func

from shared.messages import Delivery, Lane

from .services import Services

__all__ = ["delivery_of", "lanes_blueprint"]


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


def lanes_blueprint(services: Services) -> func.Blueprint:
    """Four batch functions; `%…%` names each queue in the settings. The ordered one takes a key's session at a time."""
    blueprint = func.Blueprint()

    async def lane_high(messages: List[func.ServiceBusMessage]) -> None:  # noqa: UP006
        await services.processor.process(Lane.HIGH, [delivery_of(message) for message in messages])

    async def lane_normal(messages: List[func.ServiceBusMessage]) -> None:  # noqa: UP006
        await services.processor.process(Lane.NORMAL, [delivery_of(message) for message in messages])

    async def lane_low(messages: List[func.ServiceBusMessage]) -> None:  # noqa: UP006
        await services.processor.process(Lane.LOW, [delivery_of(message) for message in messages])

    async def lane_ordered(messages: List[func.ServiceBusMessage]) -> None:  # noqa: UP006
        await services.processor.process(Lane.ORDERED, [delivery_of(message) for message in messages])

    queues = {lane_high: "%SLUICE_LANE_HIGH%", lane_normal: "%SLUICE_LANE_NORMAL%", lane_low: "%SLUICE_LANE_LOW%"}
    for function, queue in queues.items():
        blueprint.service_bus_queue_trigger(
            arg_name="messages",
            connection="ServiceBus",
            queue_name=queue,
            data_type="binary",
            cardinality="many",
        )(function)
    blueprint.service_bus_queue_trigger(
        arg_name="messages",
        connection="ServiceBus",
        queue_name="%SLUICE_LANE_ORDERED%",
        data_type="binary",
        cardinality="many",
        is_sessions_enabled=True,
    )(lane_ordered)
    return blueprint
