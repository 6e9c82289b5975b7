"""Has the SDK take every message: what its decoder can't read (a char, most decimals, deep nesting) would end the link.

The same message would end the next one, and nothing behind it would ever be read. So where decoding fails, each section
of the message (AMQP 1.0, 3.2) is tried by itself, and what fails is replaced by its encoding: a property by binary, a
body by a text.
"""

import base64
import functools
from collections.abc import Callable, Iterator
from typing import Any

from azure.servicebus._pyamqp.aio import _receiver_async
from azure.servicebus._transport import _pyamqp_transport

__all__ = ["take_any_message", "tolerant"]

Decode = Callable[[memoryview], Any]

_APPLICATION_PROPERTIES = 0x74
_BODIES = {0x75: "data", 0x76: "sequence", 0x77: "value"}
_VALUE = b"\x00\x53\x77"
_BY_WIDTH = {4: 0, 5: 1, 6: 2, 7: 4, 8: 8, 9: 16}
"""Bytes of a value by the first half of its constructor (AMQP 1.0, 1.2); the other kinds say their length."""


def take_any_message() -> None:
    """Put the tolerant decoder behind links and looks of this process; what could be read before is read as before."""
    readers: tuple[Any, ...] = (_receiver_async, _pyamqp_transport)
    for reader in readers:
        if not hasattr(reader.decode_payload, "__wrapped__"):
            reader.decode_payload = tolerant(reader.decode_payload)


def tolerant(decode: Decode) -> Decode:
    """A decoder that fails only at what is no message at all."""

    @functools.wraps(decode)
    def decode_any(buffer: memoryview) -> Any:
        try:
            return decode(buffer)
        except Exception:
            return decode(memoryview(b"".join(_mended(section, decode) for section in _values(bytes(buffer)))))

    return decode_any


def _mended(section: bytes, decode: Decode) -> bytes:
    """A section as it is, or in words; none where it is neither properties nor body."""
    if _is_readable(section, decode):
        return section
    number = section[2]
    if number == _APPLICATION_PROPERTIES:
        return section[:3] + _map(section[3:], decode)
    if number in _BODIES:
        return _VALUE + _text(f"AMQP {_BODIES[number]} in base64: {base64.b64encode(section[3:]).decode()}")
    return b""


def _map(encoded: bytes, decode: Decode) -> bytes:
    """A map whose unreadable values are binary."""
    head = 3 if encoded[0] == 0xC1 else 9
    entries = [one if _is_readable(_VALUE + one, decode) else _binary(one) for one in _values(encoded[head:])]
    content = len(entries).to_bytes(4, "big") + b"".join(entries)
    return b"\xd1" + len(content).to_bytes(4, "big") + content


def _is_readable(section: bytes, decode: Decode) -> bool:
    try:
        decode(memoryview(section))
    except Exception:
        return False
    return True


def _binary(value: bytes) -> bytes:
    return b"\xb0" + len(value).to_bytes(4, "big") + value


def _text(value: str) -> bytes:
    return b"\xb1" + len(value).to_bytes(4, "big") + value.encode()


def _values(encoded: bytes) -> Iterator[bytes]:
    """One encoded value after the other, however deep it nests."""
    start = 0
    while start < len(encoded):
        at, left = start, 1
        while left:
            constructor = encoded[at]
            at += 1
            if constructor == 0:  # a descriptor comes first, and the value after it
                left += 1
                continue
            kind = constructor >> 4
            if kind in _BY_WIDTH:
                at += _BY_WIDTH[kind]
            else:
                size = 4 if kind & 1 else 1
                at += size + int.from_bytes(encoded[at : at + size], "big")
            left -= 1
        yield encoded[start:at]
        start = at
