"""Service Bus entities over AMQP links: senders, receivers, and receivers of sessions."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from local_azure.broker.amqp import (
    ACCEPTED,
    RELEASED,
    AmqpError,
    Condition,
    DeliveryReceived,
    DeliverySettled,
    IncomingLink,
    Outcome,
    OutgoingLink,
    rejected,
    transactional,
)
from local_azure.broker.amqp.encode import encode
from local_azure.broker.amqp.performatives import Terminus
from local_azure.broker.amqp.types import Described, Fields, ULong
from local_azure.broker.endpoints import Client, Ingress
from local_azure.broker.journal import Journal
from local_azure.broker.limits import MAX_IDENTIFIER
from local_azure.broker.servicebus.message import Message, parse_messages
from local_azure.broker.servicebus.queue import Queue
from local_azure.broker.servicebus.refusals import forwarded
from local_azure.broker.servicebus.sessions import Session, SessionQueue
from local_azure.broker.transactions import Transaction, entity_group

__all__ = ["SESSION_FILTER", "QueueReceiver", "QueueSender", "SessionReceiver", "open_receiver"]

SESSION_FILTER: Final = "com.microsoft:session-filter"
_SESSION_END: Final = "com.microsoft:locked-until-utc"
_TIME_OUT: Final = "com.microsoft:timeout"
_MAX_BATCH: Final = 1 << 20
_MAX_LEAVING_BYTES: Final = 1 << 20
"""Bytes of messages that are being deleted and not sent yet; one that reads slowly makes no more be deleted."""

_DEFAULT_WAIT_MS: Final = 60_000
_TICKS_AT_EPOCH: Final = 621_355_968_000_000_000
"""The Unix epoch in .NET ticks (100 ns since year 1)."""

_MODIFIED, _REJECTED, _RELEASED, _ACCEPTED = 0x27, 0x25, 0x26, 0x24


class QueueSender(Ingress):
    """A client that sends to a queue or topic."""

    def __init__(self, link: IncomingLink, client: Client, queue: Queue, group: str, journal: Journal) -> None:
        super().__init__(link, client, journal)
        self._queue = queue
        self._group = group

    def take(self, payload: bytes, message_format: int) -> None:
        """Put one message or a batch into the queue."""
        self._queue.accept(parse_messages(payload, message_format, self._queue.services.new_token), self._client.now())

    def enlist(self, transaction: Transaction, payload: bytes, message_format: int) -> None:
        """Have messages put into the queue by a transaction."""
        messages = parse_messages(payload, message_format, self._queue.services.new_token)
        transaction.send(self._queue, messages, self._group, self._link.session)

    @classmethod
    def attach(
        cls, link: IncomingLink, client: Client, queue: Queue, journal: Journal, via: Queue | None = None
    ) -> QueueSender:
        """Serve a link to `queue`; with `via`, through another entity, whose transactions it takes part in.

        Source: "AMQP 1.0 in Azure Service Bus and Event Hubs protocol guide", via-entity senders.
        """
        for each in (queue, via):
            if each is not None and not each.settings.status.can_send:
                raise AmqpError(Condition.ENTITY_DISABLED, f"Messaging entity '{each.path}' is disabled for sending")
        sender = cls(link, client, queue, entity_group((via or queue).path), journal)
        limit = queue.settings.max_message_bytes
        sender.open(limit, min(limit, _MAX_BATCH))
        return sender


class QueueReceiver:
    """A client that receives from a queue, under locks or for good."""

    def __init__(self, link: OutgoingLink, client: Client, queue: Queue) -> None:
        self.link = link
        self.queue = queue
        self._client = client
        self._journal = queue.services.journal
        self._leaving = self._leaving_bytes = 0
        self.locks = not link.presettled

    def open(self) -> None:
        """Accept the link and get in line."""
        self.queue.attach(self)
        self.link.accept(max_message_size=self.queue.settings.max_message_bytes)

    # -- as the queue sees it ----------------------------------------------------------------------
    @property
    def is_ready(self) -> bool:
        """Whether there is credit beyond what is on its way (AMQP 2.6.7), and room in the connection."""
        link = self.link
        return (
            link.credit > self._leaving
            and link.is_ready
            and self._leaving_bytes < _MAX_LEAVING_BYTES
            and self._client.is_writable
        )

    def reserve(self, message: Message) -> None:
        """Keep credit for a message whose deletion is being committed."""
        self._leaving += 1
        self._leaving_bytes += message.size

    def deliver(self, message: Message) -> None:
        """Send a message."""
        if self.locks:
            self.link.send(message.encode(), settled=False, tag=message.lock_token)
            return
        self._leaving -= 1
        self._leaving_bytes -= message.size
        if self.link.is_open:
            self.link.send(message.encode(), settled=True, tag=self.queue.services.new_token())
        if not self._leaving:
            self.on_credit()  # what the bound on bytes kept back, and the answer to a drain

    def nothing_left(self) -> None:
        """Answer a drain."""
        if self.link.drain and not self._leaving and self._client.is_writable:
            self.link.drained()

    def lost(self, error: AmqpError) -> None:
        """Close the link with the reason."""
        self.link.detach(error)

    # -- as the link sees it -----------------------------------------------------------------------
    def on_credit(self) -> None:
        """Ask the queue for messages."""
        self.queue.services.wake(self.queue)

    def on_settled(self, event: DeliverySettled) -> None:
        """Settle with the queue, and confirm when that is durable."""
        now = self._client.now()
        try:
            if event.outcome.transaction is not None:
                self._take_part(event, event.outcome.transaction, now)
                return
            settle(self.queue, event.tag, event.outcome, now)
        except AmqpError as error:
            if not event.settled:
                self.link.settle(event.delivery_id, rejected(error))
            return
        if not event.settled:
            state = confirmation(event.outcome)
            self._journal.after_commit(partial(self.link.settle, event.delivery_id, state))

    def _take_part(self, event: DeliverySettled, identity: bytes, now: int) -> None:
        """Settle by a transaction; the message stays locked until that is decided."""
        transaction = self._client.transactions.find(identity)
        apply = partial(settle, self.queue, event.tag, event.outcome)
        try:
            transaction.settle(self.queue, event.tag, apply, session=self.link.session, now=now)
        except AmqpError as error:
            if event.settled:  # nobody hears of it now, so the discharge has to tell
                transaction.failure = error
            raise
        if not event.settled:
            self.link.settle(event.delivery_id, transactional(identity, confirmation(event.outcome)))

    def on_detached(self) -> None:
        """Leave the line; locks stay until they expire."""
        self.queue.detach(self, self._client.now())

    def on_delivery(self, event: DeliveryReceived) -> None:
        """Does not happen on this side."""


def settle(queue: Queue, token: bytes, outcome: Outcome, now: int) -> None:
    """Apply an AMQP outcome to a locked message.

    `modified` abandons, and that counts a delivery whether or not it says delivery-failed: every
    `AbandonMessageAsync` of Azure.Messaging.ServiceBus (`AmqpReceiver.GetAbandonOutcome`) and JavaScript's
    `abandonMessage` leave that field out. Only `released` doesn't count.
    """
    if outcome.code == _ACCEPTED:
        queue.complete(token, now)
    elif outcome.code == _RELEASED:
        queue.release(token, now)
    elif outcome.code == _REJECTED:
        _reject(queue, token, outcome, now)
    else:
        _, elsewhere, changes = _modification(outcome)
        give_back = queue.defer if elsewhere else queue.abandon
        give_back(token, now, changes)


def confirmation(outcome: Outcome) -> bytes:
    """The state that tells a receiver that its outcome took effect."""
    if outcome.code == _ACCEPTED:
        return ACCEPTED
    if outcome.code == _RELEASED:
        return RELEASED
    if outcome.code == _REJECTED:
        return rejected(None)
    failed, elsewhere, changes = _modification(outcome)
    return encode(Described(ULong(_MODIFIED), [failed, elsewhere, None if changes is None else Fields(changes)]))


def _modification(outcome: Outcome) -> tuple[Any, Any, dict[Any, Any] | None]:
    failed, elsewhere, changes = (*outcome.fields, None, None, None)[:3]
    return failed, elsewhere, _plain(changes) if isinstance(changes, dict) else None


def _reject(queue: Queue, token: bytes, outcome: Outcome, now: int) -> None:
    error = outcome.fields[0] if outcome.fields else None
    fields = error.value if isinstance(error, Described) and isinstance(error.value, list) else []
    info = fields[2] if len(fields) > 2 and isinstance(fields[2], dict) else {}
    changes = _plain(info) or {}
    reason = changes.pop("DeadLetterReason", None)
    description = changes.pop("DeadLetterErrorDescription", None)
    queue.dead_letter(token, now, reason, description, changes)


def _plain(changes: dict[Any, Any] | None) -> dict[Any, Any] | None:
    """Property names as strings: they arrive as symbols, and application properties take strings only."""
    return {str(key): value for key, value in changes.items()} if changes else None


class SessionReceiver(QueueReceiver):
    """A client that receives one session; the link opens when the session is its own."""

    def __init__(self, link: OutgoingLink, client: Client, queue: SessionQueue, wanted: str | None) -> None:
        super().__init__(link, client, queue)
        wait = link.properties.get(_TIME_OUT)
        self.wanted = wanted
        self.give_up_at = client.now() + (wait if isinstance(wait, int) and wait > 0 else _DEFAULT_WAIT_MS)
        self.session: Session | None = None

    def open(self) -> None:
        """Get in line; the answer to the client waits for a session."""
        self.queue.attach(self)

    def granted(self, session: Session) -> None:
        """Open the link and name the session in it."""
        self.session = session
        source = self.link.attach.source
        self.link.accept(
            source=None if source is None else source.with_filter(SESSION_FILTER, _as_asked(source, session.id)),
            max_message_size=self.queue.settings.max_message_bytes,
            properties={_SESSION_END: session.locked_until * 10_000 + _TICKS_AT_EPOCH},
        )

    def lost(self, error: AmqpError) -> None:
        """Tell the client that it waited in vain, or that its lock is over."""
        self.session = None
        if self.link.is_open:
            self.link.detach(error)
        else:
            self.link.refuse(error)


def _as_asked(source: Terminus, session_id: str) -> Any:
    """The session's name in the form of the client's filter: Go's client sends a described one and reads no other."""
    asked = source.filters.get(SESSION_FILTER)
    return Described(asked.descriptor, session_id) if isinstance(asked, Described) else session_id


def open_receiver(link: OutgoingLink, client: Client, queue: Queue) -> QueueReceiver:
    """Serve a receiving link, with or without a session as the queue and the client's filter say."""
    if queue.settings.forward_to is not None:
        raise forwarded("receiver")
    filters = link.attach.source.filters if link.attach.source else {}
    has_filter = SESSION_FILTER in filters
    if isinstance(queue, SessionQueue):
        if not has_filter:
            raise AmqpError(
                Condition.NOT_ALLOWED,
                f"It is not possible for an entity that requires sessions to create a non-sessionful message"
                f" receiver. Accept a session of '{queue.path}'.",
            )
        value = filters[SESSION_FILTER]
        wanted = value.value if isinstance(value, Described) else value
        if wanted is not None and (not isinstance(wanted, str) or len(wanted) > MAX_IDENTIFIER):
            raise AmqpError(Condition.ARGUMENT_ERROR, f"A session id is text of at most {MAX_IDENTIFIER} characters")
        receiver: QueueReceiver = SessionReceiver(link, client, queue, wanted)
    elif has_filter:
        raise AmqpError(
            Condition.NOT_ALLOWED,
            f"A sessionful message receiver cannot be created on an entity that does not require sessions:"
            f" '{queue.path}'",
        )
    else:
        receiver = QueueReceiver(link, client, queue)
    receiver.open()
    return receiver
