"""Finds a person in stored texts, by whatever leads there, and takes the person out of them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from shared.encryption import (
    ERASED,
    DataKey,
    ProtectionError,
    encrypt_text,
    encrypted_bytes,
    is_encrypted_text,
    key_id_of,
)

from .survey import encrypted_key_ids

__all__ = ["Person"]

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
