"""Forgetting a person: found in stored texts, taken out of them, and the proof that nothing can be read any more."""

import base64
import binascii
import json
import re
from collections.abc import AsyncIterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json, to_json

from shared.encryption import (
    ERASED,
    TEXT_PREFIX,
    DataKey,
    Keyring,
    ProtectionError,
    encrypt_text,
    encrypted_bytes,
    is_encrypted_text,
    key_id_of,
)

__all__ = ["Person", "StoreSurvey", "encrypted_key_ids", "survey"]

_SUFFIX = "$token"


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody who is to be forgotten.

    Attributes
    ----------
    value:
        As the model's field has it: a customer's id.
    tokens:
        The person's token, and those under earlier keys.
    names:
        Of the fields, in any JSON, that say whom something is about.
    """

    value: str
    tokens: tuple[str, ...]
    names: frozenset[str]

    def is_in(self, text: str) -> bool:
        """Whether a text leads to the person: by a token, the id of a key, or a field that names the value."""
        if any(token in text for token in self.tokens):
            return True
        if any(self._owns(key_id) for key_id in encrypted_key_ids(text)):
            return True
        if self.value not in text and json.dumps(self.value)[1:-1] not in text:
            return False
        try:
            parsed = from_json(text)
        except (ValueError, RecursionError):  # nobody knows what it says: quoted, it may well be the person
            return f'"{self.value}"' in text
        objects = (value for value in _holders(parsed) if isinstance(value, dict))
        return any(str(value[name]) == self.value for value in objects for name in self.names & value.keys())

    def taken_out_of(self, text: str) -> str:
        """A JSON text in which nothing leads to the person any more; values that are encrypted stand as erased.

        Everything else of it stays as it is, to the last digit.
        """
        encrypted: set[str] = set()
        tokens: set[tuple[str, str]] = set()
        for holder in _holders(from_json(text)):
            members = list(enumerate(holder)) if isinstance(holder, list) else list(holder.items())
            for name, member in members:
                if not isinstance(member, str):
                    continue
                if is_encrypted_text(member) and self._owns(_key_id(member)):
                    encrypted.add(member)
                    beside = holder.get(f"{name}{_SUFFIX}") if isinstance(holder, dict) else None
                    if isinstance(beside, str):
                        tokens.add((f"{name}{_SUFFIX}", beside))
                elif str(name).endswith(_SUFFIX) and member in self.tokens:
                    tokens.add((str(name), member))
        nothing = encrypt_text(DataKey(ERASED, bytes(32)), "null", aad=b"")
        for member in encrypted:
            text = text.replace(f'"{member}"', f'"{nothing}"')
        for name, token in tokens:
            for colon in (":", ": "):
                text = text.replace(f"{_quoted(name)}{colon}{_quoted(token)}", f"{_quoted(name)}{colon}null")
        return text

    def _owns(self, key_id: str) -> bool:
        return key_id.partition("~")[0] in self.tokens


def _key_id(text: str) -> str:
    try:
        return key_id_of(encrypted_bytes(text))
    except (ProtectionError, ValueError):
        return ""


def _quoted(text: str) -> str:
    return to_json(text).decode()


def _holders(parsed: Any) -> Iterator[dict[str, Any] | list[Any]]:
    waiting = [parsed]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            yield value
            waiting += value if isinstance(value, list) else value.values()


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
    store: str, texts: AsyncIterable[tuple[str, str | None]], *, person: Person, keyring: Keyring
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
