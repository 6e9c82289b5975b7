"""The envelope and the properties beside it: what they take, refuse and carry over."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from shared.messages import Contract, Envelope, Headers, InvalidMessage, Lane, Timestamp, describe, rfc3339

PRINTABLE = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=100)
MOMENTS = st.datetimes(min_value=datetime(1970, 1, 2), timezones=st.just(UTC))  # noqa: DTZ001 - Hypothesis wants it naive
HEADERS = st.builds(
    Headers,
    message_id=st.uuids(),
    event_type=PRINTABLE,
    version=PRINTABLE,
    source=PRINTABLE,
    key=PRINTABLE,
    lane=st.sampled_from(Lane),
    correlation_id=PRINTABLE,
    first_attempt_at=MOMENTS,
    attempt=st.integers(1, 10_000),
    traceparent=st.none() | PRINTABLE,
    claim=st.none() | PRINTABLE,
    claim_sha256=st.none() | PRINTABLE,
    claim_size=st.none() | st.integers(0, 2**31),
    claim_encoding=st.none() | PRINTABLE,
)
PROPERTIES: dict[str, Any] = {
    "messageId": "9f0e2c6a-8f8e-4a52-9b5d-3d1a1a4a1b10",
    "eventType": "order.placed",
    "version": "1.0",
    "source": "/orders",
    "key": "536365",
    "priority": "normal",
    "attempt": 1,
    "firstAttemptAt": "2010-12-01T08:26:00+00:00",
    "correlationId": "c-1",
}


class Parcel(Contract):
    """A model with a list and a money-like number."""

    parcel_id: str
    weights: list[Annotated[int, Field(gt=0)]]


def body(**changed: Any) -> bytes:
    """An envelope around a parcel; a change of None leaves the field out."""
    fields = {
        "messageId": "9f0e2c6a-8f8e-4a52-9b5d-3d1a1a4a1b10",
        "timestamp": "2010-12-01T08:26:00Z",
        "source": "shop",
        "eventType": "parcel.scanned",
        "version": "1.0",
        "data": {"parcelId": "1", "weights": [1, 2]},
    } | changed
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


def read(payload: bytes) -> Envelope[Parcel]:
    """Validate as a boundary does."""
    return TypeAdapter(Envelope[Parcel]).validate_json(payload, strict=True)


@given(HEADERS)
def test_headers_survive_the_journey_through_properties(headers: Headers) -> None:
    """Also as JSON, which is how the host hands properties over."""
    assert Headers.from_properties(json.loads(json.dumps(headers.to_properties()))) == headers


@given(st.dictionaries(st.sampled_from([*PROPERTIES, "claim", "claimSize", "traceparent"]), st.none() | st.text()))
@example({"attempt": "0"})
def test_any_texts_as_properties_make_headers_or_one_clear_error(changed: dict[str, Any]) -> None:
    """Nothing but InvalidMessage, which the batch turns into a dead letter."""
    try:
        headers = Headers.from_properties(PROPERTIES | changed)
    except InvalidMessage:
        return
    headers.next_attempt().to_properties()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("messageId", "not a uuid"),
        ("messageId", 5),
        ("attempt", 0),
        ("replay", -1),
        ("replay", 10**20),
        ("replay", "9" * 200),
        ("claimSize", -1),
        ("claimSize", "9" * 200),
        ("claimSize", float("inf")),
        ("attempt", -1),
        ("attempt", 10_001),
        ("attempt", float("inf")),
        ("attempt", float("nan")),
        ("attempt", [1]),
        ("attempt", "9" * 5_000),
        ("claimSize", float("-inf")),
        ("claimSize", "large"),
        ("priority", "urgent"),
        ("priority", ["high"]),
        ("priority", None),
        ("key", ""),
        ("key", "k" * 129),
        ("key", "\ud800"),
        ("eventType", "e" * 129),
        ("source", "s" * 257),
        ("correlationId", "c" * 70_000),
        ("correlationId", "\udfff"),
        ("traceparent", "t" * 70_000),
        ("claim", "n" * 70_000),
        ("firstAttemptAt", "yesterday"),
        ("firstAttemptAt", "0001-01-01T00:00:00+14:00"),
        ("firstAttemptAt", "9999-12-31T23:59:59-14:00"),
        ("firstAttemptAt", "1601-01-01T00:00:00"),
    ],
)
def test_a_hostile_property_is_named_as_invalid(name: str, value: Any) -> None:
    """Whatever could break a later write is refused here, where it concerns one message only."""
    with pytest.raises(InvalidMessage, match="application property"):
        Headers.from_properties(PROPERTIES | {name: value})


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_missing_property_is_named(name: str) -> None:
    """The message wasn't sent by this app."""
    with pytest.raises(InvalidMessage, match=f"'{name}' is missing"):
        Headers.from_properties({key: value for key, value in PROPERTIES.items() if key != name})


def test_a_naive_first_attempt_is_utc() -> None:
    """The host hands over naive times that mean UTC."""
    headers = Headers.from_properties(PROPERTIES | {"firstAttemptAt": "2010-12-01T08:26:00"})
    assert headers.first_attempt_at == datetime(2010, 12, 1, 8, 26, tzinfo=UTC)


def test_a_delayed_copy_has_another_broker_id_and_the_same_message_id() -> None:
    """Duplicate detection would drop a copy that kept it."""
    headers = Headers.from_properties(PROPERTIES)
    copy = headers.next_attempt()
    assert headers.broker_id == PROPERTIES["messageId"]
    assert copy.broker_id == f"{PROPERTIES['messageId']}#2"
    assert copy.message_id == headers.message_id


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"messageId": None}, "messageId"),
        ({"messageId": "x"}, "messageId"),
        ({"messageId": 7}, "messageId"),
        ({"timestamp": None}, "timestamp"),
        ({"timestamp": "2010-12-01T08:26:00"}, "timestamp"),
        ({"timestamp": 1291191960}, "timestamp"),
        ({"timestamp": True}, "timestamp"),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, "timestamp"),
        ({"source": ""}, "source"),
        ({"source": "s" * 257}, "source"),
        ({"source": 5}, "source"),
        ({"eventType": "two words"}, "eventType"),
        ({"version": ""}, "version"),
        ({"data": None}, "data"),
        ({"data": []}, "data"),
        ({"data": {"parcelId": 1, "weights": []}}, "data.parcelId"),
        ({"data": {"parcelId": "1", "weights": ["2"]}}, "data.weights.0"),
        ({"data": {"parcelId": "1", "weights": [True]}}, "data.weights.0"),
        ({"data": {"parcelId": "1", "weights": [2.0]}}, "data.weights.0"),
    ],
)
def test_an_envelope_with_a_wrong_field_is_refused_by_its_json_name(changed: dict[str, Any], field: str) -> None:
    """A text isn't a number and true isn't 1."""
    with pytest.raises(ValidationError) as caught:
        read(body(**changed))
    assert [finding["field"] for finding in describe(caught.value).details["errors"]] == [field]


def test_unknown_fields_are_tolerated_on_purpose() -> None:
    """A newer sender may say more."""
    assert read(body(later="x")).data.parcel_id == "1"


def test_times_are_kept_in_utc_and_written_one_way() -> None:
    """Milliseconds and Z."""
    assert read(body(timestamp="2010-12-01T10:26:00.1239+02:00")).timestamp.tzinfo == UTC
    moment = datetime(2010, 12, 1, 10, 26, 0, 123_900, tzinfo=timezone(timedelta(hours=2)))
    assert rfc3339(moment) == "2010-12-01T08:26:00.123Z"


@given(st.datetimes(timezones=st.timezones() | st.just(timezone(timedelta(hours=14)))))
def test_every_timestamp_that_is_taken_can_be_written(moment: datetime) -> None:
    """The first and last day of the calendar overflow in UTC: refused, not failed on later."""
    try:
        taken = TypeAdapter(Timestamp).validate_json(json.dumps(moment.isoformat()))
    except ValidationError:
        return
    rfc3339(taken)


def test_many_errors_are_counted_and_the_first_twenty_told() -> None:
    """An answer stays small however wrong the message is."""
    with pytest.raises(ValidationError) as caught:
        read(body(data={"parcelId": "1", "weights": [0] * 500}))
    told = describe(caught.value)
    assert told.details["count"] == 500
    assert len(told.details["errors"]) == 20
    assert told.details["errors"][3] == {
        "field": "data.weights.3",
        "weight": 4,
        "message": "weight 4: Input should be greater than 0",
    }
    assert told.message.endswith("(and 499 more)")


def test_a_list_named_fields_does_not_hide_the_field() -> None:
    """The element's number never replaces the finding's own columns."""

    class Form(Contract):
        fields: list[int]
        messages: list[int]

    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Form).validate_json('{"fields":["x"],"messages":["x"]}', strict=True)
    assert [error["field"] for error in describe(caught.value).details["errors"]] == ["fields.0", "messages.0"]


def test_the_message_id_is_a_uuid() -> None:
    """Any writing of it is the same message."""
    assert read(body(messageId="9F0E2C6A8F8E4A529B5D3D1A1A4A1B10")).message_id == UUID(PROPERTIES["messageId"])
