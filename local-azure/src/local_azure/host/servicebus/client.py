"""The edge to azure-servicebus: a client per connection, a receiver per source, messages as plain values."""

import time
from datetime import UTC, datetime
from typing import Any

from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusReceivedMessage
from azure.servicebus._pyamqp.constants import LinkState
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver
from azure.servicebus.amqp import AmqpMessageBodyType
from azure.servicebus.exceptions import OperationTimeoutError

from local_azure.host.amqp_types import keep_types, property_value, text_of
from local_azure.host.functions import Function
from local_azure.host.settings import Connection
from local_azure.host.trigger_data.service_bus import ReceivedMessage

__all__ = ["make_client", "make_receiver", "plain"]

# The SDK's own retries stay short: the listeners start again by themselves, for ever.
_RETRIES: dict[str, Any] = {"retry_total": 2, "retry_backoff_factor": 0.2, "retry_backoff_max": 1.0}

# How long a receive goes on after its first message, in seconds. The .NET client that the extension uses
# waits 20 ms; the Python client's 200 ms would be latency that Azure does not have.
_GATHER_SECONDS = 0.02
_DRAIN_SECONDS = 5.0
_LISTEN_SECONDS = 0.2
# Fields of an AMQP flow frame (AMQP 1.0, 2.7.4) by their place.
_DRAIN_FIELD = 8
_NEVER = datetime.max.replace(tzinfo=UTC)


def make_client(connection: Connection) -> tuple[ServiceBusClient, Any]:
    """A client, and the credential to close after it if the connection is by identity."""
    if connection.connection_string is not None:
        return ServiceBusClient.from_connection_string(connection.connection_string, **_RETRIES), None
    from azure.identity.aio import DefaultAzureCredential

    credential = DefaultAzureCredential()
    return ServiceBusClient(str(connection.fully_qualified_namespace), credential, **_RETRIES), credential


def make_receiver(
    client: ServiceBusClient, function: Function, *, prefetch: int, session_wait: float | None = None
) -> ServiceBusReceiver:
    """A peek-lock receiver of the function's queue or subscription.

    Parameters
    ----------
    session_wait
        For sessions: seconds to wait for the next available one.
    """
    options: dict[str, Any] = {"prefetch_count": prefetch}
    if session_wait is not None:
        options |= {"session_id": NEXT_AVAILABLE_SESSION, "max_wait_time": session_wait}
    if topic := function.setting("topicName"):
        receiver = client.get_subscription_receiver(topic, function.setting("subscriptionName"), **options)
    else:
        receiver = client.get_queue_receiver(function.setting("queueName"), **options)
    keep_types(receiver)
    receiver._further_pull_receive_timeout = _GATHER_SECONDS
    if session_wait is not None and not prefetch:
        _leave_no_credit(receiver)
    return receiver


def _leave_no_credit(receiver: Any) -> None:
    """Have every receive take back the credit that it didn't use: a session's messages must come in their order.

    Without that the broker sends what comes between two receives, and the Python client gives it back. Where only the
    first of several messages came before the second receive, that one is received after the others. The .NET client
    drains its sessions' links for the same reason (Azure.Messaging.ServiceBus 7.17.1).
    """
    receive = receiver._receive

    async def receive_and_drain(*arguments: Any, **named: Any) -> list[ServiceBusReceivedMessage]:
        messages: list[ServiceBusReceivedMessage] = await receive(*arguments, **named)
        handler = receiver._handler
        receiver._receive_context.set()  # what is on its way belongs to this receive
        try:
            await _drain(handler)
        finally:
            receiver._receive_context.clear()
        came = handler._received_messages
        while not came.empty():
            messages.append(receiver._build_received_message(came.get()))
            came.task_done()
        return messages

    receiver._receive = receive_and_drain


async def _drain(handler: Any) -> None:
    """Return when the broker has no credit of the link's left, and all that it sent was read (AMQP 1.0, 2.6.7)."""
    link = handler._link
    if link.current_link_credit <= 0:
        return
    answered = False

    async def on_flow(frame: Any) -> None:
        nonlocal answered
        answered = answered or bool(frame[_DRAIN_FIELD])

    link._incoming_flow = on_flow  # the client itself reads no flow
    await link.flow(link_credit=0, drain=True)
    deadline = time.monotonic() + _DRAIN_SECONDS
    while not answered and link.state is LinkState.ATTACHED:
        if time.monotonic() > deadline:
            raise OperationTimeoutError(message="The broker didn't answer a drain of the session's link")
        await handler._connection.listen(wait=_LISTEN_SECONDS)


def plain(message: ServiceBusReceivedMessage) -> ReceivedMessage:
    """What a trigger can see of a message."""
    enqueued = message.enqueued_time_utc
    return ReceivedMessage(
        body=_body(message),
        message_id=_text(message.message_id),
        lock_token=str(message.lock_token or ""),
        sequence_number=message.sequence_number or 0,
        delivery_count=(message.delivery_count or 0) + 1,
        enqueued_time=enqueued or datetime.min.replace(tzinfo=UTC),
        expires_at=_expires(message),
        content_type=_text(message.content_type),
        correlation_id=_text(message.correlation_id),
        subject=_text(message.subject),
        to=_text(message.to),
        reply_to=_text(message.reply_to),
        session_id=_text(message.session_id),
        reply_to_session_id=_text(message.reply_to_session_id),
        partition_key=_text(message.partition_key),
        dead_letter_source=message.dead_letter_source,
        application_properties={
            text_of(name): property_value(value) for name, value in (message.application_properties or {}).items()
        },
    )


def _body(message: ServiceBusReceivedMessage) -> bytes | str | None:
    body: Any = message.body
    if message.body_type is AmqpMessageBodyType.DATA:
        parts = [body] if isinstance(body, bytes) else list(body)
        return parts[0] if len(parts) == 1 else b"".join(parts)
    if message.body_type is AmqpMessageBodyType.VALUE and isinstance(body, str):
        return body
    return None


def _expires(message: ServiceBusReceivedMessage) -> datetime:
    """The sender's absolute expiry time, where it set one; else the time-to-live after the message was enqueued."""
    properties = message.raw_amqp_message.properties
    if properties is not None and (stated := properties.absolute_expiry_time):
        try:
            return datetime.fromtimestamp(stated / 1000, UTC)
        except (ValueError, OverflowError):
            return _NEVER
    try:
        return message.expires_at_utc or _NEVER
    except OverflowError:
        return _NEVER


def _text(value: Any) -> str | None:
    return None if value is None else text_of(value)
