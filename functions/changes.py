"""Changes of other databases on their way in: from a hub, or from a reader of ours, to the ordered lane."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from shared.changes import CapturedChange, Feed, UnreadableChange, is_tombstone, read_changes
from shared.dead_letters import DeadLetter, DeadLetterStore
from shared.http import Intake
from shared.messages import (
    Category,
    Delivery,
    ErrorCode,
    Failure,
    Handler,
    MessageError,
    Registry,
    parse_strict,
    write_json,
)
from shared.streams import StreamEvent
from shared.telemetry import Metrics, log_event

__all__ = ["SOURCE", "ChangeConsumer", "ChangeIntake"]

SOURCE = "changes"
"""What dead letters of unreadable events say of where they come from."""
_AT_ONCE = 64


class ChangeIntake:
    """Makes messages of changes: one each, under an id that a second reading gives again."""

    def __init__(self, registry: Registry, intake: Callable[[], Intake]) -> None:
        self._registry = registry
        self._intake = intake

    def types(self, tables: Sequence[str]) -> Mapping[str, str]:
        """The types of a table's columns as they are declared."""
        handler = self._registry.changes(tables)
        return {} if handler is None or handler.feed is None else handler.feed.types

    def handles(self, tables: Sequence[str]) -> bool:
        """Whether anybody handles changes of a table, by its names."""
        return self._registry.changes(tables) is not None

    def check(self, changes: Sequence[CapturedChange]) -> None:
        """Find what `take` could never take.

        Raises
        ------
        UnreadableChange
            As a message a change would be nested too deep, or hold what is no text in UTF-8.
        """
        for change in changes:
            handler = self._registry.changes(change.origin.tables)
            if handler is None or handler.feed is None:
                continue
            try:
                content = _content(handler.feed, change)
                parse_strict(write_json({"messageId": str(change.message_id), "data": content}).encode())
            except (MessageError, ValueError, RecursionError) as error:
                raise UnreadableChange(f"it can't become a message: {error}") from error

    async def take(self, changes: Sequence[CapturedChange]) -> None:
        """Return when every change of a declared table is on the ordered lane, those of one key in their order.

        A change without a key goes there too, and becomes a dead letter. Taking changes again changes nothing.

        Raises
        ------
        NotSent, TimeoutError
            Some may be on their lane: take them all again.
        """
        by_key: dict[tuple[str, str], list[tuple[Handler, CapturedChange, dict[str, object]]]] = defaultdict(list)
        for change in changes:
            handler = self._registry.changes(change.origin.tables)
            if handler is None or handler.feed is None:
                Metrics.stream_events.add(consumer=SOURCE, outcome="ignored")
                continue
            content = _content(handler.feed, change)
            by_key[str(content["key"]), handler.event_type].append((handler, change, content))
        places = asyncio.Semaphore(_AT_ONCE)

        async def send(own: Sequence[tuple[Handler, CapturedChange, dict[str, object]]]) -> None:
            async with places:
                for handler, change, content in own:
                    await self._intake().take(
                        handler,
                        change.message_id,
                        content,
                        source=f"/changes/{change.origin.connector}",
                        correlation_id=str(change.message_id),
                        client=f"change:{change.origin.connector}",
                    )
                    Metrics.stream_events.add(consumer=SOURCE, outcome="consumed")

        for failure in await asyncio.gather(*map(send, by_key.values()), return_exceptions=True):
            if failure is not None:
                raise failure


def _content(feed: Feed, change: CapturedChange) -> dict[str, object]:
    """The data of a change's message; of one without its key, what there is of it."""
    try:
        return feed.content(change)
    except UnreadableChange:
        content: dict[str, object] = {"operation": change.operation.value, "table": feed.table, "key": ""}
        return content | {"before": change.before, "after": change.after}


class ChangeConsumer:
    """Takes the events of the hub that connectors write to; one that can't be read is dead-lettered by itself."""

    def __init__(self, intake: ChangeIntake, dead_letters: DeadLetterStore, *, now: Callable[[], datetime]) -> None:
        self._intake = intake
        self._dead_letters = dead_letters
        self._now = now

    async def apply(self, events: Sequence[StreamEvent]) -> None:
        """Return when everything in them is on its lane, or a dead letter; whatever is raised is an outage."""
        changes: list[CapturedChange] = []
        for received in events:
            try:
                changes += self.read(received)
            except (MessageError, UnreadableChange) as error:
                await self._dead_letter(received, error)
        await self._intake.take(changes)

    async def take_again(self, received: StreamEvent) -> None:
        """Take an event that was a dead letter.

        Raises
        ------
        MessageError, UnreadableChange
            It is one still. Whatever else is raised is an outage.
        """
        await self._intake.take(self.read(received))

    def read(self, received: StreamEvent) -> Sequence[CapturedChange]:
        """The changes in an event.

        Raises
        ------
        MessageError, UnreadableChange
        """
        if received.unreadable:
            raise UnreadableChange(received.unreadable)
        if is_tombstone(received.body):
            return []
        document = parse_strict(received.body)
        try:
            changes = read_changes(document, received.properties, self._intake.types, self._intake.handles)
            self._intake.check(changes)
        except (MessageError, UnreadableChange):
            raise
        except Exception as error:  # nothing is asked over a network here: it would be the same for ever
            raise UnreadableChange(f"it isn't as any source writes changes ({type(error).__name__})") from error
        return changes

    async def _dead_letter(self, received: StreamEvent, error: MessageError | UnreadableChange) -> None:
        code = error.code if isinstance(error, MessageError) else ErrorCode.VALIDATION_ERROR
        reason = str(error)
        dead_letter = DeadLetter.of(
            Delivery(
                body=received.body, properties=received.properties, message_id="", sequence_number=0, delivery_count=1
            ),
            None,
            Failure(Category.INVALID, code, reason, error),
            identity=f"{SOURCE}:{received.partition}:{received.sequence_number}",
            source=SOURCE,
            position=received.position,
            now=self._now(),
        )
        await self._dead_letters.put(dead_letter)
        Metrics.stream_events.add(consumer=SOURCE, outcome="poison")
        log_event("event parked", level=logging.ERROR, code=code, reason=reason, **received.position)
