"""The edge to azure-eventhub: the consumer client, its checkpoint store, and events as plain values."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from azure.core.exceptions import ResourceExistsError
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient
from azure.eventhub.amqp import AmqpMessageBodyType
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore

from local_azure.host.amqp_types import AmqpTimestamp, keep_types, property_value, text_of
from local_azure.host.host_json import EventHubsOptions
from local_azure.host.settings import Connection
from local_azure.host.trigger_data.event_hubs import ReceivedEvent
from local_azure.host.trigger_data.net_json import net_datetime_offset

__all__ = [
    "CHECKPOINT_CONTAINER",
    "InstanceCheckpointStore",
    "make_checkpoint_store",
    "make_consumer",
    "plain",
    "with_types",
]

# Where the extension keeps ownership and checkpoints, in AzureWebJobsStorage.
_TIMES = ("x-opt-enqueued-time", "absolute-expiry-time", "creation-time")
CHECKPOINT_CONTAINER = "azure-webjobs-eventhub"


class InstanceCheckpointStore(BlobCheckpointStore):
    """A checkpoint store whose ownership belongs to a named instance rather than to one process of it.

    A host that was killed and starts again under its name goes on with its partitions at once; without that
    it would wait for its own ownership to expire. Other instances see the difference in no way.
    """

    def __init__(self, *args: Any, instance: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self._instance = instance
        self._processor = ""

    async def ensure_container(self) -> None:
        """Create the container where it is missing."""
        try:
            await self._container_client.create_container()
        except ResourceExistsError:
            return

    async def list_ownership(self, *args: Any, **options: Any) -> Iterable[dict[str, Any]]:
        """Ownership as the processor knows it; what the instance's former process left counts as given up."""
        found = await super().list_ownership(*args, **options)
        return [{**each, "owner_id": self._processor} if each["owner_id"] == self._instance else each for each in found]

    async def claim_ownership(
        self, ownership_list: Iterable[dict[str, Any]], **options: Any
    ) -> Iterable[dict[str, Any]]:
        """Claim under the instance's name, or release under none."""
        asked = list(ownership_list)
        self._processor = next((each["owner_id"] for each in asked if each["owner_id"]), self._processor)
        renamed = [{**each, "owner_id": self._instance if each["owner_id"] else ""} for each in asked]
        claimed = await super().claim_ownership(renamed, **options)
        return [{**each, "owner_id": self._processor if each["owner_id"] else ""} for each in claimed]


def make_checkpoint_store(storage: Connection, instance: str) -> tuple[InstanceCheckpointStore, Any]:
    """The store in AzureWebJobsStorage, and the credential to close after it if the connection is by identity."""
    if storage.connection_string is not None:
        store: Any = InstanceCheckpointStore.from_connection_string(
            storage.connection_string, CHECKPOINT_CONTAINER, instance=instance
        )
        return store, None
    from azure.identity.aio import DefaultAzureCredential

    credential = DefaultAzureCredential()
    return InstanceCheckpointStore(storage.service_uri, CHECKPOINT_CONTAINER, credential, instance=instance), credential


def make_consumer(
    connection: Connection,
    *,
    event_hub: str,
    consumer_group: str,
    store: BlobCheckpointStore,
    options: EventHubsOptions,
) -> tuple[EventHubConsumerClient, Any]:
    """A consumer that balances partitions by the options of host.json, and the credential to close after it."""
    settings: dict[str, Any] = {
        "consumer_group": consumer_group,
        "checkpoint_store": store,
        "load_balancing_interval": options.load_balancing_update_interval.total_seconds(),
        "partition_ownership_expiration_interval": options.partition_ownership_expiration_interval.total_seconds(),
        # The listener starts again by itself, for ever; the client's own attempts stay short.
        "retry_total": 1,
        "retry_backoff_factor": 0.2,
    }
    if connection.connection_string is not None:
        return with_types(
            EventHubConsumerClient.from_connection_string(
                connection.connection_string, eventhub_name=event_hub, **settings
            )
        ), None
    from azure.identity.aio import DefaultAzureCredential

    credential = DefaultAzureCredential()
    namespace = str(connection.fully_qualified_namespace)
    return with_types(EventHubConsumerClient(namespace, event_hub, credential=credential, **settings)), credential


def with_types(client: EventHubConsumerClient) -> EventHubConsumerClient:
    """Have all that a client receives decoded with types."""
    create = client._create_consumer

    def create_consumer(*args: Any, **options: Any) -> Any:
        consumer = create(*args, **options)
        keep_types(consumer)
        return consumer

    client._create_consumer = create_consumer  # type: ignore[method-assign]
    return client


def plain(event: EventData) -> ReceivedEvent:
    """What a trigger can see of an event."""
    return ReceivedEvent(
        body=_body(event),
        sequence_number=event.sequence_number or 0,
        offset=None if event.offset is None else text_of(event.offset),
        enqueued_time=event.enqueued_time or datetime.min.replace(tzinfo=UTC),
        partition_key=None if event.partition_key is None else text_of(event.partition_key),
        properties={text_of(name): property_value(value) for name, value in (event.properties or {}).items()},
        system_properties={
            (known := text_of(name)): _system(known, value) for name, value in event.system_properties.items()
        },
    )


def _body(event: EventData) -> bytes | None:
    if event.body_type is not AmqpMessageBodyType.DATA:
        return None
    body: Any = event.body
    return body if isinstance(body, bytes) else b"".join(bytes(part) for part in body)


def _system(name: str, value: Any) -> Any:
    """A value that the client has decoded: strings as bytes, times as milliseconds."""
    if name in _TIMES and isinstance(value, int):
        return net_datetime_offset(AmqpTimestamp(value).moment())
    return text_of(value) if isinstance(value, bytes) else value
