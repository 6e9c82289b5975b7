"""What a queue goes by, in the units it reckons with, from the descriptions that people write."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from local_azure.broker.entities import (
    FOREVER,
    EntityStatus,
    QueueDescription,
    SubscriptionDescription,
    TopicDescription,
)

__all__ = ["QueueSettings", "milliseconds"]


def milliseconds(duration: timedelta) -> int | None:
    """A duration in milliseconds, or None for the one that means "never"."""
    return None if duration >= FOREVER else duration // timedelta(milliseconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueSettings:
    """Settings of one message store: a queue, a subscription, a dead-letter queue, a topic's entrance."""

    lock_ms: int = 60_000
    max_deliveries: int | None = 10
    time_to_live_ms: int | None = None
    requires_session: bool = False
    duplicate_window_ms: int | None = None
    dead_letter_expired: bool = False
    forward_to: str | None = None
    forward_dead_letters_to: str | None = None
    max_size_bytes: int | None = None
    max_message_bytes: int = 262_144
    idle_ms: int | None = None
    status: EntityStatus = EntityStatus.ACTIVE

    @classmethod
    def of_queue(cls, queue: QueueDescription) -> QueueSettings:
        """Settings of a queue."""
        return cls(
            lock_ms=max(1, milliseconds(queue.lock_duration) or 0),
            max_deliveries=queue.max_delivery_count,
            time_to_live_ms=milliseconds(queue.default_message_time_to_live),
            requires_session=queue.requires_session,
            duplicate_window_ms=_window(queue),
            dead_letter_expired=queue.dead_lettering_on_message_expiration,
            forward_to=queue.forward_to,
            forward_dead_letters_to=queue.forward_dead_lettered_messages_to,
            max_size_bytes=queue.max_size_in_megabytes << 20,
            max_message_bytes=queue.max_message_size_in_kilobytes << 10,
            idle_ms=milliseconds(queue.auto_delete_on_idle),
            status=queue.status,
        )

    @classmethod
    def of_topic(cls, topic: TopicDescription) -> QueueSettings:
        """Settings of a topic's entrance, which holds scheduled messages and detects duplicates."""
        return cls(
            time_to_live_ms=milliseconds(topic.default_message_time_to_live),
            duplicate_window_ms=_window(topic),
            max_size_bytes=topic.max_size_in_megabytes << 20,
            max_message_bytes=topic.max_message_size_in_kilobytes << 10,
            idle_ms=milliseconds(topic.auto_delete_on_idle),
            status=topic.status,
        )

    @classmethod
    def of_subscription(cls, subscription: SubscriptionDescription, topic: QueueSettings) -> QueueSettings:
        """Settings of a subscription, bounded by those of its topic."""
        return cls(
            lock_ms=max(1, milliseconds(subscription.lock_duration) or 0),
            max_deliveries=subscription.max_delivery_count,
            time_to_live_ms=milliseconds(subscription.default_message_time_to_live),
            requires_session=subscription.requires_session,
            dead_letter_expired=subscription.dead_lettering_on_message_expiration,
            forward_to=subscription.forward_to,
            forward_dead_letters_to=subscription.forward_dead_lettered_messages_to,
            max_message_bytes=topic.max_message_bytes,
            idle_ms=milliseconds(subscription.auto_delete_on_idle),
            status=subscription.status,
        )

    def of_dead_letters(self) -> QueueSettings:
        """Settings of the dead-letter queue of a queue with these settings: nothing leaves it by itself."""
        return QueueSettings(lock_ms=self.lock_ms, max_deliveries=None, max_message_bytes=self.max_message_bytes)


def _window(entity: QueueDescription | TopicDescription) -> int | None:
    if not entity.requires_duplicate_detection:
        return None
    return milliseconds(entity.duplicate_detection_history_time_window)
