"""Hands the events of a webhook request to an Event Grid function."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from local_azure.host import wire
from local_azure.host.functions import Function
from local_azure.host.invocation import InvocationFailed, decode
from local_azure.host.listener import Services

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

    async def run(self) -> None:
        """Events arrive by HTTP; there is nothing to wait for but the end."""
        await self._services.stopping.wait()

    async def close(self) -> None:
        """Nothing is left open."""

    async def run_manually(self, text: str) -> None:
        """Invoke with one event given as JSON, as the admin endpoint does."""
        await self._invoke(json.loads(text or "{}"))

    async def deliver(self, events: Sequence[dict[str, Any]]) -> bool:
        """Invoke once for each event, side by side; False if any failed, so that Event Grid sends all again."""
        results = await asyncio.gather(*(self._invoke(event) for event in events), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, InvocationFailed):
                raise result
        return not any(results)

    async def _invoke(self, event: dict[str, Any]) -> None:
        data = wire.json_datum(event)
        metadata = wire.host_metadata(self.name)
        if "data" in event:
            metadata["data"] = wire.json_datum(event["data"])
        trigger = self.function.trigger
        await self._services.invoker.invoke(
            self.function, lambda: decode(trigger, data, metadata), reason="EventGrid trigger fired"
        )
