"""Requests and responses of the vault, and the parts of their bodies that secrets and keys share."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from local_azure.keyvault.errors import bad_parameter
from local_azure.keyvault.items import RETENTION_SECONDS, Attributes, Changes, Item, Kind, Version

__all__ = [
    "Answer",
    "Asked",
    "deleted_part",
    "item_address",
    "page",
    "read_attributes",
    "read_body",
    "read_changes",
    "read_tags",
    "version_part",
]

T = TypeVar("T")

_PAGE: Final = 25
"""The service's page size, which a request may only make smaller."""

_LATEST_TIME: Final = 253_402_300_799


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. Names of headers are in lower case; `base` is the address the client used."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    base: str = "https://127.0.0.1"


@dataclass(frozen=True, slots=True)
class Answer:
    """One response; content None is an empty body."""

    status: int
    content: Mapping[str, Any] | None = field(default=None, repr=False)
    headers: Sequence[tuple[str, str]] = ()


def read_body(asked: Asked) -> dict[str, Any]:
    """The JSON object in the body.

    Raises
    ------
    VaultError
        400, if it is something else; its text is not repeated.
    """
    try:
        content = json.loads(asked.body or b"{}")
    except (ValueError, RecursionError):
        raise bad_parameter("The body is not JSON.") from None
    if not isinstance(content, dict):
        raise bad_parameter("The body must be an object.")
    return content


def read_changes(body: Mapping[str, Any]) -> Changes:
    """What an update names."""
    given = body.get("attributes")
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise bad_parameter("attributes must be an object.")
    enabled = given.get("enabled")
    if enabled is not None and not isinstance(enabled, bool):
        raise bad_parameter("The attribute enabled must be true or false.")
    tags = None if body.get("tags") is None else read_tags(body)
    return Changes(enabled, _time(given, "nbf"), _time(given, "exp"), tags)


def read_attributes(body: Mapping[str, Any]) -> Attributes:
    """The attributes of something new."""
    changes = read_changes(body)
    return Attributes(changes.enabled is not False, changes.not_before, changes.expires)


def read_tags(body: Mapping[str, Any]) -> dict[str, str]:
    """The tags, none if there are none."""
    tags = body.get("tags")
    if tags is None:
        return {}
    if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
        raise bad_parameter("tags must be an object of texts.")
    return dict(tags)


def _time(given: Mapping[str, Any], name: str) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LATEST_TIME:
        raise bad_parameter(f"The attribute {name} must be seconds since 1970-01-01.")
    return value


def item_address(base: str, kind: Kind, name: str, version: str = "") -> str:
    """The id of an item or a version."""
    return f"{base}/{kind}/{name}" + (f"/{version}" if version else "")


def version_part(version: Version) -> dict[str, Any]:
    """Attributes and tags, as both kinds show them."""
    attributes: dict[str, Any] = {"enabled": version.attributes.enabled}
    if version.attributes.not_before is not None:
        attributes["nbf"] = version.attributes.not_before
    if version.attributes.expires is not None:
        attributes["exp"] = version.attributes.expires
    attributes |= {
        "created": version.created,
        "updated": version.updated,
        "recoveryLevel": "Recoverable+Purgeable",
        "recoverableDays": RETENTION_SECONDS // 86_400,
    }
    return {"attributes": attributes, **({"tags": dict(version.tags)} if version.tags else {})}


def deleted_part(base: str, kind: Kind, item: Item) -> dict[str, Any]:
    """What an answer says of an item because it is deleted."""
    deleted_at = item.deleted_at or 0
    return {
        "recoveryId": f"{base}/deleted{kind}/{item.name}",
        "deletedDate": deleted_at,
        "scheduledPurgeDate": deleted_at + RETENTION_SECONDS,
    }


def page(asked: Asked, rows: Sequence[T], key: Callable[[T], str], show: Callable[[T], dict[str, Any]]) -> Answer:
    """One page of rows in the order of their keys, with the address of the next.

    A page begins after the last key of the one before, so what is added or deleted between two pages neither
    repeats nor hides another row.
    """
    size = _page_size(asked)
    after = _read_token(asked.query.get("$skiptoken"))
    rest = sorted((row for row in rows if after is None or key(row) > after), key=key)
    content: dict[str, Any] = {"value": [show(row) for row in rest[:size]], "nextLink": None}
    if len(rest) > size:
        query = {name: value for name, value in asked.query.items() if name in ("api-version", "maxresults")}
        token = base64.urlsafe_b64encode(key(rest[size - 1]).encode()).decode()
        content["nextLink"] = f"{asked.base}{asked.path}?{urlencode({**query, '$skiptoken': token})}"
    return Answer(200, content)


def _page_size(asked: Asked) -> int:
    text = asked.query.get("maxresults", str(_PAGE))
    if not (text.isascii() and text.isdecimal() and len(text) <= 2 and 1 <= int(text) <= _PAGE):
        raise bad_parameter(f"maxresults must be from 1 to {_PAGE}.")
    return int(text)


def _read_token(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return base64.b64decode(text, b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise bad_parameter("$skiptoken is not one of this vault.") from None
