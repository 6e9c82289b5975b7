"""Masking: a caller sees of a row everything up to its access level, and of the rest that it is there."""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from shared.classification import Classification, Plan, ProtectedValue, leaves

from .fields import AssociatedData, FieldProtection, require_clear, token_name

__all__ = ["MaskedRow", "access_level_of", "masked"]

_OPERATOR = "operator"


class MaskedRow(NamedTuple):
    """A row as JSON, and by which keys it was decrypted: when one of them is erased, it isn't shown so any more."""

    body: bytes
    keys: frozenset[str] = frozenset()
    erased: bool = False


def access_level_of(roles: Collection[str] | None) -> Classification:
    """The most sensitive class that roles may see; without callers (None) there is nobody to keep anything from."""
    if roles is None or _OPERATOR in roles:
        return Classification.RESTRICTED
    return Classification.CONFIDENTIAL


async def masked(
    text: str, plans: Iterable[Plan], aad: AssociatedData, *, level: Classification, fields: FieldProtection | None
) -> MaskedRow:
    """A row's JSON as a caller with an access level sees it.

    A value above the level is replaced by its token, or by null where it has none, and its path (a JSON pointer)
    is listed under `$masked`; no key is asked for it. A value whose person was erased is null and listed under
    `$erased`. A row without protected fields comes as it is.

    Raises
    ------
    ProtectionError
        A field that the caller may see can't be decrypted.
    KeysUnavailable
    """
    guarding = [plan for plan in plans if plan.protects]
    if not guarding:
        return MaskedRow(text.encode())
    parsed = from_json(text)
    found = {one.path: one for plan in guarding for one in leaves(plan, parsed)}
    above = [one for one in found.values() if one.leaf.level > level]
    seen = [one for one in found.values() if one.leaf.level <= level]
    if fields is None:
        require_clear(seen)
    keys: frozenset[str] = frozenset() if fields is None else await fields.readable_keys(seen)
    erased = [] if fields is None else await fields.decrypt_leaves(seen, aad)
    for one in above:
        _mask(one)
    if isinstance(parsed, dict):
        notes: dict[str, list[str]] = {"$masked": [one.path for one in above], "$erased": erased}
        parsed |= {name: sorted(paths) for name, paths in notes.items() if paths}
    return MaskedRow(to_json(parsed), keys, bool(erased))


def _mask(found: ProtectedValue) -> None:
    holder: Any = found.holder
    tokenized = found.leaf.token is not None and isinstance(holder, dict)
    holder[found.name] = holder.pop(token_name(found.name), None) if tokenized else None
