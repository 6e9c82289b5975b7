"""One end of a link: credit, deliveries and the frames they become (transport part 2.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from local_azure.broker.amqp.errors import AmqpError, Condition
from local_azure.broker.amqp.events import CreditChanged, DeliveryReceived, Event, LinkDetached
from local_azure.broker.amqp.outcomes import ACCEPTED, encode_error, transaction_of
from local_azure.broker.amqp.performatives import Attach, Detach, Flow, Terminus, Transfer
from local_azure.broker.amqp.states import LINK, LinkState
from local_azure.broker.amqp.types import Raw

if TYPE_CHECKING:
    from local_azure.broker.amqp.session import Session

__all__ = ["IncomingLink", "Link", "OutgoingLink"]

_SEQUENCE: Final = 0xFFFFFFFF
"""Delivery counts are serial numbers of 32 bits (2.8.10)."""


class Link:
    """What both directions share. `context` is the owner's, the engine never looks at it."""

    def __init__(self, session: Session, attach: Attach) -> None:
        self.session = session
        self.attach = attach
        self.name = attach.name
        self.handle = attach.handle
        self.properties: dict[Any, Any] = attach.properties or {}
        self.state = LinkState.ATTACH_RECEIVED
        self.context: Any = None

    @property
    def is_open(self) -> bool:
        """Whether messages may flow."""
        return self.state is LinkState.ATTACHED

    def refuse(self, error: AmqpError) -> None:
        """Answer an attach with a null terminus and a closing detach, as 2.6.3 asks."""
        self._send_attach(source=None, target=None)
        self.state = LinkState.ATTACHED
        self.detach(error)

    def detach(self, error: AmqpError | None = None) -> None:
        """Close the link from this side; the client's own detach is awaited silently."""
        if self.state is LinkState.ATTACHED:
            self.state = LinkState.DETACH_SENT
            self._send_detach(encode_error(error))

    def advance(self, performative: Attach | Detach | Flow | Transfer) -> bool:
        """Step the state machine; False means the frame is to be ignored."""
        following = LINK.get((self.state, type(performative)))
        if following is None:
            raise AmqpError(
                Condition.ILLEGAL_STATE,
                f"{type(performative).__name__} is not allowed on link {self.name!r} in state {self.state.name}",
            )
        ignored = self.state is LinkState.DETACH_SENT and not isinstance(performative, Detach)
        answered = self.state is LinkState.DETACH_SENT
        self.state = following
        if isinstance(performative, Detach) and not answered:
            self._send_detach(None)
        return not ignored

    def end(self) -> list[Event]:
        """Close without a frame, since the session or connection is gone."""
        gone = self.state is LinkState.DETACHED
        self.state = LinkState.DETACHED
        return [] if gone else [LinkDetached(self)]

    def _send_attach(
        self,
        *,
        source: Terminus | None,
        target: Terminus | None,
        max_message_size: int | None = None,
        properties: dict[Any, Any] | None = None,
    ) -> None:
        asked = self.attach
        is_sender = asked.role
        self.session.write(
            Attach(
                name=self.name,
                handle=self.handle,
                role=not asked.role,
                snd_settle_mode=2 if asked.snd_settle_mode is None else asked.snd_settle_mode,
                rcv_settle_mode=asked.rcv_settle_mode or 0,
                source=source,
                target=target,
                incomplete_unsettled=False,
                initial_delivery_count=0 if is_sender else None,
                max_message_size=max_message_size,
                offered_capabilities=_names(asked.desired_capabilities),
                properties=properties,
            ).encode()
        )

    def _send_detach(self, error: Raw | None) -> None:
        self.session.write(Detach(handle=self.handle, closed=True, error=error).encode())


def _names(capabilities: Any) -> list[str] | None:
    if capabilities is None:
        return None
    return [capabilities] if isinstance(capabilities, str) else [str(name) for name in capabilities.items]


class IncomingLink(Link):
    """The client sends, we receive."""

    def __init__(self, session: Session, attach: Attach) -> None:
        super().__init__(session, attach)
        self.max_message_size = 0
        self._delivery_count = attach.initial_delivery_count or 0
        self._credit = 0
        self._parts: list[bytes] = []
        self._size = self._kept = 0
        self._current: Transfer | None = None

    def accept(self, *, max_message_size: int, credit: int, properties: dict[Any, Any] | None = None) -> None:
        """Open the link and let the client send `credit` messages."""
        self.max_message_size = max_message_size
        self._send_attach(
            source=self.attach.source,
            target=self.attach.target,
            max_message_size=max_message_size,
            properties=properties,
        )
        self.state = LinkState.ATTACHED
        self.grant(credit)

    def grant(self, credit: int) -> None:
        """Set, not add, the number of messages that the client may send from now on."""
        if self.is_open and credit != self._credit:
            self._credit = credit
            self.send_flow()

    @property
    def credit(self) -> int:
        """Messages that the client may still send."""
        return self._credit

    def send_flow(self) -> None:
        """Tell the client its credit."""
        self.session.write_flow(handle=self.handle, delivery_count=self._delivery_count, link_credit=self._credit)

    def settle(self, delivery_id: int, state: bytes = ACCEPTED) -> None:
        """Settle a delivery with an outcome; nothing happens once the link is gone."""
        if self.is_open:
            self.session.write_disposition(True, delivery_id, delivery_id, state)

    def on_flow(self, flow: Flow) -> list[Event]:
        """The client tells its own view, or asks for ours."""
        if flow.echo:
            self.send_flow()
        return []

    def on_transfer(self, transfer: Transfer, payload: bytes) -> list[Event]:
        """Collect the frames of a message; the last one makes an event."""
        if self._current is None and not transfer.more and not transfer.aborted:
            return [self._whole(transfer, payload)]
        first = self._current or self._begin(transfer)
        if transfer.aborted:
            self._finish()
            return []
        self._size += len(payload)
        if self._size <= self.max_message_size:
            self._keep(payload)
        else:
            self._drop_parts()
        if transfer.more:
            return []
        oversized = self._size > self.max_message_size
        body = b"".join(self._parts)
        self._finish()
        return [self._event(first, body, oversized, settled=bool(first.settled or transfer.settled))]

    def _whole(self, transfer: Transfer, payload: bytes) -> DeliveryReceived:
        """A message of one frame, as most are: nothing is kept for it."""
        self._check(transfer)
        self._credit -= 1
        self._delivery_count = (self._delivery_count + 1) & _SEQUENCE
        oversized = len(payload) > self.max_message_size
        return self._event(transfer, b"" if oversized else payload, oversized, settled=bool(transfer.settled))

    def _event(self, first: Transfer, body: bytes, oversized: bool, *, settled: bool) -> DeliveryReceived:
        transaction = None if first.state is None else transaction_of(first.state)
        identity, kind = first.delivery_id or 0, first.message_format or 0
        return DeliveryReceived(self, identity, body, kind, settled, oversized, transaction)

    def _check(self, transfer: Transfer) -> None:
        if transfer.delivery_id is None:
            raise AmqpError(Condition.INVALID_FIELD, "The first transfer of a message has no delivery-id")
        if self._credit <= 0:
            raise AmqpError(
                Condition.TRANSFER_LIMIT_EXCEEDED, f"Link {self.name!r} sent a message without credit for it"
            )

    def _begin(self, transfer: Transfer) -> Transfer:
        self._check(transfer)
        self._current = transfer
        return transfer

    def _keep(self, payload: bytes) -> None:
        self._parts.append(payload)
        self._kept += len(payload)
        self.session.connection.note_partial(len(payload))

    def _drop_parts(self) -> None:
        self.session.connection.note_partial(-self._kept)
        self._parts = []
        self._kept = 0

    def end(self) -> list[Event]:
        """As `Link.end`; a message that never ended is forgotten."""
        self._drop_parts()
        return super().end()

    def _finish(self) -> None:
        self._current = None
        self._drop_parts()
        self._size = 0
        self._credit -= 1
        self._delivery_count = (self._delivery_count + 1) & _SEQUENCE


class OutgoingLink(Link):
    """We send, the client receives."""

    def __init__(self, session: Session, attach: Attach) -> None:
        super().__init__(session, attach)
        self.credit = 0
        self.drain = False
        self._delivery_count = 0
        self._next_tag = 0

    def accept(
        self,
        *,
        source: Terminus | None = None,
        max_message_size: int | None = None,
        properties: dict[Any, Any] | None = None,
    ) -> None:
        """Open the link; `source` replaces the one the client asked with."""
        self._send_attach(
            source=source or self.attach.source,
            target=self.attach.target,
            max_message_size=max_message_size,
            properties=properties,
        )
        self.state = LinkState.ATTACHED

    @property
    def presettled(self) -> bool:
        """Whether the client wants messages settled when they are sent."""
        return self.attach.snd_settle_mode == 1

    @property
    def is_ready(self) -> bool:
        """Whether a message sent now would leave at once."""
        return self.credit > 0 and self.state is LinkState.ATTACHED and self.session.is_ready

    def send(self, payload: bytes, *, settled: bool, tag: bytes | None = None, message_format: int = 0) -> int:
        """Send one message and give its delivery id; the caller minds the credit."""
        if tag is None:
            self._next_tag = (self._next_tag + 1) & _SEQUENCE
            tag = self._next_tag.to_bytes(4)
        self.credit -= 1
        self._delivery_count = (self._delivery_count + 1) & _SEQUENCE
        return self.session.write_transfer(self, tag, payload, settled, message_format)

    def settle(self, delivery_id: int, state: bytes) -> None:
        """Confirm the outcome that the receiver asked for."""
        if self.is_open:
            self.session.write_disposition(False, delivery_id, delivery_id, state)

    def drained(self) -> None:
        """Tell a draining receiver that nothing is left to send: its credit is used up."""
        if self.drain and self.is_open:
            self._delivery_count = (self._delivery_count + max(self.credit, 0)) & _SEQUENCE
            self.credit = 0
            self.drain = False
            self._send_flow(drain=True)

    def on_flow(self, flow: Flow) -> list[Event]:
        """Take over the receiver's credit (2.6.7)."""
        if flow.link_credit is None:
            if flow.echo:
                self._send_flow()
            return []
        seen = self._delivery_count if flow.delivery_count is None else flow.delivery_count
        behind = (self._delivery_count - seen) & _SEQUENCE
        self.credit = flow.link_credit - behind if behind <= flow.link_credit else 0
        self.drain = bool(flow.drain)
        if flow.echo:
            self._send_flow()
        return [CreditChanged(self)]

    def _send_flow(self, drain: bool = False) -> None:
        self.session.write_flow(
            handle=self.handle,
            delivery_count=self._delivery_count,
            link_credit=max(self.credit, 0),
            available=0,
            drain=drain,
        )
