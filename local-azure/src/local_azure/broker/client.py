"""One client's connection: the AMQP engine on one side, the broker's entities on the other. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from local_azure.broker.amqp import (
    AmqpError,
    Condition,
    Connection,
    ConnectionClosed,
    ConnectionOpened,
    CreditChanged,
    DeliveryReceived,
    DeliverySettled,
    Event,
    IncomingLink,
    Link,
    LinkAttached,
    LinkDetached,
    OutgoingLink,
)
from local_azure.broker.amqp.message import Properties, encode_message
from local_azure.broker.amqp.types import Int
from local_azure.broker.broker import Broker
from local_azure.broker.endpoints import Handler, Replies, Request, Requests
from local_azure.broker.eventhubs.links import EventSender, PartitionReader
from local_azure.broker.servicebus.links import QueueSender, open_receiver
from local_azure.broker.servicebus.management import EntityManagement
from local_azure.broker.servicebus.queue import Queue
from local_azure.broker.transactions import Coordinator, Transactions

__all__ = ["ClientConnection", "node_path"]

_OUTPUT_LIMIT: Final = 1 << 20
"""Bytes waiting for the socket above which no more messages are handed out to a client."""

_DESTINATION: Final = "com.microsoft:transfer-destination-address"
_CBS: Final = "$cbs"
_MANAGEMENT: Final = "$management"


class ClientConnection:
    """Feeds bytes in with `receive`, takes bytes out with `engine.take_output`."""

    def __init__(self, broker: Broker, on_output: Callable[[], None] = lambda: None) -> None:
        self._broker = broker
        self.engine = Connection(container_id=broker.name, on_output=on_output)
        self.is_blocked = False
        self.was_throttled = False
        self.buffered_bytes = 0
        self.transactions = Transactions(broker.services.new_token, broker.now)
        self._handlers: dict[Link, Handler] = {}
        broker.connections += 1

    # -- as handlers see it ------------------------------------------------------------------------
    @property
    def is_writable(self) -> bool:
        """Whether messages may be handed out to this client right now."""
        if self.is_blocked or self.engine.output_size > _OUTPUT_LIMIT:
            self.was_throttled = True
            return False
        return True

    def now(self) -> int:
        """Milliseconds since the epoch, UTC."""
        return self._broker.now()

    def find_replies(self, link: IncomingLink, reply_to: str | None) -> Replies | None:
        """The reply link that the request names, or else the one to the same node in the same session."""
        node = _address(link)
        candidates = [each for each in self._handlers.values() if isinstance(each, Replies)]
        if reply_to is not None:
            for each in candidates:
                target = each.link.attach.target
                if target is not None and target.address == reply_to:
                    return each
        for each in candidates:
            if each.link.session is link.session and each.node == node:
                return each
        return None

    # -- as the server sees it ---------------------------------------------------------------------
    def receive(self, data: bytes) -> None:
        """Take bytes from the socket."""
        for event in self.engine.receive(data):
            self._handle(event)

    def abort(self) -> None:
        """The socket is gone."""
        for event in self.engine.abort():
            self._handle(event)

    def close(self, error: AmqpError | None) -> None:
        """Say goodbye, when the emulator stops or the client was silent for too long."""
        for event in self.engine.close(error):
            self._handle(event)

    def unblock(self) -> None:
        """The socket takes output again: go on where messages were held back."""
        self.was_throttled = False
        for handler in tuple(self._handlers.values()):
            handler.on_credit()

    # -- events ------------------------------------------------------------------------------------
    def _handle(self, event: Event) -> None:
        match event:
            case DeliveryReceived(link):
                handler = self._handlers.get(link)
                if handler is not None:
                    handler.on_delivery(event)
            case DeliverySettled(link):
                handler = self._handlers.get(link)
                if handler is not None:
                    handler.on_settled(event)
            case CreditChanged(link):
                handler = self._handlers.get(link)
                if handler is not None:
                    handler.on_credit()
            case LinkAttached(link):
                self._attach(link)
            case LinkDetached(link):
                handler = self._handlers.pop(link, None)
                if handler is not None:
                    handler.on_detached()
            case ConnectionClosed():
                self._broker.connections -= 1
            case ConnectionOpened():
                pass

    def _attach(self, link: Link) -> None:
        try:
            if isinstance(link, IncomingLink):
                self._handlers[link] = self._sender(link)
            elif isinstance(link, OutgoingLink):
                self._receiver(link)
        except AmqpError as error:
            self._handlers.pop(link, None)
            link.refuse(error)

    def _sender(self, link: IncomingLink) -> Handler:
        target = link.attach.target
        if target is not None and target.is_coordinator:
            coordinator = Coordinator(link, self.transactions, self._broker.journal)
            coordinator.open()
            return coordinator
        path = _address(link)
        node = path.lower()
        if node == _CBS:
            return self._requests(link, _put_token)
        if node == _MANAGEMENT:
            return self._requests(link, self._broker.hub_management.answer)
        if node.endswith("/" + _MANAGEMENT):
            return self._requests(link, self._management(path).answer, takes_part=True)
        hub = self._broker.find_hub(path)
        if hub is not None:
            return EventSender(link, self, hub.hub, hub.partition)
        queue = self._sendable(path)
        destination = link.properties.get(_DESTINATION)
        if not isinstance(destination, str):
            return QueueSender.attach(link, self, queue, self._broker.journal)
        return QueueSender.attach(link, self, self._sendable(node_path(destination)), self._broker.journal, via=queue)

    def _sendable(self, path: str) -> Queue:
        queue = self._broker.namespace.sendable(path)
        if queue is None:
            raise _not_found(path)
        return queue

    def _requests(
        self, link: IncomingLink, answer: Callable[[Request, Any], None], *, takes_part: bool = False
    ) -> Requests:
        requests = Requests(link, self, answer, takes_part=takes_part)
        requests.open()
        return requests

    def _management(self, path: str) -> EntityManagement:
        entity = path[: -len(_MANAGEMENT) - 1]
        queue = self._broker.namespace.receivable(entity) or self._broker.namespace.sendable(entity)
        if queue is None:
            raise _not_found(entity)
        return EntityManagement(queue, self.now, self._broker.rule_requests(entity))

    def _receiver(self, link: OutgoingLink) -> None:
        path = _address(link)
        node = path.lower()
        if node in (_CBS, _MANAGEMENT) or node.endswith("/" + _MANAGEMENT):
            replies = self._handlers[link] = Replies(link, self, path)
            replies.open()
            return
        hub = self._broker.find_hub(path)
        if hub is not None and hub.group is not None and hub.partition is not None:
            reader = PartitionReader(link, self, hub.hub, hub.partition)
            self._handlers[link] = reader
            reader.open(hub.group, hub.partition)
            return
        queue = self._broker.namespace.receivable(path)
        if queue is None:
            raise _not_found(path)
        self._handlers[link] = open_receiver(link, self, queue)


def _put_token(request: Request, respond: Callable[[bytes], None]) -> None:
    """Every token is good: who may connect to a laptop's loopback may do everything there."""
    known = request.operation == "put-token"
    identity = request.sections.properties.message_id
    respond(
        encode_message(
            properties=Properties(correlation_id=identity),
            application_properties={
                "status-code": Int(202 if known else 400),
                "status-description": "Accepted" if known else f"Operation '{request.operation}' is not known",
            },
        )
    )


def _address(link: Link) -> str:
    terminus = link.attach.source if isinstance(link, OutgoingLink) else link.attach.target
    if terminus is None or not terminus.address:
        raise AmqpError(
            Condition.NOT_IMPLEMENTED,
            "A link needs the address of an entity: dynamic nodes are not supported",
        )
    return node_path(terminus.address)


def node_path(address: str) -> str:
    """The path in an address such as `amqps://localhost:5672/queue`, without slashes around it."""
    scheme, separator, rest = address.partition("://")
    if separator and scheme.lower() in ("amqp", "amqps", "sb"):
        address = rest.partition("/")[2]
    return address.strip("/")


def _not_found(path: str) -> AmqpError:
    return AmqpError(Condition.NOT_FOUND, f"The messaging entity '{path}' could not be found")
