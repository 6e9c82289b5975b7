"""Receives Service Bus messages, invokes a function with them, and settles them by its outcome."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from azure.functions.meta import Datum
from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import AutoLockRenewer, ServiceBusReceiver
from azure.servicebus.exceptions import (
    MessageLockLostError,
    OperationTimeoutError,
    ServiceBusError,
    SessionLockLostError,
)

from local_azure.host.context import NO_TRACE
from local_azure.host.functions import Function
from local_azure.host.invocation import InvocationFailed, decode
from local_azure.host.listener import BY_HAND, Services
from local_azure.host.logs import HOST_LOGGER
from local_azure.host.servicebus.client import make_client, make_receiver, plain
from local_azure.host.trigger_data import service_bus
from local_azure.host.trigger_data.service_bus import Source
from local_azure.host.trigger_data.values import Metadata

__all__ = ["ServiceBusListener"]

# Seconds of one receive call: how soon a listener notices that the host is ending.
_SETTLED_AT_ONCE = 8
_RECEIVE_SECONDS = 1.0
# The extension waits this long for the next session before it asks again.
_SESSION_WAIT = 10.0


class ServiceBusListener:
    """One function's queue or subscription.

    A batch function has one sequential loop: receive, invoke, complete all, or on failure abandon all. A
    single function runs up to `maxConcurrentCalls` at a time, with its locks renewed. Abandoned messages come
    back at once; after MaxDeliveryCount the broker dead-letters them.
    """

    def __init__(self, function: Function, services: Services) -> None:
        self.function = function
        self._services = services
        self._options = services.options.service_bus
        name = function.setting("connection") or "AzureWebJobsServiceBus"
        self._connection = services.settings.connection(name, f"function {function.name}")
        self._data_type = function.setting("dataType", "UNDEFINED")
        self._source = Source()
        self._attributes: Mapping[str, str] = {}
        self._sessions = function.setting("isSessionsEnabled").lower() == "true"
        own = function.setting("autoCompleteMessages").lower()
        self._auto_complete = self._options.auto_complete_messages if own in ("", "none") else own == "true"

    @property
    def name(self) -> str:
        return self.function.name

    async def run(self) -> None:
        """Receive until the host ends."""
        client, credential = make_client(self._connection)
        namespace = client.fully_qualified_namespace.partition(":")[0]
        self._source = Source(namespace=namespace, identifier=str(uuid.uuid4()))
        self._attributes = service_bus.trace_attributes(
            self._source, self._entity(), function=self.name, many=self.function.is_batch
        )
        try:
            async with client:
                if self._sessions:
                    await self._run_sessions(client)
                else:
                    await self._run_queue(client)
        finally:
            if credential is not None:
                await credential.close()

    async def close(self) -> None:
        """Nothing is left open after `run`."""

    async def run_manually(self, text: str) -> None:
        """Invoke with one message of a given body, as the admin endpoint does."""
        function = self.function
        await self._invoke(
            lambda: service_bus.started_by_hand(text, function.trigger.name, self._data_type, many=function.is_batch),
            reason=BY_HAND,
        )

    # Without sessions

    async def _run_queue(self, client: Any) -> None:
        prefetch = self._options.prefetch_count
        async with make_receiver(client, self.function, prefetch=prefetch) as receiver:
            if self.function.is_batch:
                while not self._services.stopping.is_set():
                    await self._receive_and_process_batch(receiver)
            else:
                async with self._renewer() as renewer:
                    await self._run_single(receiver, renewer)

    async def _receive_and_process_batch(self, receiver: ServiceBusReceiver) -> bool:
        """One round of a batch loop; False if nothing came."""
        messages = await self._receive_batch(receiver)
        if messages:
            await self._process(receiver, messages)
        return bool(messages)

    async def _receive_batch(self, receiver: ServiceBusReceiver) -> list[ServiceBusReceivedMessage]:
        """Up to maxMessageBatchSize messages; waits for minMessageBatchSize no longer than maxBatchWaitTime."""
        largest, smallest = self._options.max_message_batch_size, self._options.min_message_batch_size
        messages = await receiver.receive_messages(max_message_count=largest, max_wait_time=_RECEIVE_SECONDS)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._options.max_batch_wait_time.total_seconds()
        while messages and len(messages) < smallest and not self._services.stopping.is_set():
            remaining = deadline - loop.time()
            if remaining <= 0:
                break
            messages += await receiver.receive_messages(
                max_message_count=largest - len(messages), max_wait_time=min(remaining, _RECEIVE_SECONDS)
            )
        return messages

    async def _run_single(self, receiver: ServiceBusReceiver, renewer: AutoLockRenewer) -> None:
        """As many messages at a time as there are free calls."""
        calls: set[asyncio.Task[None]] = set()
        try:
            while not self._services.stopping.is_set():
                free = self._options.max_concurrent_calls - len(calls)
                if not free:
                    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
                    continue
                for message in await receiver.receive_messages(max_message_count=free, max_wait_time=_RECEIVE_SECONDS):
                    call = asyncio.create_task(self._process_single(receiver, message, renewer))
                    calls.add(call)
                    call.add_done_callback(calls.discard)
        finally:
            if calls:
                await asyncio.wait(calls)

    def _renewer(self) -> AutoLockRenewer:
        return AutoLockRenewer(max_lock_renewal_duration=self._options.max_auto_lock_renewal_duration.total_seconds())

    async def _process_single(
        self, receiver: ServiceBusReceiver, message: ServiceBusReceivedMessage, renewer: AutoLockRenewer | None
    ) -> None:
        if renewer is not None and self._options.max_auto_lock_renewal_duration:
            renewer.register(receiver, message)
        await self._process(receiver, [message])

    # With sessions

    async def _run_sessions(self, client: Any) -> None:
        """Batch: one session after another; single: up to maxConcurrentSessions side by side."""
        lanes = 1 if self.function.is_batch else self._options.max_concurrent_sessions
        async with asyncio.TaskGroup() as group:
            for _ in range(lanes):
                group.create_task(self._session_lane(client))

    async def _session_lane(self, client: Any) -> None:
        while not self._services.stopping.is_set():
            async with self._next_session(client) as receiver:
                if receiver is None:
                    continue
                with contextlib.suppress(SessionLockLostError):  # somebody else will get the rest of it
                    await self._serve_session(receiver)

    async def _serve_session(self, receiver: ServiceBusReceiver) -> None:
        if not self.function.is_batch:
            await self._drain_session(receiver)
            return
        while not self._services.stopping.is_set() and await self._receive_and_process_batch(receiver):
            pass

    @contextlib.asynccontextmanager
    async def _next_session(self, client: Any) -> AsyncIterator[ServiceBusReceiver | None]:
        receiver = make_receiver(
            client, self.function, prefetch=self._options.prefetch_count, session_wait=_SESSION_WAIT
        )
        try:
            yield await self._opened(receiver)
        finally:
            await receiver.close()

    async def _opened(self, receiver: ServiceBusReceiver) -> ServiceBusReceiver | None:
        """The receiver once it has a session; None if no session has messages, or the host ends."""
        opening = asyncio.ensure_future(receiver.__aenter__())
        stopping = asyncio.ensure_future(self._services.stopping.wait())
        try:
            await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
            return opening.result() if opening.done() else None
        except OperationTimeoutError:
            return None
        finally:
            for each in (opening, stopping):
                each.cancel()
            await asyncio.gather(opening, stopping, return_exceptions=True)

    async def _drain_session(self, receiver: ServiceBusReceiver) -> None:
        """The session's messages one by one, until it has been idle for sessionIdleTimeout."""
        loop = asyncio.get_running_loop()
        idle_since = loop.time()
        async with self._renewer() as renewer:
            renewer.register(receiver, receiver.session)
            while not self._services.stopping.is_set():
                messages = await receiver.receive_messages(max_message_count=1, max_wait_time=_RECEIVE_SECONDS)
                for message in messages:
                    await self._process_single(receiver, message, None)
                    idle_since = loop.time()
                if loop.time() - idle_since > self._options.session_idle_timeout.total_seconds():
                    return

    # Invoking and settling

    async def _process(self, receiver: ServiceBusReceiver, messages: Sequence[ServiceBusReceivedMessage]) -> None:
        """Invoke, then complete all on success or abandon all on failure."""
        source = self._source
        if self._sessions:
            source = replace(source, locked_until=receiver.session.locked_until_utc)

        def data() -> tuple[Datum, Metadata]:
            if self.function.is_batch:
                return service_bus.batch([plain(message) for message in messages], self._data_type, source)
            return service_bus.single(plain(messages[0]), self._data_type, source)

        try:
            await self._invoke(
                data,
                reason=f"New ServiceBus message detected on '{self._entity()}'.",
                attributes=self._attributes,
            )
        except InvocationFailed:
            await self._settle(receiver.abandon_message, messages)
        else:
            if self._auto_complete:
                await self._settle(receiver.complete_message, messages)

    async def _invoke(
        self, data: Callable[[], tuple[Datum, Metadata]], *, reason: str, attributes: Mapping[str, str] | None = None
    ) -> None:
        invoker = self._services.invoker
        await invoker.invoke(
            self.function, lambda: decode(self.function.trigger, *data()), reason=reason,
            trace=NO_TRACE if attributes is None else invoker.trace(attributes=attributes),
        )  # fmt: skip

    async def _settle(
        self, settle: Callable[[Any], Awaitable[None]], messages: Sequence[ServiceBusReceivedMessage]
    ) -> None:
        """Settle side by side, since each waits for the broker; a lost lock means another delivery, not an error.

        A few at a time: in Azure the host is a process of its own; here the app's loop shouldn't stand still for it.

        Raises
        ------
        ServiceBusError
            None of them could be settled: the connection is gone.
        """
        places = asyncio.Semaphore(_SETTLED_AT_ONCE)

        async def settle_one(message: ServiceBusReceivedMessage) -> None:
            async with places:
                await settle(message)

        results = await asyncio.gather(*(settle_one(message) for message in messages), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        if not failures:
            return
        HOST_LOGGER.warning(
            "Function '%s': %d of %d messages could not be settled and will be delivered again: %s",
            self.name, len(failures), len(messages), failures[0],
        )  # fmt: skip
        first = failures[0]
        if (
            len(failures) == len(messages)
            and isinstance(first, ServiceBusError)
            and not isinstance(first, MessageLockLostError)
        ):
            raise first

    def _entity(self) -> str:
        topic = self.function.setting("topicName")
        return (
            f"{topic}/Subscriptions/{self.function.setting('subscriptionName')}"
            if topic
            else self.function.setting("queueName")
        )
