"""How events travel: by HTTP to an Event Grid webhook, by AMQP to a queue."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from local_azure.keyvault.events import NotTaken, Rejected, Subscription, as_bytes

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusMessage
    from azure.servicebus.aio import ServiceBusClient, ServiceBusSender

__all__ = ["NetworkTransport"]

_TIMEOUT: Final = aiohttp.ClientTimeout(total=30)
"""How long Event Grid waits for an answer."""

_TAKEN: Final = (200, 201, 202, 203, 204)
_REJECTED: Final = (400, 401, 403, 413)
"""What Event Grid does not try again (learn.microsoft.com: "Event Grid message delivery and retry")."""

_QUEUE_SECONDS: Final = 10


class NetworkTransport:
    """One HTTP session for all webhooks, one sender for each queue."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._clients: list[ServiceBusClient] = []
        self._senders: dict[tuple[str, str], ServiceBusSender] = {}
        self._sending: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def send(self, subscription: Subscription, event: Mapping[str, Any]) -> None:
        """Deliver one event.

        Raises
        ------
        NotTaken
            If it did not arrive: `Rejected`, if another try would not help.
        """
        if subscription.webhook:
            await self._post(subscription, event)
        else:
            await self._enqueue(subscription, event)

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
        for client in self._clients:
            await client.close()

    async def _post(self, subscription: Subscription, event: Mapping[str, Any]) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        headers = {"Content-Type": "application/json; charset=utf-8", **_properties(subscription, event)}
        body = b"[" + as_bytes(event) + b"]"
        try:
            async with self._session.post(subscription.webhook, data=body, headers=headers) as answer:
                if answer.status not in _TAKEN:
                    raise (Rejected if answer.status in _REJECTED else NotTaken)(f"status {answer.status}")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise NotTaken(type(error).__name__) from None

    async def _enqueue(self, subscription: Subscription, event: Mapping[str, Any]) -> None:
        # The SDK takes long to import: only a vault with such a subscription pays for it.
        from azure.servicebus import ServiceBusMessage

        properties: Any = _properties(subscription, event)
        message = ServiceBusMessage(
            as_bytes(event),
            application_properties=properties,
            content_type="application/json",
            message_id=str(event["id"]),
        )
        # A sender is not to be shared by tasks: while one opens its link, another closes it to open its own.
        async with self._sending[subscription.service_bus, subscription.queue]:
            await self._send_to_queue(self._sender(subscription), message)

    async def _send_to_queue(self, sender: ServiceBusSender, message: ServiceBusMessage) -> None:
        from azure.servicebus.exceptions import ServiceBusError

        try:
            async with asyncio.timeout(2 * _QUEUE_SECONDS):  # the SDK's own does not bound everything it does
                await sender.send_messages(message, timeout=_QUEUE_SECONDS)
        except (ServiceBusError, OSError, ValueError) as error:
            raise NotTaken(type(error).__name__) from None

    def _sender(self, subscription: Subscription) -> ServiceBusSender:
        from azure.servicebus.aio import ServiceBusClient

        key = (subscription.service_bus, subscription.queue)
        if key not in self._senders:
            client = ServiceBusClient.from_connection_string(subscription.service_bus, retry_total=0)
            self._clients.append(client)
            self._senders[key] = client.get_queue_sender(subscription.queue)
        return self._senders[key]


def _properties(subscription: Subscription, event: Mapping[str, Any]) -> dict[str, str]:
    """What Event Grid adds to every delivery."""
    return {
        "aeg-event-type": "Notification",
        "aeg-subscription-name": subscription.name.upper(),
        "aeg-delivery-count": "0",
        "aeg-data-version": str(event["dataVersion"]),
        "aeg-metadata-version": str(event["metadataVersion"]),
    }
