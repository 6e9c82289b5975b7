"""Times: RFC 3339 with an offset and nothing else, wherever one is read."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, ValidationError, create_model

from shared.messages import CloudEvent, Contract, Headers, InvalidMessage, Timestamp, parse_rfc3339
from tests.unit.shared.messages.test_envelope import PROPERTIES

NEW_YEAR = datetime(2026, 1, 5, 10, tzinfo=UTC)

RIGHT = {
    "2026-01-05T10:00:00Z": NEW_YEAR,
    "2026-01-05t10:00:00z": NEW_YEAR,
    "2026-01-05T10:00:00+00:00": NEW_YEAR,
    "2026-01-05T10:00:00-00:00": NEW_YEAR,
    "2026-01-05T15:30:00.000+05:30": NEW_YEAR,
    "2026-01-05T10:00:00.123456789Z": NEW_YEAR + timedelta(microseconds=123_456),
    "1985-04-12T23:20:50.52Z": datetime(1985, 4, 12, 23, 20, 50, 520_000, tzinfo=UTC),
    "1996-12-19T16:39:57-08:00": datetime(1996, 12, 20, 0, 39, 57, tzinfo=UTC),
    "1937-01-01T12:00:27.87+00:20": datetime(1937, 1, 1, 11, 40, 27, 870_000, tzinfo=UTC),
}
"""The last three are the examples of RFC 3339, 5.8."""

WRONG = [
    "",
    "20260105",
    "1767225600",
    "1767225600.5",
    "-1",
    "2026-01-05",
    "2026-01-05T10:00:00",
    "2026-01-05T10:00Z",
    "2026-01-05 10:00:00Z",
    "2026-01-05_10:00:00Z",
    "2026-01-05T10:00:00,5Z",
    "2026-01-05T10:00:00.Z",
    "2026-01-05T10:00:00+0100",
    "2026-01-05T10:00:00+01",
    "2026-01-05T10:00:00+01:00Z",
    "2026-01-05T10:00:00+24:00",
    "2026-01-05T10:00:00+05:99",
    "2026-01-05T24:00:00Z",
    "2026-01-05T10:60:00Z",
    "1990-12-31T23:59:60Z",
    "2026-02-30T10:00:00Z",
    "2026-13-01T10:00:00Z",
    "0000-01-01T00:00:00Z",
    "20260105T100000Z",
    "2026-W02-1T10:00:00Z",
    "2026-005T10:00:00Z",
    "06/19/1963 08:30:06 PST",
    "1963-6-19T08:30:06Z",
    "1963-06-1৪T00:00:00Z",
    "1963-06-11T0৪:00:00Z",
    " 2026-01-05T10:00:00Z",
    "2026-01-05T10:00:00Z\n",
    "2026-01-05T10:00:00.5٥Z",
]
"""Most of them are taken by a reader of ISO 8601; some are the vectors of JSON Schema's test suite."""


class Stamped(Contract):
    """One of each kind of time."""

    at: Timestamp | None = None
    times: list[Timestamp] = []  # noqa: RUF012 - pydantic copies it
    inner: Stamped | None = None
    plain: datetime | None = None
    day: date | None = None


@pytest.mark.parametrize(("text", "moment"), RIGHT.items())
def test_rfc_3339_is_read(text: str, moment: datetime) -> None:
    """Any offset, any case, any fraction (to the microsecond)."""
    assert parse_rfc3339(text) == moment
    assert Stamped.model_validate_json(f'{{"at":"{text}"}}', strict=True).at == moment
    event = Stamped.model_validate_json(f'{{"inner":{{"times":["{text}"],"plain":"{text}"}}}}').inner
    assert event is not None
    assert (event.times, event.plain) == ([moment], moment)


@pytest.mark.parametrize("text", WRONG)
@pytest.mark.parametrize("strict", [True, False])
def test_nothing_else_is(text: str, strict: bool) -> None:
    """Two readers would see two moments in it."""
    with pytest.raises(ValueError, match="must be"):
        parse_rfc3339(text)
    for body in ({"at": text}, {"times": [text]}, {"inner": {"at": text}}):
        with pytest.raises(ValidationError):
            Stamped.model_validate(body, strict=strict)


@pytest.mark.parametrize("text", ["20260105", "1767225600", "2026-01-05", "2026-01-05 10:00:00"])
def test_a_field_without_a_rule_takes_no_digits_either(text: str) -> None:
    """It takes a time without an offset; what the app wrote itself comes back."""
    with pytest.raises(ValidationError):
        Stamped.model_validate_json(f'{{"plain":"{text}"}}')
    naive = Stamped(plain=datetime(2026, 1, 5, 10))  # noqa: DTZ001
    assert Stamped.model_validate_json(naive.model_dump_json()) == naive


@pytest.mark.parametrize("value", ['"86400"', "86400", '"2026-01-05T00:00:00Z"', '"20260105"', "true"])
def test_a_day_is_written_as_a_day(value: str) -> None:
    """Digits were taken for seconds since 1970."""
    with pytest.raises(ValidationError):
        Stamped.model_validate_json(f'{{"day":{value}}}')
    assert Stamped.model_validate_json('{"day":"2026-01-05"}').day == date(2026, 1, 5)


@pytest.mark.parametrize("value", [20260105, 1767225600, 1.5, True, ["x"]])
def test_a_number_is_no_time(value: Any) -> None:
    """In no field, neither strictly nor loosely."""
    for name in ("at", "plain", "day"):
        with pytest.raises(ValidationError):
            Stamped.model_validate({name: value})


@given(st.datetimes(timezones=st.just(UTC)) | st.datetimes(min_value=datetime(2, 1, 1), timezones=st.timezones()))  # noqa: DTZ001
def test_what_a_model_writes_it_reads(moment: datetime) -> None:
    """Whatever its zone, as long as its offset has whole minutes, which RFC 3339 asks for."""
    offset = moment.utcoffset()
    if offset is None or offset % timedelta(minutes=1) or moment.astimezone(UTC).year in (1, 9999):
        return
    written = Stamped(at=moment, plain=moment).model_dump_json()
    same = moment.astimezone(UTC)  # where clocks are put back, a time equals none of another zone (PEP 495)
    assert Stamped.model_validate_json(written) == Stamped(at=same, plain=same)


@pytest.mark.parametrize("text", ["20260105", "2026-01-05", "2026-01-05T10:00:00+0100"])
def test_properties_and_events_take_no_other_form(text: str) -> None:
    """As the models."""
    with pytest.raises(InvalidMessage):
        Headers.from_properties(PROPERTIES | {"firstAttemptAt": text})
    attributes = f'"id":"1","type":"t","source":"/s","subject":"k","time":"{text}","dataschema":"t:1.0"'
    with pytest.raises(InvalidMessage):
        CloudEvent.from_json(f'{{"specversion":"1.0",{attributes},"data":{{}}}}'.encode())


def test_the_description_of_a_time_is_what_it_was() -> None:
    """OpenAPI says date-time."""
    assert Stamped.model_json_schema()["$defs"]["Stamped"]["properties"]["times"]["items"] == {
        "format": "date-time",
        "type": "string",
    }


@pytest.mark.parametrize(
    "name", ["type", "default", "config", "cls", "function", "metadata", "serialization", "expected"]
)
def test_a_field_may_have_any_name(name: str) -> None:
    """Also one that says something about a field in the library's own schemas: its time is read as strictly."""
    fields: dict[str, Any] = {name: (AwareDatetime, ...)}
    model = create_model("Named", __base__=Contract, **fields)
    written = "2026-11-30T12:00:00Z"
    read = model.model_validate_json(json.dumps({name: written}))
    assert getattr(read, name) == datetime(2026, 11, 30, 12, tzinfo=UTC)
    with pytest.raises(ValidationError):
        model.model_validate_json(json.dumps({name: 1_764_504_000}))
