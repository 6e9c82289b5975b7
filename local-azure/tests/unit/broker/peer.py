"""A client's side of the protocol for tests: writes frames, reads what the engine answers."""

from __future__ import annotations

from typing import Any

from local_azure.broker.amqp import Connection, Event
from local_azure.broker.amqp.encode import encode
from local_azure.broker.amqp.frames import AMQP_HEADER, SASL_FRAME, SASL_HEADER, FrameReader, frame
from local_azure.broker.amqp.performatives import (
    Attach,
    Begin,
    Flow,
    Open,
    Performative,
    SaslInit,
    Terminus,
    Transfer,
    decode_performative,
)
from local_azure.broker.amqp.types import Described, Raw, ULong

__all__ = ["Peer", "source", "target"]


def source(address: str) -> Terminus:
    """A source with an address."""
    return Terminus(Raw(encode(Described(ULong(0x28), [address]))), address)


def target(address: str) -> Terminus:
    """A target with an address."""
    return Terminus(Raw(encode(Described(ULong(0x29), [address]))), address)


class Peer:
    """`send` performatives; what the engine answers is in `received`, what it tells its owner in `events`."""

    def __init__(self, connection: Connection | None = None) -> None:
        self.connection = connection or Connection(container_id="broker")
        self.events: list[Event] = []
        self.received: list[tuple[Performative, bytes]] = []
        self.headers: list[bytes] = []
        self._reader = FrameReader(1 << 24)
        self._header_next = True

    def feed(self, data: bytes, *, piece: int | None = None) -> None:
        """Give bytes to the engine, in pieces if asked."""
        for start in range(0, len(data), piece or max(len(data), 1)):
            self.events += self.connection.receive(data[start : start + (piece or len(data))])
        self.pull()

    def pull(self) -> None:
        """Read what the engine wrote."""
        self._reader.feed(self.connection.take_output())
        while True:
            if self._header_next:
                header = self._reader.take(8)
                if header is None:
                    return
                self.headers.append(header)
                self._header_next = False
                continue
            found = self._reader.next_frame()
            if found is None:
                return
            if found.start == found.end:
                continue
            performative, payload_at = decode_performative(found.data, found.start, found.end)
            self.received.append((performative, found.data[payload_at : found.end]))
            self._header_next = type(performative).__name__ == "SaslOutcome"

    def send(self, performative: Performative, payload: bytes = b"", channel: int = 0) -> None:
        """Give one frame to the engine."""
        self.feed(frame(channel, performative.encode() + payload))

    def take(self, kind: type[Performative]) -> Any:
        """The oldest answer of a kind, taken away."""
        for index, (performative, _) in enumerate(self.received):
            if isinstance(performative, kind):
                return self.received.pop(index)[0]
        raise AssertionError(f"no {kind.__name__} in {self.received}")

    def count(self, kind: type[Performative]) -> int:
        """How many answers of a kind there are."""
        return sum(isinstance(performative, kind) for performative, _ in self.received)

    @staticmethod
    def opening(**fields: Any) -> bytes:
        """The bytes with which a client opens a connection and a session."""
        return b"".join(
            (
                SASL_HEADER,
                frame(0, SaslInit(mechanism="ANONYMOUS").encode(), SASL_FRAME),
                AMQP_HEADER,
                frame(0, Open(container_id="client", **fields).encode()),
                frame(0, Begin(next_outgoing_id=0, incoming_window=5000, outgoing_window=5000).encode()),
            )
        )

    def open(self, **fields: Any) -> Peer:
        """Open a connection and a session."""
        self.feed(self.opening(**fields))
        return self

    def attach_sender(self, address: str = "queue", handle: int = 0, **fields: Any) -> Any:
        """Attach a link on which the peer sends; the event's link is given."""
        self.send(
            Attach(
                name=f"s{handle}",
                handle=handle,
                role=False,
                source=source("me"),
                target=target(address),
                initial_delivery_count=0,
                **fields,
            )
        )
        return self.events[-1].link  # type: ignore[union-attr]

    def attach_receiver(self, address: str = "queue", handle: int = 1, **fields: Any) -> Any:
        """Attach a link on which the peer receives; the event's link is given."""
        self.send(
            Attach(name=f"r{handle}", handle=handle, role=True, source=source(address), target=target("me"), **fields)
        )
        return self.events[-1].link  # type: ignore[union-attr]

    def credit(self, handle: int, credit: int, delivery_count: int = 0, **fields: Any) -> None:
        """Grant credit to the engine's sending end."""
        self.send(
            Flow(
                next_incoming_id=0,
                incoming_window=fields.pop("incoming_window", 5000),
                next_outgoing_id=0,
                outgoing_window=5000,
                handle=handle,
                delivery_count=delivery_count,
                link_credit=credit,
                **fields,
            )
        )

    def transfer(self, handle: int, delivery_id: int, payload: bytes, **fields: Any) -> None:
        """Send one transfer frame."""
        self.send(
            Transfer(handle=handle, delivery_id=delivery_id, delivery_tag=b"t%d" % delivery_id, **fields), payload
        )
