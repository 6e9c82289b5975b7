"""Content-Digest (RFC 9530): the hash of a body, in a header that a signature covers. No I/O."""

import hashlib
import hmac

from .errors import SignatureRefused
from .structured_fields import Item, parse_dictionary, serialize

__all__ = ["check_digest", "content_digest"]

_HASHES = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}
"""The others of the registry are broken, and count for nothing."""


def content_digest(body: bytes, algorithm: str = "sha-256") -> str:
    """The header's value for a body; raises KeyError where the algorithm is neither `sha-256` nor `sha-512`."""
    return f"{algorithm}={serialize(Item(_HASHES[algorithm](body).digest()))}"


def check_digest(header: str, body: bytes) -> None:
    """Return if every digest that counts is the body's, and there is one.

    Raises
    ------
    SignatureRefused
    """
    found = {name: member for name, member in parse_dictionary(header).items() if name in _HASHES}
    if not found:
        raise SignatureRefused("Content-Digest has neither sha-256 nor sha-512")
    for name, member in found.items():
        given = member.value if isinstance(member, Item) else None
        if not isinstance(given, bytes) or not hmac.compare_digest(given, _HASHES[name](body).digest()):
            raise SignatureRefused("Content-Digest isn't the body's")
