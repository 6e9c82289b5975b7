"""What Event Grid holds and decides: topics, subscriptions, deliveries and their tries, dead letters. No I/O.

Whoever drives it asks `due` for what is to be done, tries it, and tells `settle` what became of it.
"""

from __future__ import annotations

import heapq
import itertools
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from local_azure.eventgrid import formats
from local_azure.eventgrid.errors import EventGridError
from local_azure.eventgrid.policy import DEAD_LETTER_DELAY, Outcome, wait_after
from local_azure.eventgrid.subscriptions import EventSubscription
from local_azure.eventgrid.topics import Topic, operations, read_events

__all__ = ["Attempt", "Delivery", "Grid", "Keeper", "Undeliverable"]

MOST_SUBSCRIPTIONS: Final = 500
"""Of a topic ("Azure Event Grid quotas and limits", learn.microsoft.com)."""
DEAD_LETTER_LIFE: Final = 4 * 3_600.0
"""Seconds for which a container may be away before its dead letters are dropped."""


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One event on its way to one subscription; times in seconds since 1970.

    Attributes
    ----------
    due:
        When it is tried next, or, with a `reason`, when it goes into the container.
    reason:
        Why it isn't tried any more.
    """

    id: str
    topic: str
    subscription: str
    event: Mapping[str, Any]
    published: float
    due: float
    attempts: int = 0
    outcome: str = ""
    attempted: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Deliveries that are tried together: all of them arrive, or none."""

    subscription: EventSubscription
    deliveries: tuple[Delivery, ...]

    @property
    def events(self) -> list[dict[str, Any]]:
        """In the schema of the subscription."""
        return [formats.delivered(one.event, self.subscription.schema) for one in self.deliveries]


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """A blob for the container of dead letters of a subscription: an array of events."""

    container: str
    blob: str
    body: bytes
    deliveries: tuple[Delivery, ...]


class Keeper(Protocol):
    """Where deliveries survive the process."""

    def add(self, deliveries: Sequence[Delivery]) -> None:
        """Keep new ones, before the publisher is answered."""

    def change(self, deliveries: Sequence[Delivery]) -> None:
        """Keep what has changed of them."""

    def remove(self, deliveries: Sequence[Delivery]) -> None:
        """They are done."""


@dataclass(slots=True)
class _Place:
    topic: Topic
    subscriptions: dict[str, EventSubscription] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)


class Grid:
    """All topics. Names are found in any case.

    Parameters
    ----------
    keeper:
        None keeps nothing.
    dead_letter_delay:
        Seconds from the last try to the blob.
    """

    def __init__(
        self,
        keeper: Keeper | None = None,
        *,
        dead_letter_delay: float = DEAD_LETTER_DELAY,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._keeper = keeper
        self._delay = dead_letter_delay
        self._new_id = new_id
        self._places: dict[str, _Place] = {}
        self._waiting: list[tuple[float, int, Delivery]] = []
        self._numbers = itertools.count()

    def put_topic(self, topic: Topic) -> None:
        """Make a topic, or change the one of this name, whose subscriptions stay."""
        known = self._places.get(topic.name.lower())
        if known is None:
            self._places[topic.name.lower()] = _Place(topic)
        elif known.topic.schema is not topic.schema:
            raise EventGridError(400, "InvalidRequest", "The input schema of a topic can't be changed.")
        else:
            known.topic = topic

    def remove_topic(self, name: str) -> None:
        """Remove a topic, its subscriptions, and what is on its way."""
        self.topic(name)
        del self._places[name.lower()]

    def topic(self, name: str) -> Topic:
        """A topic; raises EventGridError where there is none."""
        return self._place(name).topic

    def topics(self) -> list[Topic]:
        """All of them."""
        return [one.topic for one in self._places.values()]

    def counts(self, name: str) -> Mapping[str, int]:
        """What a topic has counted, under the names of the service's metrics; and `Operations`, of 64 KB each."""
        return dict(self._place(name).counts)

    def put_subscription(self, topic: str, subscription: EventSubscription) -> None:
        """Make a subscription, or change the one of this name."""
        found = self._place(topic).subscriptions
        if subscription.name.lower() not in found and len(found) >= MOST_SUBSCRIPTIONS:
            raise EventGridError(400, "InvalidRequest", f"A topic has up to {MOST_SUBSCRIPTIONS} subscriptions.")
        found[subscription.name.lower()] = subscription

    def remove_subscription(self, topic: str, name: str) -> None:
        """Remove a subscription, and what is on its way to it."""
        self._place(topic).subscriptions.pop(name.lower(), None)

    def subscriptions(self, topic: str) -> list[EventSubscription]:
        """Those of a topic."""
        return list(self._place(topic).subscriptions.values())

    def publish(self, topic: str, body: bytes, content_type: str, *, now: float) -> None:
        """Take a publisher's request: every subscription that an event passes the filter of gets a delivery.

        Raises
        ------
        EventGridError
            None of its events is taken.
        """
        place = self._place(topic)
        try:
            events = read_events(body, content_type, place.topic, published=formats.time_text(now))
        except EventGridError:
            place.counts["PublishFailCount"] += 1
            raise
        found = [
            Delivery(
                id=self._new_id(), topic=place.topic.name, subscription=one.name, event=event, published=now, due=now
            )
            for event in events
            for one in place.subscriptions.values()
            if one.filter.matches(event)
        ]
        if self._keeper is not None and found:
            self._keeper.add(found)
        place.counts["PublishSuccessCount"] += len(events)
        place.counts["MatchedEventCount"] += len(found)
        place.counts["Operations"] += sum(operations(len(formats.as_json(event))) for event in events)
        self._wait(found)

    def restore(self, deliveries: Iterable[Delivery]) -> None:
        """Go on with what was kept."""
        self._wait(deliveries)

    @property
    def next_due(self) -> float | None:
        """When something is to be done next; None while nothing waits."""
        return self._waiting[0][0] if self._waiting else None

    def due(self, now: float) -> tuple[list[Attempt], list[Undeliverable]]:
        """What is to be tried, and what goes into containers, by now; each is to be settled."""
        ready: dict[tuple[str, str], list[Delivery]] = defaultdict(list)
        while self._waiting and self._waiting[0][0] <= now:
            delivery = heapq.heappop(self._waiting)[2]
            ready[delivery.topic, delivery.subscription].append(delivery)
        attempts: list[Attempt] = []
        blobs: list[Undeliverable] = []
        for (topic, name), deliveries in ready.items():
            place = self._places.get(topic.lower())
            subscription = None if place is None else place.subscriptions.get(name.lower())
            if subscription is None:
                self._done(deliveries)
                continue
            given_up = [one for one in deliveries if one.reason]
            if given_up and subscription.dead_letters:
                blobs.append(self._blob(given_up, subscription, now))
            else:  # the container was taken away meanwhile
                self._done(given_up)
            live: list[Delivery] = []
            for one in deliveries:
                if not one.reason and self._has_expired(one, subscription, now):
                    self._give_up(one, subscription, "TimeToLiveExceeded", now)
                elif not one.reason:
                    live.append(one)
            attempts += [Attempt(subscription, batch) for batch in _batches(live, subscription)]
        return attempts, blobs

    def settle(self, attempt: Attempt, outcome: Outcome, *, now: float) -> None:
        """Tell what became of a try: done, to be tried again, or given up."""
        place = self._places.get(attempt.deliveries[0].topic.lower())
        if outcome is Outcome.DELIVERED or place is None:
            if place is not None:
                place.counts["DeliverySuccessCount"] += len(attempt.deliveries)
            self._done(attempt.deliveries)
            return
        place.counts["DeliveryAttemptFailCount"] += len(attempt.deliveries)
        again: list[Delivery] = []
        for one in attempt.deliveries:
            one.attempts += 1
            one.outcome, one.attempted = outcome, now
            wait = wait_after(one.attempts, outcome, webhook=attempt.subscription.destination.webhook)
            if wait is None:
                self._give_up(one, attempt.subscription, "UndeliverableDueToClientError", now)
            elif one.attempts >= attempt.subscription.retry.attempts:
                self._give_up(one, attempt.subscription, "MaxDeliveryAttemptsExceeded", now)
            else:
                one.due = now + wait
                again.append(one)
        self._change(again)
        self._wait(again)

    def dead_lettered(self, blob: Undeliverable, *, written: bool, now: float) -> None:
        """Tell whether a blob of dead letters was written; where it wasn't, it is tried for four hours."""
        place = self._places.get(blob.deliveries[0].topic.lower())
        lost = [one for one in blob.deliveries if now - (one.attempted or one.published) > DEAD_LETTER_LIFE]
        if written or lost:
            if place is not None:
                place.counts["DeadLetteredCount" if written else "DroppedEventCount"] += len(blob.deliveries)
            self._done(blob.deliveries)
            return
        for one in blob.deliveries:
            one.due = now + self._delay
        self._wait(blob.deliveries)

    @property
    def pending(self) -> Iterator[Delivery]:
        """What waits for its next try, or for its container."""
        return (one[2] for one in self._waiting)

    def hurry(self, now: float) -> None:
        """Have everything that waits be due now, as a test has that doesn't want to wait."""
        waiting = [one[2] for one in self._waiting]
        self._waiting.clear()
        for one in waiting:
            one.due = now
        self._wait(waiting)

    def _place(self, name: str) -> _Place:
        found = self._places.get(name.lower())
        if found is None:
            raise EventGridError(404, "NotFound", f"There is no topic {name[:64]}.")
        return found

    @staticmethod
    def _has_expired(delivery: Delivery, subscription: EventSubscription, now: float) -> bool:
        return now - delivery.published > 60 * subscription.retry.minutes

    def _give_up(self, delivery: Delivery, subscription: EventSubscription, reason: str, now: float) -> None:
        if not subscription.dead_letters:
            self._places[delivery.topic.lower()].counts["DroppedEventCount"] += 1
            self._done([delivery])
            return
        delivery.reason, delivery.due = reason, now + self._delay
        self._change([delivery])
        self._wait([delivery])

    def _blob(self, deliveries: Sequence[Delivery], subscription: EventSubscription, now: float) -> Undeliverable:
        events = [
            formats.dead_letter(
                formats.delivered(one.event, subscription.schema),
                reason=one.reason,
                attempts=one.attempts,
                outcome=one.outcome,
                published=one.published,
                attempted=one.attempted,
            )
            for one in deliveries
        ]
        name = formats.blob_name(deliveries[0].topic, subscription.name, now, self._new_id())
        return Undeliverable(subscription.dead_letters, name, formats.as_json(events), tuple(deliveries))

    def _wait(self, deliveries: Iterable[Delivery]) -> None:
        for one in deliveries:
            heapq.heappush(self._waiting, (one.due, next(self._numbers), one))

    def _change(self, deliveries: Sequence[Delivery]) -> None:
        if self._keeper is not None and deliveries:
            self._keeper.change(deliveries)

    def _done(self, deliveries: Sequence[Delivery]) -> None:
        if self._keeper is not None and deliveries:
            self._keeper.remove(deliveries)


def _batches(deliveries: Sequence[Delivery], subscription: EventSubscription) -> Iterator[tuple[Delivery, ...]]:
    """As many together as the subscription takes; an event above the preferred size goes alone."""
    limits = subscription.destination.batching
    batch: list[Delivery] = []
    size = 0
    for one in deliveries:
        own = len(formats.as_json(one.event))
        if batch and (len(batch) >= limits.events or size + own > limits.size):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(one)
        size += own
    if batch:
        yield tuple(batch)
