"""The server's end of an AMQP 1.0 connection without I/O: bytes in, events out; commands in, bytes out.

>>> connection = Connection(container_id="broker")
>>> events = connection.receive(data_from_socket)
>>> socket.send(connection.take_output())
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from local_azure.broker.amqp.errors import AmqpError, Condition
from local_azure.broker.amqp.events import ConnectionClosed, ConnectionOpened, Event
from local_azure.broker.amqp.frames import (
    AMQP_FRAME,
    AMQP_HEADER,
    EMPTY_FRAME,
    MIN_MAX_FRAME_SIZE,
    SASL_FRAME,
    SASL_HEADER,
    Frame,
    FrameReader,
    frame,
)
from local_azure.broker.amqp.outcomes import encode_error
from local_azure.broker.amqp.performatives import (
    Begin,
    Close,
    Detach,
    End,
    Open,
    Performative,
    SaslInit,
    SaslMechanisms,
    SaslOutcome,
    decode_performative,
)
from local_azure.broker.amqp.session import Session
from local_azure.broker.amqp.states import CONNECTION, ConnectionState, SessionState

__all__ = ["MECHANISMS", "Connection", "Limits"]

MECHANISMS: Final = ("MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL")
"""What is offered, as the service does: tokens are put later over `$cbs`. Every credential passes."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one connection may take up; `idle_time_out_ms` is what the client is asked to keep to."""

    max_frame_size: int = 65_536
    channel_max: int = 255
    idle_time_out_ms: int = 240_000
    max_links: int = 5_000
    max_partial_bytes: int = 256 << 20
    """Payload of messages that have begun and not ended."""

    def __post_init__(self) -> None:
        if not MIN_MAX_FRAME_SIZE <= self.max_frame_size <= 16_777_216:
            raise ValueError(f"max_frame_size: {self.max_frame_size}: expected 512 to 16,777,216 bytes")
        if not 0 <= self.channel_max <= 65_535:
            raise ValueError(f"channel_max: {self.channel_max}: expected 0 to 65,535")
        if self.idle_time_out_ms < 1_000:
            raise ValueError(f"idle_time_out_ms: {self.idle_time_out_ms}: expected at least 1,000")


class Connection:
    """One client. After `ConnectionClosed`, send what is left and close the socket."""

    def __init__(
        self,
        *,
        container_id: str,
        limits: Limits | None = None,
        on_output: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_output` is called when there is output again; it must not call back."""
        self._container_id = container_id
        self._limits = limits or Limits()
        self._reader = FrameReader(self._limits.max_frame_size)
        self._output: list[bytes] = []
        self._on_output = on_output
        self.output_size = 0
        self._partial_bytes = 0
        self._sessions: dict[int, Session] = {}
        self.state = ConnectionState.AWAIT_HEADER
        self.max_body_size = MIN_MAX_FRAME_SIZE - 8
        self.heartbeat_seconds: float | None = None

    @property
    def is_closed(self) -> bool:
        """Whether the socket has nothing more to carry than `take_output()`."""
        return self.state is ConnectionState.CLOSED

    @property
    def is_open(self) -> bool:
        """Whether `open` was exchanged and nobody closed yet."""
        return self.state is ConnectionState.OPENED

    def take_output(self) -> bytes:
        """Bytes to send, each once."""
        output = b"".join(self._output)
        self._output.clear()
        self.output_size = 0
        return output

    def _put(self, data: bytes) -> None:
        if not self._output:
            self._on_output()
        self._output.append(data)
        self.output_size += len(data)

    def receive(self, data: bytes) -> Iterator[Event]:
        """Take bytes of any number and yield what they mean; every fault ends in a close, none raises."""
        if self.is_closed:
            return
        self._reader.feed(data)
        try:
            yield from self._read()
        except AmqpError as error:
            yield from self.close(error)
            if self.state is ConnectionState.CLOSE_SENT:
                self.state = ConnectionState.CLOSED
                yield ConnectionClosed()

    def close(self, error: AmqpError | None = None) -> list[Event]:
        """Close from this side; links are reported detached at once."""
        if self.state in (ConnectionState.CLOSED, ConnectionState.CLOSE_SENT):
            return []
        if self.state is not ConnectionState.OPENED:
            if self.state is ConnectionState.AWAIT_OPEN:
                self.write(0, Open(container_id=self._container_id).encode())
                self.write(0, Close(error=encode_error(error)).encode())
            self.state = ConnectionState.CLOSED
            return [ConnectionClosed()]
        self.write(0, Close(error=encode_error(error)).encode())
        self.state = ConnectionState.CLOSE_SENT
        return self._end_sessions()

    def abort(self) -> list[Event]:
        """The socket is gone."""
        if self.is_closed:
            return []
        self.state = ConnectionState.CLOSED
        self._output.clear()
        return [*self._end_sessions(), ConnectionClosed()]

    def heartbeat(self) -> None:
        """Send an empty frame; call it every `heartbeat_seconds` while nothing else is sent."""
        if self.state is ConnectionState.OPENED:
            self._put(EMPTY_FRAME)

    def write(self, channel: int, body: bytes) -> None:
        """Queue one frame (for sessions and links)."""
        if not self.is_closed:
            self._put(frame(channel, body))

    def check_links(self) -> None:
        """Refuse to hold more links than agreed (for sessions)."""
        if sum(len(session.links) for session in self._sessions.values()) >= self._limits.max_links:
            raise AmqpError(
                Condition.RESOURCE_LIMIT_EXCEEDED, f"A connection has at most {self._limits.max_links} links"
            )

    def note_partial(self, change: int) -> None:
        """Keep count of the payload that waits for the rest of its message (for links)."""
        self._partial_bytes += change
        if change > 0 and self._partial_bytes > self._limits.max_partial_bytes:
            raise AmqpError(Condition.RESOURCE_LIMIT_EXCEEDED, "Too many messages are under way at once")

    # -- reading -----------------------------------------------------------------------------------
    def _read(self) -> Iterator[Event]:
        while not self.is_closed:
            if self.state in (ConnectionState.AWAIT_HEADER, ConnectionState.AWAIT_AMQP_HEADER):
                header = self._reader.take(8)
                if header is None:
                    return
                self._on_header(header)
                continue
            each = self._reader.next_frame()
            if each is None:
                return
            yield from self._on_frame(each)
        yield ConnectionClosed()

    def _on_header(self, header: bytes) -> None:
        if header == SASL_HEADER and self.state is ConnectionState.AWAIT_HEADER:
            self._put(SASL_HEADER)
            self._put(frame(0, SaslMechanisms(mechanisms=MECHANISMS).encode(), SASL_FRAME))
            self.state = ConnectionState.AWAIT_SASL_INIT
        elif header == AMQP_HEADER:
            self._put(AMQP_HEADER)
            self.state = ConnectionState.AWAIT_OPEN
        else:
            expected = SASL_HEADER if self.state is ConnectionState.AWAIT_HEADER else AMQP_HEADER
            self._put(expected)
            self.state = ConnectionState.CLOSED

    def _on_frame(self, each: Frame) -> Iterator[Event]:
        expected = SASL_FRAME if self.state is ConnectionState.AWAIT_SASL_INIT else AMQP_FRAME
        if each.kind != expected:
            raise AmqpError(Condition.FRAMING_ERROR, f"A frame of type {each.kind} is not expected here")
        if each.start == each.end:
            return
        performative, payload_at = decode_performative(each.data, each.start, each.end)
        following = CONNECTION.get((self.state, type(performative)))
        if following is None:
            name = type(performative).__name__
            raise AmqpError(
                Condition.ILLEGAL_STATE, f"{name} is not allowed on a connection in state {self.state.name}"
            )
        discarding = self.state is ConnectionState.CLOSE_SENT
        if isinstance(performative, SaslInit):
            self._on_sasl_init(performative)
        elif isinstance(performative, Open):
            yield self._on_open(performative)
        elif isinstance(performative, Close):
            yield from self._on_close(answer=not discarding)
        elif not discarding:
            self.state = following
            payload = each.data[payload_at : each.end]
            yield from self._on_session_frame(each.channel, performative, payload)

    def _on_sasl_init(self, init: SaslInit) -> None:
        known = init.mechanism in MECHANISMS
        self._put(frame(0, SaslOutcome(code=0 if known else 1).encode(), SASL_FRAME))
        self.state = ConnectionState.AWAIT_AMQP_HEADER if known else ConnectionState.CLOSED

    def _on_open(self, opened: Open) -> Event:
        limits = self._limits
        remote = opened.max_frame_size or 0xFFFFFFFF
        if remote < MIN_MAX_FRAME_SIZE:
            raise AmqpError(Condition.INVALID_FIELD, f"max-frame-size is below {MIN_MAX_FRAME_SIZE}")
        self.max_body_size = min(remote, limits.max_frame_size) - 8
        if opened.idle_time_out:
            self.heartbeat_seconds = max(opened.idle_time_out / 2000, 0.05)
        self.write(
            0,
            Open(
                container_id=self._container_id,
                max_frame_size=limits.max_frame_size,
                channel_max=limits.channel_max,
                idle_time_out=limits.idle_time_out_ms,
            ).encode(),
        )
        self.state = ConnectionState.OPENED
        return ConnectionOpened(opened)

    def _on_close(self, *, answer: bool) -> Iterator[Event]:
        if answer:
            self.write(0, Close().encode())
        self.state = ConnectionState.CLOSED
        yield from self._end_sessions()

    def _on_session_frame(self, channel: int, performative: Performative, payload: bytes) -> list[Event]:
        session = self._sessions.get(channel)
        if isinstance(performative, Begin):
            return self._begin(channel, performative, session)
        if session is None:
            if isinstance(performative, End | Detach):  # some clients end a session, then its links
                return []
            raise AmqpError(Condition.NOT_FOUND, f"No session is open on channel {channel}")
        try:
            events = session.receive(performative, payload)
        except AmqpError as error:
            events = session.fail(error)
        if session.state is SessionState.UNMAPPED:
            del self._sessions[channel]
        return events

    def _begin(self, channel: int, begin: Begin, session: Session | None) -> list[Event]:
        if session is not None:
            raise AmqpError(Condition.ILLEGAL_STATE, f"A session is open on channel {channel} already")
        if channel > self._limits.channel_max:
            raise AmqpError(Condition.NOT_ALLOWED, f"Channel {channel} is above the agreed {self._limits.channel_max}")
        self._sessions[channel] = Session(self, channel, begin)
        return []

    def _end_sessions(self) -> list[Event]:
        events = [event for session in self._sessions.values() for event in session.end()]
        self._sessions.clear()
        return events
