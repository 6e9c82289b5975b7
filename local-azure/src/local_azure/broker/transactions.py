"""Transactions of one client: sends and settlements that take effect together, or not at all.

Sources: AMQP 1.0 part 4; "AMQP 1.0 in Azure Service Bus and Event Hubs protocol guide", transactions; "Overview of
Service Bus transaction processing". Nothing is visible before the discharge, which applies everything between two
commits, so that a crash keeps all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from local_azure.broker.amqp import (
    ACCEPTED,
    AmqpError,
    Condition,
    DeliveryReceived,
    DeliverySettled,
    IncomingLink,
    rejected,
)
from local_azure.broker.amqp.encode import encode
from local_azure.broker.amqp.message import scan
from local_azure.broker.amqp.types import Described, ULong
from local_azure.broker.journal import Journal

if TYPE_CHECKING:
    from local_azure.broker.servicebus.message import Message

__all__ = ["Coordinator", "Transaction", "Transactions", "entity_group"]

_DECLARE: Final = (0x31, "amqp:declare:list")
_DISCHARGE: Final = (0x32, "amqp:discharge:list")
_DECLARED: Final = ULong(0x33)

_TIME_OUT_MS: Final = 120_000
"""How long a transaction may last ("Overview of Service Bus transaction processing", time-outs)."""

_MAX_MESSAGES: Final = 100
"""Messages that are sent in one transaction ("Service Bus quotas")."""

_MAX_BYTES: Final = 32 << 20
_MAX_OPEN: Final = 100
"""What one client may leave undecided: each costs memory."""


class Store(Protocol):
    """What takes part in a transaction: a queue, a topic's entrance, a subscription."""

    path: str

    def check(self, messages: Sequence[Message]) -> None:
        """Raise the `AmqpError` with which `accept` would refuse messages."""
        ...

    def accept(self, messages: Sequence[Message], now: int) -> list[int]:
        """Take messages."""
        ...

    def under_lock(self, token: bytes, now: int) -> Message:
        """The message that a token locks. Raises `AmqpError` if the lock is lost."""
        ...


class Transaction:
    """What was asked for within one transaction."""

    def __init__(self, identity: bytes, ends_at: int) -> None:
        self.identity = identity
        self.ends_at = ends_at
        self.failure: AmqpError | None = None
        """Why it can only be rolled back."""
        self._group: str | None = None
        self._session: object = None
        self._sent: dict[Store, list[Message]] = {}
        self._settled: dict[bytes, tuple[Store, Callable[[int], object]]] = {}
        self._changes: list[tuple[Callable[[int], object], Callable[[int], object]]] = []
        self._changed: set[object] = set()
        self._messages = self._bytes = 0

    def send(self, store: Store, messages: Sequence[Message], group: str, session: object) -> None:
        """Send messages, over a link to `group` in an AMQP session.

        Raises
        ------
        AmqpError
            If the store refuses them, there are too many, or the entity may not take part.
        """
        self._join(group, session, sends=True)
        if self._messages + len(messages) > _MAX_MESSAGES:
            raise AmqpError(
                Condition.NOT_ALLOWED, f"Cannot send more than {_MAX_MESSAGES} messages in a single transaction."
            )
        size = sum(message.size for message in messages)
        if self._bytes + size > _MAX_BYTES:
            raise AmqpError(Condition.RESOURCE_LIMIT_EXCEEDED, f"A transaction holds at most {_MAX_BYTES} bytes here")
        sent = self._sent.get(store, [])
        store.check([*sent, *messages])
        self._sent[store] = [*sent, *messages]
        self._messages += len(messages)
        self._bytes += size

    def settle(self, store: Store, token: bytes, apply: Callable[[int], object], *, session: object, now: int) -> None:
        """Settle a locked message by `apply`. Raises `AmqpError` as `send` does, or if the lock is lost."""
        self._join(entity_group(store.path), session, sends=False)
        store.under_lock(token, now)
        if token in self._settled:
            raise AmqpError(Condition.MESSAGE_LOCK_LOST, "The message is settled in this transaction already")
        self._settled[token] = (store, apply)

    def change(
        self,
        path: str,
        check: Callable[[int], object],
        apply: Callable[[int], object],
        *,
        once: Collection[object] = (),
        size: int = 0,
        session: object,
        now: int,
    ) -> None:
        """Change something else of an entity by `apply`, which does what `check` lets it.

        Parameters
        ----------
        once:
            What can be changed only once in a transaction, since it is gone then.
        size:
            Bytes that are kept for it.

        Raises
        ------
        AmqpError
            As `send` does, or with what `check` raises.
        """
        self._join(entity_group(path), session, sends=False)
        check(now)
        if self._changed.intersection(once):
            raise AmqpError(Condition.MESSAGE_NOT_FOUND, "It is changed in this transaction already")
        if len(self._changes) >= _MAX_MESSAGES or self._bytes + size > _MAX_BYTES:
            raise AmqpError(Condition.RESOURCE_LIMIT_EXCEEDED, "A transaction holds no more changes here")
        self._changed.update(once)
        self._changes.append((check, apply))
        self._bytes += size

    def _join(self, group: str, session: object, *, sends: bool) -> None:
        """Take part with an entity. Another one than the first may only be sent to, over the first one's session.

        Clients that have transactions span entities put all links into one session; the first entity is then the
        one that the messages go through.
        """
        if self._group is None:
            self._group, self._session = group, session
        if group != self._group and not (sends and session is self._session):
            raise AmqpError(
                Condition.NOT_ALLOWED,
                f"A transaction belongs to one entity: this one began with '{self._group}', and '{group}' is another."
                " Send through the first one",
            )

    def commit(self, now: int) -> None:
        """Do everything, or nothing.

        Raises
        ------
        AmqpError
            `amqp:transaction:rollback`, with the reason, if a part of it cannot be done.
        """
        try:
            if self.failure is not None:
                raise self.failure
            for store, messages in self._sent.items():
                store.check(messages)
            for token, (store, _) in self._settled.items():
                store.under_lock(token, now)
            for check, _ in self._changes:
                check(now)
        except AmqpError as error:
            raise AmqpError(Condition.TRANSACTION_ROLLBACK, f"Nothing was changed: {error}") from error
        for store, messages in self._sent.items():
            store.accept(messages, now)
        for apply in (*(each for _, each in self._settled.values()), *(each for _, each in self._changes)):
            apply(now)


def entity_group(path: str) -> str:
    """What one transaction may work on: a queue or topic, with its subscriptions and dead letters."""
    return path.lower().partition("/subscriptions/")[0].partition("/$")[0]


class Transactions:
    """The undecided transactions of one connection."""

    def __init__(self, new_identity: Callable[[], bytes], now: Callable[[], int]) -> None:
        self._new_identity = new_identity
        self._now = now
        self._open: dict[bytes, Transaction] = {}

    def declare(self) -> Transaction:
        """Begin one. Raises `AmqpError` if too many are undecided."""
        now = self._now()
        self._open = {identity: each for identity, each in self._open.items() if each.ends_at > now}
        if len(self._open) >= _MAX_OPEN:
            raise AmqpError(
                Condition.RESOURCE_LIMIT_EXCEEDED, f"At most {_MAX_OPEN} transactions of a client are undecided"
            )
        transaction = Transaction(self._new_identity(), now + _TIME_OUT_MS)
        self._open[transaction.identity] = transaction
        return transaction

    def find(self, identity: bytes) -> Transaction:
        """An undecided transaction. Raises `AmqpError` if there is none of that id, or its time is over."""
        found = self._open.get(identity)
        if found is None:
            raise AmqpError(Condition.TRANSACTION_UNKNOWN, "No transaction has this id, or it is decided already")
        if found.ends_at <= self._now():
            del self._open[identity]
            raise AmqpError(Condition.TRANSACTION_TIMEOUT, "The transaction took too long and was rolled back")
        return found

    def discharge(self, identity: bytes, *, fails: bool) -> None:
        """Commit, or roll back. Raises as `find` and `Transaction.commit` do."""
        transaction = self.find(identity)
        del self._open[identity]
        if not fails:
            transaction.commit(self._now())

    def forget(self, identity: bytes) -> None:
        """Roll back, if it is undecided."""
        self._open.pop(identity, None)


class Coordinator:
    """The link over which a client declares and discharges."""

    def __init__(self, link: IncomingLink, transactions: Transactions, journal: Journal) -> None:
        self._link = link
        self._transactions = transactions
        self._journal = journal
        self._declared: set[bytes] = set()

    def open(self) -> None:
        """Accept the link."""
        self._link.accept(max_message_size=4096, credit=_MAX_OPEN)

    def on_delivery(self, event: DeliveryReceived) -> None:
        """Declare or discharge, and answer with the outcome."""
        try:
            body = None if event.oversized else scan(event.payload).value_body()
            descriptor = body.descriptor if isinstance(body, Described) else None
            fields: list[Any] = body.value if isinstance(body, Described) and isinstance(body.value, list) else []
            if descriptor in _DECLARE:
                self._declare(event)
            elif descriptor in _DISCHARGE and fields and isinstance(fields[0], bytes):
                self._discharge(event, fields[0], fails=len(fields) > 1 and fields[1] is True)
            else:
                raise AmqpError(Condition.NOT_IMPLEMENTED, "A coordinator takes `declare` and `discharge`")
        except AmqpError as error:
            self._link.settle(event.delivery_id, rejected(error))
        self._link.grant(_MAX_OPEN)

    def _declare(self, event: DeliveryReceived) -> None:
        transaction = self._transactions.declare()
        self._declared.add(transaction.identity)
        self._link.settle(event.delivery_id, encode(Described(_DECLARED, [transaction.identity])))

    def _discharge(self, event: DeliveryReceived, identity: bytes, *, fails: bool) -> None:
        self._declared.discard(identity)
        self._transactions.discharge(identity, fails=fails)
        self._journal.after_commit(partial(self._link.settle, event.delivery_id, ACCEPTED))

    def on_detached(self) -> None:
        """What was declared over this link and is undecided is rolled back (4.3)."""
        for identity in self._declared:
            self._transactions.forget(identity)

    def on_settled(self, event: DeliverySettled) -> None:
        """Does not happen on this side."""

    def on_credit(self) -> None:
        """Does not happen on this side."""
