"""What a message holds is never quoted where people read: a marker is planted everywhere, and looked for afterwards."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import uuid4

import pytest
from pydantic import Field

from shared.messages import (
    CloudEvent,
    Contract,
    Delivery,
    Envelope,
    Headers,
    Integration,
    Lane,
    MessageError,
    Registry,
    parse_rfc3339,
)
from shared.processing import Decoder
from shared.telemetry.logs import JsonFormatter
from shared.work import Dead, Ended, Work
from tests.unit.asgi import ask
from tests.unit.functions.conftest import Running
from tests.unit.memory import MemoryClaims

MARKER = "marigold-4711"
VALUES = (MARKER, MARKER * 200, f"{MARKER}\ud800", f"2026-13-99T{MARKER}", [MARKER], {MARKER: 1}, MARKER.encode())


class Card(Contract):
    """One way to pay."""

    kind: Literal["card"]
    number: Annotated[str, Field(max_length=4)]


class Cash(Contract):
    """Another."""

    kind: Literal["cash"]


class Payment(Contract):
    """Every kind of field that validation has words for."""

    payment_id: Annotated[str, Field(max_length=10)]
    amount: int
    paid_at: datetime
    state: Literal["open", "done"]
    way: Annotated[Card | Cash, Field(discriminator="kind")]


@pytest.fixture
def registry() -> Registry:
    """One integration."""
    payments = Integration("payments")

    @payments.handles("payment.made", key="paymentId", route="payments")
    async def take(payment: Payment, work: Work) -> None:
        """Do nothing."""

    return Registry([payments])


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Every line that the app writes, as it stands in a log."""
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().addHandler(handler)
    logging.getLogger("sluice").addHandler(handler)
    yield lines
    logging.getLogger().removeHandler(handler)
    logging.getLogger("sluice").removeHandler(handler)


GOOD: dict[str, Any] = {
    "paymentId": "1",
    "amount": 1,
    "paidAt": "2026-01-05T08:00:00Z",
    "state": "open",
    "way": {"kind": "card", "number": "1"},
}


def delivery(data: dict[str, Any], **properties: Any) -> Delivery:
    """A message of a lane, as far as it is a good one."""
    identity, now = uuid4(), datetime(2026, 1, 5, tzinfo=UTC)
    envelope = Envelope[dict[str, Any]](
        message_id=identity, timestamp=now, source="s", event_type="payment.made", version="1.0", data=data
    )
    headers = Headers(
        message_id=identity,
        event_type="payment.made",
        version="1.0",
        source="s",
        key="1",
        lane=Lane.NORMAL,
        correlation_id="c",
        first_attempt_at=now,
    )
    known = {str(name): value for name, value in headers.to_properties().items()}
    optional = {"claimSize": 1, "claimSha256": "0" * 64, "claimEncoding": "zstd"} if "claim" in str(properties) else {}
    return Delivery(
        body=envelope.model_dump_json(by_alias=True).encode(),
        properties={**known, **optional, **properties},
        message_id="b",
        sequence_number=1,
        delivery_count=1,
    )


PROPERTIES = [
    *("messageId", "eventType", "version", "source", "key", "priority", "attempt", "firstAttemptAt", "correlationId"),
    *("replay", "claim", "claimSha256", "claimSize", "claimEncoding", "sealed", "sender", "formerId", "request"),
]


@pytest.mark.parametrize("name", PROPERTIES)
async def test_no_reason_quotes_a_property(registry: Registry, log: io.StringIO, name: str) -> None:
    """What is wrong is told by its name, whatever its value is."""
    decoder = Decoder(registry, MemoryClaims(), buckets=4)  # type: ignore[arg-type]
    for value in VALUES:
        ended = await decoder.read(delivery(GOOD, **{name: value}))
        if isinstance(ended, Ended):
            assert isinstance(ended.outcome, Dead)
            assert "marigold" not in ended.outcome.failure.reason
    assert "marigold" not in log.getvalue()


WRONG: list[dict[str, Any]] = [
    {"paymentId": MARKER},
    {"amount": MARKER},
    {"paidAt": f"2026-13-99T{MARKER}"},
    {"paidAt": "2026-02-30T00:00:00Z"},
    {"state": MARKER},
    {"way": {"kind": MARKER}},
    {"way": {"kind": "card", "number": MARKER}},
    {"way": MARKER},
]


@pytest.mark.parametrize("wrong", WRONG)
async def test_neither_a_reason_nor_an_answer_nor_a_log_quotes_a_field(
    registry: Registry, log: io.StringIO, wrong: dict[str, Any]
) -> None:
    """The same for what a body says, on the lane and at the API."""
    data = {**GOOD, **wrong}
    ended = await Decoder(registry, MemoryClaims(), buckets=4).read(delivery(data))  # type: ignore[arg-type]
    assert isinstance(ended, Ended)
    assert isinstance(ended.outcome, Dead)
    assert "marigold" not in ended.outcome.failure.reason
    answer = await Running(registry).post("/api/payments", data)
    assert answer.status == 400
    assert b"marigold" not in answer.body
    assert "marigold" not in log.getvalue()


async def test_no_answer_quotes_a_header_or_a_query(registry: Registry, log: io.StringIO) -> None:
    """Credentials among them."""
    app = Running(registry)
    for headers in ({"authorization": f"Bearer {MARKER}"}, {"x-api-key": MARKER}, {"content-type": MARKER}):
        answer = await ask(app.asgi, "POST", "/api/payments", json.dumps(GOOD).encode(), headers=headers)
        assert b"marigold" not in answer.body
    answer = await ask(app.asgi, "GET", f"/api/operations/{MARKER}")
    assert b"marigold" not in answer.body
    assert "marigold" not in log.getvalue()


@pytest.mark.parametrize("name", ["id", "type", "source", "subject", "time", "dataschema", "sequence"])
def test_no_reason_quotes_an_attribute_of_an_event(name: str) -> None:
    """As the event log's readers park it."""
    event: dict[str, Any] = {
        "id": "1",
        "type": "t",
        "source": "s",
        "subject": "k",
        "time": "2026-01-05T08:00:00Z",
        "dataschema": "x:1.0",
        "data": {},
    }
    found: list[str] = []
    for value in (*VALUES[:2], *VALUES[3:6]):
        try:
            CloudEvent.from_json(json.dumps({**event, name: value}).encode())
        except MessageError as error:
            found.append(str(error))
    assert "marigold" not in "".join(found)


@pytest.mark.parametrize("text", ["2026-02-30T00:00:00Z", "0000-01-01T00:00:00Z", "2026-01-01T24:00:00Z", MARKER])
def test_no_time_is_quoted(text: str) -> None:
    """The standard library does that by itself."""
    with pytest.raises(ValueError, match=r"^must be a time") as caught:
        parse_rfc3339(text)
    assert text not in str(caught.value)
