"""AMQP over WebSockets: the bytes of a connection in binary messages, for clients that can open no other port.

Source: "AMQP WebSocket Binding 1.0" (OASIS) and RFC 6455. Azure's SDKs ask for `/$servicebus/websocket` and the
subprotocol `AMQPWSB10`, for Service Bus and Event Hubs alike.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import WSMsgType, web

__all__ = ["is_amqp", "serve_amqp"]

_PROTOCOLS: Final = ("AMQPWSB10", "amqp")
_PATH: Final = "/$servicebus/websocket"
_MAX_MESSAGE: Final = 1 << 20
"""Bytes in one message of the client; an AMQP frame has at most 65,536."""


def is_amqp(request: web.BaseRequest) -> bool:
    """Whether the request asks to go on with AMQP."""
    wants = request.headers.get("Upgrade", "").lower() == "websocket"
    return wants and request.path.rstrip("/").lower() == _PATH


async def serve_amqp(request: web.BaseRequest, protocol: asyncio.Protocol) -> web.StreamResponse:
    """Serve one connection until either side ends it; `protocol` takes and gives bytes as over TCP."""
    socket = web.WebSocketResponse(protocols=_PROTOCOLS, max_msg_size=_MAX_MESSAGE, compress=False)
    await socket.prepare(request)
    transport = _Transport(socket, request.transport, protocol)
    protocol.connection_made(transport)
    sending = asyncio.create_task(transport.send_all())
    try:
        while True:
            await transport.may_read.wait()
            message = await socket.receive()
            if message.type is not WSMsgType.BINARY:
                break
            protocol.data_received(message.data)
    finally:
        transport.close()
        await sending
        await socket.close()
        protocol.connection_lost(None)
    return socket


class _Transport(asyncio.Transport):
    """What the AMQP side writes to: bytes wait here for the task that sends them."""

    def __init__(
        self, socket: web.WebSocketResponse, below: asyncio.BaseTransport | None, protocol: asyncio.Protocol
    ) -> None:
        super().__init__()
        self._socket = socket
        self._below = below
        self._protocol = protocol
        self._waiting = bytearray()
        self._high = 1 << 16
        self._is_paused = self._is_closing = False
        self._changed = asyncio.Event()
        self.may_read = asyncio.Event()
        self.may_read.set()

    # -- writing -----------------------------------------------------------------------------------
    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Have bytes sent."""
        if self._is_closing:
            return
        self._waiting += data
        self._changed.set()
        if len(self._waiting) > self._high and not self._is_paused:
            self._is_paused = True
            self._protocol.pause_writing()

    async def send_all(self) -> None:
        """Send what waits, in the order of writing, until the connection is closed."""
        try:
            while self._waiting or not self._is_closing:
                if not self._waiting:
                    self._changed.clear()
                    await self._changed.wait()
                    continue
                data, self._waiting = bytes(self._waiting), bytearray()
                await self._socket.send_bytes(data)
                if self._is_paused and len(self._waiting) <= self._high:
                    self._is_paused = False
                    self._protocol.resume_writing()
        except (ConnectionError, RuntimeError):  # the client is gone
            self.abort()
            return
        await self._socket.close()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Above `high` bytes the protocol is asked to pause."""
        self._high = 1 << 16 if high is None else high

    def get_write_buffer_size(self) -> int:
        """Bytes that wait here."""
        return len(self._waiting)

    # -- reading -----------------------------------------------------------------------------------
    def pause_reading(self) -> None:
        """Read no further message for now."""
        self.may_read.clear()

    def resume_reading(self) -> None:
        """Read on."""
        self.may_read.set()

    # -- the end -----------------------------------------------------------------------------------
    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._is_closing

    def close(self) -> None:
        """End the connection behind what waits."""
        self._is_closing = True
        self._changed.set()
        self.may_read.set()

    def abort(self) -> None:
        """End the connection at once."""
        self._waiting.clear()
        self.close()
        if isinstance(self._below, asyncio.Transport):
            self._below.abort()
