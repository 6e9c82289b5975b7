"""Which entities exist: implements `Administration`, keeps descriptions in storage, brings them back at start."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from local_azure.broker.administration import (
    EntityAlreadyExistsError,
    EntityNotFoundError,
    InvalidOperationError,
    RuntimeCounts,
)
from local_azure.broker.broker import Broker
from local_azure.broker.config import Namespace as Declared
from local_azure.broker.entities import (
    EventHubDescription,
    InvalidEntityError,
    QueueDescription,
    RuleDescription,
    SubscriptionDescription,
    TopicDescription,
    entity_key,
)
from local_azure.broker.eventhubs.hub import EventHub
from local_azure.broker.eventhubs.partition import Event
from local_azure.broker.servicebus.queue import Queue
from local_azure.broker.servicebus.rule_requests import RuleRequests
from local_azure.broker.servicebus.sessions import SessionQueue
from local_azure.broker.storage.database import Database
from local_azure.broker.storage.descriptions import dump_description, load_description
from local_azure.broker.storage.restoring import stored_events, stored_messages

__all__ = ["Catalogue"]

SPAN: Final = 64
"""Storage identities per entity: its sub-queues and partitions are numbered from its own."""

_SUBSCRIPTIONS: Final = "/subscriptions/"
_QUEUE, _TOPIC, _SUBSCRIPTION, _HUB = "queue", "topic", "subscription", "eventhub"

Description = QueueDescription | TopicDescription | SubscriptionDescription | EventHubDescription


class Catalogue:
    """The entities of one broker. Needs a running event loop for changes, not for reading."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._namespace = broker.namespace
        self._journal = broker.journal
        self._identities: dict[tuple[str, str], int] = {}
        self._times: dict[int, tuple[int, int]] = {}
        self._next_identity = SPAN
        broker.rule_requests = self._rule_requests
        broker.services.idle = self._delete_idle

    # -- start -------------------------------------------------------------------------------------
    def restore(self, database: Database) -> None:
        """Bring back what storage kept. Call it before `declare`."""
        counters = {row[0]: (row[1], row[2]) for row in database.rows("counters")}
        for identity, kind, path, text, created_at in sorted(database.rows("entities"), key=_topics_first):
            self._next_identity = max(self._next_identity, identity + SPAN)
            try:
                description = load_description(text)
            except InvalidEntityError as error:
                raise InvalidOperationError(
                    f"{kind} '{path}' was kept under older limits: {error}. Take a new --data-dir to start afresh"
                ) from error
            self._build(kind, identity, description, created_at)
        stores = {queue.identity: queue for queue in self._namespace.stores()}
        for identity, queue in stores.items():
            queue.next_sequence, queue.enqueued_total = counters.get(identity, (1, 0))
        self._restore_messages(stores, database)
        self._restore_events(counters, database)

    def _restore_messages(self, stores: Mapping[int, Queue], database: Database) -> None:
        now = self._broker.now()
        locked = {row for row, _ in database.rows("locks")}
        for identity, message in stored_messages(database):
            if identity not in stores:
                continue
            if message.row in locked:
                stores[identity].restore_locked(message, now)
            else:
                stores[identity].restore(message)
        for identity, session_id, state in database.rows("sessions"):
            queue = stores.get(identity)
            if isinstance(queue, SessionQueue):
                queue.restore_state(session_id, state)
        for identity, key, forget_at in database.rows("duplicates"):
            if identity in stores:
                stores[identity].history.restore(key, forget_at)
        for queue in stores.values():
            self._broker.services.wake(queue)

    def _restore_events(self, counters: Mapping[int, tuple[int, int]], database: Database) -> None:
        events: dict[int, list[Event]] = {}
        for identity, event in stored_events(database):
            events.setdefault(identity, []).append(event)
        for hub in self._broker.hubs.values():
            for log in hub.partitions:
                log.restore(events.get(log.identity, ()), *counters.get(log.identity, (0, 0)))

    def declare(self, declared: Declared) -> None:
        """Create or update what configuration files declare.

        Raises
        ------
        InvalidOperationError
            If an entity that storage kept cannot become what the files say.
        """
        for queue in declared.queues:
            self._declare(_QUEUE, queue.name, queue)
        for topic in declared.topics:
            self._declare(_TOPIC, topic.name, topic)
        for each in declared.subscriptions:
            self._declare(_SUBSCRIPTION, each.description.path, each.description)
        for hub in declared.event_hubs:
            self._declare(_HUB, hub.name, hub)

    def _declare(self, kind: str, path: str, description: Description) -> None:
        try:
            if (kind, entity_key(path)) in self._identities:
                self._update(kind, path, description)
            else:
                self._create(kind, path, description)
        except (InvalidOperationError, EntityAlreadyExistsError) as error:
            raise InvalidOperationError(
                f"{kind} '{path}': {error}. Choose another name, or a new --data-dir to start afresh"
            ) from error

    # -- the one way to create, update and remove --------------------------------------------------
    def _create(self, kind: str, path: str, description: Description) -> None:
        identity = self._next_identity
        self._build(kind, identity, description, self._broker.now())
        self._next_identity += SPAN
        self._journal.put_entity(identity, kind, path, dump_description(description))

    def _build(self, kind: str, identity: int, description: Any, created_at: int) -> None:
        if kind in (_QUEUE, _TOPIC) and entity_key(description.name) in self._broker.hubs:
            raise EntityAlreadyExistsError(f"An entity named '{description.name}' exists already")
        if kind == _QUEUE:
            self._note_use(self._namespace.add_queue(identity, description).queue)
        elif kind == _TOPIC:
            self._note_use(self._namespace.add_topic(identity, description).entrance)
        elif kind == _SUBSCRIPTION:
            self._note_use(self._namespace.add_subscription(identity, description).queue)
        else:
            self._add_hub(identity, description, created_at)
        path = description.path if kind == _SUBSCRIPTION else description.name
        self._identities[kind, entity_key(path)] = identity
        self._times[identity] = (created_at, created_at)

    def _add_hub(self, identity: int, description: EventHubDescription, created_at: int) -> None:
        key = entity_key(description.name)
        if key in self._broker.hubs or self._namespace.sendable(description.name):
            raise EntityAlreadyExistsError(f"An entity named '{description.name}' exists already")
        numbers = range(identity, identity + description.partition_count)
        self._broker.add_hub(key, description, numbers, created_at)

    def _update(self, kind: str, path: str, description: Any) -> None:
        if kind == _QUEUE:
            self._note_use(self._namespace.update_queue(description).queue)
        elif kind == _TOPIC:
            self._note_use(self._namespace.update_topic(description).entrance)
        elif kind == _SUBSCRIPTION:
            self._note_use(self._namespace.update_subscription(description).queue)
        else:
            self._update_hub(description)
        identity = self._identities[kind, entity_key(path)]
        self._times[identity] = (self._times[identity][0], self._broker.now())
        self._journal.put_entity(identity, kind, path, dump_description(description))

    def _update_hub(self, description: EventHubDescription) -> None:
        hub = self._broker.hubs[entity_key(description.name)]
        if hub.description.partition_count != description.partition_count:
            raise InvalidOperationError(
                f"it has {hub.description.partition_count} partitions, which cannot become"
                f" {description.partition_count}"
            )
        hub.description = description

    def _note_use(self, queue: Queue) -> None:
        """Creating, changing and restoring an entity are uses of it, as far as `AutoDeleteOnIdle` goes."""
        queue.accessed_at = self._broker.now()
        self._broker.services.wake(queue)

    def _delete(self, kind: str, path: str) -> None:
        if kind == _QUEUE:
            self._namespace.remove_queue(path)
        elif kind == _TOPIC:
            for description in self.subscriptions(path):
                self._forget(_SUBSCRIPTION, description.path)
            self._namespace.remove_topic(path)
        else:
            topic, _, name = entity_key(path).partition(_SUBSCRIPTIONS)
            self._namespace.remove_subscription(topic, name)
        self._forget(kind, path)

    def _delete_idle(self, queue: Queue) -> None:
        """Delete the entity of a queue that nobody used for as long as its `AutoDeleteOnIdle`."""
        for (kind, path), identity in self._identities.items():
            if identity == queue.identity:
                self._delete(kind, path)
                return

    def _forget(self, kind: str, path: str) -> None:
        identity = self._identities.pop((kind, entity_key(path)))
        del self._times[identity]
        self._journal.delete_entity(identity)

    async def _durable(self) -> None:
        committed = asyncio.Event()
        self._journal.after_commit(committed.set)
        self._broker.on_change()
        await committed.wait()

    def _rule_requests(self, path: str) -> RuleRequests | None:
        subscription = self._namespace.subscription_at(path)
        if subscription is None:
            return None
        return RuleRequests(self, subscription.description.topic_name, subscription.description.name)

    # -- queues ------------------------------------------------------------------------------------
    def queues(self) -> Sequence[QueueDescription]:
        """All queues."""
        return _by_name(entity.description for entity in self._namespace.queues.values())

    def queue(self, name: str) -> QueueDescription:
        """One queue."""
        return self._namespace.queue(name).description

    def queue_counts(self, name: str) -> RuntimeCounts:
        """A queue's counts."""
        return self._counts(_QUEUE, name, self._namespace.queue(name).queue)

    async def create_queue(self, description: QueueDescription) -> QueueDescription:
        """Add a queue."""
        self._create(_QUEUE, description.name, description)
        await self._durable()
        return self.queue(description.name)

    async def update_queue(self, description: QueueDescription) -> QueueDescription:
        """Change a queue."""
        self._namespace.queue(description.name)
        self._update(_QUEUE, description.name, description)
        await self._durable()
        return self.queue(description.name)

    async def delete_queue(self, name: str) -> None:
        """Remove a queue and its messages."""
        self._delete(_QUEUE, name)
        await self._durable()

    # -- topics ------------------------------------------------------------------------------------
    def topics(self) -> Sequence[TopicDescription]:
        """All topics."""
        return _by_name(topic.description for topic in self._namespace.topics.values())

    def topic(self, name: str) -> TopicDescription:
        """One topic."""
        return self._namespace.topic(name).description

    def topic_counts(self, name: str) -> RuntimeCounts:
        """A topic's counts; its size is that of its subscriptions too."""
        topic = self._namespace.topic(name)
        counts = self._counts(_TOPIC, name, topic.entrance)
        queues = [subscription.queue for subscription in topic.subscriptions.values()]
        return replace(counts, subscriptions=len(queues))

    async def create_topic(self, description: TopicDescription) -> TopicDescription:
        """Add a topic."""
        self._create(_TOPIC, description.name, description)
        await self._durable()
        return self.topic(description.name)

    async def update_topic(self, description: TopicDescription) -> TopicDescription:
        """Change a topic."""
        self._namespace.topic(description.name)
        self._update(_TOPIC, description.name, description)
        await self._durable()
        return self.topic(description.name)

    async def delete_topic(self, name: str) -> None:
        """Remove a topic and its subscriptions."""
        self._delete(_TOPIC, name)
        await self._durable()

    # -- subscriptions -----------------------------------------------------------------------------
    def subscriptions(self, topic: str) -> Sequence[SubscriptionDescription]:
        """All subscriptions of a topic."""
        found = self._namespace.topic(topic).subscriptions.values()
        return _by_name(subscription.description for subscription in found)

    def subscription(self, topic: str, name: str) -> SubscriptionDescription:
        """One subscription."""
        return self._namespace.subscription(topic, name).description

    def subscription_counts(self, topic: str, name: str) -> RuntimeCounts:
        """A subscription's counts."""
        subscription = self._namespace.subscription(topic, name)
        return self._counts(_SUBSCRIPTION, subscription.description.path, subscription.queue)

    async def create_subscription(self, description: SubscriptionDescription) -> SubscriptionDescription:
        """Add a subscription with its rules."""
        self._create(_SUBSCRIPTION, description.path, description)
        await self._durable()
        return self.subscription(description.topic_name, description.name)

    async def update_subscription(self, description: SubscriptionDescription) -> SubscriptionDescription:
        """Change a subscription; its rules stay."""
        stored = self.subscription(description.topic_name, description.name)
        self._update(_SUBSCRIPTION, stored.path, replace(description, rules=stored.rules))
        await self._durable()
        return self.subscription(description.topic_name, description.name)

    async def delete_subscription(self, topic: str, name: str) -> None:
        """Remove a subscription and its messages."""
        self._delete(_SUBSCRIPTION, self.subscription(topic, name).path)
        await self._durable()

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
        self._update(_SUBSCRIPTION, stored.path, replace(stored, rules=tuple(rules)))

    # -- event hubs and counts ---------------------------------------------------------------------
    def event_hubs(self) -> Sequence[EventHubDescription]:
        """All event hubs."""
        return _by_name(hub.description for hub in self._broker.hubs.values())

    def event_hub(self, name: str) -> EventHubDescription:
        """One event hub."""
        hub = self._broker.hubs.get(entity_key(name))
        if hub is None:
            raise EntityNotFoundError(f"Event hub '{name}' does not exist")
        return hub.description

    async def create_event_hub(self, description: EventHubDescription) -> EventHubDescription:
        """Add an event hub."""
        self._create(_HUB, description.name, description)
        await self._durable()
        return self.event_hub(description.name)

    async def delete_event_hub(self, name: str) -> None:
        """Remove an event hub and its events."""
        self.event_hub(name)
        self._broker.hubs.pop(entity_key(name)).remove()
        self._forget(_HUB, name)
        await self._durable()

    def snapshot(self) -> Mapping[str, Any]:
        """Everything `/status.json` shows."""
        return {
            "queues": {entity.description.name: _status(entity.queue) for entity in _sorted(self._namespace.queues)},
            "topics": {
                topic.description.name: {
                    "subscriptions": {
                        each.description.name: _status(each.queue) for each in _sorted(topic.subscriptions)
                    }
                }
                for topic in _sorted(self._namespace.topics)
            },
            "eventHubs": {hub.description.name: _hub_status(hub) for hub in _sorted(self._broker.hubs)},
            "connections": self._broker.connections,
        }

    def _counts(self, kind: str, path: str, queue: Queue) -> RuntimeCounts:
        created, updated = self._times[self._identities[kind, entity_key(path)]]
        transfer = queue.transfer_dead_letters
        return RuntimeCounts(
            active=len(queue.messages) - queue.scheduled - queue.deferred,
            locked=len(queue.locked),
            scheduled=queue.scheduled,
            deferred=queue.deferred,
            dead_letter=len(queue.dead_letters.messages) if queue.dead_letters else 0,
            transfer_dead_letter=len(transfer.messages) if transfer else 0,
            enqueued_total=queue.enqueued_total,
            size_bytes=queue.total_bytes(),
            created_at=_time(created),
            updated_at=_time(updated),
            accessed_at=_time(queue.accessed_at or created),
        )


def _topics_first(row: tuple[Any, ...]) -> tuple[bool, int]:
    return row[1] == _SUBSCRIPTION, row[0]


def _by_name(descriptions: Iterable[Any]) -> list[Any]:
    return sorted(descriptions, key=lambda each: entity_key(each.name))


def _sorted(entities: Mapping[str, Any]) -> list[Any]:
    return [entities[key] for key in sorted(entities)]


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _status(queue: Queue) -> dict[str, int]:
    return {
        "active": len(queue.messages) - queue.scheduled - queue.deferred,
        "locked": len(queue.locked),
        "scheduled": queue.scheduled,
        "deferred": queue.deferred,
        "deadLetter": len(queue.dead_letters.messages) if queue.dead_letters else 0,
        "enqueuedTotal": queue.enqueued_total,
    }


def _hub_status(hub: EventHub) -> dict[str, Any]:
    return {
        "partitions": {
            log.name: {
                "firstSequence": log.first_sequence,
                "lastSequence": log.next_sequence - 1,
                "count": len(log.events),
            }
            for log in hub.partitions
        },
        "consumerGroups": [group.name for group in hub.description.consumer_groups],
    }
