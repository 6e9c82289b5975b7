"""Numbers: what is sent as a JSON number arrives digit by digit, and counts by its value."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter

from shared.http.commands import read_command
from shared.messages import (
    CLOUD_EVENT_TYPE,
    CloudEvent,
    Contract,
    Integration,
    InvalidMessage,
    MalformedJson,
    PayloadHash,
    Registry,
    parse_strict,
    payload_hash,
    stored_hashes,
    write_json,
)
from shared.messages.strict_json import validate_json

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Weighed(Contract):
    """One of each kind of number."""

    key: str = "k"
    price: Decimal | None = None
    weight: float | None = None
    either: int | float | None = None
    count: int | None = None
    anything: Any = None
    inner: list[Weighed] = Field(default_factory=list)


weighing = Integration("weighing")


@weighing.handles("weighed", key="key", route="weighed")
async def weigh(weighed: Weighed, work: Any) -> None:
    """Never called."""


HANDLER = weighing.handlers[0]
DIGITS = st.integers(0, 10**24).map(str)
LITERALS = st.builds(
    lambda sign, whole, zeros, fraction, exponent: (
        sign + whole + (f".{zeros}{fraction}" if fraction else "") + exponent
    ),
    st.sampled_from(["", "-"]),
    DIGITS,
    st.sampled_from(["", "0", "000"]),
    st.just("") | DIGITS,
    st.just("")
    | st.integers(-99, 99).map(lambda power: f"e{power}")
    | st.integers(0, 30).map(lambda power: f"E+{power}"),
)


def envelope(data: str) -> bytes:
    """A body around JSON text."""
    head = {
        "messageId": str(UUID(int=1)),
        "timestamp": "2026-01-02T03:04:05Z",
        "source": "/test",
        "eventType": "weighed",
        "version": "1.0",
    }
    return json.dumps(head)[:-1].encode() + b',"data":' + data.encode() + b"}"


def decoded(data: str) -> Weighed:
    """The model of JSON text."""
    model: Weighed = HANDLER.decode(envelope(data)).data
    return model


def hash_of(data: str) -> PayloadHash:
    """The payload hash of JSON text."""
    return payload_hash("weighed", "1.0", parse_strict(data.encode()))


@given(LITERALS)
def test_a_decimal_is_what_was_written(literal: str) -> None:
    """Any number, however many digits; as deep as one likes."""
    assert decoded(f'{{"price":{literal},"inner":[{{"price":{literal}}}]}}').inner[0].price == Decimal(literal)


@given(LITERALS)
def test_what_was_parsed_is_written_with_every_digit(literal: str) -> None:
    """Rewriting a body changes no number."""
    written = write_json(parse_strict(f'{{"a":[{literal},"é"]}}'.encode()))
    assert json.loads(written, parse_float=Decimal, parse_int=Decimal) == {"a": [Decimal(literal), "é"]}


@given(LITERALS, LITERALS)
def test_hashes_are_equal_where_values_are(one: str, two: str) -> None:
    """Whatever their spelling."""
    assert (hash_of(f"[{one}]").exact == hash_of(f"[{two}]").exact) == (Decimal(one) == Decimal(two))


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("3", "3.0", True),
        ("300", "3e2", True),
        ("0", "-0.0", True),
        ("0.10", "0.1", True),
        ("1e23", "100000000000000000000000", True),
        ("12345678901234567890.5", "1234567890123456789050e-2", True),
        ("999999999999.123456", "999999999999.1234560", True),
        ("999999999999.123456", "999999999999.123457", False),
        ("999999999999.123456", "999999999999.1234", False),
        ("0.1000000000000000055", "0.1", False),
        ("9007199254740993.0", "9007199254740992", False),
        ("1", "true", False),
        ("1.5", '"1.5"', False),
        ("12345678901234567890.5", '"\\\\ud800123456789012345678905e-1"', False),
    ],
)
def test_examples_of_equal_and_of_different_payloads(one: str, two: str, same: bool) -> None:
    """Two prices under one id are no repeat; two spellings of one price are."""
    assert (hash_of(one).exact == hash_of(two).exact) is same


def test_a_float_stays_a_float_and_a_union_gets_a_number() -> None:
    """Only what is decimal takes all digits; an untyped field keeps them as text."""
    long = "0.1000000000000000055511151231257827"
    found = decoded(
        f'{{"weight":{long},"either":{long},"price":{long},"anything":{long},"inner":[{{"weight":{long}}}]}}'
    )
    assert (found.weight, found.either, found.inner[0].weight) == (0.1, 0.1, 0.1)
    assert (found.price, found.anything) == (Decimal(long), long)


def test_what_is_wrong_beside_a_long_number_is_reported_as_always() -> None:
    """By its JSON name; the number itself, where it doesn't belong, too."""
    with pytest.raises(InvalidMessage, match=r"data\.count"):
        decoded('{"price":999999999999.123456,"count":"x"}')
    with pytest.raises(InvalidMessage, match=r"data\.count"):
        decoded('{"count":999999999999.123456}')


@pytest.mark.parametrize("literal", ["1e999999999", "-1e400", "1e-400", "1e-999999999999999999999", "1." + "0" * 4300])
def test_hostile_numbers_are_refused_at_once(literal: str) -> None:
    """Nobody expands an exponent."""
    with pytest.raises(MalformedJson):
        parse_strict(f"[{literal}]".encode())
    with pytest.raises((InvalidMessage, MalformedJson)):
        decoded(f'{{"price":{literal}}}')


NOT_AS_JSON = ["1_000", "1,5", " 1", "1 ", "٣", "１", "0x1", "", "NaN", "Infinity", "1.", ".5", "--1", "1e", "1e+"]


@pytest.mark.parametrize("text", ["1e999999999", "1e-999999999", "1e1000", "1" * 4_301, *NOT_AS_JSON])
def test_a_decimal_in_a_text_is_written_as_json_writes_numbers(text: str) -> None:
    """No more forms than other languages read, and none that grows when it is used."""
    with pytest.raises(InvalidMessage, match=r"data\.price: must be a number as in JSON"):
        decoded(json.dumps({"price": text}))


@pytest.mark.parametrize("value", ["true", "[1]", "{}"])
def test_what_is_no_number_is_no_decimal(value: str) -> None:
    """True isn't 1."""
    with pytest.raises(InvalidMessage, match=r"data\.price: must be a number or a text"):
        decoded(f'{{"price":{value}}}')


@given(LITERALS)
def test_a_decimal_may_be_sent_as_a_text(literal: str) -> None:
    """Where numbers are doubles, as in JavaScript."""
    assert decoded(f'{{"price":"{literal}"}}').price == Decimal(literal)


@pytest.mark.parametrize(
    ("literal", "written"),
    [("12.0", "12"), ("2.50", "2.5"), ("1e3", "1000"), ("3", "3"), ('"2.50"', "2.50"), ("-0.0", "0")],
)
def test_a_decimal_is_written_as_it_always_was(literal: str, written: str) -> None:
    """In state, events and rows: a text."""
    assert decoded(f'{{"price":{literal}}}').model_dump(mode="json")["price"] == written


def test_zero_with_any_exponent_is_zero() -> None:
    """It says nothing."""
    assert parse_strict(b"[0e999999999, 0.0e-999999999, -0.0]") == [0, 0, 0]


def test_a_long_number_in_a_text_is_a_text() -> None:
    """As are ids of many digits, beside which numbers stay as they are."""
    found = decoded('{"key":"12345678901234567890.12","weight":0.1,"anything":{"a":[1.5,"1e-400"]}}')
    assert (found.key, found.weight, found.anything) == ("12345678901234567890.12", 0.1, {"a": [1.5, "1e-400"]})


@pytest.mark.parametrize("kind", ["application/json", CLOUD_EVENT_TYPE, "bare"])
def test_every_door_keeps_every_digit(kind: str) -> None:
    """Envelope, CloudEvent and bare data."""
    data = '{"key":"k","price":999999999999.123456}'
    event = '{"specversion":"1.0","id":"1","type":"weighed","source":"/s","time":"2026-01-02T03:04:05Z","data":%s}'
    body = {"application/json": envelope(data), CLOUD_EVENT_TYPE: (event % data).encode(), "bare": data.encode()}[kind]
    command = read_command(
        body,
        kind=CLOUD_EVENT_TYPE if kind == CLOUD_EVENT_TYPE else "application/json",
        registry=Registry([weighing]),
        route=HANDLER,
        fallback_id=UUID(int=2),
        now=NOW,
    )
    assert HANDLER.decode(command.body).data.price == Decimal("999999999999.123456")
    assert b"999999999999.123456" in command.body


def test_an_event_keeps_every_digit() -> None:
    """Also one whose publisher wrote a number."""
    attributes = '"id":"1","type":"t","source":"/s","subject":"k","time":"2026-01-02T03:04:05Z","dataschema":"t:1.0"'
    event = CloudEvent.from_json(
        f'{{"specversion":"1.0",{attributes},"data":{{"price":999999999999.123456}}}}'.encode()
    )
    assert event.data == '{"price":999999999999.123456}'
    assert validate_json(Weighed.model_validate_json, event.data.encode()).price == Decimal("999999999999.123456")


def test_a_body_in_lines_is_read_too() -> None:
    """Pretty-printed, as an operator sees it."""
    value = parse_strict(b'{"a":[1.5,999999999999.123456,[],{}],"b":{"c":null}}')
    assert json.loads(write_json(value, indent=2), parse_float=Decimal) == value
    assert write_json(value, indent=2).splitlines()[:3] == ["{", '  "a": [', "    1.5,"]
    assert write_json({"a": [1.5]}, indent=2) == json.dumps({"a": [1.5]}, indent=2)


def test_a_row_is_compared_by_the_newest_hash_it_carries() -> None:
    """An old row knows doubles only; a new one carries both, so that the release before reads it."""
    payload, rounded_same = hash_of("[999999999999.123456]"), hash_of("[999999999999.123457]")
    old_row = {"payloadSha256": payload.rounded}
    assert rounded_same.is_in(old_row)
    assert not rounded_same.is_in(payload.columns())
    assert payload.is_in(payload.columns())
    assert payload.is_in(old_row)
    assert payload.is_in({**payload.columns(), "payloadHash": "3:of a release to come"})
    assert not hash_of("[1]").is_in(old_row)
    assert hash_of("[3]").is_in(hash_of("[3.0]").columns())
    assert not hash_of("[3]").is_in({"payloadSha256": hash_of("[3.0]").rounded})


def test_the_first_form_is_what_the_first_release_wrote() -> None:
    """Recorded from it: names sorted, numbers as doubles."""
    recorded = "9d8d2facf4de7e9d5258341e342db233"  # its first half
    data = '{"b":[1,2.50,3.0,1e3,999999999999.123456],"a":"é"}'
    assert hash_of(data).rounded.startswith(recorded)


async def test_protected_hashes_are_kept_under_every_key() -> None:
    """Each form by itself, pairwise."""

    async def protect(digest: str) -> tuple[str, ...]:
        return (f"new {digest}", f"old {digest}", digest)

    payload = hash_of("[3.0]")
    kept = await stored_hashes(payload, protect)
    assert kept[0] == PayloadHash(f"new {payload.rounded}", f"new {payload.exact}")
    assert kept[-1] == payload
    assert await stored_hashes(payload, None) == (payload,)
    assert replace(payload, exact=payload.rounded) != payload


def test_a_model_reads_a_long_number_without_an_adapter_too() -> None:
    """As the projector does."""
    assert validate_json(TypeAdapter(list[Decimal]).validate_json, b"[0.12345678901234567890]") == [
        Decimal("0.12345678901234567890")
    ]


JAVA: dict[str, str] = json.loads(Path(__file__).with_name("numbers_of_java.json").read_text(encoding="utf-8"))
"""How `java.math.BigDecimal` reads a number: `new BigDecimal(number).stripTrailingZeros()`, recorded with OpenJDK."""


def test_java_reads_the_same_numbers() -> None:
    """And finds the same ones equal."""
    found = {number: decoded(f'{{"price":{number}}}').price for number in JAVA}
    assert found == {number: Decimal(value) for number, value in JAVA.items()}
    hashes = {number: hash_of(f"[{number}]").exact for number in JAVA}
    assert len(set(hashes.values())) == len(set(JAVA.values()))
    assert len({(hashes[number], JAVA[number]) for number in JAVA}) == len(set(JAVA.values()))
