"""Bad input: each a 4xx in the one error format, and nothing sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.composition.claims import claim_store
from functions.composition.processing import processor
from shared.bulk import NDJSON
from shared.http import bodies
from shared.messages import CLOUD_EVENT_TYPE, ErrorCode
from tests.unit.asgi import Answer

from .conftest import Running
from .samples import as_bytes, credit_note, envelope, line, order

DEEP = b'{"a":' * 100 + b"1" + b"}" * 100


def expect_error(answer: Answer, status: int, code: str) -> dict[str, Any]:
    """The one error format, with this status and code; returns the error."""
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json
    assert body.keys() == {"messageId", "status", "timestamp", "error", "retryable", "retryAfter"}
    assert body["error"].keys() == {"code", "message", "details"}
    assert (answer.status, body["error"]["code"]) == (status, code)
    assert (body["status"], body["retryable"], body["retryAfter"]) == ("error", False, None)
    assert body["error"]["message"]
    assert "Traceback" not in body["error"]["message"]
    ErrorCode(body["error"]["code"])
    error: dict[str, Any] = body["error"]
    return error


@pytest.mark.parametrize("path", ["/api/messages", "/api/orders", "/api/credit-notes"])
@pytest.mark.parametrize("kind", ["application/json", CLOUD_EVENT_TYPE])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "MALFORMED_JSON"),
        (b"   \n", "MALFORMED_JSON"),
        (b"{", "MALFORMED_JSON"),
        (b"not json", "MALFORMED_JSON"),
        (as_bytes(envelope())[:-1], "MALFORMED_JSON"),
        (as_bytes(envelope()) + b"x", "MALFORMED_JSON"),
        (as_bytes(envelope()).replace(b"536365", b"\xff\xfe"), "MALFORMED_JSON"),
        (b"\xef\xbb\xbf" + as_bytes(envelope()), "MALFORMED_JSON"),
        (json.dumps(envelope()).encode("utf-16"), "MALFORMED_JSON"),
        (b'{"messageId":1,"messageId":2}', "MALFORMED_JSON"),
        (as_bytes(envelope()).replace(b"2.55", b"NaN"), "MALFORMED_JSON"),
        (as_bytes(envelope()).replace(b"2.55", b"-Infinity"), "MALFORMED_JSON"),
        (as_bytes(envelope()).replace(b"2.55", b"1e999"), "MALFORMED_JSON"),
        (as_bytes(envelope()).replace(b"2.55", b"9" * 5_000), "MALFORMED_JSON"),
        (as_bytes(envelope()).replace(b"536365", b"\\ud800"), "MALFORMED_JSON"),
        (as_bytes(envelope()).replace(b"2.55", DEEP), "MALFORMED_JSON"),
        (b"[" * 100_000, "MALFORMED_JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "MALFORMED_JSON"),
        (b"null", "VALIDATION_ERROR"),
        (b"[]", "VALIDATION_ERROR"),
        (b'"text"', "VALIDATION_ERROR"),
        (b"0", "VALIDATION_ERROR"),
        (b"{}", "VALIDATION_ERROR"),
    ],
)
async def test_a_body_that_is_no_message_is_refused(
    running: Running, path: str, kind: str, body: bytes, code: str
) -> None:
    """On every path and in every form."""
    answer = await running.post(path, body, kind=kind)
    expect_error(answer, 400, code)
    assert running.lanes.sent == []
    assert running.claims.payloads == {}


@pytest.mark.parametrize("path", ["/api/messages", "/api/orders", "/api/orders/bulk"])
async def test_what_names_an_upload_may_be_nested_as_it_likes(running: Running, path: str) -> None:
    """A thousand bytes are enough for the parser's limit, which is no fault of the app."""
    body = b'{"upload":' + b"[" * 1_000
    kind = NDJSON if path.endswith("bulk") else "application/json"
    answer = await running.post(path, body, kind=kind)
    assert (answer.status, b"MALFORMED_JSON" in answer.body) == (400, True)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"eventType": "order.unknown"}, "UNKNOWN_EVENT_TYPE"),
        ({"eventType": "x" * 100_000}, "UNKNOWN_EVENT_TYPE"),
        ({"eventType": ""}, "UNKNOWN_EVENT_TYPE"),
        ({"version": "9.9"}, "UNKNOWN_VERSION"),
        ({"version": "x" * 100_000}, "UNKNOWN_VERSION"),
        ({"eventType": 5}, "VALIDATION_ERROR"),
        ({"eventType": None}, "VALIDATION_ERROR"),
        ({"version": 1.0}, "VALIDATION_ERROR"),
        ({"version": ["1.0"]}, "VALIDATION_ERROR"),
        ({"messageId": "not-a-uuid"}, "VALIDATION_ERROR"),
        ({"messageId": 5}, "VALIDATION_ERROR"),
        ({"messageId": {"$ne": 1}}, "VALIDATION_ERROR"),
        ({"timestamp": "yesterday"}, "VALIDATION_ERROR"),
        ({"timestamp": "2010-12-01T08:26:00"}, "VALIDATION_ERROR"),
        ({"timestamp": 1291191960}, "VALIDATION_ERROR"),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, "VALIDATION_ERROR"),
        ({"source": ""}, "VALIDATION_ERROR"),
        ({"source": None}, "VALIDATION_ERROR"),
        ({"data": None}, "VALIDATION_ERROR"),
        ({"data": []}, "VALIDATION_ERROR"),
        ({"data": "{}"}, "VALIDATION_ERROR"),
    ],
)
async def test_an_envelope_with_a_wrong_field_is_refused(running: Running, changed: dict[str, Any], code: str) -> None:
    """Wrong types, unknown contracts."""
    answer = await running.post("/api/messages", envelope(**changed))
    error = expect_error(answer, 400, code)
    assert len(error["message"]) < 500
    assert running.lanes.sent == []


@pytest.mark.parametrize(
    ("changed", "field", "number"),
    [
        ({"lines": [line(), line(quantity=0)]}, "data.lines.1.quantity", 2),
        ({"lines": [line(quantity=-3)]}, "data.lines.0.quantity", 1),
        ({"lines": [line()] * 7 + [line(unitPrice=-0.01)]}, "data.lines.7.unitPrice", 8),
        ({"lines": [line(unitPrice="-1")]}, "data.lines.0.unitPrice", 1),
        ({"lines": [line(unitPrice="NaN")]}, "data.lines.0.unitPrice", 1),
        ({"lines": [line(unitPrice="a lot")]}, "data.lines.0.unitPrice", 1),
        ({"lines": [line(unitPrice=True)]}, "data.lines.0.unitPrice", 1),
        ({"lines": [line(unitPrice=None)]}, "data.lines.0.unitPrice", 1),
        ({"lines": [line(unitPrice="1e999999999")]}, "data.lines.0.unitPrice", 1),
        ({"lines": [line(quantity="6")]}, "data.lines.0.quantity", 1),
        ({"lines": [line(quantity=1.5)]}, "data.lines.0.quantity", 1),
        ({"lines": [line(quantity=True)]}, "data.lines.0.quantity", 1),
        ({"lines": [line(quantity=10**12)]}, "data.lines.0.quantity", 1),
        ({"lines": [line(sku="")]}, "data.lines.0.sku", 1),
        ({"lines": [line(sku=85123)]}, "data.lines.0.sku", 1),
        ({"lines": [line(), None]}, "data.lines.1", 2),
        ({"lines": []}, "data.lines", None),
        ({"lines": {}}, "data.lines", None),
        ({"orderId": ""}, "data.orderId", None),
        ({"orderId": 536365}, "data.orderId", None),
        ({"orderId": "a/b"}, "data.orderId", None),
        ({"orderId": "5" * 65}, "data.orderId", None),
        ({"orderId": "536365\n"}, "data.orderId", None),
        ({"orderId": None}, "data.orderId", None),
        ({"placedAt": "2010-12-01T08:26:00"}, "data.placedAt", None),
        ({"placedAt": "9999-12-31T23:59:59-14:00"}, "data.placedAt", None),
        ({"customerId": 17850}, "data.customerId", None),
        ({"country": ""}, "data.country", None),
    ],
)
@pytest.mark.parametrize("form", ["bare", "envelope"])
async def test_an_order_that_breaks_its_contract_names_the_field_and_the_line(
    running: Running, changed: dict[str, Any], field: str, number: int | None, form: str
) -> None:
    """By the JSON name, lines from 1."""
    data = order(**changed)
    answer = await running.post("/api/orders", data if form == "bare" else envelope(data))
    error = expect_error(answer, 400, "VALIDATION_ERROR")
    (finding,) = error["details"]["errors"]
    assert finding["field"] == field
    assert finding.get("line") == number
    if number is not None:
        assert f"line {number}" in error["message"]
    assert running.lanes.sent == []


@pytest.mark.parametrize("quantity", [0, 1])
async def test_a_credit_note_needs_negative_quantities(running: Running, quantity: int) -> None:
    """Every line that has none is named."""
    data = credit_note(lines=[line(quantity=-1), line(quantity=quantity), line(quantity=quantity)])
    error = expect_error(await running.post("/api/credit-notes", data), 400, "VALIDATION_ERROR")
    assert [finding["line"] for finding in error["details"]["errors"]] == [2, 3]


async def test_many_wrong_lines_make_a_short_answer(running: Running) -> None:
    """All are counted, the first are named."""
    answer = await running.post("/api/orders", order(lines=[line(quantity=0)] * 5_000))
    error = expect_error(answer, 400, "VALIDATION_ERROR")
    assert error["details"]["count"] == 5_000
    assert len(answer.body) < 5_000


async def test_a_bare_order_as_deep_as_allowed_is_refused_if_its_envelope_is_not(running: Running) -> None:
    """Otherwise the worker would refuse what was accepted."""
    extra: Any = 1
    for _ in range(63):
        extra = [extra]
    answer = await running.post("/api/orders", order(extra=extra))
    expect_error(answer, 400, "MALFORMED_JSON")
    assert (await running.post("/api/orders", order(extra=extra[0]))).status == 202


@pytest.mark.parametrize("path", ["/api/messages", "/api/orders"])
@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "text/plain",
        "application/xml",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application/cloudevents-batch+json",
        ";",
        "/",
        "application/json, text/plain",
        "é",
    ],
)
async def test_another_content_type_is_refused(running: Running, path: str, kind: str | None) -> None:
    """Also none at all."""
    expect_error(await running.post(path, envelope(), kind=kind), 415, "UNSUPPORTED_MEDIA_TYPE")
    assert running.lanes.sent == []


async def test_a_content_type_of_tens_of_kilobytes_costs_nothing(running: Running) -> None:
    """Its parameters aren't even looked at."""
    kind = 'application/json; a="' + ";" * 60_000
    expect_error(await running.post("/api/orders", order(), kind=kind), 415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip"])
async def test_a_compressed_body_is_refused(running: Running, encoding: str) -> None:
    """Its size would be unknown."""
    answer = await running.post("/api/orders", order(), {"Content-Encoding": encoding})
    expect_error(answer, 415, "UNSUPPORTED_ENCODING")


@pytest.mark.parametrize("length", ["²", "-1", "1e3", "", " ", "9" * 5_000, "0x10", "1, 1"])
async def test_a_strange_content_length_is_not_trusted(running: Running, length: str) -> None:
    """The body itself decides."""
    answer = await running.post("/api/orders", order(), {"Content-Length": length})
    assert answer.status == 202


async def test_a_body_that_says_it_is_too_large_is_refused_unread(running: Running) -> None:
    """Not a byte is taken."""

    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("was read")
        yield b""

    answer = await running.post("/api/orders", unread(), {"Content-Length": "2000001"})
    expect_error(answer, 413, "PAYLOAD_TOO_LARGE")


async def test_a_body_that_turns_out_too_large_is_refused_while_it_comes(running: Running) -> None:
    """A missing or lying length doesn't help."""
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 100_000
            yield b" " * 100_000

    expect_error(await running.post("/api/orders", endless()), 413, "PAYLOAD_TOO_LARGE")
    expect_error(await running.post("/api/orders", endless(), {"Content-Length": "5"}), 413, "PAYLOAD_TOO_LARGE")
    assert taken <= 2 * 2_200_000


async def test_a_body_that_ends_early_is_refused(running: Running) -> None:
    """The client has gone."""

    async def broken() -> AsyncIterator[bytes]:
        yield b'{"orderId"'
        raise ConnectionError

    expect_error(await running.post("/api/orders", broken()), 400, "INCOMPLETE_BODY")
    assert running.lanes.sent == []


async def test_a_body_that_hardly_comes_gives_its_place_back(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few large bodies are read at once: slow ones must not keep everybody out."""
    import asyncio

    monkeypatch.setattr(bodies, "PATIENCE_SECONDS", 0.05)

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60)

    answers = await asyncio.gather(*(running.post("/api/orders", slow()) for _ in range(4)))
    for answer in answers:
        expect_error(answer, 400, "INCOMPLETE_BODY")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"specversion": None}, "specversion"),
        ({"data_base64": "e30="}, "data_base64"),
    ],
)
async def test_another_kind_of_cloud_event_is_refused(running: Running, changed: dict[str, Any], field: str) -> None:
    """Version 1.0 with JSON data is what is taken."""
    event = {"specversion": "1.0", "id": "1", "type": "order.placed", "source": "s", "data": order()} | changed
    answer = await running.post("/api/messages", event, kind=CLOUD_EVENT_TYPE)
    error = expect_error(answer, 400, "VALIDATION_ERROR")
    assert error["details"]["errors"][0]["field"] == field


async def test_a_path_takes_only_its_own_event_type(running: Running) -> None:
    """A credit note posted as an order is a mistake."""
    answer = await running.post("/api/orders", envelope(credit_note(), eventType="order.credited"))
    error = expect_error(answer, 400, "VALIDATION_ERROR")
    assert error["details"]["errors"][0]["field"] == "eventType"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/nowhere", 404, "NOT_FOUND"),
        ("POST", "/api/nowhere", 404, "NOT_FOUND"),
        ("GET", "/", 404, "NOT_FOUND"),
        ("GET", "/api", 404, "NOT_FOUND"),
        ("POST", "/api/orders/", 404, "NOT_FOUND"),
        ("GET", "/api/orders/", 404, "NOT_FOUND"),
        ("GET", "/api/orders/a/b", 404, "NOT_FOUND"),
        ("GET", "/api/operations/", 404, "NOT_FOUND"),
        ("GET", "/api/messages", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/api/orders", 405, "METHOD_NOT_ALLOWED"),
        ("PUT", "/api/orders/1", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/api/health", 405, "METHOD_NOT_ALLOWED"),
        ("OPTIONS", "/api/orders", 405, "METHOD_NOT_ALLOWED"),
        ("BREW", "/api/orders", 405, "METHOD_NOT_ALLOWED"),
    ],
)
async def test_paths_and_methods_that_do_not_exist(
    running: Running, method: str, path: str, status: int, code: str
) -> None:
    """The error format here too; 405 says what is allowed."""
    from tests.unit.asgi import ask

    answer = await ask(running.asgi, method, path)
    expect_error(answer, status, code)
    if status == 405:
        assert answer.headers["allow"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
WRONG_FIELDS = st.dictionaries(
    st.sampled_from([*envelope(), *order(), "specversion", "id", "type", "dataschema"]), JSON
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(
    path=st.sampled_from(["/api/messages", "/api/orders", "/api/credit-notes"]),
    kind=st.sampled_from(["application/json", CLOUD_EVENT_TYPE])
    | st.text(st.characters(max_codepoint=255), max_size=20),
    body=st.binary(max_size=50)
    | WRONG_FIELDS.map(lambda fields: json.dumps(envelope() | fields).encode())
    | WRONG_FIELDS.map(lambda fields: json.dumps(envelope(order() | fields)).encode())
    | WRONG_FIELDS.map(lambda fields: json.dumps(order() | fields).encode())
    | WRONG_FIELDS.map(
        lambda fields: json.dumps(
            {"specversion": "1.0", "id": "1", "type": "order.placed", "source": "s", "data": order()} | fields
        ).encode()
    ),
)
async def test_no_input_makes_a_5xx_and_what_is_accepted_the_worker_can_read(
    running: Running, path: str, kind: str, body: bytes
) -> None:
    """Whatever is sent: 202 and the worker decodes it, or a 4xx and nothing was sent."""
    from shared.messages import Delivery
    from shared.processing import Decoder

    running = Running(running.composition.registry)
    answer = await running.post(path, body, kind=kind)
    if answer.status != 202:
        assert 400 <= answer.status < 500
        assert running.lanes.sent == []
        return
    (sent,) = running.lanes.sent
    properties = {str(name): value for name, value in sent.headers.to_properties().items()}
    delivery = Delivery(
        body=sent.body,
        properties=json.loads(json.dumps(properties)),
        message_id="",
        sequence_number=1,
        delivery_count=1,
    )
    headers = type(sent.headers).from_properties(delivery.properties)
    assert headers == sent.headers
    message = await Decoder(running.composition.registry, running.composition.get(claim_store), buckets=4).decode(
        delivery, headers
    )
    assert str(message.headers.message_id) == answer.json["messageId"]
    await running.composition.get(processor).process(headers.lane, [delivery])
    assert running.dead_letters.letters == {}
    assert len(running.publisher.facts) == 1
