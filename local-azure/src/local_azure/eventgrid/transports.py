"""How events travel: by HTTP to a webhook, by AMQP to a queue, a topic or a hub; dead letters into a container."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from local_azure.eventgrid import formats
from local_azure.eventgrid.grid import Attempt, Undeliverable
from local_azure.eventgrid.handshake import ORIGIN, Question, refused
from local_azure.eventgrid.policy import Outcome, outcome_of_status
from local_azure.eventgrid.topics import Schema

__all__ = ["Connections", "NetworkTransport"]

_TIMEOUT: Final = aiohttp.ClientTimeout(total=30)
"""How long Event Grid waits for an answer."""
_AMQP_SECONDS: Final = 10
_LONGEST_ANSWER: Final = 65_536


@dataclass(frozen=True, slots=True)
class Connections:
    """Connection strings of the services that destinations name; an empty one: there is no such service here."""

    service_bus: str = field(default="", repr=False)
    event_hubs: str = field(default="", repr=False)
    storage: str = field(default="", repr=False)


class NetworkTransport:
    """One HTTP session for all webhooks, one sender for each entity."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._open: dict[tuple[str, str], Any] = {}
        self._locks: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def send(self, attempt: Attempt) -> Outcome:
        """Try once."""
        subscription = attempt.subscription
        if subscription.destination.webhook:
            return await self._post(attempt)
        if subscription.destination.kind == "EventHub":
            return await self._to_hub(attempt)
        return await self._to_entity(attempt)

    async def ask(self, url: str, question: Question) -> tuple[int, Mapping[str, str], bytes]:
        """A webhook's answer in the handshake; raises EventGridError where there is none."""
        try:
            async with self._http().request(
                question.method, url, headers=question.headers, data=question.body or None, allow_redirects=False
            ) as answer:
                body = await answer.content.read(_LONGEST_ANSWER)
                return answer.status, {name.lower(): value for name, value in answer.headers.items()}, body
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise refused(url, f"{question.method} request failed: {type(error).__name__}") from None

    async def write(self, undeliverable: Undeliverable) -> bool:
        """Put a blob of dead letters into its container; whether it is there."""
        if not self._connections.storage:
            return False
        from azure.core.exceptions import AzureError
        from azure.storage.blob.aio import BlobServiceClient

        key = ("blobs", "")
        if key not in self._open:
            self._open[key] = BlobServiceClient.from_connection_string(self._connections.storage, retry_total=0)
        try:
            blob = self._open[key].get_blob_client(undeliverable.container, undeliverable.blob)
            await blob.upload_blob(undeliverable.body, overwrite=True)
        except (AzureError, OSError, TimeoutError):
            return False
        return True

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
        for client in reversed(self._open.values()):
            await client.close()

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    async def _post(self, attempt: Attempt) -> Outcome:
        subscription, events = attempt.subscription, attempt.events
        headers = formats.headers(subscription, events[0], attempt.deliveries[0].attempts)
        headers["Content-Type"] = formats.content_type(subscription)
        if subscription.schema is Schema.CLOUD_EVENTS:
            headers["WebHook-Request-Origin"] = ORIGIN
        try:
            async with self._http().post(
                subscription.destination.target,
                data=formats.batch_body(events, subscription),
                headers=headers,
                allow_redirects=False,
            ) as answer:
                return outcome_of_status(answer.status)
        except TimeoutError:
            return Outcome.TIMED_OUT
        except aiohttp.ClientConnectorDNSError:
            return Outcome.RESOLUTION_ERROR
        except (aiohttp.ClientError, OSError, ValueError):
            return Outcome.SOCKET_ERROR

    async def _to_entity(self, attempt: Attempt) -> Outcome:
        # The SDK takes long to import: only who has such a subscription pays for it.
        from azure.servicebus import ServiceBusMessage
        from azure.servicebus.aio import ServiceBusClient
        from azure.servicebus.exceptions import (
            MessageSizeExceededError,
            MessagingEntityDisabledError,
            MessagingEntityNotFoundError,
            ServiceBusError,
            ServiceBusQuotaExceededError,
        )

        if not self._connections.service_bus:
            return Outcome.NOT_FOUND
        subscription, (delivery,), (event,) = attempt.subscription, attempt.deliveries, attempt.events
        properties: Any = formats.headers(subscription, event, delivery.attempts)
        broker = {name: properties.pop(name, None) for name in ("MessageId", "PartitionKey", "SessionId", "Label")}
        message = ServiceBusMessage(
            formats.as_json(event),
            application_properties=properties,
            content_type=formats.content_type(subscription),
            message_id=broker["MessageId"] or delivery.id,
            session_id=broker["SessionId"],
            partition_key=broker["PartitionKey"],
            subject=broker["Label"],
        )
        client = self._open.setdefault(
            ("bus", ""), ServiceBusClient.from_connection_string(self._connections.service_bus, retry_total=0)
        )
        kind, name = subscription.destination.kind, subscription.destination.target
        make = client.get_queue_sender if kind == "ServiceBusQueue" else client.get_topic_sender
        key = (kind, name)
        # A sender is not to be shared by tasks: while one opens its link, another closes it to open its own.
        async with self._locks[key]:
            try:
                async with asyncio.timeout(2 * _AMQP_SECONDS):  # the SDK's own does not bound everything it does
                    sender = self._open.setdefault(key, make(name))
                    await sender.send_messages(message, timeout=_AMQP_SECONDS)
            except TimeoutError:
                return Outcome.TIMED_OUT
            except MessagingEntityNotFoundError:
                return Outcome.NOT_FOUND
            except MessagingEntityDisabledError:
                return Outcome.DISABLED
            except ServiceBusQuotaExceededError:
                return Outcome.FULL
            except (MessageSizeExceededError, ValueError):
                return Outcome.TOO_LARGE
            except ServiceBusError as error:
                return Outcome.NO_SESSION if "session" in str(error).lower() else Outcome.BUSY
            except OSError:
                return Outcome.SOCKET_ERROR
        return Outcome.DELIVERED

    async def _to_hub(self, attempt: Attempt) -> Outcome:
        from azure.eventhub import EventData
        from azure.eventhub.aio import EventHubProducerClient
        from azure.eventhub.exceptions import ConnectError, EventHubError

        if not self._connections.event_hubs:
            return Outcome.NOT_FOUND
        subscription, (delivery,), (event,) = attempt.subscription, attempt.deliveries, attempt.events
        properties: Any = formats.headers(subscription, event, delivery.attempts)
        partition_key = properties.pop("PartitionKey", None)
        data = EventData(formats.as_json(event))
        data.content_type = formats.content_type(subscription)
        data.message_id = delivery.id
        data.properties = properties
        key = ("EventHub", subscription.destination.target)
        async with self._locks[key]:
            try:
                async with asyncio.timeout(2 * _AMQP_SECONDS):
                    if key not in self._open:
                        self._open[key] = EventHubProducerClient.from_connection_string(
                            self._connections.event_hubs, eventhub_name=key[1], retry_total=0
                        )
                    await self._open[key].send_batch([data], partition_key=partition_key, timeout=_AMQP_SECONDS)
            except TimeoutError:
                return Outcome.TIMED_OUT
            except ValueError:
                return Outcome.TOO_LARGE
            except ConnectError:
                return Outcome.NOT_FOUND
            except (EventHubError, OSError):
                return Outcome.BUSY
        return Outcome.DELIVERED
