"""Idempotency-Key: any text of a client's own stands for one message, and for one payload."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from azure.core.exceptions import ServiceRequestError

from shared.messages import Registry
from tests.unit.asgi import ask

from .conftest import Running
from .samples import MESSAGE_ID, as_bytes, credit_note, envelope, order
from .test_api_operations import process, running_as

KEYS = [
    UUID(MESSAGE_ID).hex,
    f"{{{MESSAGE_ID}}}",
    f"urn:uuid:{MESSAGE_ID}",
    "x",
    "536365",
    "9f0e2c6a-8f8e-4a52-9b5d-3d1a1a4a1b1",
    "a:b/c?d=e",
    "k" * 255,
    f'"{MESSAGE_ID}"',
]


async def post(running: Running, key: str, data: dict[str, Any] | None = None) -> tuple[int, Any]:
    """Status and body."""
    answer = await running.post("/api/orders", order() if data is None else data, {"Idempotency-Key": key})
    return answer.status, answer.json


@pytest.mark.parametrize("key", KEYS)
async def test_any_text_stands_for_one_message(running: Running, key: str) -> None:
    """The same key, the same message; another one, another."""
    (status, first), (_, again), (_, other) = [await post(running, one) for one in (key, key, "other")]
    assert status == 202
    assert first["messageId"] == again["messageId"]
    assert first["messageId"] not in (other["messageId"], MESSAGE_ID)


async def test_a_structured_string_is_the_text_within(running: Running) -> None:
    """Its escapes undone; the draft's form and the bare one of most clients are one key."""
    pairs = [("order-7", '"order-7"'), ("a\\b", '"a\\\\b"'), ("'", '"\'"')]
    for bare, quoted in pairs:
        assert (await post(running, bare))[1]["messageId"] == (await post(running, quoted))[1]["messageId"]
    (_, quoted_only) = await post(running, '"two \\"words\\", one key"')
    assert quoted_only["status"] == "accepted"


async def test_a_key_is_its_clients_own(registry: Registry) -> None:
    """Two that count their orders from 1 don't meet."""
    who = {"name": "first"}
    running = running_as(registry, who)
    (_, first) = await post(running, "1")
    who["name"] = "second"
    (status, second) = await post(running, "1", order(orderId="7"))
    assert status == 202
    assert first["messageId"] != second["messageId"]


@pytest.mark.parametrize("key", [UUID(MESSAGE_ID).hex, f'"{MESSAGE_ID}"'])
async def test_what_only_looks_like_a_message_id_is_a_clients_own(registry: Registry, key: str) -> None:
    """A digest of 32 hex digits, or the draft's own example; a bare UUID is the id, in capitals too."""
    who = {"name": "first"}
    running = running_as(registry, who)
    (_, first) = await post(running, key)
    who["name"] = "second"
    (_, second) = await post(running, key)
    assert len({first["messageId"], second["messageId"], MESSAGE_ID}) == 3
    assert (await post(running, MESSAGE_ID.upper()))[1]["messageId"] == MESSAGE_ID


async def test_a_key_is_one_of_its_path(running: Running) -> None:
    """Two kinds of commands that are numbered alike don't meet; whatever the path's version."""
    headers = {"Idempotency-Key": "7"}
    (_, first), other = await post(running, "7"), await running.post("/api/credit-notes", credit_note(), headers)
    assert (other.status, other.json["messageId"] == first["messageId"]) == (202, False)
    pinned = await running.post("/api/v1/orders", order(), headers)
    assert pinned.json["messageId"] == first["messageId"]


@pytest.mark.parametrize("key", ["order-7", MESSAGE_ID])
async def test_another_payload_under_a_known_key_is_refused_where_it_is_known(running: Running, key: str) -> None:
    """Before that it is accepted, and ends as a conflict; nothing was written to tell."""
    assert (await post(running, key))[0] == 202
    early = await running.post("/api/orders", order(country="France"), {"Idempotency-Key": key})
    assert early.status == 202
    assert running.state.rows == {}
    await process(running)
    status, body = await post(running, key, order(country="Spain"))
    assert (status, body["error"]["code"], body["retryable"]) == (422, "MESSAGE_ID_CONFLICT", False)
    assert running.lanes.sent == []
    assert (await post(running, key))[0] == 202
    told = (await running.get(early.headers["location"])).json
    assert (told["status"], told["state"]) == ("failed", "conflict")


async def test_a_store_that_is_away_refuses_nobody(running: Running) -> None:
    """The worker looks again."""
    running.state.broken = ServiceRequestError("away")
    assert (await post(running, "order-7"))[0] == 202


async def test_no_key_asks_the_store_nothing(running: Running) -> None:
    """Nor one that an envelope's own id overrules."""
    await running.post("/api/orders", order())
    await running.post("/api/orders", envelope(), {"Idempotency-Key": "other"})
    assert running.state.finds == 0


async def test_two_keys_are_none(running: Running) -> None:
    """Nobody could say which of them counts."""
    body = as_bytes(order())
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Idempotency-Key", "one"),
        ("Idempotency-Key", "two"),
    ]
    assert (await ask(running.asgi, "POST", "/api/orders", body, headers)).status == 400
