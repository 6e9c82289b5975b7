"""The Service Bus entities of a namespace: found by address, created, changed and removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from local_azure.broker.administration import (
    EntityAlreadyExistsError,
    EntityNotFoundError,
    InvalidOperationError,
)
from local_azure.broker.amqp import AmqpError
from local_azure.broker.entities import (
    QueueDescription,
    SubscriptionDescription,
    TopicDescription,
    entity_key,
)
from local_azure.broker.rules import RuleError
from local_azure.broker.servicebus.consumers import Services
from local_azure.broker.servicebus.message import Message
from local_azure.broker.servicebus.queue import Queue
from local_azure.broker.servicebus.refusals import forwarded
from local_azure.broker.servicebus.sessions import SessionQueue
from local_azure.broker.servicebus.settings import QueueSettings
from local_azure.broker.servicebus.topic import Subscription, Topic

__all__ = ["Namespace", "QueueEntity"]

_DEAD_LETTERS: Final = "/$deadletterqueue"
_TRANSFER_DEAD_LETTERS: Final = "/$transfer/$deadletterqueue"
_MAX_HOPS: Final = 4
"""Entities that a message may be forwarded through (Service Bus autoforwarding)."""

_Fixed = ("requires_session", "requires_duplicate_detection", "enable_partitioning")
Description: TypeAlias = QueueDescription | TopicDescription | SubscriptionDescription


@dataclass(slots=True)
class QueueEntity:
    """A queue with its description."""

    description: QueueDescription
    queue: Queue


class Namespace:
    """Queues, topics and subscriptions. Names and addresses are compared without case."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._stores: dict[str, Queue] = {}
        self._hops = 0
        self.queues: dict[str, QueueEntity] = {}
        self.topics: dict[str, Topic] = {}

    # -- finding -----------------------------------------------------------------------------------
    def stores(self) -> Iterator[Queue]:
        """Every message store: queues, topics' entrances, subscriptions, dead-letter queues."""
        yield from self._stores.values()

    def receivable(self, path: str) -> Queue | None:
        """What a receiver's address names, or None."""
        key = entity_key(path)
        return None if key in self.topics else self._stores.get(key)

    def sendable(self, path: str) -> Queue | None:
        """What a sender's address names: a queue or a topic."""
        key = entity_key(path)
        if key in self.queues:
            return self.queues[key].queue
        topic = self.topics.get(key)
        return topic.entrance if topic else None

    def queue(self, name: str) -> QueueEntity:
        """A queue by name."""
        found = self.queues.get(entity_key(name))
        if found is None:
            raise EntityNotFoundError(f"Queue '{name}' does not exist")
        return found

    def topic(self, name: str) -> Topic:
        """A topic by name."""
        found = self.topics.get(entity_key(name))
        if found is None:
            raise EntityNotFoundError(f"Topic '{name}' does not exist")
        return found

    def subscription(self, topic: str, name: str) -> Subscription:
        """A subscription by name."""
        found = self.topic(topic).subscription(name)
        if found is None:
            raise EntityNotFoundError(f"Subscription '{name}' of topic '{topic}' does not exist")
        return found

    def subscription_at(self, path: str) -> Subscription | None:
        """A subscription by its address."""
        topic, separator, name = entity_key(path).partition("/subscriptions/")
        found = self.topics.get(topic) if separator else None
        return found.subscription(name) if found else None

    # -- creating ----------------------------------------------------------------------------------
    def add(self, identity: int, description: Description) -> Queue:
        """Create an entity whose stores are numbered from `identity`; what it keeps messages in is given.

        Raises
        ------
        AdministrationError
            If its name is taken, its topic is not there, or its rules are wrong.
        """
        match description:
            case QueueDescription(name=name):
                key = self._free_name(name)
                queue = self._make(identity, name, QueueSettings.of_queue(description))
                self.queues[key] = QueueEntity(description, queue)
            case TopicDescription(name=name):
                key = self._free_name(name)
                queue = Queue(identity, name, QueueSettings.of_topic(description), self._services)
                self._stores[key] = queue
                self.topics[key] = Topic(description, queue)
            case SubscriptionDescription():
                queue = self._add_subscription(identity, description)
        return queue

    def _add_subscription(self, identity: int, description: SubscriptionDescription) -> Queue:
        topic = self.topic(description.topic_name)
        key = entity_key(description.name)
        if key in topic.subscriptions:
            raise EntityAlreadyExistsError(
                f"Subscription '{description.name}' of topic '{description.topic_name}' exists already"
            )
        settings = QueueSettings.of_subscription(description, topic.entrance.settings)
        queue = self._make(identity, description.path, settings)
        try:
            topic.add(key, Subscription(description, queue))
        except RuleError as error:
            self._forget(queue)
            raise InvalidOperationError(str(error)) from error
        return queue

    def _free_name(self, name: str) -> str:
        key = entity_key(name)
        if key in self.queues or key in self.topics:
            raise EntityAlreadyExistsError(f"An entity named '{name}' exists already")
        return key

    def _make(self, identity: int, path: str, settings: QueueSettings) -> Queue:
        """A queue with its dead-letter queues, each under its address."""
        quiet = settings.of_dead_letters()
        dead_letters = Queue(identity + 1, f"{path}/$DeadLetterQueue", quiet, self._services)
        transfer = Queue(identity + 2, f"{path}/$Transfer/$DeadLetterQueue", quiet, self._services)
        kind = SessionQueue if settings.requires_session else Queue
        queue = kind(identity, path, settings, self._services, dead_letters)
        queue.transfer_dead_letters = transfer
        queue.parts = (dead_letters, transfer)
        self._wire(queue)
        for store in (queue, dead_letters, transfer):
            self._stores[entity_key(store.path)] = store
        return queue

    # -- changing ----------------------------------------------------------------------------------
    def update(self, description: Description) -> Queue:
        """Replace an entity's description, a subscription's rules included.

        Raises
        ------
        AdministrationError
            If it is not there, or the service allows no such change.
        """
        match description:
            case QueueDescription(name=name):
                entity = self.queue(name)
                _check_fixed(entity.description, description)
                entity.description = replace(description, name=entity.description.name)
                self._apply(entity.queue, QueueSettings.of_queue(description))
                return entity.queue
            case TopicDescription(name=name):
                topic = self.topic(name)
                _check_fixed(topic.description, description)
                topic.description = replace(description, name=topic.description.name)
                topic.entrance.settings = QueueSettings.of_topic(description)
                return topic.entrance
            case SubscriptionDescription(topic_name=topic_name, name=name):
                subscription = self.subscription(topic_name, name)
                _check_fixed(subscription.description, description)
                try:
                    subscription.describe(description)
                except RuleError as error:
                    raise InvalidOperationError(str(error)) from error
                of_topic = self.topic(topic_name).entrance.settings
                self._apply(subscription.queue, QueueSettings.of_subscription(description, of_topic))
                return subscription.queue

    def _apply(self, queue: Queue, settings: QueueSettings) -> None:
        queue.settings = settings
        for store in (queue.dead_letters, queue.transfer_dead_letters):
            if store is not None:
                store.settings = settings.of_dead_letters()
        self._wire(queue)
        if settings.forward_to is not None:
            for consumer in tuple(queue.consumers):
                consumer.lost(forwarded("receiver"))
        self._services.wake(queue)

    def remove(self, description: Description) -> None:
        """Remove an entity and what it holds, a topic's subscriptions too. Raises `EntityNotFoundError`."""
        match description:
            case QueueDescription(name=name):
                self._forget(self.queue(name).queue)
                del self.queues[entity_key(name)]
            case TopicDescription(name=name):
                topic = self.topic(name)
                for subscription in tuple(topic.subscriptions.values()):
                    self.remove(subscription.description)
                self._forget(topic.entrance)
                del self.topics[entity_key(name)]
            case SubscriptionDescription(topic_name=topic_name, name=name):
                self._forget(self.subscription(topic_name, name).queue)
                self.topic(topic_name).remove(entity_key(name))

    def _forget(self, queue: Queue) -> None:
        for store in (queue, queue.dead_letters, queue.transfer_dead_letters):
            if store is not None:
                self._stores.pop(entity_key(store.path), None)
                store.remove()

    # -- forwarding --------------------------------------------------------------------------------
    def _wire(self, queue: Queue) -> None:
        target, graveyard = queue.settings.forward_to, queue.settings.forward_dead_letters_to
        queue.route = self._forwarder(queue, target) if target else None
        queue.forward_dead_letter = self._sender(graveyard) if graveyard else None

    def _forwarder(self, queue: Queue, target: str) -> Callable[[Message, int], bool]:
        send = self._sender(target)

        def forward(message: Message, now: int) -> bool:
            message.enqueue_sequence = message.enqueue_sequence or message.sequence
            if not send(message, now) and queue.transfer_dead_letters is not None:
                queue.transfer_dead_letters.dead_letter_arrival(
                    message.copy(), now, "ForwardingFailed", f"The message could not be forwarded to '{target}'."
                )
            return True

        return forward

    def _sender(self, target: str) -> Callable[[Message, int], bool]:
        def send(message: Message, now: int) -> bool:
            queue = self.sendable(target)
            if queue is None or self._hops >= _MAX_HOPS:
                return False
            self._hops += 1
            try:
                queue.accept((message.copy(),), now)
            except AmqpError:
                return False
            finally:
                self._hops -= 1
            return True

        return send


def _check_fixed(old: Any, new: Any) -> None:
    for name in _Fixed:
        if getattr(old, name, None) != getattr(new, name, None):
            raise InvalidOperationError(f"{name} of '{old.name}' cannot be changed after creation")
