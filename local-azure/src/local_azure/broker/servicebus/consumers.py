"""What a queue works with: the receivers it serves, and the services around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from local_azure.broker.amqp.errors import AmqpError
from local_azure.broker.journal import Journal
from local_azure.broker.servicebus.message import Message

if TYPE_CHECKING:
    from local_azure.broker.servicebus.queue import Queue

__all__ = ["Consumer", "Services"]


class Consumer(Protocol):
    """A receiver, as a queue sees it."""

    @property
    def is_ready(self) -> bool:
        """Whether it can take a message right now."""
        ...

    @property
    def locks(self) -> bool:
        """Whether it takes messages under a lock (peek-lock), or for good (receive-and-delete)."""
        ...

    def reserve(self, message: Message) -> None:
        """A message for good is on its way: it counts against the credit now, `deliver` follows its deletion."""
        ...

    def deliver(self, message: Message) -> None:
        """Take a message: one under a lock, or one that was reserved and is deleted durably."""
        ...

    def nothing_left(self) -> None:
        """There is nothing more to hand out at the moment."""
        ...

    def lost(self, error: AmqpError) -> None:
        """There will never be anything more."""
        ...


class Services:
    """What queues use of the world around them, passed in once."""

    __slots__ = ("idle", "journal", "new_token", "wake")

    def __init__(
        self,
        *,
        journal: Journal,
        new_token: Callable[[], bytes],
        wake: Callable[[Queue], None],
        idle: Callable[[Queue], None] = lambda queue: None,
    ) -> None:
        self.journal = journal
        self.new_token = new_token
        self.wake = wake
        self.idle = idle
        """Called with an entity that nobody used for as long as `AutoDeleteOnIdle` says."""
