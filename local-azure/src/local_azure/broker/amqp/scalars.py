"""A short way to read the lists that travel with every message: their fields in the encodings that clients use.

What is not among these encodings, or is wrong, is left to `decode_fields`, which knows all and tells what is wrong.
The way matters because a broker that is woken for one message runs with cold caches: each function that is passed
through costs several times what it does in a loop.
"""

from __future__ import annotations

from typing import Any, Final

from local_azure.broker.amqp.decode import decode

__all__ = ["ANY", "BINARY", "FLAG", "UBYTE", "UINT", "decode_scalars"]

UINT: Final = 0
FLAG: Final = 1
BINARY: Final = 2
UBYTE: Final = 3
ANY: Final = 4

_NULL, _TRUE, _FALSE, _UINT_ZERO, _SMALL_UINT, _WIDE_UINT = 0x40, 0x41, 0x42, 0x43, 0x52, 0x70
_UBYTE, _SHORT_BINARY, _SHORT_LIST, _LONG_LIST = 0x50, 0xA0, 0xC0, 0xD0


def decode_scalars(data: bytes, position: int, end: int, kinds: tuple[int, ...]) -> tuple[list[Any], int] | None:
    """The fields of the list at `position`, one for each of `kinds` (absent ones are None), and where it ends.

    None if the list is not in one of the usual encodings. Raises `DecodeError` for a field of kind `ANY`.
    """
    if end - position < 9:
        return None
    code = data[position]
    if code == _SHORT_LIST:
        stop, count, at = position + 2 + data[position + 1], data[position + 2], position + 3
    elif code == _LONG_LIST:
        stop = position + 5 + int.from_bytes(data[position + 1 : position + 5])
        count, at = int.from_bytes(data[position + 5 : position + 9]), position + 9
    else:
        return None
    if stop > end or count > len(kinds):
        return None
    values: list[Any] = [None] * len(kinds)
    for index in range(count):
        if at >= stop:
            return None
        code, kind = data[at], kinds[index]
        if code == _NULL:
            at += 1
        elif kind == UINT:
            if code == _SMALL_UINT:
                values[index] = int.from_bytes(data[at + 1 : at + 2])
                at += 2
            elif code == _UINT_ZERO:
                values[index] = 0
                at += 1
            elif code == _WIDE_UINT:
                values[index] = int.from_bytes(data[at + 1 : at + 5])
                at += 5
            else:
                return None
        elif kind == FLAG:
            if code not in (_TRUE, _FALSE):
                return None
            values[index] = code == _TRUE
            at += 1
        elif kind == BINARY:
            if code != _SHORT_BINARY or at + 2 > stop:
                return None
            after = at + 2 + data[at + 1]
            values[index] = data[at + 2 : after]
            at = after
        elif kind == UBYTE:
            if code != _UBYTE or at + 2 > stop:
                return None
            values[index] = data[at + 1]
            at += 2
        else:
            values[index], at = decode(data, at, stop)
    return (values, stop) if at == stop else None
