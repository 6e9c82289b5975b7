"""The bytes of a message are the SDK's own, and a batch counts them as the SDK does."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.eventhub import EventData, EventDataBatch
from azure.servicebus import ServiceBusMessageBatch
from azure.servicebus.exceptions import MessageSizeExceededError
from hypothesis import example, given
from hypothesis import strategies as st

from shared.messages import CLOUD_EVENT_TYPE
from shared.sending import broker_message
from shared.sending.encoding import add_encoded, add_event, encoded, encoded_event

TEXT = st.one_of(st.text(max_size=300), st.text(min_size=250, max_size=260, alphabet="aé"))
VALUES = st.one_of(TEXT, st.booleans(), st.integers(-(2**31), 2**31 - 1))
START = datetime(1970, 1, 1, tzinfo=UTC)
MESSAGES = st.fixed_dictionaries(
    {
        "body": st.one_of(st.binary(max_size=400), st.sampled_from([b"", bytes(255), bytes(256), bytes(70_000)])),
        "message_id": st.text(min_size=1, max_size=128),
        "session_id": st.none() | TEXT.filter(lambda text: len(text) <= 128),
        "properties": st.dictionaries(TEXT, VALUES, max_size=140),
        "when": st.none() | st.timedeltas(timedelta(), timedelta(days=2_900_000)).map(START.__add__),
    }
)


def of_the_sdk(message: dict[str, Any]) -> ServiceBusMessageBatch:
    """A batch with it alone."""
    batch = ServiceBusMessageBatch(300_000)
    given = {"broker_id": message["message_id"], "session_id": message["session_id"]}
    made = broker_message(message["body"], properties=message["properties"], **given)
    if message.get("when") is not None:
        made.scheduled_enqueue_time_utc = message["when"]
    batch.add_message(made)
    return batch


@given(MESSAGES)
@example({"body": b"{}", "message_id": "m" * 128, "session_id": "s" * 128, "properties": {"n": 2**31 - 1}})
@example({"body": b"", "message_id": "m", "session_id": None, "properties": {f"{n}": True for n in range(128)}})
def test_the_bytes_are_the_sdks(message: dict[str, Any]) -> None:
    """The message, the batch's properties and the batch's size."""
    try:
        expected = of_the_sdk(message)
    except ValueError as refused:
        with pytest.raises(type(refused), match=r"id|surrogate"):
            encoded(**message)
        return
    batch = ServiceBusMessageBatch(300_000)
    add_encoded(batch, encoded(**message))
    assert [bytes(one) for one in batch._message[5]] == [bytes(one) for one in expected._message[5]]
    assert [list(one) if one else one for one in batch._message[:5]] == [
        list(one) if one else one for one in expected._message[:5]
    ]
    assert (batch.size_in_bytes, len(batch)) == (expected.size_in_bytes, 1)


@given(st.binary(max_size=300) | st.sampled_from([b"", bytes(255), bytes(256), bytes(70_000)]))
def test_an_events_bytes_are_the_sdks(body: bytes) -> None:
    """And the batch's size."""
    event = EventData(body)
    event.content_type = CLOUD_EVENT_TYPE
    expected, batch = EventDataBatch(300_000, partition_id="0"), EventDataBatch(300_000, partition_id="0")
    expected.add(event)
    assert add_event(batch, encoded_event(body, CLOUD_EVENT_TYPE))
    assert [bytes(one) for one in batch._message[5]] == [bytes(one) for one in expected._message[5]]
    assert batch._message[:5] == expected._message[:5]
    assert (batch.size_in_bytes, len(batch)) == (expected.size_in_bytes, 1)


def test_a_batch_of_events_ends_where_the_sdks_does() -> None:
    """With the same number."""
    ours, sdks = EventDataBatch(10_000), EventDataBatch(10_000)
    event = EventData(bytes(300))
    event.content_type = CLOUD_EVENT_TYPE
    while add_event(ours, encoded_event(bytes(300), CLOUD_EVENT_TYPE)):
        pass
    with suppress(ValueError):
        while True:
            sdks.add(event)
    assert (len(ours), ours.size_in_bytes) == (len(sdks), sdks.size_in_bytes)


def test_a_batch_ends_where_the_sdks_does() -> None:
    """The same number of messages, sizes below and above 256 bytes."""
    for size in (10, 150, 300):
        message: dict[str, Any] = {"body": bytes(size), "message_id": "m", "session_id": None, "properties": {}}
        ours, sdks = ServiceBusMessageBatch(10_000), ServiceBusMessageBatch(10_000)
        with suppress(MessageSizeExceededError):
            while True:
                add_encoded(ours, encoded(**message))
        with suppress(MessageSizeExceededError):
            while True:
                sdks.add_message(broker_message(bytes(size), broker_id="m", properties={}))
        assert (len(ours), ours.size_in_bytes) == (len(sdks), sdks.size_in_bytes)


@pytest.mark.parametrize("value", [None, 1.5, b"x", 2**31, ["a"], "\ud800"])
def test_other_values_are_the_sdks(value: object) -> None:
    """Or nobody's."""
    with pytest.raises((TypeError, ValueError), match=r"text|bits|surrogate"):
        encoded(b"", message_id="m", session_id=None, properties={"a": value})


@pytest.mark.parametrize(("message_id", "session_id"), [(None, None), ("", None), ("m" * 129, None), ("m", "s" * 129)])
def test_ids_that_are_missing_or_too_long_are_the_sdks(message_id: str | None, session_id: str | None) -> None:
    """It makes an id where there is none."""
    with pytest.raises(ValueError, match="1 to 128 characters"):
        encoded(b"", message_id=message_id, session_id=session_id, properties={})
