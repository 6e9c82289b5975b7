"""Signatures with a shared secret: HMAC over parts of the request, as most senders make them."""

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from .incoming import MOST_TRIED, Incoming, NotGenuine, Scheme, within_tolerance

__all__ = ["Hmac", "Presented", "any_signed", "decoded"]

_PART = re.compile(r"\{([a-z0-9-]+)\}")
_KEYS: Mapping[str, Callable[[str], bytes]] = {
    "text": str.encode,
    "base64": lambda secret: base64.b64decode(secret, validate=True),
    "hex": bytes.fromhex,
}


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request presents: its signatures, and the bytes that each of them should be over."""

    signatures: tuple[bytes, ...]
    signed: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True)
class Hmac(Scheme):
    """HMAC over the body, or over a text that names parts of the request.

    Attributes
    ----------
    header:
        Where the signature stands, in lower case.
    signed:
        What is signed: `{body}`, `{method}`, `{url}`, and the value of any header by its name in lower case.
    prefix:
        What stands before each signature that counts; others are skipped.
    separator:
        What stands between several signatures; empty where there is one.
    timestamp, per_second, tolerance:
        The header with the time of signing, its parts per second, and the seconds that it may be off.
    key, key_prefix:
        How the secret is written, and what stands before it.

    Example
    -------
    >>> from datetime import UTC, datetime
    >>> scheme = Hmac(header="x-signature", encoding="hex")
    >>> body, now = b'{"id": 1}', datetime(2026, 1, 1, tzinfo=UTC)
    >>> signature = hmac.digest(b"example", body, "sha256").hex()
    >>> scheme.verify(Incoming("POST", "/", {"x-signature": signature}, body), ["example"], now=now)
    """

    header: str
    signed: str = "{body}"
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    separator: str = ""
    timestamp: str = ""
    per_second: int = 1
    tolerance: float = 300.0
    key: Literal["text", "base64", "hex"] = "text"
    key_prefix: str = ""

    def __post_init__(self) -> None:
        if self.header != self.header.lower() or not self.header:
            raise ValueError(f"the header {self.header!r} must be given in lower case")
        if "{body}" not in self.signed:
            raise ValueError("what isn't signed with its body proves nothing: `signed` must name {body}")
        if self.timestamp and f"{{{self.timestamp}}}" not in self.signed:
            raise ValueError(f"a time that isn't signed proves nothing: `signed` must name {{{self.timestamp}}}")

    def verify(self, incoming: Incoming, secrets: Sequence[str], *, now: datetime, fetched: bytes = b"") -> None:
        """Compare every signature under every secret, whichever fits."""
        if self.timestamp:
            time = incoming.header(self.timestamp)
            within_tolerance(time, now=now, tolerance=self.tolerance, per_second=self.per_second)
        presented = self.presented(incoming)
        if not any_signed(presented, [self.key_of(secret) for secret in secrets[:MOST_TRIED]], self.algorithm):
            raise NotGenuine("no secret has signed it")

    def presented(self, incoming: Incoming) -> Presented:
        """The signatures of a request, and what they are over."""
        header = incoming.header(self.header)
        given = header.split(self.separator) if self.separator else [header]
        texts = [one.removeprefix(self.prefix) for one in given if one.startswith(self.prefix)]
        return Presented(tuple(decoded(texts, self.encoding)), (self.content(incoming),))

    def content(self, incoming: Incoming) -> bytes:
        """The bytes that are signed."""
        own = {"body": incoming.body, "method": incoming.method.encode(), "url": incoming.url.encode()}
        pieces = _PART.split(self.signed)  # texts and names in turn
        return b"".join(
            (own[piece] if piece in own else incoming.header(piece).encode("latin-1", "replace"))
            if number % 2
            else piece.encode()
            for number, piece in enumerate(pieces)
        )

    def key_of(self, secret: str) -> bytes:
        """The bytes of a secret; raises ValueError, which doesn't name it, where it is none."""
        try:
            key = _KEYS[self.key](secret.strip().removeprefix(self.key_prefix))
        except (ValueError, binascii.Error):
            raise ValueError(f"a secret isn't written in {self.key}") from None
        if not key:
            raise ValueError("a secret is empty")
        return key


def decoded(texts: Iterable[str], encoding: str) -> Iterator[bytes]:
    """Signatures that can be read, no more than are tried."""
    for text in list(texts)[:MOST_TRIED]:
        try:
            yield bytes.fromhex(text) if encoding == "hex" else base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            continue


def any_signed(presented: Presented, keys: Sequence[bytes], algorithm: str) -> bool:
    """Whether a key has made a signature. Everything is compared, so that the time tells nothing."""
    found = False
    for key in keys:
        for content in presented.signed:
            expected = hmac.digest(key, content, algorithm)
            for signature in presented.signatures[:MOST_TRIED]:
                found |= hmac.compare_digest(expected, signature)
    return found
