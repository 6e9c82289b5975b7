"""CloudEvents 1.0 in JSON: what Event Hubs carries, and a second form in which commands may come.

Source: CloudEvents specification 1.0.2 and its JSON event format.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from .errors import InvalidMessage, MalformedJson
from .strict_json import parse_strict, write_json
from .times import parse_rfc3339, rfc3339

__all__ = ["CLOUD_EVENT_TYPE", "CloudEvent", "envelope_from"]

CLOUD_EVENT_TYPE = "application/cloudevents+json"

_NAMESPACE = UUID("6f1c40c4-6a46-5b7c-8d0b-2f6f5e2f7b11")
"""Own namespace for ids of senders that don't use UUIDs; fixed for good."""


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
        try:
            return cls(
                id=_bounded("id", event["id"], 256),
                type=_bounded("type", event["type"], 128),
                source=str(event["source"]),
                subject=_bounded("subject", event["subject"], 128),
                time=parse_rfc3339(str(event["time"])),
                version=str(event["dataschema"]).rpartition(":")[2],
                data=write_json(event["data"]),
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


def envelope_from(event: Mapping[str, Any]) -> dict[str, Any]:
    """A parsed CloudEvent as the fields of an envelope; what is missing is left for the model to report.

    Raises
    ------
    InvalidMessage
        It isn't a CloudEvent 1.0 with JSON data.
    """
    if event.get("specversion") != "1.0":
        raise InvalidMessage("specversion: must be '1.0'", details={"errors": [{"field": "specversion"}]})
    if "data_base64" in event:
        raise InvalidMessage("data_base64: send JSON in data", details={"errors": [{"field": "data_base64"}]})
    schema = str(event.get("dataschema") or "")
    fields = {
        "messageId": _message_id(event),
        "timestamp": event.get("time"),
        "source": event.get("source"),
        "eventType": event.get("type"),
        "version": schema.replace("/", ":").rpartition(":")[2] or "1.0",
        "data": event.get("data"),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _message_id(event: Mapping[str, Any]) -> str | None:
    """A UUID stays; any other id becomes one that depends on source and id, which together are unique."""
    identity = event.get("id")
    if not isinstance(identity, str) or not identity:
        return None
    try:
        return str(UUID(identity))
    except ValueError:
        return str(uuid5(_NAMESPACE, f"{event.get('source')}\n{identity}"))
