"""An event as a record of Event Hubs Capture's schema, and back.

Source of the schema: "Explore captured Avro files in Azure Event Hubs" (Microsoft Learn). Its maps hold numbers, texts
and bytes. Anything else that an event has beside its body is kept as JSON text, and the record says of which names.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shared.streams import NEVER, Annotations, StreamEvent

__all__ = ["SCHEMA", "event_of", "record_of"]

SCHEMA: Mapping[str, Any] = {
    "type": "record",
    "name": "EventData",
    "namespace": "Microsoft.ServiceBus.Messaging",
    "fields": [
        {"name": "SequenceNumber", "type": "long"},
        {"name": "Offset", "type": "string"},
        {"name": "EnqueuedTimeUtc", "type": "string"},
        {"name": "SystemProperties", "type": {"type": "map", "values": ["long", "double", "string", "bytes"]}},
        {"name": "Properties", "type": {"type": "map", "values": ["long", "double", "string", "bytes", "null"]}},
        {"name": "Body", "type": ["null", "bytes"]},
    ],
}
_AS_JSON = "x-sluice-json"
"""System property: JSON of the names whose values are JSON text, `{"properties": [...], "system": [...]}`."""
_UNREADABLE = "x-sluice-unreadable"
_ENQUEUED = "x-opt-enqueued-time"
"""Milliseconds since 1970; the schema's own field has whole seconds."""
_TIME = "%m/%d/%Y %I:%M:%S %p"
_LONG = 2**63


def record_of(event: StreamEvent) -> dict[str, Any]:
    """The record of an event; without annotations it is one that was never enqueued."""
    beside = event.annotations or Annotations(enqueued=NEVER, system={})
    properties, own = _plain(event.properties, nulls=True)
    named = {name: value for name, value in beside.system.items() if name != _ENQUEUED}
    system, others = _plain(named, nulls=False)
    if own or others:
        system[_AS_JSON] = json.dumps({"properties": own, "system": others})
    if event.unreadable:
        system[_UNREADABLE] = event.unreadable
    if beside.enqueued.year > 1:
        system[_ENQUEUED] = round(beside.enqueued.timestamp() * 1_000)
    return {
        "SequenceNumber": event.sequence_number,
        "Offset": event.offset,
        "EnqueuedTimeUtc": _time_text(beside.enqueued),
        "SystemProperties": system,
        "Properties": properties,
        "Body": event.body,
    }


def event_of(record: Mapping[str, Any], partition: str) -> StreamEvent:
    """The event of a record, whoever wrote it.

    Raises
    ------
    KeyError, TypeError, ValueError
        It is no such record.
    """
    system = dict(record["SystemProperties"])
    as_json = json.loads(system.pop(_AS_JSON, "{}"))
    unreadable = system.pop(_UNREADABLE, "")
    milliseconds = system.pop(_ENQUEUED, None)
    if isinstance(milliseconds, int):
        enqueued = datetime.fromtimestamp(milliseconds / 1_000, UTC)
    else:
        enqueued = _time(record["EnqueuedTimeUtc"])
    return StreamEvent(
        body=record["Body"] or b"",
        partition=partition,
        offset=record["Offset"],
        sequence_number=record["SequenceNumber"],
        unreadable=unreadable,
        properties=_restored(record["Properties"], as_json.get("properties", ())),
        annotations=Annotations(enqueued=enqueued, system=_restored(system, as_json.get("system", ()))),
    )


def _plain(values: Mapping[str, Any], *, nulls: bool) -> tuple[dict[str, Any], list[str]]:
    """The values as the schema can hold them, and the names of those that are JSON."""
    plain, as_json = {}, []
    for name, value in values.items():
        if _fits(value, nulls=nulls):
            plain[name] = value
        else:
            plain[name] = json.dumps(value, default=str)
            as_json.append(name)
    return plain, as_json


def _fits(value: Any, *, nulls: bool) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return -_LONG <= value < _LONG
    return isinstance(value, str | float | bytes) or (value is None and nulls)


def _restored(values: Mapping[str, Any], as_json: Any) -> dict[str, Any]:
    return {**values, **{name: json.loads(values[name]) for name in as_json}}


def _time_text(time: datetime) -> str:
    """As Capture writes it, without leading zeros: `6/1/2017 1:02:03 PM`."""
    hour = time.hour % 12 or 12
    half = "AM" if time.hour < 12 else "PM"
    return f"{time.month}/{time.day}/{time.year} {hour}:{time.minute:02}:{time.second:02} {half}"


def _time(text: str) -> datetime:
    try:
        found = datetime.strptime(text, _TIME)  # noqa: DTZ007 - it is UTC, and says so in its name
    except ValueError:
        found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
