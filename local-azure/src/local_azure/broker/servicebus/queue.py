"""A queue: takes messages, hands each to one receiver under a lock, and settles them.

Pure: time is passed in (`now`, milliseconds since the epoch), changes are noted in a `Journal`, receivers are
anything that fits `Consumer`. Messages become visible when the journal has committed them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any

from local_azure.broker.amqp.errors import AmqpError, Condition
from local_azure.broker.servicebus.consumers import Consumer, Services
from local_azure.broker.servicebus.duplicates import DuplicateHistory
from local_azure.broker.servicebus.idleness import is_idle
from local_azure.broker.servicebus.message import FOREVER, Message, MessageState
from local_azure.broker.servicebus.ordering import ReadyNumbers
from local_azure.broker.servicebus.refusals import gone, lock_lost, reasons
from local_azure.broker.servicebus.settings import QueueSettings
from local_azure.broker.servicebus.store import Store

__all__ = ["Queue"]


class Queue(Store):
    """A store with receivers. `route`, if set, sends on what would become ready for receivers."""

    def __init__(
        self,
        identity: int,
        path: str,
        settings: QueueSettings,
        services: Services,
        dead_letters: Queue | None = None,
    ) -> None:
        super().__init__(identity, path, settings, services)
        self.dead_letters = dead_letters
        self.transfer_dead_letters: Queue | None = None
        self.route: Callable[[Message, int], bool] | None = None
        self.forward_dead_letter: Callable[[Message, int], bool] | None = None
        self.timer_at: int | None = None
        self.is_removed = False
        self.consumers: list[Consumer] = []
        self.history = DuplicateHistory(identity, services.journal)

    # -- accepting ---------------------------------------------------------------------------------
    def accept(self, messages: Sequence[Message], now: int) -> list[int]:
        """Take messages from a sender, all or none, and give their sequence numbers (0 for a duplicate).

        Raises
        ------
        AmqpError
            If the queue is disabled or full, or a message does not suit it.
        """
        self.check(messages)
        self.accessed_at = now
        fresh = self._without_duplicates(messages, now)
        for message in fresh:
            self._number(message, now)
        self._note_counters()
        arriving = [message for message in fresh if not self._sent_on(message, now)]
        journal = self.services.journal
        for message in arriving:
            message.row = journal.next_row()
            journal.put_message(self.identity, message)
            self.size_bytes += message.size
        if arriving:
            journal.after_commit(partial(self._appear, arriving))
        return [message.sequence for message in messages]

    def remove(self) -> None:
        """Be no more: receivers are sent away, senders are refused from now on."""
        self.is_removed = True
        for consumer in tuple(self.consumers):
            consumer.lost(gone(self.path))

    def check(self, messages: Sequence[Message]) -> None:
        """Raise the `AmqpError` with which `accept` would refuse messages."""
        if self.is_removed:
            raise gone(self.path)
        if not self.settings.status.can_send:
            raise AmqpError(Condition.ENTITY_DISABLED, f"Messaging entity '{self.path}' is disabled for sending")
        limit = self.settings.max_size_bytes
        if limit is None:
            return
        total = self.total_bytes()
        for message in messages:
            total += message.size
        if total > limit:
            raise AmqpError(
                Condition.RESOURCE_LIMIT_EXCEEDED,
                f"The maximum entity size of {limit} bytes has been reached for '{self.path}':"
                " receive or remove messages",
            )

    def _without_duplicates(self, messages: Sequence[Message], now: int) -> Sequence[Message]:
        window = self.settings.duplicate_window_ms
        if window is None:
            return messages
        return [message for message in messages if self.history.admit(message, now, window)]

    def _sent_on(self, message: Message, now: int) -> bool:
        if self.route is None or message.state is MessageState.SCHEDULED:
            return False
        return self.route(message, now)

    def _appear(self, messages: Iterable[Message]) -> None:
        """What was committed can be received."""
        for message in messages:
            self._hold(message)
        self.services.wake(self)

    def restore_locked(self, message: Message, now: int) -> None:
        """As `restore`, for a message that was under a lock when the process ended: the delivery counts as failed."""
        self.restore(message)
        self._unlock(message, now, failed=True)

    def _take_over(self, message: Message) -> None:
        """Receive a message that moved here from the parent queue and keeps its number."""
        journal = self.services.journal
        journal.put_message(self.identity, message)
        self.size_bytes += message.size
        self.enqueued_total += 1
        self._note_counters()
        journal.after_commit(partial(self._appear, (message,)))

    # -- handing out -------------------------------------------------------------------------------
    def attach(self, consumer: Consumer) -> None:
        """Add a receiver."""
        if not self.settings.status.can_receive:
            raise AmqpError(Condition.ENTITY_DISABLED, f"Messaging entity '{self.path}' is disabled for receiving")
        self.consumers.append(consumer)
        self.services.wake(self)

    def detach(self, consumer: Consumer, now: int) -> None:
        """Remove a receiver; what it holds stays locked until the locks expire."""
        self.accessed_at = now
        if consumer in self.consumers:
            self.consumers.remove(consumer)

    def dispatch(self, now: int) -> None:
        """Hand ready messages to receivers that can take them, in turn; with a `route`, send them on instead."""
        if self.route is not None:
            while (message := self._next(self._ready, now)) is not None:
                self._remove(message)
                self.route(message, now)
        served = self.settings.status.can_receive
        while served and self._ready:
            served = False
            for consumer in tuple(self.consumers):
                if not consumer.is_ready:
                    continue
                message = self._next(self._ready, now)
                if message is None:
                    break
                self._hand_over(consumer, message, now)
                served = True
        for consumer in tuple(self.consumers):
            consumer.nothing_left()

    def _next(self, ready: ReadyNumbers, now: int) -> Message | None:
        while ready:
            message = self.messages.get(ready.pop())
            if message is None or message.state or message.lock_token is not None:
                continue
            if message.expires_at <= now:
                self._expire(message, now)
                continue
            return message
        return None

    def _hand_over(self, consumer: Consumer, message: Message, now: int) -> None:
        if consumer.locks:
            self._lock(message, now + self.settings.lock_ms)
            consumer.deliver(message)
        else:
            self._remove(message)
            consumer.reserve(message)
            self.services.journal.after_commit(partial(consumer.deliver, message))

    def _lock(self, message: Message, until: int) -> None:
        token = self.services.new_token()
        message.lock_token = token
        message.locked_until = until
        self.locked[token] = message
        self.services.journal.put_lock(self.identity, message)

    # -- settling ----------------------------------------------------------------------------------
    def complete(self, token: bytes, now: int) -> None:
        """Remove a locked message. This and its siblings raise `AmqpError` if the lock is lost."""
        self._remove(self.under_lock(token, now))

    def abandon(self, token: bytes, now: int, changes: dict[Any, Any] | None = None) -> None:
        """Give a locked message back; it counts as a failed delivery."""
        message = self.under_lock(token, now)
        self._change(message, changes)
        self._unlock(message, now, failed=True)

    def release(self, token: bytes, now: int) -> None:
        """Give a locked message back as if it had never been delivered."""
        self._unlock(self.under_lock(token, now), now, failed=False)

    def defer(self, token: bytes, now: int, changes: dict[Any, Any] | None = None) -> None:
        """Set a locked message aside until it is asked for by its sequence number."""
        message = self.under_lock(token, now)
        self._change(message, changes)
        if message.state is not MessageState.DEFERRED:
            message.state = MessageState.DEFERRED
            self.deferred += 1
        self._unlock(message, now, failed=True)

    def dead_letter(
        self, token: bytes, now: int, reason: str | None, description: str | None, changes: dict[Any, Any] | None
    ) -> None:
        """Move a locked message to the dead-letter queue."""
        message = self.under_lock(token, now)
        self._change(message, changes)
        self._dead_letter(message, now, reason, description)

    def renew(self, token: bytes, now: int) -> int:
        """Lengthen a lock from now on and give its new end."""
        message = self.under_lock(token, now)
        message.locked_until = now + self.settings.lock_ms
        self.locked.move_to_end(token)
        return message.locked_until

    def under_lock(self, token: bytes, now: int) -> Message:
        """The message that a token locks. Raises `AmqpError` if the lock is lost."""
        message = self.locked.get(token)
        if message is None or message.locked_until <= now:
            raise lock_lost()
        return message

    def _change(self, message: Message, changes: dict[Any, Any] | None) -> None:
        if changes:
            before = message.size
            message.change_properties(changes)
            self.size_bytes += message.size - before

    def _unlock(self, message: Message, now: int, *, failed: bool) -> None:
        self._clear_lock(message)
        message.delivery_count += failed
        limit = self.settings.max_deliveries
        if message.expires_at <= now:
            self._expire(message, now)
        elif limit is not None and message.delivery_count >= limit and message.state is MessageState.ACTIVE:
            self._dead_letter(
                message,
                now,
                "MaxDeliveryCountExceeded",
                f"Message could not be consumed after {limit} delivery attempts.",
            )
        else:
            self.services.journal.put_message(self.identity, message)
            if message.state is MessageState.ACTIVE:
                self._make_ready(message)
                self.services.wake(self)

    def _remove(self, message: Message) -> None:
        self._drop(message)
        self.services.journal.delete_message(message)

    def _expire(self, message: Message, now: int) -> None:
        if self.settings.dead_letter_expired:
            self._dead_letter(message, now, "TTLExpiredException", "The message expired and was dead lettered.")
        else:
            self._remove(message)

    def dead_letter_arrival(self, message: Message, now: int, reason: str, description: str) -> None:
        """Take a message straight into the dead-letter queue, because it could not go where it should."""
        self._number(message, now)
        self._note_counters()
        message.row = self.services.journal.next_row()
        self._dead_letter(message, now, reason, description)

    def _dead_letter(self, message: Message, now: int, reason: str | None, description: str | None) -> None:
        """Move a message to the dead-letter queue, or to where dead letters are forwarded."""
        self._drop(message)
        message.change_properties(reasons(reason, description))
        message.state = MessageState.ACTIVE
        message.expires_at = FOREVER
        target = self.dead_letters
        if self.forward_dead_letter is not None:
            message.dead_letter_source = self.path
            if self.forward_dead_letter(message, now):
                self.services.journal.delete_message(message)
                return
            target = self.transfer_dead_letters
        if target is None:  # this is a dead-letter queue: the message stays where it is
            target = self
        target._take_over(message)

    # -- scheduling, deferring, peeking ------------------------------------------------------------
    def cancel_scheduled(self, sequences: Sequence[int]) -> None:
        """Remove scheduled messages, all or none."""
        for message in self.find_scheduled(sequences):
            self._remove(message)

    def find_scheduled(self, sequences: Sequence[int]) -> list[Message]:
        """Scheduled messages by number. Raises `AmqpError` if one isn't there."""
        found = [self.messages.get(sequence) for sequence in dict.fromkeys(sequences)]
        scheduled = [each for each in found if each is not None and each.state is MessageState.SCHEDULED]
        if len(scheduled) < len(found):
            raise AmqpError(Condition.MESSAGE_NOT_FOUND, "No scheduled message has one of these numbers")
        return scheduled

    def take_deferred(
        self, sequences: Sequence[int], now: int, *, locks: bool, session_id: str | None = None
    ) -> list[Message]:
        """Receive deferred messages by number, all or none."""
        messages = []
        for sequence in dict.fromkeys(sequences):
            message = self.messages.get(sequence)
            if (
                message is None
                or message.state is not MessageState.DEFERRED
                or message.lock_token is not None
                or (session_id is not None and message.session_id != session_id)
            ):
                raise AmqpError(
                    Condition.MESSAGE_NOT_FOUND, f"No deferred message that is not locked has number {sequence}"
                )
            messages.append(message)
        for message in messages:
            if locks:
                self._lock_deferred(message, now)
            else:
                self._remove(message)
        self.services.wake(self)
        return messages

    def _lock_deferred(self, message: Message, now: int) -> None:
        self._lock(message, now + self.settings.lock_ms)

    def delete_oldest(self, count: int, before: int, session_id: str | None = None) -> int:
        """Delete up to `count` ready messages that were enqueued before a time, and tell how many there were.

        What is locked stays, as in the service; so does what is deferred or scheduled.
        """
        stored = map(self.messages.__getitem__, self._index.walk(0))
        ready = (
            message
            for message in stored
            if message.state is MessageState.ACTIVE and message.lock_token is None and message.enqueued_at < before
        )
        of_session = (each for each in ready if session_id is None or each.session_id == session_id)
        chosen = list(islice(of_session, count))
        for message in chosen:
            self._remove(message)
        return len(chosen)

    @property
    def is_used(self) -> bool:
        """Whether somebody receives, something is scheduled or all is sent on: then it is not idle."""
        return bool(self.consumers) or super().is_used

    # -- time --------------------------------------------------------------------------------------
    def next_deadline(self) -> int | None:
        """When `tick` has something to do, or None."""
        if self.is_removed:
            return None
        times = [self._expiries.next_time(), self._schedule.next_time(), self._first_lock_end()]
        if self.settings.idle_ms is not None:
            times.append(self.accessed_at + self.settings.idle_ms)
        times.append(self.history.next_time())
        return min((time for time in times if time is not None), default=None)

    def tick(self, now: int) -> None:
        """Let locks, lives and waits end that end by now."""
        self._expire_locks(now)
        for sequence in self._schedule.pop_due(now):
            self._activate(self.messages[sequence], now)
        for sequence in self._expiries.pop_due(now):
            message = self.messages[sequence]
            if message.lock_token is None:
                self._expire(message, now)
        self.history.forget(now)
        if is_idle(self, now):
            self.services.idle(self)

    def _first_lock_end(self) -> int | None:
        return next(iter(self.locked.values())).locked_until if self.locked else None

    def _expire_locks(self, now: int) -> None:
        while self.locked:
            message = next(iter(self.locked.values()))
            if message.locked_until > now:
                break
            self._unlock(message, now, failed=True)

    def _activate(self, message: Message, now: int) -> None:
        """Append a scheduled message as if it were sent now, under a new number.

        Source: "Message sequencing and timestamps", scheduled messages.
        """
        self._drop(message)
        self._number(message, now)
        self._note_counters()
        journal = self.services.journal
        if self._sent_on(message, now):
            journal.delete_message(message)
            return
        journal.put_message(self.identity, message)
        self.size_bytes += message.size
        journal.after_commit(partial(self._appear, (message,)))
