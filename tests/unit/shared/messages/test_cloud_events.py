"""CloudEvents: what we write we read, and what others write becomes an envelope."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.http.commands import Refused, read_command
from shared.messages import (
    CLOUD_EVENT_TYPE,
    CloudEvent,
    Contract,
    Integration,
    InvalidMessage,
    MalformedJson,
    MessageError,
    Registry,
    envelope_from,
    former_id_of,
    parse_strict,
)
from shared.messages.cloud_events import message_id_of

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
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
INCOMING: dict[str, Any] = {
    "specversion": "1.0",
    "id": "A-1",
    "type": "order.placed",
    "source": "shop",
    "data": {"x": 1},
}


class Versioned(Contract):
    """Its field has the name of an attribute of envelopes."""

    version: str
    x: int = 0


integration = Integration("versioned")


@integration.handles("order.placed", key="version")
async def place(data: Versioned, work: Any) -> None:
    """Never called."""


def taken(**changed: Any) -> dict[str, Any]:
    """The envelope of an event that comes in."""
    return envelope_from(INCOMING | changed, now=NOW)


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
    one, again = taken(), taken()
    other = taken(source="other shop")
    assert one["messageId"] == again["messageId"] != other["messageId"]
    own = "9f0e2c6a-8f8e-4a52-9b5d-3d1a1a4a1b10"
    forms = [own, own.upper(), f"{{{own}}}", f"urn:uuid:{own}", own.replace("-", ""), f" {own}", own + "\n"]
    ids = {taken(id=form, source=source)["messageId"] for form in forms for source in ("shop", "other", "shop\n" + own)}
    assert len(ids) == 3 * len(forms)
    assert own not in ids
    assert one["messageId"] == "5d6f5c95-c5b9-5cbf-9531-8ed70e6975e5", "as release 0.1 made it"


@pytest.mark.parametrize(
    ("schema", "version"),
    [(None, "1.0"), ("", "1.0"), ("urn:sluice:order.placed:2.0", "2.0"), ("https://example.com/orders/1.1", "1.1")],
)
def test_the_version_is_the_last_part_of_the_schema(schema: str | None, version: str) -> None:
    """None, which CloudEvents allows for an absent attribute, means the first version."""
    assert taken(dataschema=schema)["version"] == version


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"specversion": 1.0}, "specversion"),
        ({"data_base64": "e30="}, "data_base64"),
        ({"datacontenttype": "text/plain"}, "datacontenttype"),
        ({"datacontenttype": 7}, "datacontenttype"),
        ({"id": ""}, "id"),
        ({"id": 7}, "id"),
        ({"id": None}, "id"),
        ({"source": ""}, "source"),
        ({"source": ["a"]}, "source"),
        ({"type": None}, "type"),
        ({"type": 1}, "type"),
        ({"dataschema": 2}, "dataschema"),
    ],
)
def test_other_forms_of_cloud_events_are_refused(changed: dict[str, str], field: str) -> None:
    """By the name of the attribute."""
    with pytest.raises(InvalidMessage) as caught:
        taken(**changed)
    assert caught.value.details["errors"][0]["field"] == field


@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
@example("a\nb", "c", "a", "b\nc")
@example("a", "\n", "a\n", "")
def test_another_source_or_another_id_is_another_message(source: str, identity: str, other: str, another: str) -> None:
    """In whatever form they are."""
    assert (message_id_of(source, identity) == message_id_of(other, another)) == (
        (source, identity) == (other, another)
    )


@pytest.mark.parametrize(
    "kind", [None, "application/json", "application/JSON;charset=utf-8", "text/json", "application/vnd.shop+json"]
)
def test_an_event_without_a_time_was_made_now(kind: str | None) -> None:
    """CloudEvents leaves the time out where nobody knows it; and JSON has many names."""
    assert taken(datacontenttype=kind)["timestamp"] == "2026-01-02T03:04:05.000Z"
    assert taken(time="2020-01-01T00:00:00Z")["timestamp"] == "2020-01-01T00:00:00Z"


def test_the_id_of_the_release_before_is_known_where_it_was_a_uuid() -> None:
    """It took the id alone for the identity."""
    own = "9f0e2c6a-8f8e-4a52-9b5d-3d1a1a4a1b10"
    assert former_id_of({"id": own.upper()}) == UUID(own)
    assert [former_id_of(event) for event in ({"id": "A-1"}, {"id": 7}, {})] == [None] * 3


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"time": "20260105"}, "time"),
        ({"time": 5}, "time"),
        ({"type": "no such\ntype"}, None),
        ({"dataschema": "urn:x:1.0 beta"}, None),
        ({"source": "s" * 257}, "source"),
        ({"data": None}, "data"),
        ({"data": {"version": 7}}, "data.version"),
    ],
)
def test_what_is_wrong_is_named_as_the_sender_wrote_it(changed: dict[str, Any], field: str | None) -> None:
    """Nobody has heard of an eventType who sends a type."""

    event = INCOMING | {"data": {"version": "1"}} | changed
    with pytest.raises(Refused) as caught:
        read_command(
            json.dumps(event).encode(),
            kind=CLOUD_EVENT_TYPE,
            registry=Registry([integration]),
            route=None,
            fallback_id=UUID(int=1),
            now=NOW,
        )
    error = caught.value.error
    if field is None:
        assert error.code in ("UNKNOWN_EVENT_TYPE", "UNKNOWN_VERSION")
    else:
        assert (error.details["errors"][0]["field"], error.message.partition(":")[0]) == (field, field)
    assert "timestamp" not in f"{error.message} {error.details}"
