"""What the key vault tells of its secrets: from Event Grid, or from a queue where the network is private."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, List  # noqa: UP035 - the worker refuses list[...] in a trigger's annotation

import azure.functions as func

from shared.rotation import SecretEvents

from .triggers import AppName, EventGridTrigger, Function, QueueTrigger

__all__ = ["event_of", "rotation_functions"]

_RETRY_SECONDS = 2.0
"""A queue brings a message that failed at once."""


def event_of(event: Any) -> dict[str, Any]:
    """The event as it travelled: the worker hands both schemas over, whatever the annotation says.

    They differ in what they have: older workers bring an `azure.functions` that has no `CloudEvent`.
    """
    if hasattr(event, "specversion"):
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


def rotation_functions(events: Callable[[], SecretEvents], *, queue: str) -> list[Function]:
    """A function for Event Grid, and one for the queue; `events` is called when the first event comes."""

    async def secret_events(event: func.EventGridEvent) -> None:
        await events().take(event_of(event))

    async def secret_events_queue(messages: List[func.ServiceBusMessage]) -> None:  # noqa: UP006
        failures: list[Exception] = []
        for message in messages:
            try:
                await events().take_body(message.get_body())
            except Exception as error:  # the others are tried all the same
                failures.append(error)
        if failures:
            await asyncio.sleep(_RETRY_SECONDS)
            raise ExceptionGroup("secret events are to come again", failures)

    return [
        Function(call=secret_events, trigger=EventGridTrigger(), app=AppName.STREAMS),
        Function(call=secret_events_queue, trigger=QueueTrigger(queue=queue), app=AppName.STREAMS),
    ]
