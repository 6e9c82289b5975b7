"""Functions as values: what calls one, what it does, which app runs it; bound to the platform's model in one place."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import azure.functions as func

__all__ = ["AppName", "EventGridTrigger", "Function", "HttpTrigger", "HubTrigger", "QueueTrigger", "TimerTrigger"]

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


class AppName(StrEnum):
    """The function apps that one package is deployed to; each runs some of its functions."""

    API = "api"
    HIGH = "high"
    BULK = "bulk"
    ORDERED = "ordered"
    STREAMS = "streams"
    LAKE = "lake"


class Trigger(Protocol):
    """What calls a function."""

    def bind(self, blueprint: func.Blueprint, call: Callable[..., Any]) -> None:
        """Register a function with this trigger."""


@dataclass(frozen=True, kw_only=True)
class Function:
    """One function of the package.

    Attributes
    ----------
    call:
        Named as the function is; its parameter is `messages`, `message`, `events`, `event`, `timer` or `req`, as its
        trigger says.
    app:
        The app that runs it.
    """

    call: Callable[..., Awaitable[Any]]
    trigger: Trigger
    app: AppName

    @property
    def name(self) -> str:
        """As the host lists it."""
        return self.call.__name__


@dataclass(frozen=True, kw_only=True)
class QueueTrigger:
    """Messages of a queue; `queue` is a name or `%SETTING%`.

    Attributes
    ----------
    many:
        Batches as `messages`, one after the other. Without it one message as `message`, many side by side, whose locks
        the host renews: for work that waits for somebody else.
    """

    queue: str
    sessions: bool = False
    many: bool = True

    def bind(self, blueprint: func.Blueprint, call: Callable[..., Any]) -> None:
        """Register a function with this trigger."""
        blueprint.service_bus_queue_trigger(
            arg_name="messages" if self.many else "message",
            connection="ServiceBus",
            queue_name=self.queue,
            data_type="binary",
            cardinality="many" if self.many else "one",
            is_sessions_enabled=True if self.sessions else None,
        )(call)


@dataclass(frozen=True, kw_only=True)
class HubTrigger:
    """Batches of a hub's partition as `events`, read by a consumer group; names or `%SETTING%`.

    The host checkpoints even what failed: the retry policy bridges a short outage, and a `StreamConsumer` reads again
    what was passed over after it. The policy has an end, since a body that the binding can't take never goes through.
    """

    hub: str
    group: str

    def bind(self, blueprint: func.Blueprint, call: Callable[..., Any]) -> None:
        """Register a function with this trigger."""
        trigger = blueprint.event_hub_message_trigger(
            arg_name="events",
            connection="EventHubs",
            event_hub_name=self.hub,
            consumer_group=self.group,
            data_type="binary",
            cardinality="many",
        )
        retry = blueprint.retry(
            strategy="exponential_backoff",
            max_retry_count="5",
            minimum_interval="00:00:01",
            maximum_interval="00:00:15",
        )
        retry(trigger(call))


@dataclass(frozen=True, kw_only=True)
class TimerTrigger:
    """The clock as `timer`: NCRONTAB, or `%SETTING%`."""

    schedule: str

    def bind(self, blueprint: func.Blueprint, call: Callable[..., Any]) -> None:
        """Register a function with this trigger."""
        blueprint.timer_trigger(arg_name="timer", schedule=self.schedule)(call)


@dataclass(frozen=True)
class EventGridTrigger:
    """One event at a time as `event`."""

    def bind(self, blueprint: func.Blueprint, call: Callable[..., Any]) -> None:
        """Register a function with this trigger."""
        blueprint.event_grid_trigger(arg_name="event")(call)


@dataclass(frozen=True, kw_only=True)
class HttpTrigger:
    """Requests as `req`; callers are checked by the app itself."""

    path: str
    methods: tuple[str, ...] = field(default=_METHODS)

    def bind(self, blueprint: func.Blueprint, call: Callable[..., Any]) -> None:
        """Register a function with this trigger."""
        blueprint.route(self.path, methods=list(self.methods), auth_level=func.AuthLevel.ANONYMOUS)(call)
