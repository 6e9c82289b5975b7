"""What a queue holds: messages by number, what falls due when, and how much there is of each kind."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from local_azure.broker.servicebus.consumers import Services
from local_azure.broker.servicebus.message import FOREVER, Message, MessageState
from local_azure.broker.servicebus.ordering import Deadlines, ReadyNumbers, SequenceIndex
from local_azure.broker.servicebus.settings import QueueSettings

__all__ = ["Store"]


class Store:
    """Messages under their sequence numbers. `identity` is the store's number in storage."""

    def __init__(self, identity: int, path: str, settings: QueueSettings, services: Services) -> None:
        self.identity = identity
        self.path = path
        self.settings = settings
        self.services = services
        self.next_sequence = 1
        self.parts: Sequence[Store] = ()
        """Stores that count as this one for its quota and its idleness: dead letters, a topic's subscriptions."""
        self.accessed_at = 0
        self.enqueued_total = 0
        self.size_bytes = 0
        self.scheduled = 0
        self.deferred = 0
        self.messages: dict[int, Message] = {}
        self.locked: OrderedDict[bytes, Message] = OrderedDict()
        self._ready = ReadyNumbers()
        self._index = SequenceIndex(self.messages)  # type: ignore[arg-type]
        self._expiries = Deadlines(self._expires_at)
        self._schedule = Deadlines(self._visible_at)

    @property
    def is_used(self) -> bool:
        """Whether something goes on here that keeps it from being idle."""
        return bool(self.scheduled or self.settings.forward_to is not None)

    def total_bytes(self) -> int:
        """Bytes kept here and in the parts."""
        total = self.size_bytes
        for part in self.parts:
            total += part.total_bytes() if part.parts else part.size_bytes
        return total

    def _note_counters(self) -> None:
        self.services.journal.put_counters(self.identity, self.next_sequence, self.enqueued_total)

    def take_number(self) -> int:
        """The next sequence number, for one message or for none: gaps do no harm."""
        number = self.next_sequence
        self.next_sequence += 1
        return number

    def _number(self, message: Message, now: int) -> None:
        message.sequence = message.promised or self.take_number()
        message.promised = 0
        message.enqueued_at = now
        if message.visible_at > now:
            message.state = MessageState.SCHEDULED
        else:
            self._start_life(message, now)

    def _start_life(self, message: Message, now: int) -> None:
        message.state = MessageState.ACTIVE
        message.enqueued_at = now
        self.enqueued_total += 1
        life = message.header.ttl
        own = self.settings.time_to_live_ms
        if life is None or (own is not None and own < life):
            life = own
        message.expires_at = FOREVER if life is None else now + life

    def _hold(self, message: Message) -> None:
        self.messages[message.sequence] = message
        self._index.add(message.sequence)
        if message.state is MessageState.SCHEDULED:
            self.scheduled += 1
            self._schedule.add(message.visible_at, message.sequence, len(self.messages))
            return
        if message.expires_at != FOREVER:
            self._expiries.add(message.expires_at, message.sequence, len(self.messages))
        if message.state is MessageState.DEFERRED:
            self.deferred += 1
        else:
            self._make_ready(message)

    def _make_ready(self, message: Message) -> None:
        self._ready.push(message.sequence)
        if len(self._ready) > 2 * len(self.messages) + 1024:
            self._ready.keep(self.messages)

    def restore(self, message: Message) -> None:
        """Take back a message that storage kept; it is numbered already."""
        self.size_bytes += message.size
        self._hold(message)

    def _clear_lock(self, message: Message) -> None:
        if message.lock_token is not None:
            self.locked.pop(message.lock_token, None)
            message.lock_token = None
            message.locked_until = 0

    def _drop(self, message: Message) -> None:
        """Forget a message here; its row lives on elsewhere or is deleted by the caller."""
        self._clear_lock(message)
        if self.messages.pop(message.sequence, None) is not None:
            self.scheduled -= message.state is MessageState.SCHEDULED
            self.deferred -= message.state is MessageState.DEFERRED
            self.size_bytes -= message.size

    def peek(self, start: int, count: int, session_id: str | None = None) -> list[Message]:
        """Look at up to `count` messages in any state, from a sequence number on."""
        found: list[Message] = []
        for sequence in self._index.walk(start):
            message = self.messages[sequence]
            if session_id is not None and message.session_id != session_id:
                continue
            found.append(message)
            if len(found) >= count:
                break
        return found

    def _expires_at(self, sequence: int, time: int) -> bool:
        message = self.messages.get(sequence)
        return message is not None and message.expires_at == time

    def _visible_at(self, sequence: int, time: int) -> bool:
        message = self.messages.get(sequence)
        return message is not None and message.state is MessageState.SCHEDULED and message.visible_at == time
