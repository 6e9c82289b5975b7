"""Reads the recordings of the real host, sends what they say was sent, and compares name, kind and text."""

import base64
import datetime as dt
import json
import re
import struct
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from azure.eventhub import EventData
from azure.eventhub._pyamqp import _encode as hub_encode
from azure.servicebus import ServiceBusMessage
from azure.servicebus._pyamqp import _encode as bus_encode

FOLDER = Path(__file__).parents[2] / "recordings"
BODIES = {
    "full": b'{"orderId":42,"MessageId":"forged","nested":{"a":1},"list":[1,2],"when":"2024-05-06T07:08:09Z",'
    b'"flag":true,"none":null,"amount":1.50}',
    "bare": b"plain text, not JSON",
    "binary": b"\x00\x01\x02\xff\xfe\x80",
    "empty": b"",
}
_TICKS = 10_000_000


def recorded(name: str) -> list[dict[str, Any]]:
    """What one file holds."""
    records: list[dict[str, Any]] = json.loads((FOLDER / f"{name}.json").read_text())["recorded"]
    return records


# Sending


def _char(output: bytearray, value: str, **_: Any) -> None:
    output.extend(b"\x73" + struct.pack(">I", ord(value)))


def _decimal(output: bytearray, value: Decimal, **_: Any) -> None:
    sign, digits, exponent = value.as_tuple()
    coefficient = int("".join(map(str, digits)))
    output.extend(b"\x94" + (sign << 127 | (int(exponent) + 6176) << 113 | coefficient).to_bytes(16, "big"))


def _typed(kind: str, value: Any) -> dict[str, Any]:
    return {"TYPE": kind, "VALUE": value}


def _described(name: str, value: Any) -> tuple[Any, Any]:
    return _typed("SYMBOL", f"com.microsoft:{name}"), value


def properties() -> dict[Any, Any]:
    """Application properties of every type that .NET's client sends, as the Python clients are told to encode them."""
    for module in (bus_encode, hub_encode):
        encoders: Any = module.__dict__["_ENCODE_MAP"]
        encoders |= {"CHAR": _char, "DECIMAL": _decimal}
    span = dt.timedelta(days=1, hours=2, minutes=3, seconds=4, milliseconds=5)
    offset = dt.datetime(2024, 5, 6, 5, 8, 9, tzinfo=dt.UTC) - dt.datetime(1, 1, 1, tzinfo=dt.UTC)
    return {
        "text": "héllo",
        "empty": "",
        "int": _typed("INT", 7),
        "long": _typed("LONG", 5_000_000_000),
        "short": _typed("SHORT", 3),
        "byte": _typed("UBYTE", 200),
        "sbyte": _typed("BYTE", -3),
        "ushort": _typed("USHORT", 65_000),
        "uint": _typed("UINT", 4_000_000_000),
        "ulong": _typed("ULONG", 9_000_000_000),
        "double": 1.5,
        "doubleWhole": 2.0,
        "float": _typed("FLOAT", 0.1),
        "decimal": _typed("DECIMAL", Decimal("12.50")),
        "bool": True,
        "char": _typed("CHAR", "x"),
        "guid": uuid.UUID("11111111-2222-3333-4444-555555555555"),
        "datetime": _typed("TIMESTAMP", dt.datetime(2024, 5, 6, 7, 8, 9, 123_000, tzinfo=dt.UTC)),
        "datetimeOffset": _described("datetime-offset", _typed("LONG", int(offset.total_seconds()) * _TICKS)),
        "timespan": _described("timespan", _typed("LONG", int(span.total_seconds() * _TICKS))),
        "uri": _described("uri", "http://example.org/a%20b"),
        "isoText": "2024-05-06T07:08:09Z",
    }


def full_message(*, session: str | None = None) -> ServiceBusMessage:
    """The recorded message with every property set."""
    return ServiceBusMessage(
        BODIES["full"],
        message_id="full-json",
        content_type="application/json",
        correlation_id="corr-1",
        subject="subject-1",
        to="to-1",
        reply_to="reply-1",
        reply_to_session_id="reply-session-1",
        time_to_live=dt.timedelta(hours=1),
        application_properties=properties(),
        session_id=session,
        partition_key=None if session else "pk-1",
    )


def bare_message(kind: str, message_id: str, *, session: str | None = None) -> ServiceBusMessage:
    """A message with a body and an id alone."""
    return ServiceBusMessage(BODIES.get(kind, kind.encode()), message_id=message_id, session_id=session)


def full_event() -> EventData:
    """The recorded event with properties."""
    return event(BODIES["full"], with_properties=True)


def event(body: bytes, *, with_properties: bool = False) -> EventData:
    """An event with a body, and properties on demand."""
    made = EventData(body)
    if with_properties:
        made.properties = properties()
        made.message_id, made.correlation_id, made.content_type = "m-1", "c-1", "application/json"
    return made


# Comparing

_TIME = re.compile(r"(?<![\d-])(?!0001-01-01|9999-12-31|2024-05-06)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,7})?")
_SHOWN_TIME = re.compile(r"^\d\d/\d\d/2026 \d\d:\d\d:\d\d$")
_UUID = re.compile(r"(?!11111111-2222)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PORT = re.compile(r"(?<=127\.0\.0\.1:)\d+|(?<=host\.example:)\d+")


_OFFSET = re.compile(r'(?<=x-opt-offset":")[1-9]\d*|(?<="Offset":)[1-9]\d*|(?<="OffsetString":")[1-9]\d*')


def _offsets(value: dict[str, Any]) -> dict[str, Any]:
    """Offsets but the first depend on how many bytes the sender's client needs for an event."""
    (kind, texts), *_ = value.items()
    return {kind: ["OFFSET" if text > "0" else text for text in texts] if isinstance(texts, list) else texts}


def comparable(value: Any) -> Any:
    """A value without what no two runs share: times, ids and ports become a word, in their place and form."""
    if isinstance(value, dict):
        return {
            name: comparable(_offsets(inner) if name.startswith("Offset") else inner) for name, inner in value.items()
        }
    if isinstance(value, list):
        return [comparable(inner) for inner in value]
    if isinstance(value, str):
        text = _SHOWN_TIME.sub("SHOWN-TIME", _TIME.sub("TIME", value))
        text = _OFFSET.sub("OFFSET", text)
        return _PORT.sub("PORT", _UUID.sub("UUID", text.replace("host.example", "127.0.0.1")))
    return value


def differences(where: str, expected: Any, actual: Any) -> Iterator[str]:
    """Every place where two values differ, by its path."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        for name in sorted({*expected, *actual}):
            if name not in actual:
                yield f"{where}.{name}: missing, recorded {_brief(expected[name])}"
            elif name not in expected:
                yield f"{where}.{name}: not recorded, here {_brief(actual[name])}"
            else:
                yield from differences(f"{where}.{name}", expected[name], actual[name])
    elif expected != actual:
        yield f"{where}: recorded {_brief(expected)}, here {_brief(actual)}"


def _brief(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:600]


def handed_over(text: str) -> list[dict[str, Any]]:
    """What a host's log says was handed to converters, with the function it was for."""
    found: list[dict[str, Any]] = []
    function = ""
    for line in text.splitlines():
        if match := re.search(r"Executing 'Functions\.(\w+)'", line):
            function = match[1]
        elif line.startswith("{"):
            record = json.loads(line)
            if record.get("event") == "handed":
                found.append({**record, "function": function, "context": None})
            elif record.get("event") == "called":
                waiting = [each for each in found if each["function"] == record["function"] and not each["context"]]
                waiting[0]["context"] = record
    return found


def input_of(record: dict[str, Any]) -> dict[str, Any]:
    """The trigger's value of a recording."""
    (given,) = record["input_data"]
    return {name: value for name, value in given.items() if name != "name"}


def body_of(value: dict[str, Any]) -> bytes:
    """The bytes of an input, for finding the counterpart of a record."""
    if "bytes_base64" in value:
        return base64.b64decode(value["bytes_base64"])
    return json.dumps(value, sort_keys=True).encode()


_SPAN = re.compile(r"(?<=^00-)[0-9a-f]{32}-[0-9a-f]{16}(?=-0[01]$)")
_KEPT = "11111111111111111111111111111111"
_CUT = "..."


def context_differences(where: str, record: dict[str, Any], context: dict[str, Any] | None) -> Iterator[str]:
    """Differences of the trace and retry contexts; an exception's texts were recorded up to where they were cut."""
    if context is None:
        return
    expected = {"trace_parent": "", "attributes": {}, **record["trace_context"]}
    yield from differences(f"{where}.trace_context", _traced(expected), _traced(context["trace"]))
    retry = {"retry_count": 0, "max_retry_count": 0, **(record["retry_context"] or {})}
    error = {"message": "", "source": "", "stack_trace": "", **retry.get("exception", {})}
    actual = dict(context["retry"]["exception"])
    for name, text in error.items():
        if text.endswith(_CUT) and actual[name].startswith(text.removesuffix(_CUT)):
            actual[name] = text
    yield from differences(
        f"{where}.retry_context", {**retry, "exception": error}, {**context["retry"], "exception": actual}
    )


def _traced(trace: dict[str, Any]) -> dict[str, Any]:
    parent = trace["trace_parent"]
    kept = _KEPT in parent
    parent = re.sub(r"(?<=1-)[0-9a-f]{16}", "SPAN", parent) if kept else _SPAN.sub("TRACE-SPAN", parent)
    tags = dict(trace["attributes"])
    if "FunctionExecutionTimeMs" in tags:
        tags["FunctionExecutionTimeMs"] = re.sub(r"\d+\.\d+", "MILLISECONDS", tags["FunctionExecutionTimeMs"])
    return {"trace_parent": parent, "attributes": comparable(tags)}


def unexplained(found: list[str], *names: str) -> str:
    """The differences that no line of the table accounts for, and the lines of these names that account for none."""
    table = {each["name"]: each for each in json.loads((FOLDER / "differences.json").read_text())}
    lines = [each for each in found if not any(re.search(table[name]["where"], each) for name in names)]
    stale = [name for name in names if not any(re.search(table[name]["where"], each) for each in found)]
    return "\n".join([*lines, *(f"no longer a difference: {name}" for name in stale)])
