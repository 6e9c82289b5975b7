"""Clients of Azure's services. Nothing else of the app constructs one, and nothing connects before it is used."""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from azure.servicebus import ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender

from shared.azure_clients import Credentials, proxied
from shared.environment import Connection
from shared.lake.tables import StorageOptions, storage_options
from shared.settings import Settings
from shared.tables import Table
from shared.tables.azure import AzureTable

from .composition import Composition

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
    from azure.storage.blob.aio import BlobServiceClient, ContainerClient

__all__ = ["Platform", "platform"]

T = TypeVar("T")


class Platform:
    """Makes clients as the settings say: with an identity in Azure, with a connection string on the local stack.

    Whoever asks for a client of a table, container, queue or hub closes it; the rest is closed here.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._credentials = Credentials(settings.cloud)

    def table(self, name: str, *, account: int = 0) -> Table:
        """A client of a table in one of the state accounts."""
        return self._connect(
            self._settings.state,
            lambda text: AzureTable.from_connection_string(text, name),
            lambda uri, who: AzureTable.at(uri, name, who),
            address=self._settings.state.accounts[account],
        )

    def tables(self, name: str) -> list[Table]:
        """Clients of a table that every state account has."""
        return [self.table(name, account=number) for number in range(len(self._settings.state.accounts))]

    def container(self, name: str) -> "ContainerClient":
        """A client of a blob container."""
        from azure.storage.blob.aio import ContainerClient  # loaded with the first claim

        return self._connect(
            self._settings.claims,
            lambda text: ContainerClient.from_connection_string(text, name, use_env_settings=proxied()),
            lambda uri, who: ContainerClient(uri, name, credential=who, use_env_settings=proxied()),
        )

    def lake_container(self, name: str) -> "ContainerClient":
        """A client of a container of the lake; LookupError where there is no lake."""
        from azure.storage.blob.aio import ContainerClient

        if self._settings.lake is None:
            raise LookupError("no lake is set")
        return self._connect(
            self._settings.lake,
            lambda text: ContainerClient.from_connection_string(text, name, use_env_settings=proxied()),
            lambda uri, who: ContainerClient(uri, name, credential=who, use_env_settings=proxied()),
        )

    def lake_service(self) -> "BlobServiceClient":
        """A client of the lake's account, by identity; LookupError without a lake, or with a connection string."""
        from azure.storage.blob.aio import BlobServiceClient

        lake = self._settings.lake
        if lake is None or lake.address is None:
            raise LookupError("links need an identity")
        return BlobServiceClient(lake.address, credential=self._credentials.get(lake), use_env_settings=proxied())

    def lake_options(self) -> StorageOptions:
        """How the Delta library reaches the lake; LookupError without one, ValueError without a key."""
        if self._settings.lake is None:
            raise LookupError("no lake is set")
        return storage_options(self._settings.lake, self._credentials)

    def blob_service(self) -> "BlobServiceClient":
        """A client of the account that the containers are in, by identity; LookupError with a connection string."""
        from azure.storage.blob.aio import BlobServiceClient

        claims = self._settings.claims
        if claims.address is None:
            raise LookupError("links need an identity")
        credential = self._credentials.get(claims)
        return BlobServiceClient(claims.address, credential=credential, use_env_settings=proxied())

    def sender(self, queue: str) -> ServiceBusSender:
        """A sender on the one connection to Service Bus."""
        return self._service_bus.get_queue_sender(queue)

    def dead_letter_receiver(self, queue: str) -> ServiceBusReceiver:
        """A receiver of what the broker gave up in a queue; one with sessions has none there."""
        return self._service_bus.get_queue_receiver(queue, sub_queue=ServiceBusSubQueue.DEAD_LETTER)

    def receiver(self, queue: str) -> ServiceBusReceiver:
        """A receiver of a queue without sessions."""
        return self._service_bus.get_queue_receiver(queue)

    @cached_property
    def _service_bus(self) -> ServiceBusClient:
        return self._connect(self._settings.service_bus, ServiceBusClient.from_connection_string, ServiceBusClient)

    def producer(self) -> "EventHubProducerClient":
        """A client that publishes events."""
        from azure.eventhub.aio import EventHubProducerClient  # loaded with the first event

        hub = self._settings.event_hub
        return self._connect(
            self._settings.event_hubs,
            lambda text: EventHubProducerClient.from_connection_string(text, eventhub_name=hub),
            lambda namespace, who: EventHubProducerClient(namespace, hub, who),
        )

    def event_reader(self, hub: str = "") -> "EventHubConsumerClient":
        """A client that reads an event log, the app's own unless another hub is named."""
        from azure.eventhub.aio import EventHubConsumerClient

        hub = hub or self._settings.event_hub
        return self._connect(
            self._settings.event_hubs,
            lambda text: EventHubConsumerClient.from_connection_string(text, "$Default", eventhub_name=hub),
            lambda namespace, who: EventHubConsumerClient(namespace, hub, "$Default", credential=who),
        )

    def vault_credential(self) -> "AsyncTokenCredential":
        """Who the app is to the key vault."""
        if self._settings.key_vault is None:
            raise LookupError("no key vault is set")
        return self._credentials.get(self._settings.key_vault)

    async def token(self, scope: str) -> tuple[str, float]:
        """A token of the app's own identity for a scope, and its end in seconds since 1970."""
        token = await self._credentials.get(self._settings.key_vault or self._settings.state).get_token(scope)
        return token.token, float(token.expires_on)

    def _connect(
        self,
        connection: Connection,
        by_string: Callable[[str], T],
        by_identity: "Callable[[str, AsyncTokenCredential], T]",
        *,
        address: str | None = None,
    ) -> T:
        """The one place that tells a connection string from an identity."""
        if connection.connection_string is not None:
            return by_string(address or connection.connection_string.get_secret_value())
        return by_identity(address or connection.address or "", self._credentials.get(connection))

    async def close(self) -> None:
        """Close the connection to Service Bus and the credentials."""
        if "_service_bus" in vars(self):
            await self._service_bus.close()
        await self._credentials.close()


def platform(composition: Composition) -> Platform:
    """Azure's services as the settings name them."""
    return composition.closing(Platform(composition.settings))
