"""Qpid Proton, driven by the tests: an AMQP library that knows nothing of the service; for the system's Python."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from queue import Empty, Queue
from threading import Thread
from typing import Any

from proton import Condition, Delivery, Endpoint, Link, Message, Timeout, symbol
from proton.handlers import MessagingHandler, TransactionHandler
from proton.reactor import Filter, ReceiverOption
from proton.utils import BlockingConnection, BlockingReceiver, BlockingSender

_SECONDS = 20.0
_HEARTBEAT_SECONDS = 10.0
_CODES = {
    "com.microsoft:message-lock-lost": "message-lock-lost",
    "com.microsoft:session-lock-lost": "session-lock-lost",
    "com.microsoft:session-cannot-be-locked": "session-cannot-be-locked",
    "com.microsoft:timeout": "timeout",
    "amqp:not-found": "not-found",
    "amqp:link:message-size-exceeded": "size-exceeded",
    "amqp:resource-limit-exceeded": "quota-exceeded",
}


class Refused(Exception):
    """The broker's answer was an error."""

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(description)
        self.condition = condition


class Incoming(MessagingHandler):  # type: ignore[misc]
    """Collects what a link is sent."""

    def __init__(self) -> None:
        super().__init__(prefetch=0, auto_accept=False, auto_settle=False)
        self.found: deque[tuple[Message, Delivery]] = deque()
        self.credit = 0

    def on_message(self, event: Any) -> None:
        """Keep it for the next `receive`."""
        self.found.append((event.message, event.delivery))
        self.credit -= 1

    def on_link_error(self, event: Any) -> None:
        """The next use of the link raises it."""


class Mode(ReceiverOption):  # type: ignore[misc]
    """Peek-lock waits for the answer to a settlement; receive-and-delete needs none."""

    def __init__(self, delete: bool) -> None:
        self.delete = delete

    def apply(self, receiver: Any) -> None:
        """Set both modes."""
        receiver.snd_settle_mode = Link.SND_SETTLED if self.delete else Link.SND_UNSETTLED
        receiver.rcv_settle_mode = Link.RCV_FIRST if self.delete else Link.RCV_SECOND


class Transaction(TransactionHandler):  # type: ignore[misc]
    """Follows one transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.declared: Any = None
        self.ended = False
        self.failed = False

    def on_transaction_declared(self, event: Any) -> None:
        """It can be used."""
        self.declared = event.transaction

    def on_transaction_declare_failed(self, event: Any) -> None:
        """It never began."""
        self.failed = True

    def on_transaction_committed(self, event: Any) -> None:
        """All of it happened."""
        self.ended = True

    def on_transaction_commit_failed(self, event: Any) -> None:
        """None of it did, against the client's will."""
        self.failed = True

    def on_transaction_aborted(self, event: Any) -> None:
        """None of it did."""
        self.ended = True


connection: BlockingConnection
transactions: dict[str, Transaction] = {}
senders: dict[str, BlockingSender] = {}
receivers: dict[str, tuple[BlockingReceiver, Incoming]] = {}
deliveries: dict[int, Delivery] = {}
refs = count(1)


def connect(port: int, **_: Any) -> None:
    global connection
    connection = BlockingConnection(f"amqp://localhost:{port}", timeout=_SECONDS, allowed_mechs="ANONYMOUS")


def closed(link: Any) -> bool:
    return bool(link.state & Endpoint.REMOTE_CLOSED)


def await_settlement(delivery: Delivery, *, rejected_is_well: bool = False) -> None:
    link = delivery.link
    connection.wait(lambda: delivery.settled or closed(link))
    if not delivery.settled:
        raise Refused(link.remote_condition.name, link.remote_condition.description)
    condition = delivery.remote.condition
    if condition is not None:
        raise Refused(condition.name, condition.description)
    if delivery.remote_state == Delivery.REJECTED and not rejected_is_well:
        raise Refused("rejected", "")
    delivery.settle()


def send(messages: list[dict[str, Any]], queue: str = "", topic: str = "", transaction: str = "", **_: Any) -> None:
    entity = queue or topic
    if entity not in senders:
        senders[entity] = connection.create_sender(entity)
    for each in messages:
        message = Message(
            body=each.get("body", "").encode(),
            inferred=True,  # bytes go into a data section
            id=each.get("id"),
            subject=each.get("subject"),
            group_id=each.get("session"),
            properties=each.get("properties", {}),
        )
        if "ttl" in each:
            message.ttl = each["ttl"]
        link = senders[entity].link
        if transaction:
            await_settlement(transactions[transaction].declared.send(link, message))
        else:
            await_settlement(link.send(message))


def address(queue: str = "", topic: str = "", subscription: str = "", dead_letters: bool = False) -> str:
    path = queue or f"{topic}/Subscriptions/{subscription}"
    return path + "/$DeadLetterQueue" * dead_letters


def open_link(handle: str, mode: str = "", filters: dict[Any, Any] | None = None, **where: Any) -> Any:
    incoming = Incoming()
    options = [Mode(mode == "delete"), Filter(filters or {})]
    name = f"{address(**where)}-{next(refs)}"
    receiver = connection.create_receiver(address(**where), credit=0, handler=incoming, name=name, options=options)
    receivers[handle] = (receiver, incoming)
    return receiver.link


def accept(handle: str, queue: str, session: str | None = None, mode: str = "", **_: Any) -> dict[str, Any]:
    link = open_link(handle, mode, {symbol("com.microsoft:session-filter"): session}, queue=queue)
    data = link.remote_source.filter
    data.rewind()
    data.next()
    return {"session": data.get_dict()[symbol("com.microsoft:session-filter")], "locked_until": None}


def receive(handle: str, max: int, wait: int) -> list[dict[str, Any]]:
    receiver, incoming = receivers[handle]
    missing = max - len(incoming.found) - incoming.credit
    if missing > 0:
        receiver.link.flow(missing)
        incoming.credit += missing
    try:
        connection.wait(lambda: bool(incoming.found) or closed(receiver.link), timeout=wait / 1_000)
    except Exception as error:
        if type(error).__name__ != "Timeout":
            raise
    if not incoming.found and closed(receiver.link):
        raise Refused(receiver.link.remote_condition.name, receiver.link.remote_condition.description)
    found: list[dict[str, Any]] = []
    while incoming.found and len(found) < max:
        found.append(show(*incoming.found.popleft()))
    return found


def show(message: Message, delivery: Delivery) -> dict[str, Any]:
    ref = next(refs)
    deliveries[ref] = delivery
    annotations = {str(key): value for key, value in (message.annotations or {}).items()}
    properties = dict(message.properties or {})
    reason, description = properties.get("DeadLetterReason"), properties.get("DeadLetterErrorDescription")
    return {
        "ref": ref,
        "body": bytes(message.body).decode(),
        "id": message.id,
        "session": message.group_id,
        "subject": message.subject,
        "properties": {str(key): value for key, value in properties.items()},
        "sequence": str(annotations["x-opt-sequence-number"]),
        "deliveries": message.delivery_count,
        "locked_until": annotations.get("x-opt-locked-until"),
        "enqueued_at": annotations["x-opt-enqueued-time"],
        "dead_letter_reason": reason,
        "dead_letter_description": description,
    }


def begin(transaction: str, **_: Any) -> None:
    handler = transactions[transaction] = Transaction()
    connection.container.declare_transaction(connection.conn, handler)
    connection.wait(lambda: handler.declared is not None or handler.failed)
    if handler.failed:
        raise Refused("declare-failed", "")


def discharge(transaction: str, fail: bool) -> None:
    handler = transactions.pop(transaction)
    handler.declared.discharge(fail)
    connection.wait(lambda: handler.ended or handler.failed)
    if handler.failed:
        raise Refused("discharge-failed", "")


def settle(handle: str, ref: int, how: str, reason: str = "", description: str = "", transaction: str = "") -> None:
    delivery = deliveries.pop(ref)
    if transaction:
        transactions[transaction].declared.accept(delivery)
        return
    if how == "complete":
        delivery.update(Delivery.ACCEPTED)
    elif how == "abandon":
        delivery.update(Delivery.MODIFIED)  # with no field at all, as `release(delivered=True)` sends it
    else:
        info = {symbol("DeadLetterReason"): reason, symbol("DeadLetterErrorDescription"): description}
        delivery.local.condition = Condition("com.microsoft:dead-letter", None, info)
        delivery.update(Delivery.REJECTED)
    await_settlement(delivery, rejected_is_well=how == "dead_letter")


def close(handle: str) -> None:
    found = receivers.pop(handle, None)
    if found is not None and not closed(found[0].link):
        found[0].close()


OPERATIONS: dict[str, Callable[..., Any]] = {
    "connect": connect,
    "send": send,
    "open": lambda handle, mode="", **where: open_link(handle, mode, None, **where) and None,
    "accept": accept,
    "receive": receive,
    "settle": settle,
    "close": close,
    "begin": begin,
    "commit": lambda transaction, **_: discharge(transaction, False),
    "roll_back": lambda transaction, **_: discharge(transaction, True),
}


def read(lines: Queue[str | None]) -> None:
    """Read requests in a thread of its own, so that the connection can be kept alive meanwhile."""
    for line in sys.stdin:
        lines.put(line)
    lines.put(None)


def next_line(lines: Queue[str | None]) -> str | None:
    """The next request; until it comes the library gets to send its heartbeats, which it does in no thread."""
    while True:
        try:
            return lines.get(timeout=_HEARTBEAT_SECONDS)
        except Empty:
            if "connection" in globals():
                with suppress(Timeout):
                    connection.wait(lambda: False, timeout=0.01)


def main() -> None:
    """Serve until the input ends."""

    def answer(content: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(content) + "\n")
        sys.stdout.flush()

    lines: Queue[str | None] = Queue()
    Thread(target=read, args=(lines,), daemon=True).start()
    answer({"id": 0, "result": "ready"})
    while (line := next_line(lines)) is not None:
        request = json.loads(line)
        number, name = request.pop("id"), request.pop("op")
        try:
            answer({"id": number, "result": OPERATIONS[name](**request)})
        except Exception as error:
            condition = getattr(error, "condition", None) or type(error).__name__
            answer(
                {"id": number, "error": {"code": _CODES.get(condition, f"other:{condition}"), "message": str(error)}}
            )


if __name__ == "__main__":
    main()
