"""Takes from the event log what integrations notify of, and hands it to a topic."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from shared.dead_letters import DeadLetterStore
from shared.messages import CloudEvent, ErrorCode, Registry
from shared.streams import StreamEvent, StreamReader

from .topic import TopicPublisher

__all__ = ["Notifier"]


class Notifier:
    """At least once, in the order of the log, under the id that the event has there.

    An event without `with_data` goes out with `data` null: subscribers learn that something happened and to what, and
    read what they may. With it the data goes out as it stands in the log: protected fields stay encrypted.

    Parameters
    ----------
    topic:
        None publishes nothing: what happens until there is a topic is passed over.
    """

    def __init__(
        self,
        registry: Registry,
        topic: TopicPublisher | None,
        dead_letters: DeadLetterStore,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._notifications = registry.notifications
        self._topic = topic
        self._reader = StreamReader(
            dead_letters, consumer="notifications", source="notifications", failure=ErrorCode.REJECTED, now=now
        )

    async def notify(self, events: Sequence[StreamEvent]) -> None:
        """Return when the topic has every event that it is to have; what it refuses is a dead letter.

        Raises
        ------
        NotificationsUnavailable
        """
        if self._topic is None:
            return
        delivered = await self._reader.read(events, self._made)
        await self._reader.store(delivered, self._topic.publish)

    async def _made(self, event: CloudEvent) -> list[bytes]:
        notification = self._notifications.get(event.type)
        if notification is None:
            return []
        return [event.to_json() if notification.with_data else replace(event, data="null").to_json()]
