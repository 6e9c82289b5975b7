"""A whole broker in memory, with clients at its AMQP engine and a clock that tests move."""

from __future__ import annotations

from typing import Any

from local_azure.broker.amqp.encode import encode
from local_azure.broker.amqp.frames import frame
from local_azure.broker.amqp.message import Properties, encode_message, encode_properties, scan
from local_azure.broker.amqp.performatives import Disposition, Flow, Transfer
from local_azure.broker.amqp.types import Described, Raw, ULong
from local_azure.broker.broker import Broker
from local_azure.broker.catalogue import Catalogue
from local_azure.broker.client import ClientConnection
from local_azure.broker.config import Namespace
from local_azure.broker.journal import VolatileJournal
from unit.broker.peer import Peer

__all__ = ["BrokerWorld", "Client", "body"]

_PIECE = 60_000
"""Bytes of a message in one frame."""


def body(data: bytes = b"x", **properties: Any) -> bytes:
    """An encoded message."""
    head = encode_properties(Properties(**properties)) if properties else b""
    return head + encode(Described(ULong(0x75), data))


class BrokerWorld:
    """Call `run` after moving the clock; clients call it by themselves."""

    def __init__(self, declared: Namespace) -> None:
        self.now = 1_000_000
        self.journal = VolatileJournal()
        self.broker = Broker(journal=self.journal, now=lambda: self.now, seed=1)
        self.catalogue = Catalogue(self.broker)
        self.catalogue.declare(declared)

    def run(self) -> None:
        """Do what can be done now."""
        self.broker.tick()
        self.journal.flush()
        while self.broker.has_work:
            self.broker.pump()
            self.journal.flush()

    def wait(self, milliseconds: int) -> None:
        """Move the clock and do what is due."""
        self.now += milliseconds
        self.run()

    def connect(self) -> Client:
        """A client with an open connection and session."""
        return Client(self)


class Client(Peer):
    """A peer whose bytes go to a `ClientConnection`."""

    def __init__(self, world: BrokerWorld) -> None:
        self.world = world
        self.client = ClientConnection(world.broker)
        super().__init__(self.client.engine)
        self._delivery = 0
        self.is_reading = True
        self.open()

    def feed(self, data: bytes, *, piece: int | None = None) -> None:
        self.client.receive(data)
        self.world.run()
        if self.is_reading:
            self.pull()

    def attach(self, address: str, handle: int, *, receives: bool, **fields: Any) -> Any:
        """Ask for a link and give the broker's attach."""
        from local_azure.broker.amqp.performatives import Attach
        from unit.broker.peer import source, target

        self.send(
            Attach(
                name=f"link-{handle}",
                handle=handle,
                role=receives,
                source=fields.pop("source", source(address if receives else "me")),
                target=target("me" if receives else address),
                initial_delivery_count=None if receives else 0,
                **fields,
            )
        )
        self.pull()
        return self.take(Attach) if self.count(Attach) else None

    def publish(self, handle: int, message: bytes, **fields: Any) -> None:
        """Send a message, in as many frames as it takes."""
        for start in range(0, max(len(message), 1), _PIECE):
            more = start + _PIECE < len(message)
            self.transfer(handle, self._delivery, message[start : start + _PIECE], more=more, **fields)
        self._delivery += 1

    def grant(self, handle: int, credit: int) -> None:
        """Grant credit for the first time."""
        flow = Flow(
            next_incoming_id=0,
            incoming_window=5000,
            next_outgoing_id=0,
            outgoing_window=5000,
            handle=handle,
            delivery_count=0,
            link_credit=credit,
        )
        self.feed(frame(0, flow.encode()))

    def messages(self) -> list[tuple[Transfer, Any]]:
        """Messages that came, with their sections; taken away."""
        self.pull()
        found = [(each, scan(payload)) for each, payload in self.received if isinstance(each, Transfer)]
        self.received = [pair for pair in self.received if not isinstance(pair[0], Transfer)]
        return found

    def settle(self, transfer: Transfer, state: bytes, *, settled: bool = False) -> None:
        """Give a message its outcome."""
        first = transfer.delivery_id or 0
        self.send(Disposition(role=True, first=first, settled=settled, state=Raw(state)))

    def request(self, handle: int, operation: str, value: Any = None, **properties: Any) -> Any:
        """Send a request to a node and give the reply's sections."""
        message = encode_message(
            properties=Properties(message_id="r", reply_to="me"),
            application_properties={"operation": operation, **properties},
            body=value,
        )
        self.publish(handle, message, settled=True)
        ((_, sections),) = self.messages()
        return sections
