"""Turns authorization rules into XML elements and back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from xml.etree.ElementTree import Element

from local_azure.broker.admin import atom
from local_azure.broker.entities import AuthorizationRule

__all__ = ["add_authorization_rules", "read_authorization_rules"]

_TYPE: Final = "SharedAccessAuthorizationRule"
_TEXTS: Final = {
    "ClaimType": "claim_type",
    "ClaimValue": "claim_value",
    "PrimaryKey": "primary_key",
    "SecondaryKey": "secondary_key",
}


def read_authorization_rules(element: Element) -> tuple[AuthorizationRule, ...]:
    """The rules of an `AuthorizationRules` element. Raises `InvalidEntityError`."""
    return tuple(_read(each) for each in element if atom.local_name(each) == "AuthorizationRule")


def _read(element: Element) -> AuthorizationRule:
    rights = atom.child(element, "Rights")
    named: Any = () if rights is None else [(right.text or "").strip() for right in rights]
    values: dict[str, Any] = {
        field: text for name, field in _TEXTS.items() if (text := _text(element, name)) is not None
    }
    return AuthorizationRule(
        key_name=_text(element, "KeyName") or "",
        rights=tuple(named),
        **values,
    )


def _text(element: Element, name: str) -> str | None:
    found = atom.child(element, name)
    return None if found is None else (found.text or "").strip() or None


def add_authorization_rules(
    parent: Element, rules: Sequence[AuthorizationRule], created: datetime, modified: datetime
) -> None:
    """Append the rules, in the order in which the service writes their parts."""
    element = atom.add(parent, "AuthorizationRules")
    for rule in rules:
        each = atom.add(element, "AuthorizationRule", **{"i:type": _TYPE})
        atom.add(each, "ClaimType", rule.claim_type)
        atom.add(each, "ClaimValue", rule.claim_value)
        rights = atom.add(each, "Rights")
        for right in rule.rights:
            atom.add(rights, "AccessRights", right)
        atom.add(each, "CreatedTime", atom.format_time(created))
        atom.add(each, "ModifiedTime", atom.format_time(modified))
        atom.add(each, "KeyName", rule.key_name)
        for name, key in (("PrimaryKey", rule.primary_key), ("SecondaryKey", rule.secondary_key)):
            if key is not None:
                atom.add(each, name, key)
