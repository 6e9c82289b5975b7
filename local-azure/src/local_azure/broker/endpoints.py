"""What stands behind a link: the small interface between AMQP links and the entities they name.

A handler lives in `link.context`. It gets the link's events, and works the link; it never does I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from local_azure.broker.amqp import (
    ACCEPTED,
    AmqpError,
    Condition,
    DeliveryReceived,
    DeliverySettled,
    IncomingLink,
    OutgoingLink,
    rejected,
    transactional,
)
from local_azure.broker.amqp.message import Sections, scan
from local_azure.broker.journal import Journal
from local_azure.broker.transactions import Transaction, Transactions

__all__ = ["Client", "Handler", "Ingress", "Replies", "Request", "Requests"]

_CREDIT: Final = 500
"""Messages a client may send before it hears from us; each costs memory until it is committed."""

_MAX_WAITING_REPLIES: Final = 1000
_MAX_WAITING_BYTES: Final = 8 << 20
"""Answers that a client has not taken yet; beyond either bound, its requests are refused."""


class Handler(Protocol):
    """One link's behaviour."""

    def on_delivery(self, event: DeliveryReceived) -> None:
        """The client sent a message."""
        ...

    def on_settled(self, event: DeliverySettled) -> None:
        """The client gave a message its outcome."""
        ...

    def on_credit(self) -> None:
        """The client can take more, or wants to hear that there is no more."""
        ...

    def on_detached(self) -> None:
        """The link is over."""
        ...


class Client(Protocol):
    """What handlers know of the connection they serve."""

    @property
    def is_writable(self) -> bool:
        """Whether the connection's output buffer has room for more messages."""
        ...

    buffered_bytes: int
    """Payload that the client sent and storage has not committed yet."""

    transactions: Transactions
    """What the client has begun and not decided."""

    def now(self) -> int:
        """Milliseconds since the epoch, UTC."""
        ...

    def find_replies(self, link: IncomingLink, reply_to: str | None) -> Replies | None:
        """Where the answers to requests on `link` go."""
        ...


class Ingress:
    """Takes messages from a sending client: settles them when they are durable, and keeps it in credit."""

    def __init__(self, link: IncomingLink, client: Client, journal: Journal) -> None:
        self._link = link
        self._client = client
        self._journal = journal
        self._uncommitted = 0

    def open(self, max_message_bytes: int, max_batch_bytes: int) -> None:
        """Accept the link."""
        self._link.accept(
            max_message_size=max_message_bytes,
            credit=_CREDIT,
            properties={_BATCH_SIZE: max_batch_bytes},
        )

    def on_delivery(self, event: DeliveryReceived) -> None:
        """Take a message or a batch; whatever is wrong with it is reported to its sender."""
        try:
            if event.oversized:
                raise AmqpError(
                    Condition.MESSAGE_SIZE_EXCEEDED,
                    f"The message exceeds the limit of {self._link.max_message_size} bytes",
                )
            if event.transaction is not None:
                self._take_part(event, self._client.transactions.find(event.transaction))
                return
            self.take(event.payload, event.message_format)
        except AmqpError as error:
            if not event.settled:
                self._link.settle(event.delivery_id, rejected(error))
        else:
            self._uncommitted += 1
            self._client.buffered_bytes += len(event.payload)
            self._journal.after_commit(lambda: self._committed(event))
        self._replenish()

    def _take_part(self, event: DeliveryReceived, transaction: Transaction) -> None:
        try:
            self.enlist(transaction, event.payload, event.message_format)
        except AmqpError as error:
            if event.settled:  # nobody hears of it now, so the discharge has to tell
                transaction.failure = error
            raise
        finally:
            self._replenish()
        if not event.settled:
            self._link.settle(event.delivery_id, transactional(transaction.identity, ACCEPTED))

    def enlist(self, transaction: Transaction, payload: bytes, message_format: int) -> None:
        """Have the message put into its entity when the transaction is committed; subclasses that can say how."""
        raise AmqpError(Condition.NOT_ALLOWED, "This entity takes no part in transactions")

    def take(self, payload: bytes, message_format: int) -> None:
        """Put the message into its entity, or raise `AmqpError`; subclasses say how."""
        raise NotImplementedError

    def _committed(self, event: DeliveryReceived) -> None:
        self._uncommitted -= 1
        self._client.buffered_bytes -= len(event.payload)
        if not event.settled:
            self._link.settle(event.delivery_id)
        self._replenish()

    def _replenish(self) -> None:
        if self._link.credit < _CREDIT // 2:
            self._link.grant(max(self._link.credit, _CREDIT - self._uncommitted))

    def on_settled(self, event: DeliverySettled) -> None:
        """Does not happen on this side."""

    def on_credit(self) -> None:
        """Does not happen on this side."""

    def on_detached(self) -> None:
        """What was taken stays taken."""


_BATCH_SIZE: Final = "com.microsoft:max-message-batch-size"


class Request:
    """A request to a `$management` or `$cbs` node."""

    def __init__(self, sections: Sections, link: IncomingLink, transaction: Transaction | None = None) -> None:
        self.sections = sections
        self.link = link
        self.transaction = transaction
        self.properties: dict[str, Any] = sections.application_properties

    @property
    def operation(self) -> str:
        """What is asked for."""
        return str(self.properties.get("operation", ""))

    @property
    def body(self) -> dict[str, Any]:
        """The map in the body; empty if there is none."""
        value = self.sections.value_body()
        return value if isinstance(value, dict) else {}


Respond = Callable[[bytes], None]


class Requests:
    """Takes requests from a client and sends answers over the link that the client opened for them.

    Parameters
    ----------
    takes_part:
        Whether requests may be part of a transaction.
    """

    def __init__(
        self,
        link: IncomingLink,
        client: Client,
        answer: Callable[[Request, Respond], None],
        *,
        takes_part: bool = False,
    ) -> None:
        self._link = link
        self._client = client
        self._answer = answer
        self._takes_part = takes_part

    def open(self) -> None:
        """Accept the link."""
        self._link.accept(max_message_size=1 << 20, credit=_CREDIT)

    def on_delivery(self, event: DeliveryReceived) -> None:
        """Answer a request; the answer goes out before the settlement, as clients read one frame at a time."""
        try:
            if event.oversized:
                raise AmqpError(Condition.MESSAGE_SIZE_EXCEEDED, "A request has at most 1,048,576 bytes")
            transaction = None
            if event.transaction is not None:
                if not self._takes_part:
                    raise AmqpError(Condition.NOT_ALLOWED, "Requests to this node take no part in transactions")
                transaction = self._client.transactions.find(event.transaction)
            request = Request(scan(event.payload), self._link, transaction)
            reply_to = request.sections.properties.reply_to
            replies = self._client.find_replies(self._link, reply_to if isinstance(reply_to, str) else None)
            if replies is None:
                raise AmqpError(Condition.NOT_FOUND, "No link was opened for the answers to requests")
            if replies.is_full:
                raise AmqpError(Condition.SERVER_BUSY, "Too many answers wait to be taken: grant credit, and read")
            self._answer(request, replies.send)
        except AmqpError as error:
            if not event.settled:
                self._link.settle(event.delivery_id, rejected(error))
        else:
            if not event.settled:
                state = ACCEPTED if event.transaction is None else transactional(event.transaction, ACCEPTED)
                self._link.settle(event.delivery_id, state)
        if self._link.credit < _CREDIT // 2:
            self._link.grant(_CREDIT)

    def on_settled(self, event: DeliverySettled) -> None:
        """Does not happen on this side."""

    def on_credit(self) -> None:
        """Does not happen on this side."""

    def on_detached(self) -> None:
        """Nothing is buffered."""


class Replies:
    """The link over which a client gets the answers to its requests."""

    def __init__(self, link: OutgoingLink, client: Client, node: str) -> None:
        self.link = link
        self.node = node
        self._client = client
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0

    def open(self) -> None:
        """Accept the link."""
        self.link.accept()

    def send(self, message: bytes) -> None:
        """Send an answer as soon as the client takes one."""
        self._waiting.append(message)
        self._waiting_bytes += len(message)
        self.on_credit()

    @property
    def is_full(self) -> bool:
        """Whether the client leaves too much untaken."""
        return len(self._waiting) >= _MAX_WAITING_REPLIES or self._waiting_bytes >= _MAX_WAITING_BYTES

    def on_credit(self) -> None:
        """Send what waits."""
        while self._waiting and self.link.is_ready and self._client.is_writable:
            message = self._waiting.popleft()
            self._waiting_bytes -= len(message)
            self.link.send(message, settled=True)
        self.link.drained()

    def on_settled(self, event: DeliverySettled) -> None:
        """Answers are sent settled."""

    def on_delivery(self, event: DeliveryReceived) -> None:
        """Does not happen on this side."""

    def on_detached(self) -> None:
        """Answers that wait are of no use any more."""
        self._waiting.clear()
