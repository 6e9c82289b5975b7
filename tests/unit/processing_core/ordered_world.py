"""The ordered lane in memory: a queue with sessions, an operator, and a record of what took effect in which order."""

from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from typing import cast

from shared.dead_letters import InboxRecords
from shared.messages import Delivery, Headers, Lane, Registry
from shared.ordered import Parking
from shared.processing import BatchFailed
from shared.state import Conflict, StateStore, inbox_key

from .world import Crash, World, _meant, integration


class OrderedWorld(World):
    """The ordered lane; sessions are what `deliver_session` takes."""

    in_order = True

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.mended: set[str] = set()
        self.registry = Registry([integration(self.mended, Lane.ORDERED)])
        self.order: dict[str, list[str]] = defaultdict(list)
        self.discarded: set[str] = set()
        self.replays: dict[str, int] = defaultdict(int)

    def parking(self) -> Parking:
        return Parking(cast(StateStore, self.store), now=self.now)

    def send(self, key: str, mood: str) -> None:
        super().send(key, mood)
        last = self.broker.waiting.pop()
        self.broker.waiting.append(replace(last, properties={**last.properties, "priority": "ordered"}))
        self.order[key].append(str(last.properties["messageId"]))

    def session(self, key: str, number: int) -> list[Delivery]:
        """The first messages of a session, as the broker keeps them: by sequence number."""
        waiting = [delivery for delivery in self.broker.waiting if delivery.properties["key"] == key]
        return sorted(waiting, key=lambda delivery: delivery.sequence_number)[:number]

    def keys(self) -> list[str]:
        return sorted({str(delivery.properties["key"]) for delivery in self.broker.waiting})

    async def process(self, deliveries: list[Delivery], *, complete: bool = True) -> None:
        """One instance takes a batch, while another may hold the same messages; completion may get lost."""
        recent = self._recents.pop() if self._recents else self._forgetful()
        try:
            await self.instance(recent).processor.process(Lane.ORDERED, deliveries)
        except BatchFailed:
            self._recents.insert(0, recent)
            return
        except Crash:
            return
        except BaseExceptionGroup as group:
            if not _meant(group):
                raise
            return
        self._recents.insert(0, recent)
        if complete:
            gone = {delivery.sequence_number for delivery in deliveries}
            self.broker.waiting = [one for one in self.broker.waiting if one.sequence_number not in gone]

    async def drain(self) -> None:
        """The timer fires on a fresh instance."""
        self._time += timedelta(minutes=5)
        drain = self.instance().drain()
        try:
            await drain.drain()
        except (Crash, Conflict, ConnectionError):
            return
        except BaseExceptionGroup as group:
            if not _meant(group):
                raise

    def dead(self) -> list[str]:
        """The messages that an operator finds dead: the letter is there and the inbox says so."""
        return [
            message
            for message in self.graveyard.letters
            if any(
                name == inbox_key(message) and row["status"] == "dead" and message not in self.discarded
                for (_, name), row in self.store.rows.items()
            )
        ]

    async def resolve(self, message: str, *, how: str) -> None:
        """An operator discards a dead message, or mends its cause and replays it, or replays it in vain."""
        letter = self.graveyard.letters[message]
        key = letter.key or ""
        try:
            if how == "discard":
                self.discarded.add(message)
                await self.parking().unblock(key, message, done_only=False)
                return
            if how == "mend":
                self.mended.add(message)
            self.replays[message] += 1
            number = self.replays[message]
            await InboxRecords(cast(StateStore, self.store)).reopen(message, key, replay=number)
            headers = Headers.from_properties({**letter.properties, "attempt": 1, "replay": number})
            await self.broker.send(headers, letter.body)
        except (Crash, Conflict, ConnectionError):
            return

    async def settle_down(self) -> None:
        """No more trouble: everything is processed, every cause is mended, every dead message replayed."""
        self.steps.left, self.steps.failing = None, 0.0
        for _ in range(300):
            for key in self.keys():
                await self.process(self.session(key, 8))
            await self.drain()
            for message in self.dead():
                await self.resolve(message, how="mend")
            for message in self.discarded:  # an operator who was interrupted says it again
                await self.parking().unblock(self.graveyard.letters[message].key or "", message, done_only=False)
            await self.reopen_lost()
            await self.sweep()
            parked = [name for _, name in self.store.rows if name.startswith(("parked:", "waiting:"))]
            if not self.broker.waiting and not parked and not self.dead():
                return
        raise AssertionError(("messages keep waiting", self.store.rows, self.broker.waiting))

    async def reopen_lost(self) -> None:
        """A replay whose operator died before it was sent is sent when somebody says it again."""
        blockers = {row["blockedBy"] for (_, name), row in self.store.rows.items() if name.startswith("parked:")}
        for (_, name), row in list(self.store.rows.items()):
            message = name.removeprefix("inbox:")
            on_its_way = any(str(one.properties["messageId"]) == message for one in self.broker.waiting)
            if name.startswith("inbox:") and row["status"] == "replaying" and message in blockers and not on_its_way:
                await self.resolve(message, how="mend")
