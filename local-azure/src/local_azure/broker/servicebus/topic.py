"""Topics: what is sent to one is copied into each subscription whose rules take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from local_azure.broker.amqp.encode import encode_map_items
from local_azure.broker.amqp.message import Sections
from local_azure.broker.amqp.types import Fields
from local_azure.broker.entities import SubscriptionDescription, TopicDescription, TrueFilter, entity_key
from local_azure.broker.rules import Copy, MessageView, compile_rule, select
from local_azure.broker.servicebus.message import Message
from local_azure.broker.servicebus.queue import Queue

__all__ = ["Subscription", "Topic"]

_PARTITION_KEY = "x-opt-partition-key"

_PROPERTY_FIELDS: Mapping[str, str] = {
    "MessageId": "message_id",
    "To": "to",
    "Label": "subject",
    "ReplyTo": "reply_to",
    "CorrelationId": "correlation_id",
    "ContentType": "content_type",
    "SessionId": "group_id",
    "ReplyToSessionId": "reply_to_group_id",
}
"""A rule's system properties, and where they stand in the message's properties section."""


class Subscription:
    """A subscription's description, rules and queue."""

    def __init__(self, description: SubscriptionDescription, queue: Queue) -> None:
        self.queue = queue
        self.describe(description)

    def describe(self, description: SubscriptionDescription) -> None:
        """Take over a new description and its rules."""
        self.description = description
        self._rules = [compile_rule(rule) for rule in description.rules]
        self.takes_all = any(
            isinstance(rule.filter, TrueFilter) and rule.action is None for rule in description.rules
        ) and all(rule.action is None for rule in description.rules)

    def take(self, message: Message, view: MessageView | None, now: int) -> None:
        """Copy a message in, as often and as changed as the rules say."""
        if self.takes_all or view is None:
            self._accept(message.copy(), now)
            return
        selection = select(self._rules, view)
        for copy in selection.copies:
            self._accept(_changed(message, copy), now)
        if selection.errors and self.description.dead_lettering_on_filter_evaluation_exceptions:
            reason = "FilterEvaluationException"
            self.queue.dead_letter_arrival(message.copy(), now, reason, str(selection.errors[0]))

    def _accept(self, message: Message, now: int) -> None:
        if self.queue.settings.status.can_send:
            self.queue.accept((message,), now)


class Topic:
    """A topic. Its entrance is a queue that holds what is scheduled and detects duplicates."""

    def __init__(self, description: TopicDescription, entrance: Queue) -> None:
        self.description = description
        self.entrance = entrance
        self.subscriptions: dict[str, Subscription] = {}
        entrance.route = self.distribute

    def distribute(self, message: Message, now: int) -> bool:
        """Copy a message into the subscriptions; the entrance need not keep it."""
        view = None
        if not all(each.takes_all for each in self.subscriptions.values()):
            view = _view(message)
        message.enqueue_sequence = message.enqueue_sequence or message.sequence
        for subscription in tuple(self.subscriptions.values()):
            subscription.take(message, view, now)
        return True

    def add(self, key: str, subscription: Subscription) -> None:
        """Have messages copied into a subscription from now on."""
        self.subscriptions[key] = subscription
        self.entrance.parts = [each.queue for each in self.subscriptions.values()]

    def remove(self, key: str) -> None:
        """Forget a subscription."""
        del self.subscriptions[key]
        self.entrance.parts = [each.queue for each in self.subscriptions.values()]

    def subscription(self, name: str) -> Subscription | None:
        """A subscription by name, whatever its case."""
        return self.subscriptions.get(entity_key(name))


def _view(message: Message) -> MessageView:
    sections = message.sections
    properties = sections.properties
    system: dict[str, Any] = {name: getattr(properties, field) for name, field in _PROPERTY_FIELDS.items()}
    system["EnqueuedTimeUtc"] = message.enqueued_at
    system["SequenceNumber"] = message.sequence
    system["EnqueuedSequenceNumber"] = message.enqueue_sequence or message.sequence
    system["TimeToLive"] = message.header.ttl
    system["ScheduledEnqueueTimeUtc"] = message.visible_at or None
    system["DeliveryCount"] = message.delivery_count
    system["DeadLetterSource"] = message.dead_letter_source
    system["Size"] = message.size
    system["State"] = int(message.state)
    system["PartitionKey"] = message.annotation(_PARTITION_KEY)
    return MessageView(system, sections.application_properties)


def _changed(message: Message, copy: Copy) -> Message:
    """The copy that a rule's action made."""
    twin = message.copy()
    if not copy.is_changed:
        return twin
    sections: Sections = message.sections
    changes = {_PROPERTY_FIELDS[name]: copy.system[name] for name in copy.system if name in _PROPERTY_FIELDS}
    properties = replace(sections.properties, **changes) if changes else None
    twin.bare = sections.rebuilt(properties, copy.user)
    if "TimeToLive" in copy.system:
        twin.header = replace(twin.header, ttl=_milliseconds(copy.system["TimeToLive"]))
    if "ScheduledEnqueueTimeUtc" in copy.system:
        twin.visible_at = _milliseconds(copy.system["ScheduledEnqueueTimeUtc"]) or 0
    if "PartitionKey" in copy.system and copy.system["PartitionKey"] is not None:
        twin.annotations += encode_map_items(Fields({_PARTITION_KEY: str(copy.system["PartitionKey"])}))
        twin.annotations_count += 2
    return twin


def _milliseconds(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
