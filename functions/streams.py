"""The event stream's trigger: facts become rows of read models."""

from collections.abc import Mapping
from typing import Any, List  # noqa: UP035 - the worker refuses list[...] in a trigger's annotation

import azure.functions as func

from shared.streams import StreamEvent

from .services import Services

__all__ = ["streams_blueprint"]


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


def streams_blueprint(services: Services) -> func.Blueprint:
    """One function per consumer group. The host checkpoints even what failed, so only storage's errors are raised,
    and the retry policy holds the partition until storage is back."""
    blueprint = func.Blueprint()

    async def read_models(events: List[func.EventHubEvent]) -> None:  # noqa: UP006
        await services.projector.project(stream_events(events))

    blueprint.retry(
        strategy="exponential_backoff",
        max_retry_count="-1",
        minimum_interval="00:00:01",
        maximum_interval="00:01:00",
    )(
        blueprint.event_hub_message_trigger(
            arg_name="events",
            connection="EventHubs",
            event_hub_name="%SLUICE_EVENT_HUB%",
            consumer_group="%SLUICE_READ_MODEL_GROUP%",
            data_type="binary",
            cardinality="many",
        )(read_models)
    )
    return blueprint
