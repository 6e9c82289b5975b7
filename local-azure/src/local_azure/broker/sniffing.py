"""Lets one port speak several protocols: the first bytes of a connection tell which, TLS included."""

import asyncio
import ssl
from collections.abc import Callable

__all__ = ["Sniffer"]

_TLS_HANDSHAKE = 0x16
"""First byte of a TLS connection (RFC 8446, 5.1); no AMQP header and no HTTP method begins with it."""

_FIRST_BYTE_SECONDS = 30.0
_HANDSHAKE_SECONDS = 10.0


class Sniffer(asyncio.Protocol):
    """Waits for a connection's first bytes, upgrades it to TLS if they ask for it, then hands it over.

    `choose` is given the first bytes, of which there is at least one, and returns the protocol that goes on.
    Without `ssl_context`, a TLS client is handed over like any other.
    """

    def __init__(self, choose: Callable[[bytes], asyncio.Protocol], ssl_context: ssl.SSLContext | None = None) -> None:
        self._choose = choose
        self._ssl_context = ssl_context
        self._upgrade: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first byte, though not for ever."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._deadline = asyncio.get_running_loop().call_later(_FIRST_BYTE_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing came."""
        if self._deadline is not None:
            self._deadline.cancel()

    def data_received(self, data: bytes) -> None:
        """Hand over, with what came already."""
        assert self._transport is not None
        assert self._deadline is not None
        self._deadline.cancel()
        if self._ssl_context is not None and data[0] == _TLS_HANDSHAKE:
            self._transport.pause_reading()
            loop = asyncio.get_running_loop()
            self._upgrade = loop.create_task(self._start_tls(self._transport, data, self._ssl_context))
        else:
            _hand_over(self._transport, self._choose(data), data)

    async def _start_tls(self, transport: asyncio.Transport, data: bytes, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        early = _EarlyData()
        upgrade = loop.create_task(
            loop.start_tls(transport, early, context, server_side=True, ssl_handshake_timeout=_HANDSHAKE_SECONDS)
        )
        # `start_tls` wants the connection unread, so what was read is given to its protocol right after it was
        # set to work: its first step puts the TLS protocol in place and schedules its start, ours comes behind.
        await asyncio.sleep(0)
        loop.call_soon(_feed, transport, data)
        try:
            encrypted = await upgrade
        except (OSError, asyncio.CancelledError):
            transport.abort()
            return
        if encrypted is not None:
            _hand_over(encrypted, Sniffer(self._choose), early.received)


class _EarlyData(asyncio.Protocol):
    """Keeps what a client sends along with the end of its handshake, before anyone can take it."""

    def __init__(self) -> None:
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data


def _hand_over(transport: asyncio.Transport, protocol: asyncio.Protocol, data: bytes) -> None:
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    if data:
        protocol.data_received(data)


def _feed(transport: asyncio.Transport, data: bytes) -> None:
    receiver = transport.get_protocol()
    if not isinstance(receiver, asyncio.BufferedProtocol) or transport.is_closing():
        return
    view = memoryview(data)
    while view:
        buffer = memoryview(receiver.get_buffer(len(view)))
        size = min(len(buffer), len(view))
        buffer[:size] = view[:size]
        receiver.buffer_updated(size)
        view = view[size:]
