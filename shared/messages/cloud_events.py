"""CloudEvents 1.0 in JSON: what Event Hubs carries, and a second form in which commands may come.

Source: CloudEvents specification 1.0.2 and its JSON event format.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from .errors import InvalidMessage, MalformedJson
from .strict_json import parse_rfc3339, parse_strict, rfc3339, write_json

__all__ = ["CLOUD_EVENT_TYPE", "CloudEvent", "envelope_from", "former_id_of", "in_attributes", "message_id_of"]

CLOUD_EVENT_TYPE = "application/cloudevents+json"

_NAMESPACE = UUID("6f1c40c4-6a46-5b7c-8d0b-2f6f5e2f7b11")
"""Own namespace for ids that are derived; fixed for good."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CloudEvent:
    """An event on its way out. `data` is JSON text, written once and never parsed again here.

    `sequence` counts the events of its subject from 1 without a gap (the CloudEvents sequence extension), so that a
    consumer can tell a repeated event and a missing one.
    """

    id: str
    type: str
    source: str
    subject: str
    time: datetime
    version: str
    data: str
    correlation_id: str
    sequence: int = 0
    traceparent: str | None = None

    def to_json(self) -> bytes:
        """The structured form; `data` goes in as it is."""
        attributes = {
            "specversion": "1.0",
            "id": self.id,
            "type": self.type,
            "source": self.source,
            "subject": self.subject,
            "time": rfc3339(self.time),
            "datacontenttype": "application/json",
            "dataschema": f"urn:sluice:{self.type}:{self.version}",
            "correlationid": self.correlation_id,
            "sequence": f"{self.sequence:012d}",
        }
        if self.traceparent is not None:
            attributes["traceparent"] = self.traceparent
        head = json.dumps(attributes, ensure_ascii=False, separators=(",", ":"))
        return f'{head[:-1]},"data":{self.data}}}'.encode()

    @classmethod
    def from_json(cls, body: bytes) -> "CloudEvent":
        """Read an event of ours back.

        Raises
        ------
        MalformedJson, InvalidMessage
        """
        event = parse_strict(body)
        if not isinstance(event, dict):
            raise MalformedJson("A CloudEvent is a JSON object.")
        return cls.from_parsed(event)

    @classmethod
    def from_parsed(cls, event: Mapping[str, Any], *, write: Callable[[Any], str] = write_json) -> "CloudEvent":
        """An event of ours whose JSON is parsed.

        Parameters
        ----------
        write:
            Makes its data a text; who reads the parsed data needs none.

        Raises
        ------
        InvalidMessage
        """
        try:
            return cls(
                id=_bounded("id", event["id"], 256),
                type=_bounded("type", event["type"], 128),
                source=str(event["source"]),
                subject=_bounded("subject", event["subject"], 128),
                time=parse_rfc3339(str(event["time"])),
                version=str(event["dataschema"]).rpartition(":")[2],
                data=write(event["data"]),
                correlation_id=str(event.get("correlationid", "")),
                sequence=_whole("sequence", event.get("sequence", 0)),
                traceparent=None if event.get("traceparent") is None else str(event["traceparent"]),
            )
        except KeyError as error:
            raise InvalidMessage(f"The CloudEvents attribute {error.args[0]!r} is missing.") from None
        except ValueError as error:
            raise InvalidMessage(f"A CloudEvents attribute is wrong: {error}.") from None


def _bounded(name: str, value: Any, longest: int) -> str:
    """What becomes a key or a column of a row must fit it."""
    text = str(value)
    if not 1 <= len(text) <= longest:
        raise ValueError(f"{name} must have 1 to {longest} characters")
    return text


def _whole(name: str, value: Any) -> int:
    """A number from 0 on that a column can hold: 64 bits, with a sign."""
    written = value if isinstance(value, str) else str(value) if type(value) is int else ""
    if not (written.isascii() and written.isdecimal() and len(written) <= 19 and int(written) < 2**63):
        raise ValueError(f"{name} must be a whole number from 0 to 2^63 - 1")
    return int(written)


def envelope_from(event: Mapping[str, Any], *, now: datetime) -> dict[str, Any]:
    """A parsed CloudEvent as the fields of an envelope; what is missing is left for the model to report.

    Parameters
    ----------
    now:
        Stands for the time of an event that has none, which CloudEvents allows.

    Raises
    ------
    InvalidMessage
        It isn't a CloudEvent 1.0 with JSON data.
    """
    if event.get("specversion") != "1.0":
        raise _wrong("specversion", "must be '1.0'")
    if "data_base64" in event:
        raise _wrong("data_base64", "send JSON in data")
    kind = event.get("datacontenttype")
    if kind is not None and not (isinstance(kind, str) and _JSON.match(kind)):
        raise _wrong("datacontenttype", "send JSON in data")
    for name in ("id", "source", "type"):
        if not isinstance(event.get(name), str) or not event[name]:
            raise _wrong(name, "must be a text of one character or more")
    schema = event.get("dataschema")
    if schema is not None and not isinstance(schema, str):
        raise _wrong("dataschema", "must be a text")
    time = event.get("time")
    fields = {
        "messageId": str(message_id_of(event["source"], event["id"])),
        "timestamp": rfc3339(now) if time is None else time,
        "source": event["source"],
        "eventType": event["type"],
        "version": (schema or "").replace("/", ":").rpartition(":")[2] or "1.0",
        "data": event.get("data"),
    }
    return {name: value for name, value in fields.items() if value is not None}


def message_id_of(source: str, event_id: str) -> UUID:
    """The id of the command that an event carries: source and id together are its identity, whatever the id's form."""
    pair = f"{source}\n{event_id}"
    return uuid5(_NAMESPACE, pair if pair.count("\n") == 1 else json.dumps([source, event_id]))


def former_id_of(event: Mapping[str, Any]) -> UUID | None:
    """The message id that release 0.1 gave an event whose id is a UUID: that id alone, whatever its source."""
    try:
        return UUID(event["id"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def in_attributes(error: InvalidMessage) -> InvalidMessage:
    """What is wrong with the envelope of an event, by the names of the attributes that its sender wrote."""
    details = dict(error.details)
    if "errors" in details:
        details["errors"] = [{**one, "field": _renamed(str(one.get("field", "")))} for one in details["errors"]]
    where, colon, what = error.message.partition(":")
    return InvalidMessage(_renamed(where) + colon + what, details=details)


def _renamed(fields: str) -> str:
    return _FIELD.sub(lambda found: _ATTRIBUTES[found[0]], fields)


def _wrong(attribute: str, message: str) -> InvalidMessage:
    return InvalidMessage(
        f"{attribute}: {message}", details={"errors": [{"field": attribute, "message": message}], "count": 1}
    )


_JSON = re.compile(r"(application|text)/([\w.+-]+\+)?json\s*(;|$)", re.IGNORECASE)
_ATTRIBUTES = {"messageId": "id", "timestamp": "time", "eventType": "type", "version": "dataschema"}
_FIELD = re.compile(rf"(?<![\w.])({'|'.join(_ATTRIBUTES)})(?![\w.])")
