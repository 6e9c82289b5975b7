"""A session: transfer windows, link handles and delivery ids (transport part 2.5)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from local_azure.broker.amqp.errors import AmqpError, Condition
from local_azure.broker.amqp.events import CreditChanged, DeliverySettled, Event, LinkAttached, LinkDetached
from local_azure.broker.amqp.link import IncomingLink, Link, OutgoingLink
from local_azure.broker.amqp.outcomes import Outcome, encode_error
from local_azure.broker.amqp.performatives import (
    Attach,
    Begin,
    Detach,
    Disposition,
    End,
    Flow,
    Performative,
    Transfer,
    encode_disposition,
    encode_transfer,
)
from local_azure.broker.amqp.states import SESSION, LinkState, SessionState

if TYPE_CHECKING:
    from local_azure.broker.amqp.connection import Connection

__all__ = ["HANDLE_MAX", "INCOMING_WINDOW", "Session"]

HANDLE_MAX: Final = 1023
INCOMING_WINDOW: Final = 5000
"""Frames that a client may send before it hears from us."""

_MAX_UNSETTLED: Final = 100_000
"""Sent deliveries whose outcome is awaited; the oldest are forgotten beyond that."""

_TRANSFER_OVERHEAD: Final = 80
_SERIAL: Final = 0xFFFFFFFF


class Session:
    """The client's session on one channel, and our end of it on the same channel."""

    def __init__(self, connection: Connection, channel: int, begin: Begin) -> None:
        self.connection = connection
        self.channel = channel
        self.state = SessionState.MAPPED
        self.links: dict[int, Link] = {}
        self._next_incoming_id = begin.next_outgoing_id
        self._incoming_window = INCOMING_WINDOW
        self._next_outgoing_id = 0
        self._remote_window = begin.incoming_window
        self._next_delivery_id = 0
        self._unsettled: dict[int, tuple[OutgoingLink, bytes]] = {}
        self._backlog: deque[bytes] = deque()
        self.write(
            Begin(
                remote_channel=channel,
                next_outgoing_id=0,
                incoming_window=INCOMING_WINDOW,
                outgoing_window=INCOMING_WINDOW,
                handle_max=HANDLE_MAX,
            ).encode()
        )

    @property
    def is_ready(self) -> bool:
        """Whether a transfer would leave at once."""
        return self._remote_window > 0 and not self._backlog

    # -- what the client does ----------------------------------------------------------------------
    def receive(self, performative: Performative, payload: bytes) -> list[Event]:
        """Step the session by one frame.

        Raises
        ------
        AmqpError
            For what ends the session.
        """
        following = SESSION.get((self.state, type(performative)))
        if following is None:
            raise AmqpError(
                Condition.ILLEGAL_STATE,
                f"{type(performative).__name__} is not allowed on a session in state {self.state.name}",
            )
        discarding = self.state is SessionState.DISCARDING
        self.state = following
        if isinstance(performative, End):
            if not discarding:
                self.write(End().encode())
            return self.end()
        return [] if discarding else _HANDLERS[type(performative)](self, performative, payload)

    def end(self) -> list[Event]:
        """Give up every link without a frame."""
        events = [event for link in self.links.values() for event in link.end()]
        self.links.clear()
        self._unsettled.clear()
        self._backlog.clear()
        return events

    def fail(self, error: AmqpError) -> list[Event]:
        """End the session because of what the client did; its own end is awaited."""
        self.state = SessionState.DISCARDING
        self.write(End(error=encode_error(error)).encode())
        return self.end()

    def _on_attach(self, attach: Attach, payload: bytes) -> list[Event]:
        existing = self.links.get(attach.handle)
        if existing is not None:
            if existing.state is LinkState.DETACH_SENT:
                existing.advance(attach)
                return []
            raise AmqpError(Condition.HANDLE_IN_USE, f"Handle {attach.handle} is in use")
        if attach.handle > HANDLE_MAX:
            raise AmqpError(Condition.NOT_ALLOWED, f"Handle {attach.handle} is above {HANDLE_MAX}")
        self.connection.check_links()
        link: Link = OutgoingLink(self, attach) if attach.role else IncomingLink(self, attach)
        self.links[attach.handle] = link
        return [LinkAttached(link)]

    def _on_detach(self, detach: Detach, payload: bytes) -> list[Event]:
        link = self.links.pop(detach.handle, None)
        if link is None:
            return []
        known = link.state is not LinkState.DETACH_SENT
        link.advance(detach)
        link.end()
        self._forget(link)
        return [LinkDetached(link)] if known else []

    def _on_flow(self, flow: Flow, payload: bytes) -> list[Event]:
        seen = flow.next_incoming_id
        in_flight = (self._next_outgoing_id - seen) & _SERIAL if seen is not None else self._next_outgoing_id
        self._remote_window = flow.incoming_window - in_flight
        self._flush()
        if flow.handle is None:
            if flow.echo:
                self.write_flow()
            links = self.links.values()
            return [CreditChanged(each) for each in links if isinstance(each, OutgoingLink) and each.is_ready]
        link = self._link(flow.handle)
        if link is None or not link.advance(flow):
            return []
        assert isinstance(link, IncomingLink | OutgoingLink)
        return link.on_flow(flow)

    def _on_transfer(self, transfer: Transfer, payload: bytes) -> list[Event]:
        self._next_incoming_id = (self._next_incoming_id + 1) & _SERIAL
        self._incoming_window -= 1
        if self._incoming_window < 0:
            raise AmqpError(Condition.WINDOW_VIOLATION, "More transfers than the session window allows")
        if self._incoming_window < INCOMING_WINDOW // 2:
            self._incoming_window = INCOMING_WINDOW
            self.write_flow()
        link = self._link(transfer.handle)
        if link is None or not link.advance(transfer):
            return []
        if not isinstance(link, IncomingLink):
            raise AmqpError(Condition.NOT_ALLOWED, f"Link {link.name!r} is for receiving only")
        return link.on_transfer(transfer, payload)

    def _on_disposition(self, disposition: Disposition, payload: bytes) -> list[Event]:
        outcome = Outcome.parse(disposition.state)
        if not disposition.role or (outcome is None and not disposition.settled):
            return []
        first = disposition.first
        last = first if disposition.last is None else disposition.last
        span = (last - first) & _SERIAL
        if span < len(self._unsettled):
            wanted = [(first + step) & _SERIAL for step in range(span + 1)]
        else:
            wanted = [each for each in self._unsettled if (each - first) & _SERIAL <= span]
        events: list[Event] = []
        for delivery_id in wanted:
            entry = self._unsettled.pop(delivery_id, None)
            if entry is not None:
                settled = bool(disposition.settled)
                events.append(DeliverySettled(entry[0], delivery_id, entry[1], outcome or _ACCEPTED, settled))
        return events

    def _link(self, handle: int) -> Link | None:
        link = self.links.get(handle)
        if link is None:
            raise AmqpError(Condition.UNATTACHED_HANDLE, f"No link has handle {handle}")
        return link

    def _forget(self, link: Link) -> None:
        for delivery_id in [each for each, entry in self._unsettled.items() if entry[0] is link]:
            del self._unsettled[delivery_id]

    # -- what we do --------------------------------------------------------------------------------
    def write(self, body: bytes) -> None:
        """Send a frame that no window governs."""
        self.connection.write(self.channel, body)

    def write_flow(self, **link_fields: Any) -> None:
        """Send the session's windows, and a link's credit with them."""
        self.write(
            Flow(
                next_incoming_id=self._next_incoming_id,
                incoming_window=self._incoming_window,
                next_outgoing_id=self._next_outgoing_id,
                outgoing_window=INCOMING_WINDOW,
                **link_fields,
            ).encode()
        )

    def write_disposition(self, role: bool, first: int, last: int, state: bytes) -> None:
        """Settle deliveries; `role` is True when we received them."""
        self.write(encode_disposition(role, first, last, state))

    def write_transfer(self, link: OutgoingLink, tag: bytes, payload: bytes, settled: bool, message_format: int) -> int:
        """Send a message in as many frames as it takes and give its delivery id."""
        delivery_id = self._next_delivery_id
        self._next_delivery_id = (delivery_id + 1) & _SERIAL
        if not settled:
            self._unsettled[delivery_id] = (link, tag)
            if len(self._unsettled) > _MAX_UNSETTLED:
                del self._unsettled[next(iter(self._unsettled))]
        room = self.connection.max_body_size - _TRANSFER_OVERHEAD
        if len(payload) <= room:
            head = encode_transfer(link.handle, delivery_id, tag, message_format, settled, False)
            self._send(head + payload)
            return delivery_id
        for start in range(0, len(payload), room):
            more = start + room < len(payload)
            head = encode_transfer(link.handle, delivery_id, tag, message_format, settled, more)
            self._send(head + payload[start : start + room])
        return delivery_id

    def _send(self, body: bytes) -> None:
        if self.is_ready:
            self._remote_window -= 1
            self._next_outgoing_id = (self._next_outgoing_id + 1) & _SERIAL
            self.write(body)
        else:
            self._backlog.append(body)

    def _flush(self) -> None:
        while self._backlog and self._remote_window > 0:
            self._remote_window -= 1
            self._next_outgoing_id = (self._next_outgoing_id + 1) & _SERIAL
            self.write(self._backlog.popleft())


_ACCEPTED: Final = Outcome(0x24)
_HANDLERS: Final[dict[type[Performative], Any]] = {
    Attach: Session._on_attach,
    Detach: Session._on_detach,
    Flow: Session._on_flow,
    Transfer: Session._on_transfer,
    Disposition: Session._on_disposition,
}
