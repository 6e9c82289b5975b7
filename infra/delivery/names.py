"""Names as Azure works them out, for those that must be known before anything is deployed."""

from __future__ import annotations

__all__ = ["unique_string"]

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_WORD = 0xFFFF_FFFF


def unique_string(*parts: str) -> str:
    """`uniqueString` of a template: thirteen letters and digits, the same for the same parts.

    A MurmurHash of 64 bits in base 32; what the compiler predicts for these templates agrees.

    >>> unique_string("11111111-1111-1111-1111-111111111111", "dev", "westeurope")
    'nr4hwsskzwqm2'
    """
    value = _murmur("-".join(parts).encode())
    return "".join(_ALPHABET[value << 5 * place >> 59 & 31] for place in range(12)) + _ALPHABET[(value & 15) << 1]


def _murmur(data: bytes) -> int:
    """MurmurHash2's 64 bits made of two mixed words of MurmurHash3, as Resource Manager has it; seed 0."""
    first = second = 0
    whole = len(data) // 8 * 8
    for at in range(0, whole, 8):
        low, high = (int.from_bytes(data[at + part : at + part + 4], "little") for part in (0, 4))
        first = _rotated(first ^ _mixed(low, 15), 19) + second & _WORD
        first = first * 5 + 0x561C_CD1B & _WORD
        second = _rotated(second ^ _mixed(high, 17), 13) + first & _WORD
        second = second * 5 + 0x0BCA_A747 & _WORD
    if tail := data[whole:]:
        first ^= _mixed(int.from_bytes(tail[:4], "little"), 15)
        if len(tail) > 4:
            second ^= _mixed(int.from_bytes(tail[4:], "little"), 17)
    first, second = first ^ len(data), second ^ len(data)
    first = first + second & _WORD
    second = second + first & _WORD
    first, second = _finished(first), _finished(second)
    first = first + second & _WORD
    return (second + first & _WORD) << 32 | first


def _mixed(word: int, turn: int) -> int:
    before, after = (0x239B_961B, 0xAB0E_9789) if turn == 15 else (0xAB0E_9789, 0x239B_961B)
    return _rotated(word * before & _WORD, turn) * after & _WORD


def _rotated(word: int, turn: int) -> int:
    return (word << turn | word >> 32 - turn) & _WORD


def _finished(word: int) -> int:
    word = (word ^ word >> 16) * 0x85EB_CA6B & _WORD
    word = (word ^ word >> 13) * 0xC2B2_AE35 & _WORD
    return word ^ word >> 16
