"""Receives events partition by partition, invokes a function, and checkpoints whether it succeeds or fails."""

import asyncio
from collections.abc import Sequence
from typing import Any

from local_azure.host.eventhubs.client import make_checkpoint_store, make_consumer, plain
from local_azure.host.functions import Function
from local_azure.host.host_json import InitialOffset
from local_azure.host.invocation import decode
from local_azure.host.listener import BY_HAND, Services
from local_azure.host.retrying import Interrupted, invoke_with_retries
from local_azure.host.trigger_data import event_hubs
from local_azure.host.trigger_data.event_hubs import Partition, ReceivedEvent

__all__ = ["EventHubListener", "starting_position"]


def starting_position(initial: InitialOffset) -> Any:
    """`initialOffsetOptions` in the terms of the client."""
    match initial.type:
        case "fromStart":
            return "-1"
        case "fromEnd":
            return "@latest"
        case "fromEnqueuedTime":
            return initial.enqueued_time


class EventHubListener:
    """One function's consumer group.

    Partitions are shared among the instances that run the function; each has one batch at a time. A retry
    policy runs before the checkpoint and holds the partition back. The checkpoint follows in any case: what
    a function fails to process is lost to it.
    """

    def __init__(self, function: Function, services: Services) -> None:
        self.function = function
        self._services = services
        self._options = services.options.event_hubs
        where = f"function {function.name}"
        name = function.setting("connection") or "AzureWebJobsEventHub"
        self._connection = services.settings.connection(name, where)
        self._storage = services.settings.connection("AzureWebJobsStorage", where)
        self._data_type = function.setting("dataType", "UNDEFINED")
        self._hub = function.setting("eventHubName")
        self._group = function.setting("consumerGroup") or "$Default"
        self._batches: dict[str, int] = {}
        self._waiting: dict[str, list[Any]] = {}
        self._active: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] | None = None

    @property
    def name(self) -> str:
        return self.function.name

    async def run(self) -> None:
        """Receive until the host ends; an error of the client is raised, for a fresh start."""
        store, store_credential = make_checkpoint_store(self._storage, self._services.instance)
        consumer, credential = make_consumer(
            self._connection, event_hub=self._hub, consumer_group=self._group, store=store, options=self._options
        )
        self._failed = asyncio.get_running_loop().create_future()
        self._waiting.clear()
        try:
            async with store, consumer:
                await store.ensure_container()
                await self._receive(consumer)
        finally:
            for each in (credential, store_credential):
                if each is not None:
                    await each.close()

    async def _receive(self, consumer: Any) -> None:
        assert self._failed is not None
        receiving = asyncio.create_task(
            consumer.receive_batch(
                self._on_batch,
                max_batch_size=self._options.max_event_batch_size,
                # Only a minimum needs a call without events: to see that its time is over.
                max_wait_time=1.0 if self._options.min_event_batch_size > 1 else None,
                prefetch=self._options.prefetch_count,
                starting_position=starting_position(self._options.initial_offset),
                starting_position_inclusive=self._options.initial_offset.type == "fromEnqueuedTime",
                on_error=self._on_error,
            )
        )
        stopping = asyncio.create_task(self._services.stopping.wait())
        try:
            await asyncio.wait((receiving, stopping, self._failed), return_when=asyncio.FIRST_COMPLETED)
            if self._active:
                await asyncio.wait(self._active)
        finally:
            stopping.cancel()
            receiving.cancel()
            await asyncio.gather(receiving, stopping, return_exceptions=True)
        if not self._services.stopping.is_set():
            await (self._failed if self._failed.done() else receiving)

    async def close(self) -> None:
        """Nothing is left open after `run`."""

    async def run_manually(self, text: str) -> None:
        """Invoke with one event of a given body, as the admin endpoint does."""
        function = self.function
        await invoke_with_retries(
            function,
            self._services,
            lambda: decode(
                function.trigger,
                *event_hubs.started_by_hand(text, function.trigger.name, self._data_type, many=function.is_batch),
            ),
            reason=BY_HAND,
        )

    async def _on_error(self, _: Any, error: Exception) -> None:
        """Of a partition or of load balancing: starting again is quicker than the client's next round."""
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def _on_batch(self, context: Any, events: Sequence[Any]) -> None:
        if self._services.stopping.is_set() or (self._failed is not None and self._failed.done()):
            return  # what came after the end is not processed, and so not checkpointed
        ready = self._gather(context.partition_id, events)
        if not ready:
            return
        work = asyncio.create_task(self._process_and_checkpoint(context, ready))
        self._active.add(work)
        work.add_done_callback(self._active.discard)
        # Losing the partition cancels the callback; the function goes on, as it does in Azure.
        await asyncio.shield(work)

    def _gather(self, partition_id: str, events: Sequence[Any]) -> list[Any]:
        """Events to hand over now: at least minEventBatchSize, unless maxWaitTime is over."""
        if self._options.min_event_batch_size <= 1:
            return list(events)
        waiting = self._waiting.setdefault(partition_id, [])
        first_came = waiting[0][0] if waiting else asyncio.get_running_loop().time()
        waiting += [(first_came, event) for event in events]
        late = asyncio.get_running_loop().time() - first_came >= self._options.max_wait_time.total_seconds()
        if not waiting or (len(waiting) < self._options.min_event_batch_size and not late):
            return []
        ready, rest = waiting[: self._options.max_event_batch_size], waiting[self._options.max_event_batch_size :]
        self._waiting[partition_id] = rest
        return [event for _, event in ready]

    async def _process_and_checkpoint(self, context: Any, events: list[Any]) -> None:
        partition = Partition(
            namespace=context.fully_qualified_namespace.partition(":")[0],
            event_hub=context.eventhub_name,
            consumer_group=context.consumer_group,
            partition_id=context.partition_id,
        )
        try:
            await self._process(
                [plain(event) for event in events], partition, f"(null) partition {context.partition_id}"
            )
        except Interrupted:
            return
        count = self._batches[partition.partition_id] = self._batches.get(partition.partition_id, 0) + 1
        if count % self._options.batch_checkpoint_frequency == 0:
            await context.update_checkpoint(events[-1])

    async def _process(self, events: Sequence[ReceivedEvent], partition: Partition, reason: str) -> None:
        trigger, many = self.function.trigger, self.function.is_batch
        for group in [events] if many else [[event] for event in events]:

            def argument(group: Sequence[ReceivedEvent] = group) -> Any:
                if many:
                    return decode(trigger, *event_hubs.batch(group, partition, self._data_type))
                return decode(trigger, *event_hubs.single(group[0], partition, self._data_type))

            await invoke_with_retries(
                self.function, self._services, argument, reason=reason,
                attributes=event_hubs.trace_attributes(partition),
            )  # fmt: skip
