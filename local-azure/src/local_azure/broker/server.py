"""The emulator's sockets: bytes between TCP (or TLS) connections and the broker, within bounded buffers."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from typing import Final

from local_azure.broker.amqp import AmqpError, Condition
from local_azure.broker.broker import Broker
from local_azure.broker.client import ClientConnection
from local_azure.broker.sniffing import Sniffer

__all__ = ["Server"]

_log = logging.getLogger("emulator")

_WRITE_HIGH: Final = 1 << 20
"""Bytes in a socket's send buffer above which the client gets no more messages."""

_WRITE_LIMIT: Final = 256 << 20
"""Bytes that a client may leave unread, answers to its own frames included, before it is disconnected."""

_BUFFERED_HIGH: Final = 8 << 20
"""Bytes a client may have sent that are not committed yet; above it, its socket is not read."""

_OPEN_SECONDS: Final = 30.0
"""How long a client may take to open its connection."""

_SILENCE_SECONDS: Final = 300.0
"""How long an open connection may be silent; clients were asked to speak every 240 s at least."""

_CHECK_SECONDS: Final = 5.0

_LOCKS_SECONDS: Final = 0.1
"""How often locks are written that are there still: one that lasts twice as long outlives a crash as a delivery."""

_HTTP_METHODS: Final = (b"G", b"P", b"D", b"H", b"O")
"""First bytes of GET, PUT, POST, PATCH, DELETE, HEAD and OPTIONS."""


class Server:
    """Serves AMQP on one port. `run` after anything was done to the broker from outside."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._loop = asyncio.get_running_loop()
        self._clients: set[_Client] = set()
        self._with_output: dict[_Client, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_for: int | None = None
        self._locks_timer: asyncio.TimerHandle | None = None
        self._server: asyncio.Server | None = None
        self._check: asyncio.TimerHandle | None = None
        self._is_running = False
        self._is_stopped = False
        self.http: Callable[[], asyncio.Protocol] | None = None
        """Takes clients that begin with an HTTP method: with the one connection string they come here."""
        broker.on_change = self.run_soon

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen, and give the port (useful with port 0). With `tls`, clients may speak TLS or not.

        Raises
        ------
        OSError
            If the port is taken.
        """

        def choose(first_bytes: bytes) -> asyncio.Protocol:
            if self.http is not None and first_bytes[:1] in _HTTP_METHODS:
                return self.http()
            return self.client()

        self._server = await self._loop.create_server(lambda: Sniffer(choose, tls), host, port, backlog=512)
        self._check = self._loop.call_later(_CHECK_SECONDS, self._check_clients)
        self.run()
        return int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Take nothing more, neither connections nor what clients send. Close the journal then, and `cut`."""
        self._is_stopped = True
        if self._server is not None:
            self._server.close()
        for handle in (self._check, self._timer, self._locks_timer):
            if handle is not None:
                handle.cancel()

    async def cut(self) -> None:
        """End every connection without an AMQP close or detach, once what was written to it has left.

        Clients treat a cut connection as one that is to be opened again. A close is an answer to them: session
        processors of Azure.Messaging.ServiceBus 7.21 wait for ever after it.
        """
        await asyncio.sleep(0)  # the actions that follow the last commit run
        self._flush()
        for client in tuple(self._clients):
            client.cut()
        await asyncio.sleep(0)
        for client in tuple(self._clients):
            client.abort()
        await asyncio.sleep(0)

    @property
    def is_stopped(self) -> bool:
        """Whether clients are not served any more."""
        return self._is_stopped

    # -- work --------------------------------------------------------------------------------------
    def run_soon(self) -> None:
        """Have `run` called by the loop."""
        self._loop.call_soon(self.run)

    def run(self) -> None:
        """Do all that can be done now: hand out, commit, send."""
        if self._is_running or self._is_stopped:
            return
        self._is_running = True
        try:
            self._broker.pump()
            self._broker.journal.flush()
            while self._broker.has_work:
                self._broker.pump()
                self._broker.journal.flush()
        except Exception:
            _log.exception("The emulator failed: it goes on")
        finally:
            self._is_running = False
        self._flush()
        self._arm()

    def _flush(self) -> None:
        while self._with_output:
            client, _ = self._with_output.popitem()
            client.flush()

    def _arm(self) -> None:
        if self._locks_timer is None and self._broker.journal.has_locks:
            self._locks_timer = self._loop.call_later(_LOCKS_SECONDS, self._flush_locks)
        deadline = self._broker.next_deadline()
        if deadline == self._timer_for:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_for = deadline
        if deadline is not None:
            delay = max(0.0, (deadline - self._broker.now()) / 1000)
            self._timer = self._loop.call_later(min(delay, 3600.0), self._tick)

    def _flush_locks(self) -> None:
        self._locks_timer = None
        self._broker.journal.flush_locks()
        self._arm()

    def _tick(self) -> None:
        self._timer = self._timer_for = None
        self._broker.tick()
        self.run()

    def _check_clients(self) -> None:
        now = time.monotonic()
        for client in tuple(self._clients):
            client.check(now)
        self._check = self._loop.call_later(_CHECK_SECONDS, self._check_clients)

    # -- clients -----------------------------------------------------------------------------------
    def client(self) -> asyncio.Protocol:
        """What goes on with a connection that speaks AMQP, however its bytes come."""
        return _Client(self, self._broker)

    def add(self, client: _Client) -> None:
        """A client connected."""
        self._clients.add(client)

    def remove(self, client: _Client) -> None:
        """A client is gone."""
        self._clients.discard(client)
        self._with_output.pop(client, None)
        self.run()

    def has_output(self, client: _Client) -> None:
        """A client has bytes to send."""
        self._with_output[client] = None


class _Client(asyncio.Protocol):
    """One socket."""

    def __init__(self, server: Server, broker: Broker) -> None:
        self._server = server
        self._connection = ClientConnection(broker, on_output=lambda: server.has_output(self))
        self._transport: asyncio.Transport | None = None
        self._is_reading = True
        self._heard_at = self._spoke_at = time.monotonic()
        self._heartbeat: asyncio.TimerHandle | None = None

    # -- asyncio -----------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_WRITE_HIGH)
        self._server.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes came in."""
        if self._server.is_stopped:
            return
        self._heard_at = time.monotonic()
        try:
            self._connection.receive(data)
        except Exception:
            _log.exception("A connection failed inside the emulator: it is closed, the others go on")
            self._connection.close(AmqpError(Condition.INTERNAL_ERROR, "The emulator failed: see its log"))
            self.flush()
            self._close()
        self._server.run()
        self._keep_pace()

    def pause_writing(self) -> None:
        """The send buffer is full."""
        self._connection.is_blocked = True

    def resume_writing(self) -> None:
        """The send buffer has room."""
        self._connection.is_blocked = False
        self._connection.unblock()
        self._server.run()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._connection.abort()
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        self._server.remove(self)

    # -- the server --------------------------------------------------------------------------------
    def flush(self) -> None:
        """Send what there is."""
        transport, engine = self._transport, self._connection.engine
        if transport is None or transport.is_closing():
            return
        output = engine.take_output()
        if output:
            self._spoke_at = time.monotonic()
            transport.write(output)
        if transport.get_write_buffer_size() > _WRITE_LIMIT:
            _log.warning("A client that does not read what it asked for is disconnected")
            transport.abort()
            return
        if engine.is_closed:
            self._close()
        elif self._connection.was_throttled and not self._connection.is_blocked:
            self._connection.was_throttled = False
            asyncio.get_running_loop().call_soon(self._go_on)
        if self._heartbeat is None and engine.heartbeat_seconds is not None:
            self._schedule_heartbeat(engine.heartbeat_seconds)
        self._keep_pace()

    def _go_on(self) -> None:
        self._connection.unblock()
        self._server.run()

    def _keep_pace(self) -> None:
        """Read no faster than storage commits."""
        should_read = self._connection.buffered_bytes < _BUFFERED_HIGH
        if should_read != self._is_reading and self._transport is not None:
            if self._transport.is_closing():
                return
            self._is_reading = should_read
            if should_read:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _schedule_heartbeat(self, seconds: float) -> None:
        self._heartbeat = asyncio.get_running_loop().call_later(seconds, self._beat, seconds)

    def _beat(self, seconds: float) -> None:
        if time.monotonic() - self._spoke_at >= seconds * 0.9:
            self._connection.engine.heartbeat()
            self.flush()
        self._schedule_heartbeat(seconds)

    def check(self, now: float) -> None:
        """Close a connection that never opened, or fell silent."""
        is_open = self._connection.engine.heartbeat_seconds is not None or self._connection.engine.is_open
        if now - self._heard_at > (_SILENCE_SECONDS if is_open else _OPEN_SECONDS):
            silent = AmqpError(Condition.RESOURCE_LIMIT_EXCEEDED, "The connection was silent for too long")
            self.goodbye(silent)

    def goodbye(self, error: AmqpError) -> None:
        """Close the connection with a reason."""
        self._connection.close(error)
        self.flush()
        self._close()

    def cut(self) -> None:
        """End the connection without a word, behind what is in its buffer."""
        self._close()

    def abort(self) -> None:
        """End the connection, whatever is in its buffer."""
        if self._transport is not None:
            self._transport.abort()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()
