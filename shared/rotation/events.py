"""What Key Vault tells of its secrets, in both schemas of Event Grid, checked before anything is done about it. Pure.

"Azure Key Vault as Event Grid source" (learn.microsoft.com) has the fields; their case differs between the schemas.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from shared.audit import SecurityEvent, security_event
from shared.environment import SecretReference
from shared.messages import parse_rfc3339

__all__ = ["BadEvent", "EventKind", "SecretEvent", "read_event"]

PREFIX = "Microsoft.KeyVault."
LONGEST = 256
AHEAD = timedelta(minutes=5)
"""How far the sender's clock may be ahead."""


class EventKind(StrEnum):
    """What happened to a secret."""

    NEW_VERSION = "SecretNewVersionCreated"
    NEAR_EXPIRY = "SecretNearExpiry"
    EXPIRED = "SecretExpired"


class BadEvent(ValueError):
    """Not an event of a vault of this app; the message names the field, never what is in it."""


@dataclass(frozen=True, slots=True)
class SecretEvent:
    """A checked event; `time` is in UTC."""

    id: str
    kind: EventKind
    name: str
    version: str
    time: datetime


def read_event(content: object, *, vaults: Collection[str], now: datetime) -> SecretEvent | None:
    """The event, or None where it is about something else in the vault, such as a key or a certificate.

    Parameters
    ----------
    vaults:
        Addresses of the vaults that are this app's.

    Raises
    ------
    BadEvent
        It is no event, of no vault of this app, or contradicts itself.
    """
    if not isinstance(content, Mapping):
        raise BadEvent("an event is a JSON object")
    cloud = "specversion" in content
    if cloud and content["specversion"] != "1.0":
        raise BadEvent("specversion must be 1.0")
    kind = _text(content, "type" if cloud else "eventType")
    if not kind.startswith(PREFIX):
        raise BadEvent("the type is none of Key Vault's")
    identity = _text(content, "id")
    time = _time(content, "time" if cloud else "eventTime")
    if time > now + AHEAD:
        raise BadEvent("the time is yet to come")
    if kind.removeprefix(PREFIX) not in set(EventKind):
        return None
    data = content.get("data")
    if not isinstance(data, Mapping):
        raise BadEvent("data must be an object")
    fields = {str(name).lower(): value for name, value in data.items()}
    if _text(fields, "objecttype").lower() != "secret":
        raise BadEvent("ObjectType must be Secret")
    secret = _reference(_text(fields, "id", longest=1_024), vaults)
    assert secret.version is not None
    same = (
        (_text(fields, "objectname"), secret.name),
        (_text(fields, "version"), secret.version),
        (_text(content, "subject"), secret.name),
    )
    if any(given.lower() != named.lower() for given, named in same):
        raise BadEvent("Id, ObjectName, Version and subject name different secrets")
    return SecretEvent(identity, EventKind(kind.removeprefix(PREFIX)), secret.name, secret.version, time)


def _text(content: Mapping[Any, Any], name: str, *, longest: int = LONGEST) -> str:
    value = content.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= longest:
        raise BadEvent(f"{name} must be a text of 1 to {longest} characters")
    return value


def _time(content: Mapping[Any, Any], name: str) -> datetime:
    try:
        return parse_rfc3339(_text(content, name)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadEvent(f"{name} {error}") from None


def _reference(address: str, vaults: Collection[str]) -> SecretReference:
    try:
        parts = urlsplit(address)
        path = parts.path.split("/")
    except ValueError:
        raise BadEvent("Id must be an address") from None
    if f"{parts.scheme}://{parts.netloc}".lower() not in {vault.lower() for vault in vaults}:
        security_event(SecurityEvent.REFUSED_ADDRESS, "an event of a vault that isn't this app's")
        raise BadEvent("Id is in no vault of this app")
    if len(path) != 4 or path[:2] != ["", "secrets"] or parts.query or parts.fragment:
        raise BadEvent("Id must be https://<vault>/secrets/<name>/<version>")
    try:
        return SecretReference(path[2], path[3])
    except ValueError as error:
        raise BadEvent(f"Id: {error}") from None
