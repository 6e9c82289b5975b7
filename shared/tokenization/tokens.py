"""Tokens: the same value always has the same one, and without the key nobody finds the value behind it."""

import hmac
from collections.abc import Sequence
from string import ascii_lowercase, ascii_uppercase, digits

from shared.encryption import KeySecrets
from shared.secrets import Secret

__all__ = ["TokenKeys", "Tokens"]

_SHORTEST_KEY = 32
_PURPOSE = b"sluice token v1"
_PREFIX = "tok_"
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_LENGTH = 26
"""Characters of 5 bits: the first 128 bits of the HMAC, and two bits of padding."""
_CLASSES = (digits, ascii_lowercase, ascii_uppercase)
_MAX_VALUE = 4_096


class Tokens:
    """Makes tokens under a key (HMAC-SHA-256), and under earlier keys for what was written before.

    A token is `tok_` and 26 letters and digits: 128 bits. Among a billion values of a kind the odds that any two share
    a token are 10^-21.

    With `keep_format` digits stay digits, small and capital letters of ASCII stay such, everything else stays itself,
    so that a token passes where only such a value does. There are as few tokens as there are values of that form:
    among n values in a space of N the odds of a collision are about 1 - exp(-n²/2N). For five digits (N = 100,000)
    they are 5% among 100 values, 71% among 500; for sixteen digits 0.005% among a million. Such a token is for the eye
    and for formats; what identifies a subject takes one without.

    Parameters
    ----------
    keys:
        The current key, then earlier ones; at least 32 bytes each.
    """

    __slots__ = ("_keys",)

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) < _SHORTEST_KEY for key in keys):
            raise ValueError(f"a token key has at least {_SHORTEST_KEY} bytes")
        self._keys = tuple(keys)

    def token(self, kind: str, value: str, *, keep_format: bool = False) -> str:
        """The token of a value of a kind; kinds have nothing in common."""
        return _token(self._keys[0], kind, value, keep_format=keep_format)

    def candidates(self, kind: str, value: str, *, keep_format: bool = False) -> tuple[str, ...]:
        """The token of a value, then those that it had under earlier keys: what to look for."""
        return tuple(_token(key, kind, value, keep_format=keep_format) for key in self._keys)

    def __repr__(self) -> str:
        return f"Tokens({len(self._keys)} keys)"

    def __reduce__(self) -> str:
        raise TypeError("token keys aren't pickled")


def _token(key: bytes, kind: str, value: str, *, keep_format: bool) -> str:
    if len(value) > _MAX_VALUE:
        raise ValueError(f"a value of {len(value)} characters has no token, at most {_MAX_VALUE} are taken")
    name, text = kind.encode(), value.encode("utf-8", "surrogatepass")
    form = b"format" if keep_format else b"opaque"
    message = b"".join((_PURPOSE, form, len(name).to_bytes(2, "big"), name, text))
    digest = hmac.digest(key, message, "sha256")
    if keep_format:
        return _formatted(key, digest, value)
    number = int.from_bytes(digest[:16], "big") << 2
    return _PREFIX + "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(_LENGTH)))


def _formatted(key: bytes, seed: bytes, value: str) -> str:
    """Each character of a class becomes one of its class; 64 bits for each leave no bias to speak of (2^-59)."""
    needed = 8 * len(value)
    stream = b""
    for counter in range(-(-needed // 32)):
        stream += hmac.digest(key, seed + counter.to_bytes(4, "big"), "sha256")
    return "".join(
        _in_class(character, int.from_bytes(stream[8 * place : 8 * place + 8], "big"))
        for place, character in enumerate(value)
    )


def _in_class(character: str, number: int) -> str:
    alphabet = next((one for one in _CLASSES if character in one), character)
    return alphabet[number % len(alphabet)]


class TokenKeys:
    """The token key, read from where secrets are kept: the current version and the previous one.

    A new version makes tokens on each instance once its cache has it; until all have, a value may be written under
    either, and `candidates` finds both on those that have.

    Parameters
    ----------
    earlier:
        Older versions (`name/version`) under which tokens are stored: a cache forgets them after a rotation.
    """

    def __init__(self, secrets: KeySecrets, name: str, *, earlier: Sequence[str] = ()) -> None:
        self._secrets = secrets
        self._name = name
        self._earlier = tuple(earlier)
        self._read: tuple[tuple[str, ...], Tokens] | None = None

    async def tokens(self) -> Tokens:
        """What makes tokens under the versions that are valid now; raises what the secrets' source raises."""
        known: list[Secret] = list(await self._secrets.both(self._name))
        for name in self._earlier:
            secret = await self._secrets.get(name)
            if secret.version not in {one.version for one in known}:
                known.append(secret)
        versions = tuple(secret.version for secret in known)
        if self._read is None or self._read[0] != versions:
            self._read = versions, Tokens([secret.value.encode() for secret in known])
        return self._read[1]

    def peek(self) -> Tokens | None:
        """What `tokens` answered last, where it was asked before."""
        return None if self._read is None else self._read[1]
