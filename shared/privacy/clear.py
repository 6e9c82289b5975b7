"""Stored JSON with its encrypted fields in clear, whatever model it was, for the person whom it is about."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from shared.encryption import (
    Erased,
    Keyring,
    ProtectionError,
    decrypt,
    encrypted_bytes,
    is_encrypted_text,
    key_id_of,
)

from .fields import AssociatedData, token_name

__all__ = ["ClearText", "in_clear"]


@dataclass(slots=True)
class ClearText:
    """What a stored text says.

    Attributes
    ----------
    value:
        The JSON; the text itself where it is none.
    unread:
        JSON pointers to the fields that can't be decrypted, which stand as they are stored.
    """

    value: Any
    unread: list[str] = field(default_factory=list)


async def in_clear(text: str, bound_to: Sequence[AssociatedData], keyring: Keyring | None) -> ClearText:
    """A text with every field decrypted that is bound to one of some places, or to the event that it stands in.

    A value whose person was erased is null.

    Raises
    ------
    KeysUnavailable
    """
    try:
        found = ClearText(from_json(text))
    except ValueError:
        return ClearText(text)
    waiting: list[tuple[Any, str, str, Sequence[AssociatedData]]] = [(found.value, "", "", bound_to)]
    while waiting:
        holder, pointer, path, places = waiting.pop()
        for name, member in _members(holder):
            segment = str(name).replace("~", "~0").replace("/", "~1")
            inner = (f"{pointer}/{segment}", f"{path}/{segment}", places)
            if isinstance(member, dict | list):
                event = _event(holder) if name == "data" else None
                waiting.append((member, *inner) if event is None else (member, inner[0], "", [event]))
            elif not await _replaced(holder, name, inner[1], places, keyring):
                found.unread.append(inner[0])
    return found


def _members(holder: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(holder, dict):
        return list(holder.items())
    return list(enumerate(holder)) if isinstance(holder, list) else []


def _event(holder: Any) -> AssociatedData | None:
    """What the data of a CloudEvent is bound to."""
    if not isinstance(holder, Mapping) or not isinstance(holder.get("specversion"), str):
        return None
    identity, kind = holder.get("id"), holder.get("type")
    return ("event", identity, kind) if isinstance(identity, str) and isinstance(kind, str) else None


async def _replaced(
    holder: Any, name: Any, path: str, places: Sequence[AssociatedData], keyring: Keyring | None
) -> bool:
    """Whether a member is in clear now; one that isn't encrypted was before."""
    text = holder.get(name) if isinstance(holder, dict) else holder[name]  # a token goes with its field
    if not isinstance(text, str) or not is_encrypted_text(text):
        return True
    if keyring is None:
        return False
    try:
        content = encrypted_bytes(text)
        key = await keyring.get(key_id_of(content))
    except Erased:
        holder[name] = None
        return True
    except (ProtectionError, ValueError):
        return False
    for place in places:
        try:
            clear = decrypt(key, content, aad="\x1f".join((*place, path)).encode())
        except ProtectionError:
            continue
        holder[name] = from_json(clear)
        if isinstance(holder, dict):
            holder.pop(token_name(str(name)), None)
        return True
    return False
