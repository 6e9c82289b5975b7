"""A queue whose messages belong to sessions: each session is locked, in order, by one receiver at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from local_azure.broker.amqp.errors import AmqpError, Condition
from local_azure.broker.servicebus.consumers import Consumer
from local_azure.broker.servicebus.message import Message, MessageState
from local_azure.broker.servicebus.ordering import ReadyNumbers
from local_azure.broker.servicebus.queue import Queue

__all__ = ["Session", "SessionQueue", "SessionWaiter"]


class Session:
    """One session's messages, state and lock."""

    __slots__ = ("id", "locked_until", "owner", "ready", "state")

    def __init__(self, session_id: str) -> None:
        self.id = session_id
        self.ready = ReadyNumbers()
        self.state: bytes | None = None
        self.owner: SessionWaiter | None = None
        self.locked_until = 0


class SessionWaiter(Consumer, Protocol):
    """A receiver that wants a session: `wanted` by name, or any (None), until `give_up_at`."""

    wanted: str | None
    give_up_at: int
    session: Session | None

    def granted(self, session: Session) -> None:
        """The session is the receiver's from now on."""
        ...


class SessionQueue(Queue):
    """A queue with `requires_session`. Its consumers are `SessionWaiter`s."""

    sessions: dict[str, Session]

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **named)  # type: ignore[arg-type]
        self.sessions = {}
        self._available: OrderedDict[str, None] = OrderedDict()
        self._waiters: list[SessionWaiter] = []
        self._owned: dict[str, Session] = {}

    # -- accepting ---------------------------------------------------------------------------------
    def check(self, messages: Sequence[Message]) -> None:
        """As `Queue.check`; every message needs a session id."""
        for message in messages:
            message.session_id = message.sections.properties.group_id
            if not isinstance(message.session_id, str):
                raise AmqpError(
                    Condition.NOT_ALLOWED,
                    f"The SessionId was not set on a message, and it cannot be sent to '{self.path}',"
                    " which requires sessions",
                )
        super().check(messages)

    def restore(self, message: Message) -> None:
        """As `Queue.restore`; the session id is read from the message."""
        message.session_id = message.sections.properties.group_id
        super().restore(message)

    def restore_locked(self, message: Message, now: int) -> None:
        """As `Queue.restore_locked`; a session whose connection broke counts no delivery."""
        self.restore(message)
        self._unlock(message, now, failed=False)

    def restore_state(self, session_id: str, state: bytes) -> None:
        """Take back a session's state."""
        self._session(session_id).state = state

    def _make_ready(self, message: Message) -> None:
        assert message.session_id is not None
        session = self._session(message.session_id)
        session.ready.push(message.sequence)
        if session.owner is None:
            self._available[session.id] = None

    def _session(self, session_id: str) -> Session:
        session = self.sessions.get(session_id)
        if session is None:
            session = self.sessions[session_id] = Session(session_id)
        return session

    def remove(self) -> None:
        """As `Queue.remove`; those who wait for a session are sent away as well."""
        self.consumers.extend(self._waiters)
        self._waiters.clear()
        super().remove()

    @property
    def is_used(self) -> bool:
        """As `Queue.is_used`; one who waits for a session receives too."""
        return bool(self._waiters) or super().is_used

    # -- locking -----------------------------------------------------------------------------------
    def attach(self, consumer: Consumer) -> None:
        """Let a receiver wait for its session; a named one that is taken is refused at once."""
        waiter: SessionWaiter = consumer  # type: ignore[assignment]
        if not self.settings.status.can_receive:
            raise AmqpError(Condition.ENTITY_DISABLED, f"Messaging entity '{self.path}' is disabled for receiving")
        if waiter.wanted is not None and waiter.wanted in self._owned:
            raise AmqpError(
                Condition.SESSION_CANNOT_BE_LOCKED,
                f"The requested session '{waiter.wanted}' cannot be accepted: another receiver holds its lock",
            )
        self._waiters.append(waiter)
        self.services.wake(self)

    def detach(self, consumer: Consumer, now: int) -> None:
        """Remove a receiver; its session is free again, with what was not settled, in order.

        Closing a session counts no delivery, its lock's expiry does ("Message sessions", message delivery count).
        """
        waiter: SessionWaiter = consumer  # type: ignore[assignment]
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        super().detach(waiter, now)
        if waiter.session is not None and waiter.session.owner is waiter:
            self._free(waiter.session, now, failed=False)

    def dispatch(self, now: int) -> None:
        """Give sessions to those who wait, and messages to those who hold one."""
        self._grant(now)
        if not self.settings.status.can_receive:
            return
        for consumer in tuple(self.consumers):
            session: Session | None = consumer.session  # type: ignore[attr-defined]
            while session is not None and session.ready and consumer.is_ready:
                message = self._next(session.ready, now)
                if message is None:
                    break
                self._hand_over(consumer, message, now)
            consumer.nothing_left()

    def _grant(self, now: int) -> None:
        for waiter in tuple(self._waiters):
            session = self._pick(waiter.wanted, now)
            if session is None:
                continue
            self._waiters.remove(waiter)
            session.owner = waiter
            session.locked_until = now + self.settings.lock_ms
            self._owned[session.id] = session
            self.consumers.append(waiter)
            waiter.granted(session)

    def _pick(self, wanted: str | None, now: int) -> Session | None:
        if wanted is not None:
            self._available.pop(wanted, None)
            return None if wanted in self._owned else self._session(wanted)
        while self._available:
            session_id, _ = self._available.popitem(last=False)
            session = self.sessions.get(session_id)
            if session is not None and session.owner is None and self._has_message(session, now):
                return session
        return None

    def _has_message(self, session: Session, now: int) -> bool:
        message = self._next(session.ready, now)
        if message is None:
            self._forget_if_empty(session)
            return False
        session.ready.push(message.sequence)
        return True

    def tick(self, now: int) -> None:
        """As `Queue.tick`; sessions whose last message expired are forgotten."""
        super().tick(now)
        if len(self.sessions) > 2 * len(self.messages) + 1024:
            living = {message.session_id for message in self.messages.values()}
            for session in [each for each in self.sessions.values() if each.id not in living]:
                if session.state is None and session.owner is None:
                    del self.sessions[session.id]
                    self._available.pop(session.id, None)

    def _free(self, session: Session, now: int, *, failed: bool) -> None:
        owner = session.owner
        session.owner = None
        session.locked_until = 0
        self._owned.pop(session.id, None)
        if owner in self.consumers:
            self.consumers.remove(owner)
        for message in [each for each in self.locked.values() if each.session_id == session.id]:
            self._unlock(message, now, failed=failed)
        if session.ready:
            self._available[session.id] = None
            self.services.wake(self)
        else:
            self._forget_if_empty(session)

    def _forget_if_empty(self, session: Session) -> None:
        if session.state is None and not session.ready and session.owner is None:
            self.sessions.pop(session.id, None)

    def _hand_over(self, consumer: Consumer, message: Message, now: int) -> None:
        if not consumer.locks:
            super()._hand_over(consumer, message, now)
            return
        self._lock(message, self._session_end(message, now))
        consumer.deliver(message)

    def _session_end(self, message: Message, now: int) -> int:
        session = self.sessions.get(message.session_id or "")
        return session.locked_until if session is not None and session.owner else now + self.settings.lock_ms

    def _lock_deferred(self, message: Message, now: int) -> None:
        self._lock(message, self._session_end(message, now))

    def under_lock(self, token: bytes, now: int) -> Message:
        """As `Queue.under_lock`; it is the session's lock that counts."""
        message = self.locked.get(token)
        if message is None or self._session_end(message, now) <= now:
            raise _session_lost()
        return message

    # -- what management asks ----------------------------------------------------------------------
    def renew_session(self, session_id: str, now: int) -> int:
        """Lengthen a session's lock from now on and give its new end."""
        session = self._locked_session(session_id, now)
        session.locked_until = now + self.settings.lock_ms
        for message in self.locked.values():
            if message.session_id == session_id:
                message.locked_until = session.locked_until
        return session.locked_until

    def state(self, session_id: str, now: int) -> bytes | None:
        """What the session's receivers stored with it."""
        return self._locked_session(session_id, now).state

    def set_state(self, session_id: str, state: bytes | None, now: int) -> None:
        """Store bytes with the session, None removes them.

        At most as many as a message of the tier may have ("Message sessions", session state).
        """
        session = self.check_state(session_id, state, now)
        session.state = state
        self.services.journal.put_session_state(self.identity, session_id, state)

    def check_state(self, session_id: str, state: bytes | None, now: int) -> Session:
        """The session. Raises the `AmqpError` with which `set_state` would refuse."""
        session = self._locked_session(session_id, now)
        if state is not None and len(state) > self.settings.max_message_bytes:
            raise AmqpError(
                Condition.MESSAGE_SIZE_EXCEEDED,
                f"The state of a session has at most {self.settings.max_message_bytes} bytes, not {len(state)}",
            )
        return session

    def list_sessions(self, updated_after: int | None, skip: int, count: int) -> list[str]:
        """Names of sessions with messages or state."""
        with_messages = {
            message.session_id
            for message in self.messages.values()
            if message.session_id is not None and message.state is not MessageState.SCHEDULED
        }
        with_state = {session.id for session in self.sessions.values() if session.state is not None}
        names = sorted(with_messages | with_state if updated_after is None else with_state)
        return names[skip : skip + count]

    def _locked_session(self, session_id: str, now: int) -> Session:
        session = self._owned.get(session_id)
        if session is None or session.locked_until <= now:
            raise _session_lost()
        return session

    # -- time --------------------------------------------------------------------------------------
    def next_deadline(self) -> int | None:
        """As `Queue.next_deadline`, with the sessions' locks and those who wait."""
        if self.is_removed:
            return None
        times = [super().next_deadline()]
        times += [waiter.give_up_at for waiter in self._waiters]
        return min((time for time in times if time is not None), default=None)

    def _first_lock_end(self) -> int | None:
        return min((session.locked_until for session in self._owned.values()), default=None)

    def _expire_locks(self, now: int) -> None:
        for session in [each for each in self._owned.values() if each.locked_until <= now]:
            owner = session.owner
            self._free(session, now, failed=True)
            if owner is not None:
                owner.lost(_session_lost())
        for message in [each for each in self.locked.values() if each.session_id not in self._owned]:
            if message.locked_until <= now:
                self._unlock(message, now, failed=True)
        for waiter in [each for each in self._waiters if each.give_up_at <= now]:
            self._waiters.remove(waiter)
            waiter.lost(AmqpError(Condition.TIMEOUT, "No session became available before the receiver's time-out"))


def _session_lost() -> AmqpError:
    return AmqpError(
        Condition.SESSION_LOCK_LOST,
        "The session lock has expired on the session. Accept the session again.",
    )
