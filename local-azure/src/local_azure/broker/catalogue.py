"""Which entities exist: keeps their descriptions in storage, creates, changes and deletes, brings them back at start.

Names are compared without case, as in the service; the spelling at creation is kept. Reads answer at once and lists
are sorted by name; changes are awaited until they are durable. Every method that names a missing entity raises
`EntityNotFoundError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from local_azure.broker.administration import (
    EntityAlreadyExistsError,
    EntityNotFoundError,
    InvalidOperationError,
    RuntimeCounts,
)
from local_azure.broker.broker import Broker
from local_azure.broker.config import Namespace as Declared
from local_azure.broker.counting import runtime_counts, snapshot
from local_azure.broker.entities import (
    Description,
    EventHubDescription,
    InvalidEntityError,
    QueueDescription,
    RuleDescription,
    SubscriptionDescription,
    TopicDescription,
    entity_key,
)
from local_azure.broker.restoring import restore_contents
from local_azure.broker.servicebus.queue import Queue
from local_azure.broker.servicebus.rule_requests import RuleRequests
from local_azure.broker.storage.database import Database
from local_azure.broker.storage.descriptions import dump_description, load_description

__all__ = ["Catalogue"]

SPAN: Final = 64
"""Storage identities per entity: its sub-queues and partitions are numbered from its own."""

_KINDS: Final[Mapping[type, str]] = {
    QueueDescription: "queue",
    TopicDescription: "topic",
    SubscriptionDescription: "subscription",
    EventHubDescription: "eventhub",
}
"""What storage calls them."""

_D = TypeVar("_D", bound=Description)


class Catalogue:
    """The entities of one broker. Needs a running event loop for changes, not for reading."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._namespace = broker.namespace
        self._journal = broker.journal
        self._identities: dict[tuple[type, str], int] = {}
        self._times: dict[int, tuple[int, int]] = {}
        self._next_identity = SPAN
        broker.rule_requests = self._rule_requests
        broker.services.idle = self._delete_idle

    # -- start -------------------------------------------------------------------------------------
    def restore(self, database: Database) -> None:
        """Bring back what storage kept. Call it before `declare`.

        Raises
        ------
        InvalidOperationError
            If a description that was kept breaks a limit of this version.
        """
        for identity, kind, path, text, created_at in sorted(database.rows("entities"), key=_topics_first):
            self._next_identity = max(self._next_identity, identity + SPAN)
            try:
                description = load_description(text)
            except InvalidEntityError as error:
                raise InvalidOperationError(
                    f"{kind} '{path}' was kept under older limits: {error}. Take a new --data-dir to start afresh"
                ) from error
            self._build(identity, description, created_at)
        restore_contents(self._broker, database)

    def declare(self, declared: Declared) -> None:
        """Create or update what configuration files declare.

        Raises
        ------
        InvalidOperationError
            If an entity that storage kept cannot become what the files say.
        """
        descriptions: list[Description] = [*declared.queues, *declared.topics]
        descriptions += (each.description for each in declared.subscriptions)
        descriptions += declared.event_hubs
        for description in descriptions:
            try:
                if _key(description) in self._identities:
                    self._update(description)
                else:
                    self._create(description)
            except (InvalidOperationError, EntityAlreadyExistsError) as error:
                raise InvalidOperationError(
                    f"{_KINDS[type(description)]} '{description.path}': {error}. Choose another name, or a new"
                    " --data-dir to start afresh"
                ) from error

    # -- changing ----------------------------------------------------------------------------------
    async def create(self, description: _D) -> _D:
        """Add an entity, a subscription with its rules. Raises `EntityAlreadyExistsError`."""
        self._create(description)
        await self._durable()
        return description

    async def update(self, description: _D) -> _D:
        """Replace an entity's description; a subscription's rules stay, and the spelling of a name.

        Raises
        ------
        InvalidOperationError
            If the service fixes a property at creation.
        """
        if isinstance(description, SubscriptionDescription):
            rules = self.subscription(description.topic_name, description.name).rules
            description = replace(description, rules=rules)
        self._update(description)
        await self._durable()
        return description

    async def delete(self, description: Description) -> None:
        """Remove an entity and what it holds."""
        self._delete(description)
        await self._durable()

    def _create(self, description: Description) -> None:
        identity = self._next_identity
        self._build(identity, description, self._broker.now())
        self._next_identity += SPAN
        self._keep(identity, description)

    def _build(self, identity: int, description: Description, created_at: int) -> None:
        key = entity_key(description.path)
        if key in self._broker.hubs:
            raise EntityAlreadyExistsError(f"An entity named '{description.path}' exists already")
        if not isinstance(description, EventHubDescription):
            self._note_use(self._namespace.add(identity, description))
        elif self._namespace.sendable(description.name):
            raise EntityAlreadyExistsError(f"An entity named '{description.name}' exists already")
        else:
            numbers = range(identity, identity + description.partition_count)
            self._broker.add_hub(key, description, numbers, created_at)
        self._identities[_key(description)] = identity
        self._times[identity] = (created_at, created_at)

    def _update(self, description: Description) -> None:
        if isinstance(description, EventHubDescription):
            self._update_hub(description)
        else:
            self._note_use(self._namespace.update(description))
        identity = self._identities[_key(description)]
        self._times[identity] = (self._times[identity][0], self._broker.now())
        self._keep(identity, description)

    def _update_hub(self, description: EventHubDescription) -> None:
        hub = self._broker.hubs[entity_key(description.name)]
        if hub.description.partition_count != description.partition_count:
            raise InvalidOperationError(
                f"it has {hub.description.partition_count} partitions, which cannot become"
                f" {description.partition_count}"
            )
        hub.description = description

    def _delete(self, description: Description) -> None:
        if isinstance(description, TopicDescription):
            for subscription in self.subscriptions(description.name):
                self._delete(subscription)
        if isinstance(description, EventHubDescription):
            self._broker.hubs.pop(entity_key(description.name)).remove()
        else:
            self._namespace.remove(description)
        identity = self._identities.pop(_key(description))
        del self._times[identity]
        self._journal.delete_entity(identity)

    def _delete_idle(self, queue: Queue) -> None:
        """Delete the entity of a queue that nobody used for as long as its `AutoDeleteOnIdle`."""
        descriptions: list[Description] = [*self.queues(), *self.topics()]
        descriptions += (each for topic in self.topics() for each in self.subscriptions(topic.name))
        for description in descriptions:
            if self._identities[_key(description)] == queue.identity:
                self._delete(description)
                return

    def _keep(self, identity: int, description: Description) -> None:
        kind = _KINDS[type(description)]
        created_at, _ = self._times[identity]
        self._journal.put_entity(identity, kind, description.path, dump_description(description), created_at)

    def _note_use(self, queue: Queue) -> None:
        """Creating, changing and restoring an entity are uses of it, as far as `AutoDeleteOnIdle` goes."""
        queue.accessed_at = self._broker.now()
        self._broker.services.wake(queue)

    async def _durable(self) -> None:
        committed = asyncio.Event()
        self._journal.after_commit(committed.set)
        self._broker.on_change()
        await committed.wait()

    # -- reading -----------------------------------------------------------------------------------
    def queues(self) -> Sequence[QueueDescription]:
        """All queues."""
        return _by_name(entity.description for entity in self._namespace.queues.values())

    def queue(self, name: str) -> QueueDescription:
        """One queue."""
        return self._namespace.queue(name).description

    def topics(self) -> Sequence[TopicDescription]:
        """All topics."""
        return _by_name(topic.description for topic in self._namespace.topics.values())

    def topic(self, name: str) -> TopicDescription:
        """One topic."""
        return self._namespace.topic(name).description

    def subscriptions(self, topic: str) -> Sequence[SubscriptionDescription]:
        """All subscriptions of a topic."""
        found = self._namespace.topic(topic).subscriptions.values()
        return _by_name(subscription.description for subscription in found)

    def subscription(self, topic: str, name: str) -> SubscriptionDescription:
        """One subscription."""
        return self._namespace.subscription(topic, name).description

    def event_hubs(self) -> Sequence[EventHubDescription]:
        """All event hubs."""
        return _by_name(hub.description for hub in self._broker.hubs.values())

    def event_hub(self, name: str) -> EventHubDescription:
        """One event hub."""
        hub = self._broker.hubs.get(entity_key(name))
        if hub is None:
            raise EntityNotFoundError(f"Event hub '{name}' does not exist")
        return hub.description

    def counts(self, description: QueueDescription | TopicDescription | SubscriptionDescription) -> RuntimeCounts:
        """Live counts; a topic's size is that of its subscriptions too."""
        subscriptions = 0
        match description:
            case QueueDescription(name=name):
                queue = self._namespace.queue(name).queue
            case TopicDescription(name=name):
                queue = self._namespace.topic(name).entrance
                subscriptions = len(self._namespace.topic(name).subscriptions)
            case SubscriptionDescription(topic_name=topic, name=name):
                queue = self._namespace.subscription(topic, name).queue
        created, updated = self._times[self._identities[_key(description)]]
        return runtime_counts(queue, created, updated, subscriptions=subscriptions)

    def snapshot(self) -> Mapping[str, Any]:
        """Everything `/status.json` shows."""
        return snapshot(self._broker)

    # -- rules -------------------------------------------------------------------------------------
    def rules(self, topic: str, subscription: str) -> Sequence[RuleDescription]:
        """All rules of a subscription."""
        return _by_name(self.subscription(topic, subscription).rules)

    def rule(self, topic: str, subscription: str, name: str) -> RuleDescription:
        """One rule."""
        for rule in self.subscription(topic, subscription).rules:
            if entity_key(rule.name) == entity_key(name):
                return rule
        raise EntityNotFoundError(f"Rule '{name}' of subscription '{topic}/{subscription}' does not exist")

    async def create_rule(self, topic: str, subscription: str, rule: RuleDescription) -> RuleDescription:
        """Add a rule."""
        self.add_rule(topic, subscription, rule)
        await self._durable()
        return rule

    async def update_rule(self, topic: str, subscription: str, rule: RuleDescription) -> RuleDescription:
        """Change a rule."""
        self.rule(topic, subscription, rule.name)
        stored = self.subscription(topic, subscription)
        key = entity_key(rule.name)
        self._set_rules(stored, (rule if entity_key(each.name) == key else each for each in stored.rules))
        await self._durable()
        return rule

    async def delete_rule(self, topic: str, subscription: str, name: str) -> None:
        """Remove a rule."""
        self.remove_rule(topic, subscription, name)
        await self._durable()

    def add_rule(self, topic: str, subscription: str, rule: RuleDescription) -> None:
        """Add a rule; durable after the next commit."""
        stored = self.subscription(topic, subscription)
        if any(entity_key(each.name) == entity_key(rule.name) for each in stored.rules):
            raise EntityAlreadyExistsError(f"Rule '{rule.name}' exists already")
        self._set_rules(stored, (*stored.rules, rule))

    def remove_rule(self, topic: str, subscription: str, name: str) -> None:
        """Remove a rule; durable after the next commit."""
        gone = self.rule(topic, subscription, name)
        stored = self.subscription(topic, subscription)
        self._set_rules(stored, (each for each in stored.rules if each is not gone))

    def _set_rules(self, stored: SubscriptionDescription, rules: Iterable[RuleDescription]) -> None:
        self._update(replace(stored, rules=tuple(rules)))

    def _rule_requests(self, path: str) -> RuleRequests | None:
        subscription = self._namespace.subscription_at(path)
        if subscription is None:
            return None
        return RuleRequests(self, subscription.description.topic_name, subscription.description.name)


def _key(description: Description) -> tuple[type, str]:
    return type(description), entity_key(description.path)


def _topics_first(row: tuple[Any, ...]) -> tuple[bool, int]:
    return row[1] == _KINDS[SubscriptionDescription], row[0]


def _by_name(descriptions: Iterable[Any]) -> list[Any]:
    return sorted(descriptions, key=lambda each: entity_key(each.name))
