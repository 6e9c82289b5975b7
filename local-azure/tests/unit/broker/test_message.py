"""Messages: sections are found without decoding, and the sender's bytes pass untouched."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_azure.broker.amqp import DecodeError
from local_azure.broker.amqp.encode import encode
from local_azure.broker.amqp.message import BATCH_FORMAT, Properties, encode_message, scan
from local_azure.broker.amqp.types import Described, Symbol, Timestamp, UInt, ULong
from local_azure.broker.servicebus.message import parse_messages


def _section(code: int, value: Any) -> bytes:
    return encode(Described(ULong(code), value))


HEADER = _section(0x70, [True, None, UInt(5000)])
DELIVERY = _section(0x71, {Symbol("x-opt-lock-token"): 1})
ANNOTATIONS = _section(
    0x72,
    {Symbol("mine"): "kept", Symbol("x-opt-scheduled-enqueue-time"): Timestamp(77), Symbol("x-opt-sequence-number"): 9},
)
PROPERTIES = _section(0x73, ["id-1", None, None, None, None, None, None, None, None, None, "session-1"])
APPLICATION = _section(0x74, {"colour": "red", "when": Timestamp(5)})
BODY = _section(0x75, b"payload")
FOOTER = _section(0x78, {Symbol("crc"): 1})


@given(st.lists(st.booleans(), min_size=7, max_size=7))
@settings(deadline=None)
def test_any_choice_of_sections_is_taken_apart(chosen: list[bool]) -> None:
    """Bare message and footer are kept byte for byte, whatever comes before them."""
    sections = (HEADER, DELIVERY, ANNOTATIONS, PROPERTIES, APPLICATION, BODY, FOOTER)
    data = b"".join(section for section, wanted in zip(sections, chosen, strict=True) if wanted)
    (message,) = parse_messages(data, 0)
    bare = b"".join(section for section, wanted in zip(sections[3:], chosen[3:], strict=True) if wanted)
    assert message.bare == bare
    assert message.header.ttl == (5000 if chosen[0] else None)
    assert message.visible_at == (77 if chosen[2] else 0)
    assert message.annotation("mine") == ("kept" if chosen[2] else None)
    assert message.sections.properties.group_id == ("session-1" if chosen[3] else None)
    assert message.sections.application_properties.get("colour") == ("red" if chosen[4] else None)


def test_delivered_message_carries_broker_annotations_and_the_senders() -> None:
    """The broker's own annotations replace what the sender put in their place."""
    (message,) = parse_messages(HEADER + ANNOTATIONS + PROPERTIES + BODY, 0)
    message.sequence, message.enqueued_at, message.locked_until, message.delivery_count = 42, 1000, 2000, 3
    delivered = scan(message.encode())
    assert delivered.annotations == {
        "x-opt-sequence-number": 42,
        "x-opt-enqueued-time": 1000,
        "x-opt-enqueue-sequence-number": 42,
        "x-opt-message-state": 0,
        "x-opt-locked-until": 2000,
        "mine": "kept",
        "x-opt-scheduled-enqueue-time": 77,
    }
    assert delivered.header.ttl == 5000
    assert delivered.data[delivered.bare :] == PROPERTIES + BODY


def test_changed_properties_leave_the_rest_untouched() -> None:
    """Timestamps stay timestamps, properties and body stay the same bytes."""
    (message,) = parse_messages(PROPERTIES + APPLICATION + BODY, 0)
    message.change_properties({"DeadLetterReason": "bad"})
    assert message.bare.startswith(PROPERTIES)
    assert message.bare.endswith(BODY)
    changed = message.sections.application_properties
    assert changed == {"colour": "red", "when": 5, "DeadLetterReason": "bad"}
    assert type(changed["when"]) is Timestamp


@pytest.mark.parametrize(
    "head",
    [b"", _section(0x73, []), _section(0x73, [None, None, "to"]), _section(0x73, [None, b"u" * 300]), APPLICATION],
)
def test_a_message_without_id_gets_one(head: bytes) -> None:
    """Whatever else it has stays as it was; a message with an id is not touched."""
    (message,) = parse_messages(HEADER + head + BODY, 0, lambda: bytes(range(16)))
    sections = message.sections
    assert sections.properties.message_id == "000102030405060708090a0b0c0d0e0f"
    before = scan(head + BODY)
    assert sections.properties.to == before.properties.to
    assert sections.properties.user_id == before.properties.user_id
    assert sections.application_properties == before.application_properties
    assert sections.data[sections.body :] == BODY
    (kept,) = parse_messages(PROPERTIES + BODY, 0, lambda: bytes(range(16)))
    assert kept.bare == PROPERTIES + BODY


def test_what_cannot_be_read_is_refused_before_it_is_scheduled() -> None:
    """And a settlement that changes properties replaces what cannot be kept."""
    malformed = b"\x00\x53\x74\x45" + BODY
    with pytest.raises(DecodeError):
        parse_messages(ANNOTATIONS + malformed, 0)
    (message,) = parse_messages(malformed, 0)
    message.change_properties({"DeadLetterReason": "r"})
    assert message.sections.application_properties == {"DeadLetterReason": "r"}


def test_batches_hold_whole_messages() -> None:
    """Each data section of a batch is one message."""
    batch = b"".join(_section(0x75, PROPERTIES + _section(0x75, bytes([number]) * 300)) for number in range(3))
    messages = parse_messages(batch, BATCH_FORMAT)
    assert [message.bare for message in messages] == [
        PROPERTIES + _section(0x75, bytes([number]) * 300) for number in range(3)
    ]


@pytest.mark.parametrize(
    "data", [BODY[:-1] + b"", PROPERTIES + HEADER, HEADER + HEADER, b"\x00\x53\x10\x45", b"garbage", b"\x00"]
)
def test_malformed_messages_are_refused(data: bytes) -> None:
    """Out of order, twice, unknown or cut off."""
    if data == BODY[:-1]:
        with pytest.raises(DecodeError):
            parse_messages(data, BATCH_FORMAT)
    else:
        with pytest.raises(DecodeError):
            parse_messages(data, 0)


@given(st.binary(max_size=120), st.sampled_from([0, BATCH_FORMAT]))
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_messages_or_the_one_error(data: bytes, message_format: int) -> None:
    """A sender cannot make the broker fail."""
    try:
        for message in parse_messages(b"\x00\x53\x70" + data, message_format):
            message.encode()
    except DecodeError:
        pass


def test_replies_decode_to_what_was_put_in() -> None:
    """The broker's own messages follow the same format."""
    reply = encode_message(
        properties=Properties(correlation_id="c", content_type="text/plain", creation_time=1),
        application_properties={"statusCode": 200},
        body={"n": 1},
    )
    sections = scan(reply)
    assert (sections.properties.correlation_id, sections.properties.content_type) == ("c", "text/plain")
    assert sections.application_properties == {"statusCode": 200}
    assert sections.value_body() == {"n": 1}
