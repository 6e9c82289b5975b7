"""The connection engine: opening, links, credit, windows, settlement, and every way a peer can misbehave."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_azure.broker.amqp import (
    ACCEPTED,
    AmqpError,
    Condition,
    Connection,
    ConnectionClosed,
    CreditChanged,
    DeliveryReceived,
    DeliverySettled,
    Limits,
    LinkAttached,
    LinkDetached,
)
from local_azure.broker.amqp.encode import encode
from local_azure.broker.amqp.frames import AMQP_HEADER, SASL_FRAME, SASL_HEADER, frame
from local_azure.broker.amqp.performatives import (
    Attach,
    Begin,
    Close,
    Detach,
    Disposition,
    End,
    Flow,
    Open,
    SaslInit,
    SaslMechanisms,
    SaslOutcome,
    Transfer,
)
from local_azure.broker.amqp.types import Described, Raw, ULong
from unit.broker.peer import Peer, source, target


def _condition(performative: Close | End | Detach) -> str:
    assert isinstance(performative.error, Described)
    return str(performative.error.value[0])


@pytest.mark.parametrize("piece", [None, 1, 3])
def test_opening_in_pieces_of_any_size(piece: int | None) -> None:
    """SASL, open and begin are answered, however the bytes arrive."""
    peer = Peer()
    peer.feed(Peer.opening(idle_time_out=1000), piece=piece)
    assert peer.headers == [SASL_HEADER, AMQP_HEADER]
    assert "ANONYMOUS" in peer.take(SaslMechanisms).mechanisms.items
    assert peer.take(SaslOutcome).code == 0
    assert peer.take(Open).container_id == "broker"
    assert peer.take(Begin).remote_channel == 0
    assert peer.connection.heartbeat_seconds == 0.5


def test_every_field_of_every_answer_is_present() -> None:
    """Nulls are written out, because some clients index into the list."""
    peer = Peer().open()
    link = peer.attach_sender()
    link.accept(max_message_size=1000, credit=1)
    raw = peer.connection.take_output()
    assert raw[8:12] == b"\x00\x53\x12\xd0"
    assert int.from_bytes(raw[16:20]) == 14


def test_an_unknown_mechanism_is_refused() -> None:
    """The outcome says so, and the connection is over."""
    peer = Peer()
    peer.feed(SASL_HEADER + frame(0, SaslInit(mechanism="GSSAPI").encode(), SASL_FRAME))
    assert peer.take(SaslOutcome).code == 1
    assert peer.connection.is_closed


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"AMQP\x00\x00\x09\x01", b"\x16\x03\x01" + b"\0" * 40])
def test_a_bad_header_is_answered_with_the_good_one(garbage: bytes) -> None:
    """As transport 2.2 asks, then the connection is closed."""
    peer = Peer()
    peer.feed(garbage)
    assert peer.headers == [SASL_HEADER]
    assert isinstance(peer.events[-1], ConnectionClosed)


def test_messages_of_many_frames_make_one_event() -> None:
    """The settlement names the delivery; credit is counted per message."""
    peer = Peer().open()
    link = peer.attach_sender()
    link.accept(max_message_size=100, credit=2)
    peer.transfer(0, 7, b"one ", more=True)
    peer.transfer(0, 7, b"two ", more=True)
    peer.transfer(0, 7, b"three")
    event = peer.events[-1]
    assert isinstance(event, DeliveryReceived)
    assert (event.payload, event.delivery_id, event.oversized) == (b"one two three", 7, False)
    assert link.credit == 1
    link.settle(7)
    peer.pull()
    answer = peer.take(Disposition)
    assert (answer.role, answer.first, answer.last, answer.settled) == (True, 7, 7, True)
    assert answer.state.descriptor == 0x24


def test_oversized_messages_are_not_kept() -> None:
    """Beyond the limit, bytes are dropped as they come; the owner hears of it once, at the end."""
    peer = Peer().open()
    link = peer.attach_sender()
    link.accept(max_message_size=10, credit=2)
    for _ in range(50):
        peer.transfer(0, 0, b"x" * 9, more=True)
    assert link._size > 400
    assert link._parts == []
    peer.transfer(0, 0, b"x")
    event = peer.events[-1]
    assert isinstance(event, DeliveryReceived)
    assert (event.oversized, event.payload) == (True, b"")


def test_links_and_unfinished_messages_are_bounded_per_connection() -> None:
    """Beyond the bounds the session ends; what its links held is forgotten."""
    peer = Peer(Connection(container_id="broker", limits=Limits(max_links=3, max_partial_bytes=1000))).open()
    for handle in (0, 2):
        peer.attach_sender(handle=handle).accept(max_message_size=900, credit=1)
    peer.transfer(0, 0, b"x" * 600, more=True)
    peer.transfer(2, 1, b"x" * 600, more=True)
    assert _condition(peer.take(End)) == "amqp:resource-limit-exceeded"
    peer.send(End())
    assert peer.connection._partial_bytes == 0
    peer.send(Begin(next_outgoing_id=0, incoming_window=9, outgoing_window=9))
    for handle in range(3):
        peer.attach_sender(handle=handle).accept(max_message_size=900, credit=1)
    peer.send(Attach(name="x", handle=9, role=False, source=source("a"), target=target("b")))
    assert _condition(peer.take(End)) == "amqp:resource-limit-exceeded"


def test_aborted_messages_leave_no_trace() -> None:
    """An aborted delivery makes no event, and the next message is whole."""
    peer = Peer().open()
    peer.attach_sender().accept(max_message_size=100, credit=5)
    before = len(peer.events)
    peer.transfer(0, 0, b"half", more=True)
    peer.transfer(0, 0, b"", aborted=True)
    assert len(peer.events) == before
    peer.transfer(0, 1, b"whole")
    assert peer.events[-1].payload == b"whole"  # type: ignore[union-attr]


def test_large_messages_leave_in_frames_of_the_agreed_size() -> None:
    """No frame is larger than what the peer takes; all carry one delivery."""
    peer = Peer().open(max_frame_size=512)
    link = peer.attach_receiver()
    link.accept()
    peer.credit(1, 1)
    delivery_id = link.send(bytes(range(256)) * 10, settled=False, tag=b"tag")
    output = peer.connection.take_output()
    position = output.index(b"\x00\x53\x14") - 8
    sizes = []
    while position < len(output):
        size = int.from_bytes(output[position : position + 4])
        sizes.append(size)
        position += size
    assert max(sizes) <= 512
    peer.connection._put(output)
    peer.pull()
    transfers = [each for each in peer.received if isinstance(each[0], Transfer)]
    assert b"".join(payload for _, payload in transfers) == bytes(range(256)) * 10
    assert [each.more for each, _ in transfers] == [True] * (len(transfers) - 1) + [False]  # type: ignore[attr-defined]
    assert {each.delivery_id for each, _ in transfers} == {delivery_id}  # type: ignore[attr-defined]


def test_nothing_leaves_beyond_the_session_window() -> None:
    """Frames wait until the peer opens its window; then they leave in order."""
    peer = Peer().open()
    link = peer.attach_receiver()
    link.accept()
    peer.credit(1, 10, incoming_window=2)
    for number in range(4):
        link.send(b"%d" % number, settled=True)
    peer.pull()
    assert peer.count(Transfer) == 2
    assert not link.is_ready
    peer.send(Flow(next_incoming_id=2, incoming_window=10, next_outgoing_id=0, outgoing_window=10))
    assert [payload for each, payload in peer.received if isinstance(each, Transfer)] == [b"0", b"1", b"2", b"3"]
    assert isinstance(peer.events[-1], CreditChanged)


def test_credit_counts_what_the_peer_has_not_seen_yet() -> None:
    """Credit = granted + seen - sent (2.6.7)."""
    peer = Peer().open()
    link = peer.attach_receiver()
    link.accept()
    peer.credit(1, 3)
    link.send(b"a", settled=True)
    link.send(b"b", settled=True)
    assert link.credit == 1
    peer.credit(1, 3, delivery_count=1)
    assert link.credit == 2
    peer.credit(1, 0, delivery_count=2, drain=True)
    assert link.drain
    link.drained()
    peer.pull()
    assert peer.take(Flow) is not None
    assert not link.drain


def test_draining_uses_up_the_credit() -> None:
    """The flow that answers a drain moves the delivery count on."""
    peer = Peer().open()
    link = peer.attach_receiver()
    link.accept()
    peer.credit(1, 5, drain=True)
    link.drained()
    peer.pull()
    flow = peer.take(Flow)
    assert (flow.link_credit, flow.delivery_count, flow.drain) == (0, 5, True)


def test_outcomes_reach_the_owner_once() -> None:
    """A range of deliveries makes one event each; what was settled is not asked about again."""
    peer = Peer().open()
    link = peer.attach_receiver()
    link.accept()
    peer.credit(1, 5)
    for number in range(3):
        link.send(b"m", settled=False, tag=b"tag%d" % number)
    accepted = Disposition(role=True, first=0, last=2, settled=False, state=Raw(ACCEPTED))
    peer.send(accepted)
    settled = [each for each in peer.events if isinstance(each, DeliverySettled)]
    assert [each.tag for each in settled] == [b"tag0", b"tag1", b"tag2"]
    assert {each.outcome.code for each in settled} == {0x24}
    peer.send(accepted)
    assert len([each for each in peer.events if isinstance(each, DeliverySettled)]) == 3
    link.settle(0, ACCEPTED)
    peer.pull()
    assert peer.take(Disposition).role is False


def test_a_hostile_range_costs_no_time() -> None:
    """Four thousand million deliveries are walked only as far as they exist."""
    peer = Peer().open()
    link = peer.attach_receiver()
    link.accept()
    peer.credit(1, 5)
    link.send(b"m", settled=False, tag=b"tag")
    peer.send(Disposition(role=True, first=0, last=0xFFFFFFFF, settled=True, state=Raw(ACCEPTED)))
    assert len([each for each in peer.events if isinstance(each, DeliverySettled)]) == 1


def test_a_refused_link_has_no_terminus_and_is_closed_with_the_reason() -> None:
    """As 2.6.3 describes; the client's own detach is taken silently."""
    peer = Peer().open()
    link = peer.attach_sender("nowhere")
    link.refuse(AmqpError(Condition.NOT_FOUND, "nothing here"))
    peer.pull()
    attach = peer.take(Attach)
    assert attach.target is None
    detach = peer.take(Detach)
    assert (detach.closed, _condition(detach)) == (True, "amqp:not-found")
    before = len(peer.events)
    peer.send(Detach(handle=0, closed=True))
    assert len(peer.events) == before
    peer.attach_sender("elsewhere").accept(max_message_size=1, credit=1)
    assert isinstance(peer.events[-1], LinkAttached)


def test_detach_end_and_close_are_answered_and_reported() -> None:
    """Each ends what is inside it."""
    peer = Peer().open()
    for handle in (0, 2, 3):
        peer.attach_sender(handle=handle).accept(max_message_size=1, credit=1)
    peer.send(Detach(handle=0, closed=True))
    assert peer.take(Detach).handle == 0
    assert isinstance(peer.events[-1], LinkDetached)
    peer.send(End())
    peer.take(End)
    assert sum(isinstance(each, LinkDetached) for each in peer.events) == 3
    peer.send(Detach(handle=2, closed=True))  # some clients detach after the end
    peer.send(Begin(next_outgoing_id=0, incoming_window=1, outgoing_window=1))
    peer.send(Close())
    peer.take(Close)
    assert peer.connection.is_closed


def _transfer_without_credit(peer: Peer) -> None:
    peer.attach_sender().accept(max_message_size=100, credit=1)
    peer.transfer(0, 0, b"a")
    peer.transfer(0, 1, b"b")


def _unknown_handle(peer: Peer) -> None:
    peer.transfer(9, 0, b"a")


def _handle_twice(peer: Peer) -> None:
    peer.attach_sender().accept(max_message_size=100, credit=1)
    peer.attach_sender()


def _handle_too_high(peer: Peer) -> None:
    peer.send(Attach(name="x", handle=70_000, role=False, source=source("a"), target=target("b")))


@pytest.mark.parametrize(
    ("misbehave", "condition"),
    [
        (_transfer_without_credit, "amqp:link:transfer-limit-exceeded"),
        (_unknown_handle, "amqp:session:unattached-handle"),
        (_handle_twice, "amqp:session:handle-in-use"),
        (_handle_too_high, "amqp:not-allowed"),
    ],
)
def test_faults_within_a_session_end_the_session(misbehave: object, condition: str) -> None:
    """The connection goes on: another session can be opened."""
    peer = Peer().open()
    misbehave(peer)  # type: ignore[operator]
    assert _condition(peer.take(End)) == condition
    assert not peer.connection.is_closed
    peer.send(Begin(next_outgoing_id=0, incoming_window=9, outgoing_window=9), channel=1)
    peer.take(Begin)


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (b"\x00\x00\x00\x07\x02\x00\x00\x00", "amqp:connection:framing-error"),
        (b"\x00\x00\x00\x00\x02\x00\x00\x00", "amqp:connection:framing-error"),
        (b"\x7f\xff\xff\xff\x02\x00\x00\x00", "amqp:connection:framing-error"),
        (b"\x00\x00\x00\x10\x01\x00\x00\x00" + b"\0" * 8, "amqp:connection:framing-error"),
        (b"\x00\x00\x00\x10\x09\x00\x00\x00" + b"\0" * 8, "amqp:connection:framing-error"),
        (b"\x00\x00\x00\x10\x02\x01\x00\x00" + b"\0" * 8, "amqp:connection:framing-error"),
        (frame(0, b"\x00\x53\x99\x45"), "amqp:decode-error"),
        (frame(0, b"\x00\x53\x14\xc0\x05\x01"), "amqp:decode-error"),
        (frame(0, encode(Described(ULong(0x14), [None]))), "amqp:decode-error"),
        (frame(0, encode(Described(ULong(0x14), ["not a handle"]))), "amqp:decode-error"),
        (frame(5, Flow(incoming_window=1, next_outgoing_id=1, outgoing_window=1).encode()), "amqp:not-found"),
        (frame(0, Open(container_id="again").encode()), "amqp:illegal-state"),
        (frame(999, Begin(incoming_window=1, outgoing_window=1).encode()), "amqp:not-allowed"),
    ],
)
def test_faults_of_the_connection_close_it_with_the_reason(data: bytes, condition: str) -> None:
    """Links are reported detached, and nothing that follows is looked at."""
    peer = Peer().open()
    peer.attach_sender().accept(max_message_size=1, credit=1)
    peer.feed(data + b"\xff" * 100)
    assert _condition(peer.take(Close)) == condition
    assert isinstance(peer.events[-2], LinkDetached)
    assert isinstance(peer.events[-1], ConnectionClosed)
    peer.feed(b"more")
    assert peer.connection.is_closed


def test_heartbeats_are_empty_frames() -> None:
    """They are sent only while the connection is open, and taken without an answer."""
    connection = Connection(container_id="broker")
    connection.heartbeat()
    assert connection.take_output() == b""
    peer = Peer(connection).open(idle_time_out=30_000)
    before = len(peer.received)
    peer.feed(b"\x00\x00\x00\x08\x02\x00\x00\x00" * 3)
    assert len(peer.received) == before
    connection.heartbeat()
    assert connection.take_output() == b"\x00\x00\x00\x08\x02\x00\x00\x00"


@given(st.lists(st.binary(max_size=60), max_size=8))
@settings(max_examples=300, deadline=None)
def test_any_bytes_close_the_connection_or_wait_for_more(pieces: list[bytes]) -> None:
    """Before and after opening, no bytes make the engine raise."""
    for opening in (b"", Peer.opening()):
        connection = Connection(container_id="broker")
        list(connection.receive(opening))
        for piece in pieces:
            list(connection.receive(piece))


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_conversations_never_raise(data: st.DataObject) -> None:
    """A good conversation with some bytes changed ends in order."""
    conversation = bytearray(
        Peer.opening()
        + frame(0, Attach(name="s", handle=0, role=False, source=source("a"), target=target("b")).encode())
        + frame(0, Transfer(handle=0, delivery_id=0, delivery_tag=b"t").encode() + b"payload")
        + frame(0, Disposition(role=True, first=0, settled=True, state=Raw(ACCEPTED)).encode())
        + frame(0, Detach(handle=0, closed=True).encode())
        + frame(0, End().encode())
    )
    for _ in range(data.draw(st.integers(1, 4))):
        conversation[data.draw(st.integers(0, len(conversation) - 1))] = data.draw(st.integers(0, 255))
    connection = Connection(container_id="broker")
    for event in connection.receive(bytes(conversation)):
        if isinstance(event, LinkAttached):
            event.link.refuse(AmqpError(Condition.NOT_FOUND, "x"))


def test_limits_are_checked_when_they_are_made() -> None:
    """A wrong limit names itself."""
    with pytest.raises(ValueError, match="max_frame_size"):
        Limits(max_frame_size=100)
    with pytest.raises(ValueError, match="channel_max"):
        Limits(channel_max=-1)
    with pytest.raises(ValueError, match="idle_time_out_ms"):
        Limits(idle_time_out_ms=0)
