"""The proof of an erasure: what is encrypted about a subject, store by store, and how much of it can be decrypted."""

import base64
import binascii
import re
from collections.abc import AsyncIterable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from shared.encryption import TEXT_PREFIX, Keyring, ProtectionError, key_id_of

__all__ = ["StoreSurvey", "encrypted_key_ids", "survey"]

_SEALED = re.compile(re.escape(TEXT_PREFIX) + r"([A-Za-z0-9_-]{40,})")
_HEAD = 176
"""Characters of base64 that hold any header, and the nonce and tag that must follow it."""
_SAMPLES = 5


def encrypted_key_ids(text: str) -> Iterator[str]:
    """The key ids of the encrypted values in a text, in their order; what only looks like one is passed over."""
    for found in _SEALED.finditer(text):
        head = found[1][:_HEAD]
        try:
            yield key_id_of(base64.urlsafe_b64decode(head[: len(head) // 4 * 4]))
        except (ProtectionError, binascii.Error, ValueError):
            continue


class Finder(Protocol):
    """Knows what leads to a person; `Person` does."""

    @property
    def tokens(self) -> Collection[str]:
        """The person's tokens."""
        ...

    def is_in(self, text: str) -> bool:
        """Whether a text leads to the person."""
        ...


@dataclass(slots=True)
class StoreSurvey:
    """What a store holds about a person.

    Attributes
    ----------
    found:
        Places that lead to the person: by a token, the id of a key, or a field that names the person.
    unread:
        Places whose content can't be read, so that nobody knows.
    values:
        Encrypted values under the person's keys.
    openable:
        Those of them whose key can be had.
    refused:
        Codes of the errors of the others.
    samples:
        Names of the first few places.
    """

    store: str
    seen: int = 0
    found: int = 0
    unread: int = 0
    values: int = 0
    openable: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    samples: list[str] = field(default_factory=list)


async def survey(
    store: str, texts: AsyncIterable[tuple[str, str | None]], *, person: Finder, keyring: Keyring
) -> StoreSurvey:
    """Look through the texts of a store, each with its name, None where it can't be read, for what is about a person.

    Raises
    ------
    KeysUnavailable
    """
    found = StoreSurvey(store)
    answers: dict[str, str | None] = {}
    async for name, text in texts:
        found.seen += 1
        if text is None:
            found.unread += 1
            continue
        if not person.is_in(text):
            continue
        found.found += 1
        if len(found.samples) < _SAMPLES:
            found.samples.append(name)
        for key_id in encrypted_key_ids(text):
            if key_id.partition("~")[0] not in person.tokens:
                continue
            found.values += 1
            if key_id not in answers:
                answers[key_id] = await _refusal(key_id, keyring)
            refusal = answers[key_id]
            if refusal is None:
                found.openable += 1
            else:
                found.refused[refusal] = found.refused.get(refusal, 0) + 1
    return found


async def _refusal(key_id: str, keyring: Keyring) -> str | None:
    try:
        await keyring.get(key_id)
    except ProtectionError as error:
        return str(error.code)
    return None
