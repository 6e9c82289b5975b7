"""Taking messages in: what is kept, where it waits, and what the sender is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError

from functions.composition.operations import operation_signer
from shared.messages import CLOUD_EVENT_TYPE, Lane
from shared.sending import NotSent

from .conftest import Running
from .samples import MESSAGE_ID, as_bytes, credit_note, envelope, line, order

CLOUD_EVENT = {
    "specversion": "1.0",
    "id": "A-536365",
    "type": "order.placed",
    "source": "https://shop.example",
    "time": "2010-12-01T08:26:00Z",
    "dataschema": "urn:shop:order:1.0",
    "data": order(),
}


async def test_an_envelope_is_kept_on_its_lane_and_answered_with_202(running: Running) -> None:
    """In the one format of success, with where to ask."""
    answer = await running.post("/api/messages", envelope())
    assert answer.status == 202
    assert answer.headers["content-type"] == "application/json"
    assert answer.json.keys() == {"messageId", "status", "timestamp", "processingTime", "acknowledgment"}
    assert (answer.json["messageId"], answer.json["status"]) == (MESSAGE_ID, "accepted")
    assert answer.json["acknowledgment"] == {"received": True, "processed": False, "stored": True}
    assert isinstance(answer.json["processingTime"], int)
    (sent,) = running.lanes.sent
    assert (sent.headers.lane, sent.headers.key, str(sent.headers.message_id)) == (Lane.NORMAL, "536365", MESSAGE_ID)
    assert sent.body == as_bytes(envelope())
    operations = await running.composition.get(operation_signer).ids()
    assert operations.read(answer.headers["location"].rpartition("/")[2]) is not None


@pytest.mark.parametrize(
    ("path", "data", "lane"),
    [
        ("/api/orders", order(), Lane.NORMAL),
        ("/api/orders", order(lines=[line()] * 99), Lane.NORMAL),
        ("/api/orders", order(lines=[line()] * 100), Lane.LOW),
        ("/api/credit-notes", credit_note(), Lane.HIGH),
        ("/api/credit-notes", credit_note(lines=[line(quantity=-1)] * 200), Lane.HIGH),
    ],
)
async def test_bare_data_waits_in_the_lane_of_its_urgency(
    running: Running, path: str, data: dict[str, Any], lane: Lane
) -> None:
    """Credit notes first, wholesale last; what travels is an envelope around the sender's own bytes."""
    answer = await running.post(path, data)
    assert answer.status == 202
    (sent,) = running.lanes.sent
    assert sent.headers.lane is lane
    body = sent.body or next(iter(running.claims.payloads.values()))
    assert as_bytes(data) in body
    decoded = running.composition.registry.routes[path.removeprefix("/api/")].decode(body)
    assert str(decoded.message_id) == answer.json["messageId"]


async def test_the_same_idempotency_key_makes_the_same_message(running: Running) -> None:
    """Without one, every request is a new message."""
    for _ in range(2):
        answer = await running.post("/api/orders", order(), {"Idempotency-Key": MESSAGE_ID})
        assert answer.json["messageId"] == MESSAGE_ID
    first, second = [await running.post("/api/orders", order()) for _ in range(2)]
    assert first.json["messageId"] != second.json["messageId"]


@pytest.mark.parametrize("key", ["", '""', "é", "two words", "a,b", '"open', '"a"b', '"a\\b"', "x" * 256, '"a";p=1'])
async def test_what_is_no_idempotency_key_is_refused(running: Running, key: str) -> None:
    """Taking it for another message would double an order."""
    answer = await running.post("/api/orders", order(), {"Idempotency-Key": key})
    assert (answer.status, answer.json["error"]["code"]) == (400, "BAD_REQUEST")
    assert running.lanes.sent == []


async def test_an_envelope_on_a_route_keeps_its_own_id(running: Running) -> None:
    """It says more than the header."""
    answer = await running.post("/api/orders", envelope(), {"Idempotency-Key": str(UUID(int=7))})
    assert answer.json["messageId"] == MESSAGE_ID


@pytest.mark.parametrize("path", ["/api/messages", "/api/orders"])
async def test_a_cloud_event_is_taken_as_well(running: Running, path: str) -> None:
    """The same event twice is the same message; its body travels as an envelope."""
    answers = [await running.post(path, CLOUD_EVENT, kind=CLOUD_EVENT_TYPE) for _ in range(2)]
    assert [answer.status for answer in answers] == [202, 202]
    assert answers[0].json["messageId"] == answers[1].json["messageId"]
    decoded = running.composition.registry.routes["orders"].decode(running.lanes.sent[0].body)
    assert decoded.source == "https://shop.example"


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'application/json; charset="utf-8"',
        "Application/JSON",
        "application/json; profile=x",
    ],
)
async def test_content_types_that_mean_json_are_taken(running: Running, kind: str) -> None:
    """Parameters and case don't matter."""
    assert (await running.post("/api/orders", order(), kind=kind)).status == 202


async def test_money_stays_decimal(running: Running) -> None:
    """As a number or as a text, to the last digit."""
    prices = [2.55, "2.55", "123456789012.123456", 0, "0", 0.1, 1e2]
    answer = await running.post("/api/orders", order(lines=[line(unitPrice=price) for price in prices]))
    assert answer.status == 202


@pytest.mark.parametrize("size", [16_384, 16_385])
async def test_a_body_over_the_threshold_goes_by_claim_check(running: Running, size: int) -> None:
    """The message stays small, the payload is the whole body."""
    body = as_bytes(envelope())
    body += b" " * (size - len(body))
    assert (await running.post("/api/messages", body)).status == 202
    (sent,) = running.lanes.sent
    if size == 16_384:
        assert (sent.body, sent.headers.claim) == (body, None)
        assert running.claims.payloads == {}
    else:
        assert sent.body == b""
        assert sent.headers.claim is not None
        assert running.claims.payloads == {sent.headers.claim: body}
        assert (sent.headers.claim_size, sent.headers.claim_encoding) == (size, None)


async def test_a_body_in_pieces_without_a_length_is_taken(running: Running) -> None:
    """As clients that stream send it."""

    async def pieces() -> AsyncIterator[bytes]:
        body = as_bytes(envelope())
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    assert (await running.post("/api/messages", pieces())).status == 202


async def test_correlation_is_carried_or_made(running: Running) -> None:
    """Into the answer and into the message; what isn't printable is replaced."""
    answer = await running.post("/api/orders", order(), {"X-Correlation-ID": "shop-7"})
    assert answer.headers["x-correlation-id"] == "shop-7"
    assert running.lanes.sent[0].headers.correlation_id == "shop-7"
    for odd in ("", "two words", "x" * 129, "é"):
        answer = await running.post("/api/orders", order(), {"X-Correlation-ID": odd})
        assert answer.headers["x-correlation-id"] == running.lanes.sent[-1].headers.correlation_id
        UUID(answer.headers["x-correlation-id"])


@pytest.mark.parametrize("failure", [NotSent("no"), TimeoutError(), ServiceRequestError("x"), HttpResponseError("x")])
async def test_what_is_not_kept_is_not_accepted(running: Running, failure: Exception) -> None:
    """503, to be tried again with the same id."""
    running.lanes.broken = failure
    answer = await running.post("/api/orders", order(), {"Idempotency-Key": MESSAGE_ID})
    assert (answer.status, answer.json["error"]["code"]) == (503, "UNAVAILABLE")
    assert (answer.json["retryable"], answer.json["retryAfter"]) == (True, 2)
    assert answer.headers["retry-after"] == "2"


async def test_without_its_payload_no_message_is_sent(running: Running) -> None:
    """The claim comes first."""
    running.claims.broken = ServiceRequestError("x")
    answer = await running.post("/api/orders", order(lines=[line()] * 500))
    assert answer.status == 503
    assert running.lanes.sent == []


async def test_a_bug_is_a_500_that_tells_nothing(running: Running) -> None:
    """In the error format, with the correlation id to find the log by."""
    running.lanes.broken = RuntimeError("connection to secret-host failed")
    answer = await running.post("/api/orders", order())
    assert (answer.status, answer.json["error"]["code"]) == (500, "INTERNAL_ERROR")
    assert b"secret" not in answer.body
    assert answer.headers["x-correlation-id"]
