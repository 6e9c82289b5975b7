"""What the broker offers to whoever administers it: the HTTP management API, the status page, tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from local_azure.broker.entities import (
    EventHubDescription,
    QueueDescription,
    RuleDescription,
    SubscriptionDescription,
    TopicDescription,
)

__all__ = [
    "Administration",
    "AdministrationError",
    "EntityAlreadyExistsError",
    "EntityNotFoundError",
    "InvalidOperationError",
    "RuntimeCounts",
]


class AdministrationError(Exception):
    """A request about entities that cannot be met; the message is fit to be shown to the caller."""


class EntityNotFoundError(AdministrationError):
    """No entity has that name (HTTP 404)."""


class EntityAlreadyExistsError(AdministrationError):
    """An entity, of whatever kind, has that name already (HTTP 409)."""


class InvalidOperationError(AdministrationError):
    """The change is not allowed, such as turning sessions on after creation (HTTP 400)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RuntimeCounts:
    """Live counts of a queue, topic or subscription; fields that a kind does not have are 0.

    `active` are messages ready for delivery or `locked`; `locked` is the part of them under a lock.
    `enqueued_total` counts every message ever taken (scheduled ones when they become active) and
    survives restarts. `size_bytes` counts all messages held, dead letters included.
    """

    active: int = 0
    locked: int = 0
    scheduled: int = 0
    deferred: int = 0
    dead_letter: int = 0
    transfer: int = 0
    transfer_dead_letter: int = 0
    enqueued_total: int = 0
    size_bytes: int = 0
    subscriptions: int = 0
    created_at: datetime
    updated_at: datetime
    accessed_at: datetime


class Administration(Protocol):
    """The entities of one namespace.

    Names are case-insensitive, as in the service; the spelling at creation is kept. Reads answer at
    once; changes are awaited until they are durable. Every method that names a missing entity raises
    `EntityNotFoundError`. Lists are sorted by name.
    """

    # -- reading ------------------------------------------------------------------------------------
    def queues(self) -> Sequence[QueueDescription]: ...
    def queue(self, name: str) -> QueueDescription: ...
    def queue_counts(self, name: str) -> RuntimeCounts: ...

    def topics(self) -> Sequence[TopicDescription]: ...
    def topic(self, name: str) -> TopicDescription: ...
    def topic_counts(self, name: str) -> RuntimeCounts: ...

    def subscriptions(self, topic: str) -> Sequence[SubscriptionDescription]: ...
    def subscription(self, topic: str, name: str) -> SubscriptionDescription: ...
    def subscription_counts(self, topic: str, name: str) -> RuntimeCounts: ...

    def rules(self, topic: str, subscription: str) -> Sequence[RuleDescription]: ...
    def rule(self, topic: str, subscription: str, name: str) -> RuleDescription: ...

    def event_hubs(self) -> Sequence[EventHubDescription]: ...
    def event_hub(self, name: str) -> EventHubDescription: ...

    def snapshot(self) -> Mapping[str, Any]:
        """Everything `/status.json` shows: queues, topics, eventHubs, connections (JSON-ready)."""
        ...

    # -- changing: durable when the await returns ------------------------------------------------------
    # create_* raise EntityAlreadyExistsError; update_* replace the whole description and raise
    # InvalidOperationError where the service fixes a property at creation.
    async def create_queue(self, description: QueueDescription) -> QueueDescription: ...
    async def update_queue(self, description: QueueDescription) -> QueueDescription: ...
    async def delete_queue(self, name: str) -> None: ...

    async def create_topic(self, description: TopicDescription) -> TopicDescription: ...
    async def update_topic(self, description: TopicDescription) -> TopicDescription: ...
    async def delete_topic(self, name: str) -> None: ...

    # A subscription description carries its topic's name and its rules; updating keeps the stored rules.
    async def create_subscription(self, description: SubscriptionDescription) -> SubscriptionDescription: ...
    async def update_subscription(self, description: SubscriptionDescription) -> SubscriptionDescription: ...
    async def delete_subscription(self, topic: str, name: str) -> None: ...

    async def create_rule(self, topic: str, subscription: str, rule: RuleDescription) -> RuleDescription: ...
    async def update_rule(self, topic: str, subscription: str, rule: RuleDescription) -> RuleDescription: ...
    async def delete_rule(self, topic: str, subscription: str, name: str) -> None: ...
