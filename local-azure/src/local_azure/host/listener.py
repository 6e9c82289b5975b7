"""What every trigger's listener has in common: how it is run, stopped and started again; and which one a trigger has.

Each is imported only where it is used: the SDKs are slow to load.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from local_azure.host.functions import Function
from local_azure.host.host_json import HostOptions
from local_azure.host.invocation import Invoker
from local_azure.host.logs import HOST_LOGGER
from local_azure.host.settings import AppSettings

__all__ = ["BY_HAND", "Backoff", "Listener", "Services", "WebhookListener", "make_listener", "pause", "supervise"]

# Why a function runs that `POST /admin/functions/NAME` started.
BY_HAND = "This function was programmatically called via the host APIs."


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What listeners work with. `stopping` is set when the host ends: take nothing new, finish what runs."""

    settings: AppSettings
    options: HostOptions
    invoker: Invoker
    instance: str
    stopping: asyncio.Event


class Listener(Protocol):
    """Waits for one function's trigger and invokes it."""

    @property
    def name(self) -> str:
        """The function's name."""

    @property
    def function(self) -> Function:
        """The function that is invoked."""

    async def run(self) -> None:
        """Listen until the services' `stopping` is set; raises whatever makes a fresh start necessary."""

    async def close(self) -> None:
        """Close clients, after `run` has ended."""

    async def run_manually(self, text: str) -> None:
        """Invoke the function once with a given input (`POST /admin/functions/{name}`)."""


@runtime_checkable
class WebhookListener(Protocol):
    """A listener that Event Grid calls; `webhook` is its place below /runtime/webhooks."""

    webhook: str

    @property
    def webhook_name(self) -> str:
        """What `functionName` must be for it, case included."""

    @property
    def function(self) -> Function:
        """The function that is invoked."""

    async def deliver(self, events: Sequence[Any]) -> bool:
        """Process events; False to have them sent again."""


class Backoff:
    """Pauses between attempts: doubling from the first to the longest, reset by success. Seconds."""

    def __init__(self, first: float = 0.25, longest: float = 5.0) -> None:
        self._first, self._longest, self._next = first, longest, first

    def next(self) -> float:
        """The next pause in seconds."""
        current, self._next = self._next, min(self._longest, self._next * 2)
        return current

    def reset(self) -> None:
        """Begin with the first pause again."""
        self._next = self._first


async def pause(stopping: asyncio.Event, seconds: float) -> bool:
    """Wait, but not past the host's end; True if the host is ending."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return False
    return True


async def supervise(listener: Listener, stopping: asyncio.Event) -> None:
    """Run a listener for ever: whatever ends it, an outage above all, leads to another start after a pause."""
    backoff = Backoff()
    loop = asyncio.get_running_loop()
    last = ""
    while not stopping.is_set():
        started = loop.time()
        try:
            await listener.run()
            return
        except Exception as error:  # a listener must outlive every kind of outage
            if loop.time() - started > 30:
                backoff.reset()
                last = ""
            message = _describe(error)
            if message != last:
                HOST_LOGGER.warning(
                    "The listener for function '%s' lost its source and starts again: %s", listener.name, message
                )
            last = message
        await pause(stopping, backoff.next())


def _describe(error: BaseException) -> str:
    """One line; of a group, what its first member says."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def make_listener(function: Function, services: Services) -> Listener | None:
    """The listener of a function; None for HTTP, which the server itself serves.

    Raises
    ------
    HostError
        A connection that the trigger needs is missing, or its schedule or path is wrong.
    """
    match function.trigger_type:
        case "httpTrigger":
            return None
        case "serviceBusTrigger":
            from local_azure.host.servicebus.listener import ServiceBusListener

            return ServiceBusListener(function, services)
        case "eventHubTrigger":
            from local_azure.host.eventhubs.listener import EventHubListener

            return EventHubListener(function, services)
        case "timerTrigger":
            from local_azure.host.timers.listener import TimerListener

            return TimerListener(function, services)
        case "eventGridTrigger":
            from local_azure.host.eventgrid.listener import EventGridListener

            return EventGridListener(function, services)
        case "blobTrigger":
            from local_azure.host.blobs.listener import BlobListener

            return BlobListener(function, services)
    raise NotImplementedError(function.trigger_type)
