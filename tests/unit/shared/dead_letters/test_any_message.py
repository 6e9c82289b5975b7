"""No message ends the link that reads dead letters, whatever its sections hold."""

from __future__ import annotations

import subprocess
import sys

import pytest
from azure.servicebus._pyamqp._decode import decode_payload
from hypothesis import given
from hypothesis import strategies as st

from shared.dead_letters.any_message import tolerant

CHAR, DECIMAL = b"\x73\x00\x00\x00\x41", b"\x74\x22\x00\x00\x01"
READ = tolerant(decode_payload)


def text(value: bytes) -> bytes:
    return b"\xa1" + bytes([len(value)]) + value


def nested(depth: int) -> bytes:
    """A list in a list in a list."""
    value = b"\x45"
    for _ in range(depth):
        content = (1).to_bytes(4, "big") + value
        value = b"\xd0" + len(content).to_bytes(4, "big") + content
    return value


def properties(*entries: bytes) -> bytes:
    content = bytes([len(entries)]) + b"".join(entries)
    return b"\x00\x53\x74\xc1" + bytes([len(content)]) + content


UNREADABLE = [CHAR, DECIMAL, nested(500), b"\x00\xa3\x04a:bc" + CHAR]


@pytest.mark.parametrize("value", UNREADABLE)
def test_a_body_that_the_sdk_can_not_decode_is_kept_as_text(value: bytes) -> None:
    message = properties(text(b"DeadLetterReason"), text(b"MaxDeliveryCountExceeded")) + b"\x00\x53\x77" + value
    with pytest.raises((TypeError, ValueError, KeyError, RecursionError, ArithmeticError)):
        decode_payload(memoryview(message))
    read = READ(memoryview(message))
    assert read.value.startswith(b"AMQP value in base64: ")
    assert read.application_properties == {b"DeadLetterReason": b"MaxDeliveryCountExceeded"}


@pytest.mark.parametrize("value", UNREADABLE[:2])
def test_a_property_that_the_sdk_can_not_decode_costs_no_other(value: bytes) -> None:
    message = properties(text(b"odd"), value, text(b"key"), text(b"A")) + b"\x00\x53\x75\xa0\x02{}"
    read = READ(memoryview(message))
    assert read.application_properties == {b"odd": value, b"key": b"A"}
    assert read.data == [b"{}"]


@given(st.lists(st.sampled_from([*UNREADABLE, text(b"x"), b"\x40", b"\x54\x07"]), max_size=5))
def test_any_sequence_of_values_is_read(values: list[bytes]) -> None:
    content = len(values).to_bytes(4, "big") + b"".join(values)
    read = READ(memoryview(b"\x00\x53\x76\xd0" + len(content).to_bytes(4, "big") + content))
    assert (read.sequence is None) != (read.value is None)


def test_the_sdk_in_use_has_the_place_for_it() -> None:
    """In a process of its own, since it is for all links of one."""
    code = (
        "from azure.servicebus._pyamqp.aio import _receiver_async as links;"
        "from azure.servicebus._transport import _pyamqp_transport as looks;"
        "from shared.dead_letters.any_message import take_any_message as take; take(); once = links.decode_payload;"
        "take(); assert once is links.decode_payload; assert hasattr(looks.decode_payload, '__wrapped__');"
        "print(once(memoryview(b'\\x00\\x53\\x77\\x73\\x00\\x00\\x00\\x41')).value.decode())"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert printed.strip() == b"AMQP value in base64: cwAAAEE="
