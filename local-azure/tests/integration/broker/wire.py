"""A client with nothing but the protocol: a socket, frames out, frames in."""

from __future__ import annotations

import socket
from typing import Any

from local_azure.broker.amqp.frames import AMQP_HEADER, FrameReader, frame
from local_azure.broker.amqp.performatives import Attach, Flow, Performative, decode_performative
from unit.broker.peer import Peer, source, target

__all__ = ["Wire"]


class Wire:
    """A socket that tells every frame that came, up to the end of the connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._socket.sendall(Peer.opening())
        self._reader = FrameReader(1 << 20)
        self._head = b""
        self.payloads: list[bytes] = []
        """What came behind the performatives of frames, such as messages."""

    def send(self, performative: Performative, payload: bytes = b"") -> None:
        """Send one frame."""
        self._socket.sendall(frame(0, performative.encode() + payload))

    def read_until(self, kind: type[Performative] | None) -> list[Performative]:
        """Frames up to one of a kind, or to the end."""
        found: list[Performative] = []
        while kind is None or not any(isinstance(each, kind) for each in found):
            try:
                data = self._socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                assert kind is None, "the connection ended too soon"
                break
            if AMQP_HEADER not in self._head:
                self._head += data
                data = self._head.partition(AMQP_HEADER)[2]
            self._reader.feed(data)
            while (each := self._reader.next_frame()) is not None:
                if each.start != each.end:
                    performative, payload_at = decode_performative(each.data, each.start, each.end)
                    found.append(performative)
                    self.payloads.append(each.data[payload_at : each.end])
        return found

    def send_bytes(self, data: bytes) -> None:
        """Send frames that are encoded already."""
        self._socket.sendall(data)

    def attach(self, address: str, handle: int, *, receives: bool, **fields: Any) -> None:
        """Ask for a link."""
        self.send(
            Attach(
                name=f"l{handle}",
                handle=handle,
                role=receives,
                source=source(address if receives else "me"),
                target=target("me" if receives else address),
                initial_delivery_count=None if receives else 0,
                **fields,
            )
        )

    def grant(self, handle: int, credit: int, delivery_count: int = 0) -> None:
        """Grant credit."""
        self.send(
            Flow(
                next_incoming_id=delivery_count,
                incoming_window=5000,
                next_outgoing_id=0,
                outgoing_window=5000,
                handle=handle,
                delivery_count=delivery_count,
                link_credit=credit,
            )
        )
