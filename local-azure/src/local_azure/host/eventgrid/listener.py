"""Hands the events of a webhook request to an Event Grid function."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from azure.functions.meta import Datum

from local_azure.host.context import NO_TRACE
from local_azure.host.functions import Function
from local_azure.host.invocation import InvocationFailed, decode
from local_azure.host.listener import BY_HAND, Services
from local_azure.host.trigger_data import event_grid
from local_azure.host.trigger_data.values import Metadata

__all__ = ["EventGridListener"]


class EventGridListener:
    """One function behind `/runtime/webhooks/eventgrid?functionName=...`."""

    webhook = "eventgrid"

    def __init__(self, function: Function, services: Services) -> None:
        self.function = function
        self._services = services

    @property
    def name(self) -> str:
        return self.function.name

    @property
    def webhook_name(self) -> str:
        return self.function.name

    async def run(self) -> None:
        """Events arrive by HTTP; there is nothing to wait for but the end."""
        await self._services.stopping.wait()

    async def close(self) -> None:
        """Nothing is left open."""

    async def run_manually(self, text: str) -> None:
        """Invoke with one event given as JSON, as the admin endpoint does."""
        trigger = self.function.trigger
        await self._invoke(lambda: event_grid.started_by_hand(text, trigger.name), BY_HAND)

    async def deliver(self, events: Sequence[Any]) -> bool:
        """Invoke once for each event, side by side; False if any failed, so that Event Grid sends all again."""
        results = await asyncio.gather(
            *(self._invoke(partial(event_grid.event, each), "EventGrid trigger fired") for each in events),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, InvocationFailed):
                raise result
        return not any(results)

    async def _invoke(self, given: Callable[[], tuple[Datum, Metadata]], reason: str) -> None:
        trigger, invoker = self.function.trigger, self._services.invoker
        await invoker.invoke(
            self.function, lambda: decode(trigger, *given()), reason=reason,
            trace=NO_TRACE if reason == BY_HAND else invoker.trace(attributes={"OperationName": self.name}),
        )  # fmt: skip
