"""Events as Avro files of Capture's schema, and back without a difference."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.lake.bronze import CorruptFile
from shared.lake.bronze.encoding import decode, encode
from shared.lake.bronze.records import SCHEMA
from shared.streams import Annotations, StreamEvent

NOON = datetime(2026, 11, 30, 12, 0, 0, 123_000, UTC)
DOCUMENTED = """
{"type": "record", "name": "EventData", "namespace": "Microsoft.ServiceBus.Messaging", "fields": [
  {"name": "SequenceNumber", "type": "long"},
  {"name": "Offset", "type": "string"},
  {"name": "EnqueuedTimeUtc", "type": "string"},
  {"name": "SystemProperties", "type": {"type": "map", "values": ["long", "double", "string", "bytes"]}},
  {"name": "Properties", "type": {"type": "map", "values": ["long", "double", "string", "bytes", "null"]}},
  {"name": "Body", "type": ["null", "bytes"]}]}
"""


def event(number: int = 0, body: bytes = b"{}", **beside: Any) -> StreamEvent:
    """An event of partition 3."""
    annotations = Annotations(
        enqueued=beside.pop("enqueued", NOON + timedelta(milliseconds=number % 1_000)),
        system=beside.pop("system", {}),
    )
    return StreamEvent(
        body=body, partition="3", offset=str(number * 100), sequence_number=number, annotations=annotations, **beside
    )


def again(*events: StreamEvent) -> list[StreamEvent]:
    """What is read of them once they were written."""
    return list(decode(encode(events), "3", name="a file"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.text(min_size=1).filter(lambda name: not name.startswith("x-sluice") and name != "x-opt-enqueued-time")


@given(st.dictionaries(NAMES, JSON, max_size=5), st.dictionaries(NAMES, JSON, max_size=5), st.binary(max_size=99))
def test_whatever_is_beside_an_event_comes_back(
    properties: Mapping[str, Any], system: Mapping[str, Any], body: bytes
) -> None:
    """The types with it, those that the schema lacks too: true, lists, numbers beyond 64 bits, nothing."""
    (found,) = again(event(7, body, properties=properties, system=system))
    assert found.annotations is not None
    assert found.body == body
    for here, there in ((found.properties, properties), (found.annotations.system, system)):
        assert json.dumps(here, sort_keys=True) == json.dumps(there, sort_keys=True)


def test_an_event_comes_back_whole() -> None:
    """Place, time to the millisecond, bytes, and why nobody can decode it."""
    sent = event(9, b"\xff\x00", properties={"raw": b"\xff"}, unreadable="The body is an AMQP value, not data.")
    assert again(sent) == [sent]
    assert again(sent)[0].properties == {"raw": b"\xff"}
    largest = event(2**63 - 1, enqueued=NOON)
    assert again(largest) == [largest]


def test_the_same_events_make_the_same_file() -> None:
    """So that a batch that is delivered twice is written over itself; others make another one."""
    batch = [event(number) for number in range(5)]
    assert encode(batch) == encode(batch)
    assert encode(batch) != encode(batch[1:])


def test_the_schema_is_that_of_capture() -> None:
    """Field for field as documented, in the file itself too; the time as Capture writes it."""
    assert json.loads(DOCUMENTED) == SCHEMA
    file = fastavro.reader(io.BytesIO(encode([event(4, b"body", properties={"text": "a"})])))
    assert fastavro.parse_schema(json.loads(DOCUMENTED)) == fastavro.parse_schema(file.writer_schema)
    assert file.codec == "deflate"
    record: Any = next(file)
    assert record["EnqueuedTimeUtc"] == "11/30/2026 12:00:00 PM"
    assert (record["SequenceNumber"], record["Offset"], record["Body"]) == (4, "400", b"body")
    assert record["Properties"] == {"text": "a"}


@pytest.mark.parametrize(
    ("text", "hour"), [("6/1/2017 1:02:03 AM", 1), ("6/1/2017 12:02:03 PM", 12), ("6/1/2017 12:02:03 AM", 0)]
)
def test_a_file_of_capture_is_read(text: str, hour: int) -> None:
    """Without anything that only we write; a body that is null is empty."""
    record = {
        "SequenceNumber": 2400,
        "Offset": "4295",
        "EnqueuedTimeUtc": text,
        "SystemProperties": {"x-opt-partition-key": "k", "iothub-enqueuedtime": 1},
        "Properties": {"none": None, "ratio": 0.5},
        "Body": None,
    }
    file = io.BytesIO()
    fastavro.writer(file, fastavro.parse_schema(json.loads(DOCUMENTED)), [record], codec="null")
    (found,) = decode(file.getvalue(), "1", name="a file")
    assert (found.partition, found.sequence_number, found.body) == ("1", 2400, b"")
    assert found.annotations is not None
    assert found.annotations.enqueued == datetime(2017, 6, 1, hour, 2, 3, tzinfo=UTC)
    assert found.properties == {"none": None, "ratio": 0.5}


@given(st.data())
def test_a_file_that_was_cut_or_changed_is_named_or_read_right(data: st.DataObject) -> None:
    """Never another error, whatever the library runs into."""
    whole = encode([event(number, b"x" * number) for number in range(20)])
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        wrong = whole[:place]
    else:
        wrong = whole[:place] + bytes([whole[place] ^ (1 << data.draw(st.integers(0, 7)))]) + whole[place + 1 :]
    try:
        found = list(decode(wrong, "3", name="wrong.avro"))
    except CorruptFile as error:
        assert error.name == "wrong.avro"  # noqa: PT017 - it may also be read
    else:
        assert len(found) <= 20


def test_what_is_no_file_of_events_is_named() -> None:
    """Another schema, no Avro, nothing."""
    other = io.BytesIO()
    schema = fastavro.parse_schema({"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]})
    fastavro.writer(other, schema, [{"a": 1}])
    numbers = io.BytesIO()
    fastavro.writer(numbers, fastavro.parse_schema({"type": "int"}), [1])
    for wrong in (other.getvalue(), numbers.getvalue(), b"", b"Obj\x01", b"PAR1", b"\x00" * 100):
        with pytest.raises(CorruptFile, match=r"wrong\.avro"):
            list(decode(wrong, "3", name="wrong.avro"))


def test_a_large_event_is_one_record() -> None:
    """The hub's largest, 1 MB."""
    large = event(1, bytes(range(256)) * 4096)
    assert again(large) == [large]
