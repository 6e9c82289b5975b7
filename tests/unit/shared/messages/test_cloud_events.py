"""CloudEvents: what we write we read, and what others write becomes an envelope."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.messages import CloudEvent, InvalidMessage, MalformedJson, MessageError, envelope_from, parse_strict

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
EVENTS = st.builds(
    CloudEvent,
    id=TEXTS,
    type=TEXTS,
    source=TEXTS,
    subject=TEXTS,
    time=st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
        lambda moment: moment.replace(microsecond=moment.microsecond // 1_000 * 1_000)
    ),
    version=st.from_regex(r"[A-Za-z0-9._-]{1,8}", fullmatch=True),
    data=st.dictionaries(TEXTS, st.integers() | TEXTS).map(
        lambda data: json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    ),
    correlation_id=TEXTS,
    traceparent=st.none() | TEXTS,
)
INCOMING = {"specversion": "1.0", "id": "A-1", "type": "order.placed", "source": "shop", "data": {"x": 1}}


@given(EVENTS)
def test_an_event_is_read_back_as_it_was_written(event: CloudEvent) -> None:
    """Any text in any attribute."""
    assert CloudEvent.from_json(event.to_json()) == event


@given(EVENTS)
def test_an_event_is_a_structured_cloud_event(event: CloudEvent) -> None:
    """With the attributes that CloudEvents 1.0 requires."""
    written = parse_strict(event.to_json())
    assert written["specversion"] == "1.0"
    assert written["data"] == json.loads(event.data)
    assert {"id", "type", "source", "subject", "time", "datacontenttype", "correlationid"} <= written.keys()


@given(st.binary(max_size=60) | st.dictionaries(st.text(), st.text()).map(lambda e: json.dumps(e).encode()))
def test_any_body_is_an_event_or_one_clear_error(body: bytes) -> None:
    """A poison event has to be told from a failing storage."""
    with pytest.raises(MessageError):
        CloudEvent.from_json(body)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"id": None}, "'id' is missing"),
        ({"subject": None}, "'subject' is missing"),
        ({"time": "soon"}, "attribute is wrong"),
        ({"subject": ""}, "subject"),
        ({"subject": "k" * 129}, "subject"),
        ({"id": "i" * 300}, "id"),
    ],
)
def test_an_event_that_could_not_be_kept_is_invalid(changed: dict[str, Any], says: str) -> None:
    """Somebody else may write to the hub too."""
    event = json.loads(
        CloudEvent(
            id="1",
            type="t",
            source="s",
            subject="k",
            time=datetime(2020, 1, 1, tzinfo=UTC),
            version="1.0",
            data="{}",
            correlation_id="c",
        ).to_json()
    )
    event = {name: value for name, value in (event | changed).items() if value is not None}
    with pytest.raises(InvalidMessage, match=says):
        CloudEvent.from_json(json.dumps(event).encode())


def test_a_list_is_no_event() -> None:
    """A batch has its own media type."""
    with pytest.raises(MalformedJson, match="object"):
        CloudEvent.from_json(b"[]")


def test_ids_that_are_not_uuids_become_stable_ones_per_source() -> None:
    """Source and id together are the identity of a CloudEvent."""
    one, again = envelope_from(INCOMING), envelope_from(INCOMING)
    other = envelope_from(INCOMING | {"source": "other shop"})
    assert one["messageId"] == again["messageId"] != other["messageId"]
    own = "9f0e2c6a-8f8e-4a52-9b5d-3d1a1a4a1b10"
    assert envelope_from(INCOMING | {"id": own})["messageId"] == own


@pytest.mark.parametrize(
    ("schema", "version"),
    [(None, "1.0"), ("", "1.0"), ("urn:sluice:order.placed:2.0", "2.0"), ("https://example.com/orders/1.1", "1.1")],
)
def test_the_version_is_the_last_part_of_the_schema(schema: str | None, version: str) -> None:
    """None, which CloudEvents allows for an absent attribute, means the first version."""
    assert envelope_from(INCOMING | {"dataschema": schema})["version"] == version


@pytest.mark.parametrize(
    ("changed", "field"), [({"specversion": "0.3"}, "specversion"), ({"data_base64": "e30="}, "data_base64")]
)
def test_other_forms_of_cloud_events_are_refused(changed: dict[str, str], field: str) -> None:
    """By the name of the attribute."""
    with pytest.raises(InvalidMessage) as caught:
        envelope_from(INCOMING | changed)
    assert caught.value.details["errors"][0]["field"] == field
