"""Continuations: what a page gives its reader to ask for the next one; opaque, and good for that query only.

Encrypted by AES-SIV (RFC 5297), which needs no number used once, and bound to the query as additional authenticated
data: one that was made up, changed, or made for another query or under another key is refused.
"""

import base64
import binascii
import hashlib
import json

from shared.query import Place
from shared.secrets import RotatingKey

__all__ = ["Continuations"]

_LONGEST = 4_096


class Continuations:
    """Makes and reads them with the keys of the moment."""

    def __init__(self, keys: RotatingKey) -> None:
        self._keys = keys

    async def make(self, place: Place, left: int | None, query: str) -> str:
        """As text, safe in a URL; `left` is how many rows are still wanted in all, where that was asked."""
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV  # with the first page, not at the start

        key = (await self._keys.keys()).accepted[0]
        content = json.dumps([place.after, place.skip, left], ensure_ascii=False, separators=(",", ":"))
        encrypted = AESSIV(_derived(key)).encrypt(
            content.encode("utf-8", "surrogatepass"), [query.encode("utf-8", "surrogatepass")]
        )
        return base64.urlsafe_b64encode(encrypted).decode().rstrip("=")

    async def read(self, text: str, query: str) -> tuple[Place, int | None] | None:
        """The place, and what is left; None where it isn't this query's."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV

        if len(text) > _LONGEST:
            return None
        try:
            encrypted = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        for key in (await self._keys.keys()).accepted:
            try:
                content = AESSIV(_derived(key)).decrypt(encrypted, [_bytes(query)])
            except (InvalidTag, ValueError):
                continue
            after, skip, left = json.loads(content.decode("utf-8", "surrogatepass"))
            return Place(after, skip), left
        return None


def _derived(key: str) -> bytes:
    return hashlib.sha512(b"sluice continuation\0" + key.encode()).digest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
