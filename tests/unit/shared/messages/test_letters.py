"""Commands that handlers send: addressed and checked when they are sent, named so that they are done once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from shared.messages import Contract, Headers, Integration, InvalidMessage, Lane, OutgoingCommand, Registry, address

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Parcel(Contract):
    """What is sent."""

    parcel_id: str
    weight: int = 1
    note: str = ""


class Loose(BaseModel):
    """Data of another model that may or may not fit."""

    parcelId: Any = None  # noqa: N815 - as it is sent
    weight: Any = 1


def registry() -> Registry:
    """One handler, in the lane that its weight asks for."""
    parcels = Integration("parcels")

    @parcels.handles(
        "parcel.packed", key="parcelId", priority=lambda parcel: Lane.LOW if parcel.weight > 9 else Lane.HIGH
    )
    async def pack(parcel: Parcel, work: object) -> None: ...

    return Registry([parcels])


HANDLER = registry().handler("parcel.packed", "1.0")


def letter(data: BaseModel) -> OutgoingCommand:
    """Addressed to the one handler."""
    return address(HANDLER, data, source="/sluice", now=NOW)


def sender(number: int = 1) -> Headers:
    """Headers of the message whose handler sends."""
    return Headers(
        message_id=UUID(int=number),
        event_type="order.placed",
        version="1.0",
        source="/shop",
        key="A",
        lane=Lane.NORMAL,
        correlation_id="c-1",
        first_attempt_at=NOW,
        attempt=3,
    )


def test_a_letter_is_addressed_by_its_data() -> None:
    """Key and lane are its own, correlation id and trace its sender's; it begins with its first attempt."""
    sent = letter(Parcel(parcel_id="P-1", weight=10)).follow(sender(), number=0, traceparent="00-1-2-01")
    headers = sent.headers
    assert (headers.event_type, headers.version, headers.key, headers.lane) == ("parcel.packed", "1.0", "P-1", Lane.LOW)
    assert (headers.correlation_id, headers.traceparent, headers.attempt) == ("c-1", "00-1-2-01", 1)
    assert headers.first_attempt_at == NOW
    envelope = HANDLER.decode(sent.body)
    assert (envelope.message_id, envelope.data) == (headers.message_id, Parcel(parcel_id="P-1", weight=10))
    assert letter(Parcel(parcel_id="P-1")).headers.lane is Lane.HIGH


def test_its_id_follows_from_its_sender_and_its_number() -> None:
    """Whenever the handler runs, on whatever attempt; two letters of one message differ."""
    one = letter(Parcel(parcel_id="P-1"))
    first = one.follow(sender(), number=0, traceparent=None)
    again = letter(Parcel(parcel_id="P-1")).follow(replace(sender(), attempt=9, replay=2), number=0, traceparent="t")
    assert first.headers.message_id == again.headers.message_id
    others = {
        one.follow(sender(number), number=n, traceparent=None).headers.message_id for number in (1, 2) for n in (0, 1)
    }
    assert len(others) == 4


@given(st.text(min_size=1, max_size=128).filter(str.isprintable), st.text(max_size=500), st.integers(-(2**53), 2**53))
def test_what_the_outbox_keeps_is_what_was_sent(key: str, note: str, weight: int) -> None:
    """Byte for byte, with every header; and the handler reads what the sender wrote."""
    parcel = Parcel(parcel_id=key, note=note, weight=weight)
    sent = letter(parcel).follow(sender(), number=0, traceparent="00-1-2-01")
    assert OutgoingCommand.from_json(sent.to_json().decode()) == sent
    assert HANDLER.decode(sent.body).data == parcel


@pytest.mark.parametrize(
    "data",
    [Loose(), Loose(parcelId=""), Loose(parcelId=5), Loose(parcelId="P", weight="1"), Loose(parcelId="k" * 129)],
)
def test_data_that_the_handler_would_refuse_is_refused_at_once(data: Loose) -> None:
    """Where the sender can still be told, not among the dead letters of another lane."""
    with pytest.raises(InvalidMessage, match=r"^parcel\.packed can't be sent: "):
        letter(data)


def test_a_letter_that_no_queue_takes_is_refused_at_once() -> None:
    """In the outbox it would hold up everything behind it for ever."""
    with pytest.raises(InvalidMessage, match="bytes"):
        letter(Parcel(parcel_id="P-1", note="x" * 200_000))
    assert len(letter(Parcel(parcel_id="P-1", note="x" * 190_000)).body) > 190_000
