"""Notifications: events that integrations notify of, from the event log to a custom topic of Event Grid."""

from collections.abc import Mapping, Sequence

from shared.notifications import Notifier, TopicPublisher
from shared.notifications.settings import NotificationSettings
from shared.streams import StreamEvent

from .capability import Capability
from .composition import Composition
from .dead_letters import DEAD_LETTER_BODIES, DEAD_LETTERS, dead_letter_store
from .declaring import Access, GridTopic, Need
from .platform import platform
from .secrets import secret_cache
from .sending import EVENTS
from .streams import stream_consumer

__all__ = ["capability", "notifier", "topic"]

_SCOPE = "https://eventgrid.azure.net/.default"
_GROUP = "%SLUICE_NOTIFICATION_GROUP%"


def topic(composition: Composition) -> TopicPublisher | None:
    """The topic that the settings name, by its key or as the app's identity."""
    settings = composition.settings
    secret = settings.notification_secret
    if not settings.notification_url:
        return None

    async def authorize() -> Mapping[str, str]:
        if secret is not None:
            return {"aeg-sas-key": (await composition.get(secret_cache).get(secret.name)).value}
        token, _ = await composition.get(platform).token(_SCOPE)
        return {"Authorization": f"Bearer {token}"}

    return composition.closing(TopicPublisher(settings.notification_url, authorize))


def notifier(composition: Composition) -> Notifier:
    """Hands events to the topic."""
    return Notifier(
        composition.registry, composition.get(topic), composition.get(dead_letter_store), now=composition.now
    )


def capability(composition: Composition) -> Capability:
    """A consumer of the event log, where an integration notifies of anything."""
    if not composition.registry.notifications:
        return Capability(name="notifications", settings=NotificationSettings.variables())

    async def notify(events: Sequence[StreamEvent]) -> None:
        await composition.get(notifier).notify(events)

    consumer = stream_consumer(composition, "notifications", notify, hub=EVENTS, group=_GROUP)
    return Capability(
        name="notifications",
        functions=[consumer.function],
        jobs=[consumer.job],
        probes={"notifications": consumer.lag},
        needs=[
            *consumer.needs,
            Need(
                access=Access.SEND,
                to=GridTopic(),
                why="Publishes notifications.",
                when="SLUICE_NOTIFICATION_URL",
                by=consumer.names,
            ),
            Need(access=Access.WRITE, to=DEAD_LETTERS, why="Records events that the topic refused.", by=consumer.names),
            Need(
                access=Access.WRITE,
                to=DEAD_LETTER_BODIES,
                why="Keeps the bodies of events that the topic refused.",
                by=consumer.names,
            ),
        ],
        settings=NotificationSettings.variables(),
    )
