"""Settings of sending: the broker, its lanes, and the event hub."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, field_validator

from shared.environment import Connection, QueueName, SettingsSlice, contradiction

__all__ = ["SendingSettings"]


class SendingSettings(SettingsSlice):
    """Where commands and events go."""

    service_bus: Connection = Field(alias="ServiceBus")
    event_hubs: Connection = Field(alias="EventHubs")
    lane_high: QueueName = Field("lane-high", alias="SLUICE_LANE_HIGH")
    lane_normal: QueueName = Field("lane-normal", alias="SLUICE_LANE_NORMAL")
    lane_low: QueueName = Field("lane-low", alias="SLUICE_LANE_LOW")
    lane_ordered: QueueName = Field("lane-ordered", alias="SLUICE_LANE_ORDERED")
    queue_ttl_days: int = Field(14, alias="SLUICE_QUEUE_TTL_DAYS", ge=1, le=365)
    event_hub: QueueName = Field("events", alias="SLUICE_EVENT_HUB")
    read_model_group: QueueName = Field("read-models", alias="SLUICE_READ_MODEL_GROUP")
    event_source: Annotated[str, Field(min_length=1, max_length=256)] = Field("/sluice", alias="SLUICE_EVENT_SOURCE")
    send_timeout_seconds: float = Field(15.0, alias="SLUICE_SEND_TIMEOUT_SECONDS", gt=0, le=120)

    @field_validator("service_bus", "event_hubs")
    @classmethod
    def _namespace(cls, connection: Connection) -> Connection:
        return connection.addressed_by("fullyQualifiedNamespace")

    @contradiction("lane_high", "lane_normal", "lane_low", "lane_ordered")
    def _four_queues(self) -> Iterator[str]:
        if len({self.lane_high, self.lane_normal, self.lane_low, self.lane_ordered}) < 4:
            yield "SLUICE_LANE_HIGH, SLUICE_LANE_NORMAL, SLUICE_LANE_LOW and SLUICE_LANE_ORDERED must name four queues"
