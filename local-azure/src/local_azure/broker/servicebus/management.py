"""The `$management` node of a Service Bus entity: requests in, replies out."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from local_azure.broker.amqp import AmqpError, Condition
from local_azure.broker.amqp.message import Properties, encode_message
from local_azure.broker.amqp.types import Array, Int, Symbol, Timestamp
from local_azure.broker.endpoints import Request
from local_azure.broker.servicebus.message import Message, parse_message
from local_azure.broker.servicebus.queue import Queue
from local_azure.broker.servicebus.refusals import forwarded
from local_azure.broker.servicebus.sessions import SessionQueue
from local_azure.broker.transactions import Transaction, entity_group

__all__ = ["EntityManagement"]

_VENDOR: Final = "com.microsoft:"
_MAX_COUNT: Final = 256
"""Messages in one reply, so that a reply has a bounded size."""

_MAX_REPLY: Final = 1 << 20
_STANDARD_MESSAGE: Final = 262_144
_STANDARD_DELETIONS, _PREMIUM_DELETIONS = 500, 4_000
"""Messages that one request deletes ("Delete messages from Azure Service Bus", quotas); an entity that takes larger
messages than the standard tier's counts as one of the premium tier."""

_STATUS: Final[Mapping[str, int]] = {
    Condition.MESSAGE_LOCK_LOST: 410,
    Condition.SESSION_LOCK_LOST: 410,
    Condition.SESSION_CANNOT_BE_LOCKED: 410,
    Condition.MESSAGE_NOT_FOUND: 404,
    Condition.NOT_FOUND: 404,
    Condition.ENTITY_ALREADY_EXISTS: 409,
    Condition.RESOURCE_LIMIT_EXCEEDED: 403,
    Condition.ENTITY_DISABLED: 403,
    Condition.NOT_IMPLEMENTED: 501,
}

Body = dict[str, Any]


class EntityManagement:
    """Answers requests about one queue or subscription; answers to changes wait for the commit."""

    def __init__(self, queue: Queue, now: Callable[[], int], rules: Any = None) -> None:
        self._queue = queue
        self._now = now
        self._rules = rules

    def answer(self, request: Request, respond: Callable[[bytes], None]) -> None:
        """Answer a request: what cannot be met gets a status, never a closed link."""
        self._queue.accessed_at = self._now()
        try:
            handler = _OPERATIONS.get(request.operation.removeprefix(_VENDOR))
            if handler is None:
                raise AmqpError(Condition.NOT_IMPLEMENTED, f"Operation '{request.operation}' is not known")
            if self._queue.settings.forward_to is not None and not request.operation.endswith(("-rule", "-rules")):
                raise forwarded("browser")
            body = handler(self, request.body) if request.transaction is None else self._within(request)
        except AmqpError as error:
            respond(_reply(request, _STATUS.get(error.condition, 400), error))
            return
        message = _reply(request, 204 if body is None else 200, None, body)
        self._queue.services.journal.after_commit(partial(respond, message))

    def _within(self, request: Request) -> Body | None:
        """Answer a request that is part of a transaction.

        Source: the tests of Azure.Messaging.ServiceBus against the service (`TransactionLiveTests`), in which these
        take part. What changes no message is done at once; what no client sends in a transaction is refused.
        """
        name = request.operation.removeprefix(_VENDOR)
        if name in _ENLISTED:
            return _ENLISTED[name](self, request)
        if name in _UNCHANGING:
            return _OPERATIONS[name](self, request.body)
        raise AmqpError(Condition.NOT_ALLOWED, f"'{request.operation}' takes no part in transactions")

    # -- locks -------------------------------------------------------------------------------------
    def renew_lock(self, body: Body) -> Body:
        """New ends for message locks."""
        tokens = _tokens(body)
        now = self._now()
        ends = tuple(self._queue.renew(token, now) for token in tokens)
        return {"expirations": Array(0x83, ends)}

    def update_disposition(self, body: Body) -> Body:
        """Settle by lock token, for receivers whose link is gone."""
        settle, now = self._settlement(body), self._now()
        for token in _tokens(body):
            settle(token, now)
        return {}

    def _settle_within(self, request: Request) -> Body:
        settle, now = self._settlement(request.body), self._now()
        for token in _tokens(request.body):
            _transaction(request).settle(
                self._queue, token, partial(settle, token), session=request.link.session, now=now
            )
        return {}

    def _settlement(self, body: Body) -> Callable[[bytes, int], None]:
        """What a disposition does with a locked message."""
        outcome = _text(body, "disposition-status")
        changes = body.get("properties-to-modify")
        properties = {str(key): value for key, value in changes.items()} if isinstance(changes, dict) else None
        reason, description = body.get("deadletter-reason"), body.get("deadletter-description")
        queue = self._queue
        settlements: Mapping[str, Callable[[bytes, int], None]] = {
            "completed": queue.complete,
            "abandoned": lambda token, now: queue.abandon(token, now, properties),
            "defered": lambda token, now: queue.defer(token, now, properties),
            "suspended": lambda token, now: queue.dead_letter(token, now, reason, description, properties),
        }
        if outcome not in settlements:
            raise _bad_argument(f"disposition-status '{outcome}' is not known")
        return settlements[outcome]

    # -- messages ----------------------------------------------------------------------------------
    def peek_message(self, body: Body) -> Body | None:
        """Messages from a sequence number on."""
        start = _whole(body, "from-sequence-number")
        count = min(_whole(body, "message-count"), _MAX_COUNT)
        session_id = body.get("session-id")
        found = self._queue.peek(start, count, session_id) if count > 0 else []
        return {"messages": _bounded([{"message": each.encode()} for each in found])} if found else None

    def receive_by_sequence_number(self, body: Body) -> Body | None:
        """Deferred messages by number."""
        locks = body.get("receiver-settle-mode", 1) != 0
        numbers = [int(each) for each in _items(body, "sequence-numbers", int)]
        session_id = body.get("session-id")
        messages = self._queue.take_deferred(numbers, self._now(), locks=locks, session_id=session_id)
        return {"messages": [_deferred(each) for each in messages]}

    def schedule_message(self, body: Body) -> Body:
        """Take messages whose time has not come."""
        return _numbers(self._queue.accept(self._scheduled(body), self._now()))

    def _schedule_within(self, request: Request) -> Body:
        """The numbers are answered at once; a rollback leaves a gap."""
        messages = self._scheduled(request.body)
        group = entity_group(self._queue.path)
        _transaction(request).send(self._queue, messages, group, request.link.session)
        for message in messages:
            message.promised = self._queue.take_number()
        return _numbers([message.promised for message in messages])

    def _scheduled(self, body: Body) -> list[Message]:
        entries = _items(body, "messages", dict)
        new_identity = self._queue.services.new_token
        messages = [parse_message(_binary(each, "message"), new_identity) for each in entries]
        for message in messages:
            if len(message.bare) > self._queue.settings.max_message_bytes:
                raise AmqpError(Condition.MESSAGE_SIZE_EXCEEDED, "A scheduled message is too large")
        return messages

    def cancel_scheduled_message(self, body: Body) -> Body:
        """Take scheduled messages back."""
        self._queue.cancel_scheduled([int(each) for each in _items(body, "sequence-numbers", int)])
        return {}

    def _cancel_within(self, request: Request) -> Body:
        numbers = [int(each) for each in _items(request.body, "sequence-numbers", int)]
        _transaction(request).change(
            self._queue.path,
            lambda now: self._queue.find_scheduled(numbers),
            lambda now: self._queue.cancel_scheduled(numbers),
            once=[(self._queue.path, number) for number in numbers],
            session=request.link.session,
            now=self._now(),
        )
        return {}

    def batch_delete_messages(self, body: Body) -> Body | None:
        """Delete the oldest messages, unread; fewer than asked for if the tier allows no more in one call.

        Source: "Delete messages from Azure Service Bus" and the requests of azservicebus (`BatchDeleteMessages`).
        """
        count = _whole(body, "message-count")
        if count < 1:
            raise AmqpError(Condition.ARGUMENT_OUT_OF_RANGE, "'message-count' has to be at least 1")
        before = body.get("enqueued-time-utc")
        if before is not None and not isinstance(before, Timestamp):
            raise _bad_argument("'enqueued-time-utc' has to be a timestamp")
        session_id = body.get("session-id")
        is_premium = self._queue.settings.max_message_bytes > _STANDARD_MESSAGE
        most = _PREMIUM_DELETIONS if is_premium else _STANDARD_DELETIONS
        deleted = self._queue.delete_oldest(min(count, most), before or self._now() + 1, session_id)
        return {"message-count": Int(deleted)} if deleted else None

    # -- sessions ----------------------------------------------------------------------------------
    def renew_session_lock(self, body: Body) -> Body:
        """A new end for a session's lock."""
        end = self._sessions().renew_session(_text(body, "session-id"), self._now())
        return {"expiration": Timestamp(end)}

    def get_session_state(self, body: Body) -> Body:
        """The session's state."""
        return {"session-state": self._sessions().state(_text(body, "session-id"), self._now())}

    def set_session_state(self, body: Body) -> Body:
        """Replace the session's state."""
        self._sessions().set_state(_text(body, "session-id"), _state(body), self._now())
        return {}

    def _set_state_within(self, request: Request) -> Body:
        sessions, state = self._sessions(), _state(request.body)
        identity = _text(request.body, "session-id")
        _transaction(request).change(
            sessions.path,
            lambda now: sessions.check_state(identity, state, now),
            lambda now: sessions.set_state(identity, state, now),
            size=len(state or b""),
            session=request.link.session,
            now=self._now(),
        )
        return {}

    def get_message_sessions(self, body: Body) -> Body | None:
        """Names of sessions, a page at a time."""
        updated = body.get("last-updated-time")
        after = updated if isinstance(updated, int) and updated < _FAR_FUTURE else None
        skip, top = _whole(body, "skip"), _whole(body, "top")
        names = self._sessions().list_sessions(after, max(skip, 0), min(max(top, 0), 1000))
        return {"skip": Int(skip + len(names)), "sessions-ids": Array(0xB1, tuple(names))} if names else None

    def _sessions(self) -> SessionQueue:
        if not isinstance(self._queue, SessionQueue):
            raise AmqpError(Condition.NOT_ALLOWED, f"'{self._queue.path}' does not require sessions")
        return self._queue

    # -- rules -------------------------------------------------------------------------------------
    def rule_operation(self, name: str, body: Body) -> Body | None:
        """Add, remove and list rules, on a subscription."""
        if self._rules is None:
            raise AmqpError(Condition.NOT_ALLOWED, f"'{self._queue.path}' is not a subscription")
        answer: Body | None = getattr(self._rules, name)(body)
        return answer


_FAR_FUTURE: Final = 253_402_214_400_000
"""The year 9999, which clients send to mean "active sessions"."""

_OPERATIONS: Final[Mapping[str, Callable[[EntityManagement, Body], Body | None]]] = {
    "renew-lock": EntityManagement.renew_lock,
    "update-disposition": EntityManagement.update_disposition,
    "peek-message": EntityManagement.peek_message,
    "receive-by-sequence-number": EntityManagement.receive_by_sequence_number,
    "schedule-message": EntityManagement.schedule_message,
    "cancel-scheduled-message": EntityManagement.cancel_scheduled_message,
    "batch-delete-messages": EntityManagement.batch_delete_messages,
    "renew-session-lock": EntityManagement.renew_session_lock,
    "get-session-state": EntityManagement.get_session_state,
    "set-session-state": EntityManagement.set_session_state,
    "get-message-sessions": EntityManagement.get_message_sessions,
    "add-rule": lambda self, body: self.rule_operation("add", body),
    "remove-rule": lambda self, body: self.rule_operation("remove", body),
    "enumerate-rules": lambda self, body: self.rule_operation("enumerate", body),
}

_ENLISTED: Final[Mapping[str, Callable[[EntityManagement, Request], Body | None]]] = {
    "update-disposition": EntityManagement._settle_within,
    "schedule-message": EntityManagement._schedule_within,
    "cancel-scheduled-message": EntityManagement._cancel_within,
    "set-session-state": EntityManagement._set_state_within,
}
"""What takes effect at the discharge."""

_UNCHANGING: Final = frozenset(
    {
        "renew-lock",
        "renew-session-lock",
        "peek-message",
        "receive-by-sequence-number",
        "get-session-state",
        "get-message-sessions",
    }
)
"""What is done at once and stays, whatever becomes of the transaction: receiving takes no part in one."""


def _transaction(request: Request) -> Transaction:
    assert request.transaction is not None
    return request.transaction


def _numbers(numbers: Sequence[int]) -> Body:
    return {"sequence-numbers": Array(0x81, tuple(numbers))}


def _state(body: Body) -> bytes | None:
    state = body.get("session-state")
    if state is not None and not isinstance(state, bytes):
        raise _bad_argument("session-state has to be binary or null")
    return state


def _reply(request: Request, status: int, error: AmqpError | None, body: Body | None = None) -> bytes:
    properties: dict[str, Any] = {
        "statusCode": Int(status),
        "statusDescription": error.description if error else "OK",
    }
    if error is not None:
        properties["errorCondition"] = error.condition
    tracking = request.properties.get("com.microsoft:tracking-id")
    if tracking is not None:
        properties["com.microsoft:tracking-id"] = tracking
    identity = request.sections.properties.message_id
    return encode_message(
        properties=Properties(correlation_id=identity), application_properties=properties, body=body or {}
    )


def _deferred(message: Message) -> Body:
    token = message.lock_token
    entry: Body = {"message": message.encode(deferred_token=token)}
    if token is not None:
        entry["lock-token"] = uuid.UUID(bytes_le=token)
    return entry


def _bounded(entries: list[Body]) -> list[Body]:
    """As many entries as fit a reply, at least one."""
    total = 0
    for index, entry in enumerate(entries):
        total += len(entry["message"])
        if total > _MAX_REPLY and index:
            return entries[:index]
    return entries


def _bad_argument(description: str) -> AmqpError:
    return AmqpError(Condition.ARGUMENT_ERROR, description)


def _items(body: Body, name: str, kind: type) -> list[Any]:
    value = body.get(name)
    items = list(value.items) if isinstance(value, Array) else value
    if not isinstance(items, list) or not items or not all(isinstance(each, kind) for each in items):
        raise _bad_argument(f"'{name}' has to be a list of at least one {kind.__name__}")
    return items


def _tokens(body: Body) -> list[bytes]:
    return [each.bytes_le for each in _items(body, "lock-tokens", uuid.UUID)]


def _whole(body: Body, name: str) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _bad_argument(f"'{name}' has to be a whole number")
    return int(value)


def _text(body: Body, name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or isinstance(value, Symbol):
        raise _bad_argument(f"'{name}' has to be a string")
    return value


def _binary(body: Body, name: str) -> bytes:
    value = body.get(name)
    if not isinstance(value, bytes):
        raise _bad_argument(f"'{name}' has to be binary")
    return value
