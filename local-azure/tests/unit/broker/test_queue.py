"""One queue under a clock that tests move: locks, lives, order, and a state machine against a simple model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from local_azure.broker.amqp import AmqpError, Condition
from local_azure.broker.amqp.encode import encode
from local_azure.broker.amqp.message import Header
from local_azure.broker.amqp.types import Described, ULong
from local_azure.broker.journal import VolatileJournal
from local_azure.broker.servicebus.consumers import Services
from local_azure.broker.servicebus.message import Message, MessageState
from local_azure.broker.servicebus.queue import Queue
from local_azure.broker.servicebus.settings import QueueSettings

LOCK_MS = 30_000


@dataclass
class Receiver:
    """A consumer that takes what its credit allows."""

    credit: int = 0
    locks: bool = True
    got: list[Message] = field(default_factory=list)
    lost_with: AmqpError | None = None

    @property
    def is_ready(self) -> bool:
        return self.credit > 0

    def reserve(self, message: Message) -> None:
        self.credit -= 1

    def deliver(self, message: Message) -> None:
        self.credit -= self.locks
        self.got.append(message)

    def nothing_left(self) -> None: ...

    def lost(self, error: AmqpError) -> None:
        self.lost_with = error


class World:
    """A queue with everything around it."""

    def __init__(self, **settings: object) -> None:
        self.journal = VolatileJournal()
        self.now = 1_000_000
        self._tokens = 0
        services = Services(journal=self.journal, new_token=self._token, wake=lambda queue: None)
        chosen = QueueSettings(**{"lock_ms": LOCK_MS, **settings})  # type: ignore[arg-type]
        self.dead = Queue(2, "q/$DeadLetterQueue", chosen.of_dead_letters(), services)
        self.queue = Queue(1, "q", chosen, services, self.dead)
        self.receiver = Receiver()
        self.queue.attach(self.receiver)

    def _token(self) -> bytes:
        self._tokens += 1
        return self._tokens.to_bytes(16)

    def send(self, *messages: Message) -> list[int]:
        """Send and commit."""
        numbers = self.queue.accept(messages, self.now)
        self.journal.flush()
        return numbers

    def receive(self, count: int = 1) -> list[Message]:
        """Receive up to a count."""
        self.receiver.credit = count
        before = len(self.receiver.got)
        self.queue.dispatch(self.now)
        self.journal.flush()
        self.receiver.credit = 0
        return self.receiver.got[before:]

    def wait(self, milliseconds: int) -> None:
        """Move the clock, and let happen what is due."""
        self.now += milliseconds
        self.queue.tick(self.now)
        self.journal.flush()


def _message(body: bytes = b"x", **header: int) -> Message:
    return Message(encode(Described(ULong(0x75), body)), Header(**header))  # type: ignore[arg-type]


def _named(identifier: str) -> Message:
    return Message(encode(Described(ULong(0x73), [identifier])) + encode(Described(ULong(0x75), b"x")))


def test_messages_are_invisible_until_they_are_durable() -> None:
    """Neither receive nor peek shows what a crash could still take away."""
    world = World()
    world.queue.accept([_message()], world.now)
    world.receiver.credit = 1
    world.queue.dispatch(world.now)
    assert world.receiver.got == world.queue.peek(0, 10) == []
    world.journal.flush()
    assert len(world.receive()) == 1


def test_a_lock_ends_when_its_time_is_over_and_not_before() -> None:
    """One millisecond decides."""
    world = World()
    world.send(_message())
    (first,) = world.receive()
    token = first.lock_token
    assert token is not None
    world.wait(LOCK_MS - 1)
    assert world.receive() == []
    world.wait(1)
    with pytest.raises(AmqpError) as lost:
        world.queue.complete(token, world.now)
    assert lost.value.condition == Condition.MESSAGE_LOCK_LOST
    (again,) = world.receive()
    assert again.delivery_count == 1


def test_returned_messages_come_first_and_in_order() -> None:
    """An abandoned message keeps its place before younger ones."""
    world = World()
    world.send(*(_message() for _ in range(4)))
    first, second = world.receive(2)
    assert second.lock_token
    world.queue.abandon(second.lock_token, world.now)
    assert first.lock_token
    world.queue.abandon(first.lock_token, world.now)
    assert [message.sequence for message in world.receive(4)] == [1, 2, 3, 4]


def test_a_message_that_expires_under_a_lock_can_still_be_completed() -> None:
    """Its life ends when the lock does."""
    world = World(dead_letter_expired=True)
    world.send(_message(ttl=1000), _message(ttl=1000))
    kept, lost = world.receive(2)
    world.wait(2000)
    assert len(world.queue.messages) == 2
    assert kept.lock_token
    world.queue.complete(kept.lock_token, world.now)
    world.wait(LOCK_MS)
    assert [message.sequence for message in world.dead.messages.values()] == [lost.sequence]


def test_scheduled_messages_start_to_live_when_they_are_due() -> None:
    """Time-to-live counts from then, and so does the total."""
    world = World()
    message = _message(ttl=1000)
    message.visible_at = world.now + 10_000
    world.send(message)
    assert (world.queue.scheduled, world.queue.enqueued_total) == (1, 0)
    world.wait(9_999)
    assert world.receive() == []
    world.wait(1)
    assert (world.queue.scheduled, world.queue.enqueued_total) == (0, 1)
    world.wait(500)
    assert len(world.receive()) == 1


def test_duplicates_are_known_for_the_window_and_no_longer() -> None:
    """The window counts from the first message; identifiers of other types differ."""
    world = World(duplicate_window_ms=1000)
    world.send(_named("a"))
    world.wait(999)
    world.send(_named("a"), _named("b"))
    assert world.queue.enqueued_total == 2
    world.wait(1)
    world.send(_named("a"))
    assert world.queue.enqueued_total == 3


def test_the_quota_takes_all_of_a_batch_or_nothing() -> None:
    """Room comes back with each message that leaves."""
    size = _message(b"x" * 100).size
    world = World(max_size_bytes=3 * size)
    world.send(_message(b"x" * 100), _message(b"x" * 100))
    with pytest.raises(AmqpError) as full:
        world.send(_message(b"x" * 100), _message(b"x" * 100))
    assert full.value.condition == Condition.RESOURCE_LIMIT_EXCEEDED
    assert len(world.queue.messages) == 2
    (message,) = world.receive()
    assert message.lock_token
    world.queue.complete(message.lock_token, world.now)
    world.send(_message(b"x" * 100), _message(b"x" * 100))
    assert world.queue.size_bytes == 3 * size


def test_receive_and_delete_hands_out_only_what_is_deleted() -> None:
    """The message leaves after the deletion is durable."""
    world = World()
    world.receiver.locks = False
    world.send(_message())
    world.receiver.credit = 1
    world.queue.dispatch(world.now)
    assert world.receiver.got == []
    assert world.queue.messages == {}
    world.journal.flush()
    assert len(world.receiver.got) == 1


def test_a_removed_queue_sends_its_receivers_away_and_takes_no_more() -> None:
    """Both sides hear that the entity is gone."""
    world = World()
    world.queue.remove()
    assert world.receiver.lost_with is not None
    with pytest.raises(AmqpError) as gone:
        world.send(_message())
    assert gone.value.condition == Condition.NOT_FOUND


def test_time_costs_memory_only_for_what_is_there() -> None:
    """A hundred thousand messages that came and went leave no deadlines behind."""
    world = World(time_to_live_ms=14 * 86_400_000)
    for _ in range(200):
        world.send(*(_message() for _ in range(500)))
        for message in world.receive(500):
            assert message.lock_token
            world.queue.complete(message.lock_token, world.now)
    assert world.queue.messages == {}
    assert len(world.queue._expiries._heap) < 5000
    assert len(world.queue._index._numbers) < 5000
    assert world.queue.size_bytes == 0


def test_what_expires_unread_leaves_nothing_behind() -> None:
    """Without any receiver, a queue of short-lived messages stays small."""
    world = World(time_to_live_ms=10)
    for _ in range(100):
        world.send(*(_message() for _ in range(100)))
        world.wait(10)
    assert world.queue.messages == {}
    assert len(world.queue._ready) < 3000


def test_dead_letters_count_against_the_quota() -> None:
    """The service counts all that an entity holds."""
    size = _message(b"x" * 1000).size
    world = World(max_size_bytes=2 * size + 400)
    world.queue.parts = (world.dead,)
    world.send(_message(b"x" * 1000))
    (message,) = world.receive()
    assert message.lock_token
    world.queue.dead_letter(message.lock_token, world.now, "r", "d", None)
    world.journal.flush()
    world.send(_message(b"x" * 1000))
    with pytest.raises(AmqpError):
        world.send(_message(b"x" * 1000))


class QueueMachine(RuleBasedStateMachine):
    """Random operations on a queue, compared with a model that only knows where each message has to be."""

    @initialize(max_deliveries=st.integers(1, 4), dead_letter_expired=st.booleans())
    def build(self, max_deliveries: int, dead_letter_expired: bool) -> None:
        self.world = World(max_deliveries=max_deliveries, dead_letter_expired=dead_letter_expired)
        self.max_deliveries = max_deliveries
        self.ready: set[int] = set()
        self.locked: dict[int, bytes] = {}
        self.deferred: set[int] = set()
        self.dead: set[int] = set()
        self.deliveries: Counter[int] = Counter()

    @rule(count=st.integers(1, 5))
    def send(self, count: int) -> None:
        self.ready |= set(self.world.send(*(_message() for _ in range(count))))

    @rule(count=st.integers(1, 5))
    def receive(self, count: int) -> None:
        got = self.world.receive(count)
        assert [message.sequence for message in got] == sorted(self.ready)[:count]
        for message in got:
            assert message.delivery_count == self.deliveries[message.sequence]
            assert message.lock_token is not None
            self.ready.discard(message.sequence)
            self.locked[message.sequence] = message.lock_token

    def _fail(self, number: int) -> None:
        self.deliveries[number] += 1
        if self.deliveries[number] >= self.max_deliveries:
            self.dead.add(number)
        else:
            self.ready.add(number)

    @rule(data=st.data(), outcome=st.sampled_from(["complete", "abandon", "release", "defer", "dead_letter", "renew"]))
    def settle(self, data: st.DataObject, outcome: str) -> None:
        if not self.locked:
            return
        number = data.draw(st.sampled_from(sorted(self.locked)))
        token = self.locked[number]
        queue, now = self.world.queue, self.world.now
        if outcome == "renew":
            assert queue.renew(token, now) == now + LOCK_MS
            return
        del self.locked[number]
        if outcome == "complete":
            queue.complete(token, now)
        elif outcome == "abandon":
            queue.abandon(token, now)
            self._fail(number)
        elif outcome == "release":
            queue.release(token, now)
            self.ready.add(number)
        elif outcome == "defer":
            queue.defer(token, now)
            self.deliveries[number] += 1
            self.deferred.add(number)
        else:
            queue.dead_letter(token, now, "r", "d", None)
            self.dead.add(number)
        self.world.journal.flush()
        with pytest.raises(AmqpError):
            queue.complete(token, now)

    @rule(data=st.data())
    def take_deferred(self, data: st.DataObject) -> None:
        if not self.deferred:
            return
        number = data.draw(st.sampled_from(sorted(self.deferred)))
        (message,) = self.world.queue.take_deferred([number], self.world.now, locks=True)
        assert message.lock_token is not None
        self.world.queue.complete(message.lock_token, self.world.now)
        self.deferred.discard(number)

    @rule()
    def let_locks_expire(self) -> None:
        self.world.wait(LOCK_MS)
        for number in sorted(self.locked):
            self._fail(number)
        self.locked.clear()

    @invariant()
    def everything_is_where_it_has_to_be(self) -> None:
        if not hasattr(self, "world"):
            return
        queue = self.world.queue
        held = set(queue.messages)
        assert held == self.ready | set(self.locked) | self.deferred
        assert set(self.world.dead.messages) == self.dead
        assert {message.sequence for message in queue.locked.values()} == set(self.locked)
        assert queue.deferred == len(self.deferred)
        assert queue.size_bytes == sum(message.size for message in queue.messages.values())
        peeked = [message.sequence for message in queue.peek(0, 1000)]
        assert peeked == sorted(held)
        states = {message.sequence for message in queue.messages.values() if message.state is MessageState.DEFERRED}
        assert states == self.deferred


QueueMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestQueueAgainstModel = QueueMachine.TestCase
