"""What the key vault tells of its secrets: from Event Grid, or from a queue where the network is private."""

import asyncio
from datetime import UTC, datetime
from typing import Any, List  # noqa: UP035 - the worker refuses list[...] in a trigger's annotation

import azure.functions as func

from .services import Services

__all__ = ["event_of", "rotation_blueprint"]

_RETRY_SECONDS = 2.0
"""A queue brings a message that failed at once."""


def event_of(event: func.EventGridEvent | func.CloudEvent) -> dict[str, Any]:
    """The event as it travelled: the worker hands both schemas over, whatever the annotation says."""
    if isinstance(event, func.CloudEvent):
        return {
            "specversion": event.specversion,
            "id": event.id,
            "type": event.type,
            "subject": event.subject,
            "time": _text(event.time),
            "data": event.get_json(),
        }
    return {
        "id": event.id,
        "eventType": event.event_type,
        "subject": event.subject,
        "eventTime": _text(event.event_time),
        "data": event.get_json(),
    }


def _text(time: datetime | None) -> str | None:
    if time is None:
        return None
    return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).isoformat()


def rotation_blueprint(services: Services) -> func.Blueprint:
    """Two ways in, one handler. Which one is used depends on what the vault's events are subscribed to."""
    blueprint = func.Blueprint()

    async def secret_events(event: func.EventGridEvent) -> None:
        await services.secret_events.take(event_of(event))

    async def secret_events_queue(messages: List[func.ServiceBusMessage]) -> None:  # noqa: UP006
        try:
            for message in messages:
                await services.secret_events.take_body(message.get_body())
        except Exception:
            await asyncio.sleep(_RETRY_SECONDS)
            raise

    blueprint.event_grid_trigger(arg_name="event")(secret_events)
    blueprint.service_bus_queue_trigger(
        arg_name="messages",
        connection="ServiceBus",
        queue_name="%SLUICE_ROTATION_QUEUE%",
        data_type="binary",
        cardinality="many",
    )(secret_events_queue)
    return blueprint
