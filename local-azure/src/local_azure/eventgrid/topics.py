"""Custom topics, and what a publisher sends to one: read and checked as the service does. No I/O.

Sources (learn.microsoft.com): "Publish events to Event Grid custom topics using access keys", "Azure Event Grid event
schema", "Use CloudEvents v1.0 schema with Event Grid", "Azure Event Grid quotas and limits".
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from math import ceil, isfinite
from typing import Any, Final, Self

from local_azure.eventgrid.errors import EventGridError

__all__ = ["LARGEST", "Schema", "Topic", "operations", "read_events"]

LARGEST: Final = 1_048_576
"""Bytes of an event, and of all that come with one request: 1 MB."""
CHUNK: Final = 65_536
"""Bytes that count as one operation."""
MOST_NESTED: Final = 64
"""Levels of JSON: what .NET reads unless it is asked for more."""
_NAME: Final = re.compile(r"[A-Za-z0-9-]{3,50}")
_ATTRIBUTE: Final = re.compile(r"[a-z0-9]{1,20}")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)?")
_CLOUD_TYPES: Final = ("application/cloudevents+json", "application/cloudevents-batch+json")


class Schema(StrEnum):
    """How events are written: what a topic takes, what a subscription is sent."""

    EVENT_GRID = "EventGridSchema"
    CLOUD_EVENTS = "CloudEventSchemaV1_0"


def new_key() -> str:
    """A key of a topic: 32 bytes at random in base64."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A custom topic.

    Attributes
    ----------
    local_auth:
        Whether its keys may be used; identities may always publish.
    """

    name: str
    schema: Schema = Schema.EVENT_GRID
    local_auth: bool = True
    keys: tuple[str, ...] = field(default_factory=lambda: (new_key(), new_key()), repr=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise EventGridError(
                400, "InvalidRequest", f"The topic name {self.name!r} must have 3 to 50 letters, digits and hyphens."
            )

    @classmethod
    def read(cls, name: str, content: object) -> Self:
        """A topic of the properties that Resource Manager knows: `inputSchema`, `disableLocalAuth`; and `keys`.

        Raises
        ------
        EventGridError
        """
        if not isinstance(content, Mapping):
            raise EventGridError(400, "InvalidRequest", "A topic is a JSON object.")
        unknown = set(content) - {"inputSchema", "disableLocalAuth", "keys"}
        schema = content.get("inputSchema", Schema.EVENT_GRID)
        if unknown or schema not in list(Schema):
            wrong = f"has no {', '.join(sorted(map(str, unknown)))}" if unknown else f"can't take {schema!r}"
            raise EventGridError(400, "InvalidRequest", f"The topic {name} {wrong}.")
        given = content.get("keys")
        if given is not None and not (isinstance(given, list) and all(map(_is_key, given))):
            raise EventGridError(400, "InvalidRequest", "The keys of a topic are texts in base64.")
        keys = {} if given is None else {"keys": tuple(given)}
        disabled = content.get("disableLocalAuth", False)
        if not isinstance(disabled, bool):
            raise EventGridError(400, "InvalidRequest", "disableLocalAuth must be true or false.")
        return cls(name=name, schema=Schema(schema), local_auth=not disabled, **keys)

    @property
    def resource_id(self) -> str:
        """What events of it say of where they come from."""
        return f"/subscriptions/local/resourceGroups/local/providers/Microsoft.EventGrid/topics/{self.name}"


def _is_key(given: object) -> bool:
    try:
        return isinstance(given, str) and bool(base64.b64decode(given, validate=True))
    except ValueError:
        return False


def operations(size: int) -> int:
    """What an event of so many bytes is charged as: one for each begun 64 KB."""
    return max(1, ceil(size / CHUNK))


def read_events(body: bytes, content_type: str, topic: Topic, *, published: str) -> list[dict[str, Any]]:
    """The events of a request, complete: what the service sets is set.

    Parameters
    ----------
    published:
        The time in RFC 3339, for CloudEvents that have none.

    Raises
    ------
    EventGridError
        400 where one isn't an event of the topic's schema, 413 where the request is too large: none is taken then.
    """
    if len(body) > LARGEST:
        raise EventGridError(413, "RequestEntityTooLarge", f"The maximum size ({LARGEST}) has been exceeded.")
    kind = content_type.partition(";")[0].strip().lower()
    cloud = topic.schema is Schema.CLOUD_EVENTS
    if cloud != (kind in _CLOUD_TYPES):
        raise _misfit(topic, f"The content type {kind or 'that is missing'} isn't one of that schema.")
    try:
        content = json.loads(body, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError):
        raise _misfit(topic, "The JSON received can't be parsed.") from None
    if _is_deeper(content, MOST_NESTED):
        raise _misfit(topic, f"The JSON received is nested more than {MOST_NESTED} levels deep.")
    wanted = dict if kind == "application/cloudevents+json" else list
    if not isinstance(content, wanted):
        expected, actual = ("StartObject", "StartArray") if wanted is dict else ("StartArray", _token(content))
        raise _misfit(topic, f"Token Expected: {expected}, Actual Token Received: {actual}.")
    events = content if isinstance(content, list) else [content]
    return [(_cloud_event if cloud else _grid_event)(one, topic, published) for one in events]


def _is_deeper(content: object, most: int) -> bool:
    level = [content]
    for _ in range(most + 1):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True


def _no_number(text: str) -> float:
    raise ValueError(text)


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):  # JSON has no word for what would be sent on
        raise ValueError(text)
    return number


def _token(content: object) -> str:
    if isinstance(content, dict):
        return "StartObject"
    return "String" if isinstance(content, str) else "Null" if content is None else "Number"


def _misfit(topic: Topic, why: str) -> EventGridError:
    shown = "EventGridEvent" if topic.schema is Schema.EVENT_GRID else "CloudEventV10"
    return EventGridError(
        400,
        "BadRequest",
        f"This resource is configured to receive event in '{shown}' schema. "
        f"The JSON received does not conform to the expected schema. {why}",
    )


def _text(event: Mapping[str, Any], name: str, topic: Topic) -> str:
    value = event.get(name)
    if not isinstance(value, str) or not value:
        raise _misfit(topic, f"Required property '{name}' must be a text that isn't empty.")
    return value


def _check_time(event: Mapping[str, Any], name: str, topic: Topic) -> None:
    value = event[name]
    try:
        if not isinstance(value, str) or not _TIME.fullmatch(value):
            raise ValueError
        datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value.upper()))
    except ValueError:
        raise _misfit(topic, f"Property '{name}' must be a time such as 2026-11-30T12:00:00Z.") from None


_GRID_FIELDS: Final = frozenset(
    {"id", "subject", "eventType", "eventTime", "data", "dataVersion", "topic", "metadataVersion"}
)


def _grid_event(event: Any, topic: Topic, published: str) -> dict[str, Any]:
    if not isinstance(event, dict):
        raise _misfit(topic, f"Token Expected: StartObject, Actual Token Received: {_token(event)}.")
    if unknown := sorted(set(event) - _GRID_FIELDS):
        raise _misfit(topic, f"Property '{unknown[0]}' isn't one of an event.")
    for name in ("id", "subject", "eventType", "eventTime"):
        _text(event, name, topic)
    _check_time(event, "eventTime", topic)
    if event.get("topic") not in (None, "", topic.resource_id):
        raise _misfit(topic, "Property 'topic' must be the topic's resource id, or be left out.")
    if event.get("metadataVersion") not in (None, "", "1"):
        raise _misfit(topic, "Property 'metadataVersion' must be 1, or be left out.")
    version = event.get("dataVersion")
    if not isinstance(version, str | None):
        raise _misfit(topic, "Property 'dataVersion' must be a text.")
    return {**event, "dataVersion": version or "", "metadataVersion": "1", "topic": topic.resource_id}


def _cloud_event(event: Any, topic: Topic, published: str) -> dict[str, Any]:
    if not isinstance(event, dict):
        raise _misfit(topic, f"Token Expected: StartObject, Actual Token Received: {_token(event)}.")
    if event.get("specversion") != "1.0":
        raise _misfit(topic, "Property 'specversion' must be 1.0.")
    for name in ("id", "source", "type"):
        _text(event, name, topic)
    for name in event:
        if name != "data_base64" and not _ATTRIBUTE.fullmatch(name):
            raise _misfit(topic, f"The attribute name {name[:64]!r} must have 1 to 20 lower-case letters and digits.")
    if event.get("time") is None:
        return {**event, "time": published}
    _check_time(event, "time", topic)
    return event
