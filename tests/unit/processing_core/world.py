"""A whole lane in memory, with a switch for crashes: what the model-based test plays on."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from shared.dead_letters import DeadLetter
from shared.messages import CloudEvent, Contract, Delivery, Headers, Integration, Lane, Partial, Registry, Reject, Retry
from shared.outbox import Outbox
from shared.processing import BatchFailed, Recent
from shared.sending import OutgoingEvent
from shared.state import Conflict
from shared.tables import Entity, MemoryTable, Operation, Query, Rows
from shared.testing.recording import MemoryStore
from shared.work import Work
from tests.unit.memory import Instance, Surroundings

BUCKETS = 2


class Crash(BaseException):
    """The process dies here: nothing after this line happens."""


class Count(Contract):
    """How often an aggregate was counted, and by which messages."""

    total: int = 0
    messages: tuple[str, ...] = ()


class Tick(Contract):
    """A command; `mood` says what its handler does."""

    key: str
    mood: str = "good"


class Echo(Contract):
    """A command that another handler sends."""

    key: str
    origin: str


def integration(mended: Collection[str] = (), lane: Lane = Lane.NORMAL) -> Integration:
    """Counts, complains, and echoes: what the model checks. What is wrong with a message can be mended, by its id."""
    ticks = Integration("ticks")

    @ticks.handles("tick", key="key", priority=lane)
    async def tick(data: Tick, work: Work) -> None:
        if data.mood == "tells":  # emits without a look at any state: only the sequence row keeps it in order
            work.publish("ticked", Count())
            return
        count = await work.load("count", data.key, Count) or Count()
        if data.mood == "retry-once" and work.headers.attempt == 1:
            raise Retry(after=1)
        if data.mood == "partial-once" and work.headers.attempt == 1:
            raise Partial("half of it is done", after=1)
        if data.mood == "reject" and str(work.headers.message_id) not in mended:
            raise Reject("not like this")
        if data.mood == "broken" and str(work.headers.message_id) not in mended:
            raise SystemExit(3)
        message = str(work.headers.message_id)
        await work.save("count", data.key, Count(total=count.total + 1, messages=(*count.messages, message)))
        if data.mood != "keeps":  # what emits nothing has its state's ETag alone
            work.publish("ticked", Count(total=count.total + 1))
        if data.mood == "echo":
            work.send("echo", Echo(key=f"{data.key}-echo", origin=message))

    @ticks.handles("echo", key="key", priority=lane)
    async def echo(data: Echo, work: Work) -> None:
        count = await work.load("count", data.key, Count) or Count()
        await work.save("count", data.key, Count(total=count.total + 1, messages=(*count.messages, data.origin)))
        work.publish("echoed", Count(total=count.total + 1))

    return ticks


@dataclass
class Steps:
    """Every touch of the outside world; one of them may be where the process dies, or where storage fails."""

    random: random.Random
    left: int | None = None
    after: bool = False
    failing: float = 0.0

    async def step(self, apply: Any) -> Any:
        """Give the others a turn, then do it, dying before or after where that is due."""
        for _ in range(self.random.randrange(3)):
            await asyncio.sleep(0)
        dying = False
        if self.left is not None:
            self.left -= 1
            dying = self.left < 0
        if dying and not self.after:
            raise Crash
        if self.random.random() < self.failing:
            raise ConnectionError("storage is slow today")
        result = apply()
        if dying:
            raise Crash
        return result


class Table(MemoryTable):
    """The state table, each request a step."""

    def __init__(self, steps: Steps) -> None:
        super().__init__("state")
        self.steps = steps

    async def get(self, partition: str, row: str, *, select: Sequence[str] = ()) -> Entity | None:
        found: Entity | None = await self.steps.step(lambda: _run(super(Table, self).get(partition, row)))
        return found

    async def page(self, query: Query, start: Mapping[str, str] | None = None) -> Rows:
        found: Rows = await self.steps.step(lambda: _run(super(Table, self).page(query, start)))
        return found

    async def submit(self, operations: Sequence[Operation]) -> list[str | None]:
        etags: list[str | None] = await self.steps.step(lambda: _run(super(Table, self).submit(operations)))
        return etags


def _run(coroutine: Any) -> Any:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("memory doesn't wait")


class Store(MemoryStore):
    """The state store, which was laid out before."""

    def __init__(self, steps: Steps) -> None:
        super().__init__(buckets=BUCKETS, table=Table(steps))

    async def open(self) -> None:
        """Its layout is nobody's concern here."""

    async def delete(self, bucket: int, row_keys: Iterable[str]) -> None:
        for key in list(row_keys):  # one at a time: a group may be torn by a crash
            await super().delete(bucket, [key])


@dataclass
class Log:
    """The event hub: facts by bucket, in the order in which they were taken."""

    steps: Steps
    facts: dict[int, list[CloudEvent]] = field(default_factory=lambda: defaultdict(list))
    away: bool = False

    async def publish(self, facts: Sequence[OutgoingEvent]) -> None:
        if self.away and facts:
            raise ConnectionError("the hub is away")
        for fact in facts:  # one at a time: a crash may fall between two
            await self.steps.step(lambda fact=fact: self.facts[fact.bucket].append(CloudEvent.from_json(fact.body)))

    def by_key(self) -> dict[str, list[CloudEvent]]:
        found: dict[str, list[CloudEvent]] = defaultdict(list)
        for facts in self.facts.values():
            for fact in facts:
                found[fact.subject].append(fact)
        return found


@dataclass
class Broker:
    """The lane: messages that wait, and when they may be seen."""

    steps: Steps
    waiting: list[Delivery] = field(default_factory=list)
    numbers: int = 0

    def put(self, headers: Headers, body: bytes) -> None:
        self.numbers += 1
        self.waiting.append(
            Delivery(
                body=body,
                properties={str(name): value for name, value in headers.to_properties().items()},
                message_id=headers.broker_id,
                sequence_number=self.numbers,
                delivery_count=1,
            )
        )

    async def send(self, headers: Headers, body: bytes) -> None:
        await self.steps.step(lambda: self.put(headers, body))

    async def send_later(self, headers: Headers, body: bytes, when: datetime) -> None:
        await self.steps.step(lambda: self.put(headers, body))


@dataclass
class Graveyard:
    """The dead-letter store."""

    steps: Steps
    letters: dict[str, DeadLetter] = field(default_factory=dict)

    async def put(self, letter: DeadLetter) -> None:
        await self.steps.step(lambda: self.letters.__setitem__(letter.identity, letter))


def _meant(error: BaseException) -> bool:
    """Only what the test itself let happen."""
    if isinstance(error, BaseExceptionGroup):
        return all(_meant(one) for one in error.exceptions)
    return isinstance(error, Crash | BatchFailed | Conflict | ConnectionError)


class World:
    """The app's processing over memory; several instances may run on it at once, and die."""

    in_order = False

    def __init__(self, seed: int, guess_after: int = 32) -> None:
        self._recents: list[Recent] = []
        self._guess_after = guess_after
        self._outboxes: list[Outbox] = []
        self.steps = Steps(random.Random(seed))
        self.store = Store(self.steps)
        self.log = Log(self.steps)
        self.broker = Broker(self.steps)
        self.graveyard = Graveyard(self.steps)
        self.registry = Registry([integration()])
        self.sent: dict[UUID, Tick] = {}
        self._time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self._time += timedelta(milliseconds=1)
        return self._time

    def send(self, key: str, mood: str) -> None:
        """A client posts a command."""
        message_id = UUID(int=self.steps.random.getrandbits(128), version=4)
        tick = Tick(key=key, mood=mood)
        self.sent[message_id] = tick
        body = (
            f'{{"messageId":"{message_id}","timestamp":"2026-01-01T00:00:00Z","source":"test",'
            f'"eventType":"tick","version":"1.0","data":{tick.model_dump_json(by_alias=True)}}}'
        ).encode()
        headers = Headers(
            message_id=message_id,
            event_type="tick",
            version="1.0",
            source="test",
            key=key,
            lane=Lane.NORMAL,
            correlation_id=str(uuid4()),
            first_attempt_at=self._time,
        )
        self.broker.put(headers, body)

    def _forgetful(self) -> Recent:
        """The memory of an instance that has just started, and soon forgets."""
        return Recent(after=self._guess_after, remembered=3)

    def instance(self, recent: Recent | None = None) -> Instance:
        """A process that has just started, or goes on with what it remembers."""
        around = Surroundings(
            registry=self.registry,
            store=self.store,
            lanes=self.broker,
            publisher=self.log,
            dead_letters=self.graveyard,
            now=self.now,
        )
        made = Instance(around, recent=recent or self._forgetful(), ordered=self.in_order)
        self._outboxes.append(made.outbox)
        return made

    async def deliver(self, deliveries: list[Delivery], *, forget_to_complete: bool = False) -> None:
        """One of the instances takes a batch; what it doesn't complete is delivered again."""
        for delivery in deliveries:
            if delivery in self.broker.waiting:
                self.broker.waiting.remove(delivery)
        recent = self._recents.pop() if self._recents else self._forgetful()
        try:
            await self.instance(recent).processor.process(Lane.NORMAL, deliveries)
        except BatchFailed:
            self._recents.insert(0, recent)
            self._give_back(deliveries)
        except Crash:  # what it remembered is gone
            await self._clear()
            self._give_back(deliveries)
        except BaseExceptionGroup as group:
            if not _meant(group):
                raise
            await self._clear()
            self._give_back(deliveries)
        else:
            self._recents.insert(0, recent)
            if forget_to_complete:  # the lock expired before the completion arrived
                self._give_back(deliveries)

    async def _clear(self) -> None:
        """Published rows are deleted to the end; where the process dies, that dies too, at its next step."""
        for outbox in self._outboxes:
            await outbox.close()
        self._outboxes.clear()

    def _give_back(self, deliveries: Iterable[Delivery]) -> None:
        self.broker.waiting += [
            replace(delivery, delivery_count=delivery.delivery_count + 1) for delivery in deliveries
        ]

    async def sweep(self) -> None:
        """The timer fires on a fresh instance, once what was committed is old enough."""
        self._time += timedelta(minutes=5)
        try:
            await self.instance().outbox.sweep()
        except (Crash, Conflict, ConnectionError):
            return
        except BaseExceptionGroup as group:
            if not _meant(group):
                raise

    async def settle_down(self) -> None:
        """No more trouble: everything that waits is processed, everything left over is published."""
        self.steps.left, self.steps.failing = None, 0.0
        for _ in range(500):
            if not self.broker.waiting:
                break
            await self.deliver(self.broker.waiting[:8])
        await self._clear()
        await self.sweep()
        for _ in range(500):
            if not self.broker.waiting:
                await self._clear()
                return
            await self.deliver(self.broker.waiting[:8])
        raise AssertionError("messages keep coming back")
