"""Uploads: opened, filled, and named by a message in place of its body."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from azure.core.exceptions import ServiceRequestError

import integrations
from functions.composition.encryption import data_keys
from functions.composition.uploads import uploads
from shared.authentication import api_key_entry
from shared.claim_check import LARGEST_UPLOAD
from shared.messages import CLOUD_EVENT_TYPE, discover
from tests.unit.asgi import Answer, ask
from tests.unit.functions.conftest import ENVIRONMENT, Running
from tests.unit.functions.samples import as_bytes, envelope, order
from tests.unit.memory import MemoryUploads
from tests.unit.shared.encryption.vault import World

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
KEYS = {name: secrets.token_urlsafe(32) for name in ("shop", "other")}
GUARDED = {
    "SLUICE_AUTH": "required",
    "SLUICE_API_KEYS": f"[{','.join(api_key_entry(name, key, ['producer']) for name, key in KEYS.items())}]",
}
BLOCK = 2_000_000


@dataclass
class Client:
    """A caller, at a time that tests move."""

    running: Running
    kept: MemoryUploads
    clock: list[datetime] = field(default_factory=lambda: [START])

    async def call(
        self, method: str, path: str, body: bytes = b"", who: str = "shop", kind: str = "application/json"
    ) -> Answer:
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), "x-api-key": KEYS[who]}
        return await ask(self.running.asgi, method, path, body, headers)

    async def open(self) -> dict[str, Any]:
        answer = await self.call("POST", "/api/uploads")
        assert answer.status == 201
        opened: dict[str, Any] = answer.json
        return opened

    async def send(self, opened: dict[str, Any], number: object, block: bytes, who: str = "shop") -> Answer:
        path = opened["blocks"]["path"].format(number=number)
        return await self.call("PUT", path, block, who, "application/octet-stream")

    async def filled(self, payload: bytes) -> dict[str, Any]:
        """An upload with the payload, and what a message says of it."""
        opened = await self.open()
        for number, start in enumerate(range(0, len(payload), BLOCK)):
            assert (await self.send(opened, number, payload[start : start + BLOCK])).status == 204
        digest = hashlib.sha256(payload).hexdigest()
        return {"upload": {"id": opened["uploadId"], "size": len(payload), "sha256": digest}}


@pytest.fixture
def client() -> Client:
    return make({})


def make(environment: dict[str, str], parts: dict[Any, Any] | None = None) -> Client:
    clock, kept = [START], MemoryUploads()
    running = Running(
        discover(integrations),
        ENVIRONMENT | GUARDED | environment,
        {uploads: kept, **(parts or {})},
        now=lambda: clock[0],
    )
    return Client(running, kept, clock)


def large_order() -> dict[str, Any]:
    """Two and a half blocks."""
    return order(note="x" * (BLOCK * 5 // 2))


@pytest.mark.parametrize("form", ["bare", "envelope", "cloud event"])
async def test_a_message_over_the_limit_of_a_body_is_taken_by_its_upload(client: Client, form: str) -> None:
    """What was uploaded may be all that a body may be."""
    event = {"specversion": "1.0", "id": "1", "type": "order.placed", "source": "s", "time": "2026-01-05T11:00:00Z"}
    value = {"bare": large_order(), "envelope": envelope(large_order()), "cloud event": event | {"data": large_order()}}
    kind = CLOUD_EVENT_TYPE if form == "cloud event" else "application/json"
    payload = as_bytes(value[form])
    assert (await client.call("POST", "/api/orders", payload)).status == 413
    named = await client.filled(payload)
    answer = await client.call("POST", "/api/orders", as_bytes(named), kind=kind)
    assert answer.status == 202, answer.json
    (sent,) = client.running.lanes.sent
    assert sent.body == b""
    assert sent.headers.claim is not None
    claimed = json.loads(client.running.claims.payloads[sent.headers.claim])
    assert claimed["data"] == large_order()
    assert str(sent.headers.message_id) == claimed["messageId"] == answer.json["messageId"]


async def test_a_message_can_be_sent_again_while_its_upload_lives(client: Client) -> None:
    """The answer may have been lost; the inbox knows the message by its id."""
    named = as_bytes(await client.filled(as_bytes(envelope(large_order()))))
    answers = [await client.call("POST", "/api/messages", named) for _ in range(2)]
    assert [one.status for one in answers] == [202, 202]
    assert len({one.json["messageId"] for one in answers}) == 1


async def test_a_small_upload_is_a_message_like_any_other(client: Client) -> None:
    """Whether it becomes a claim is decided by its size."""
    named = await client.filled(as_bytes(envelope()))
    assert (await client.call("POST", "/api/messages", as_bytes(named))).status == 202
    (sent,) = client.running.lanes.sent
    assert json.loads(sent.body) == envelope()
    assert sent.headers.claim is None


async def test_what_was_uploaded_is_checked_as_a_body_is(client: Client) -> None:
    """A contract isn't broken by a way around."""
    named = await client.filled(as_bytes(order(lines=[])))
    answer = await client.call("POST", "/api/orders", as_bytes(named))
    assert (answer.status, answer.json["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert answer.json["error"]["details"]["errors"][0]["field"] == "data.lines"
    assert client.running.lanes.sent == []


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"size": 5}, 400, "CLAIM_CHANGED"),
        ({"sha256": "0" * 64}, 400, "CLAIM_CHANGED"),
        ({"size": 0}, 400, "VALIDATION_ERROR"),
        ({"size": LARGEST_UPLOAD + 1}, 400, "VALIDATION_ERROR"),
        ({"size": True}, 400, "VALIDATION_ERROR"),
        ({"size": "5"}, 400, "VALIDATION_ERROR"),
        ({"sha256": "A" * 64}, 400, "VALIDATION_ERROR"),
        ({"sha256": None}, 400, "VALIDATION_ERROR"),
        ({"id": 5}, 400, "VALIDATION_ERROR"),
        ({"id": ""}, 404, "NOT_FOUND"),
        ({"id": "x" * 56}, 404, "NOT_FOUND"),
        ({"id": "é"}, 404, "NOT_FOUND"),
    ],
)
async def test_a_name_that_is_not_the_uploads_is_refused(
    client: Client, change: dict[str, Any], status: int, code: str
) -> None:
    """Nothing is sent; the upload is there still."""
    named = await client.filled(as_bytes(order()))
    answer = await client.call("POST", "/api/orders", as_bytes({"upload": named["upload"] | change}))
    assert (answer.status, answer.json["error"]["code"]) == (status, code), answer.json
    assert client.running.lanes.sent == []
    assert (await client.call("POST", "/api/orders", as_bytes(named))).status == 202


@pytest.mark.parametrize("given", [{}, None, [], "x", {"id": "x"}])
async def test_half_a_name_names_what_is_missing(client: Client, given: object) -> None:
    """Field by field."""
    answer = await client.call("POST", "/api/orders", as_bytes({"upload": given}))
    assert (answer.status, answer.json["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert {one["field"] for one in answer.json["error"]["details"]["errors"]} >= {"upload.size", "upload.sha256"}


async def test_a_model_may_have_a_field_of_that_name(client: Client) -> None:
    """Only a body that says nothing else names an upload."""
    answer = await client.call("POST", "/api/orders", as_bytes(order(upload={"id": "x"})))
    assert answer.status == 202


async def test_an_upload_that_nothing_was_sent_to_is_missing(client: Client) -> None:
    opened = await client.open()
    named = {"upload": {"id": opened["uploadId"], "size": 5, "sha256": "0" * 64}}
    answer = await client.call("POST", "/api/orders", as_bytes(named))
    assert (answer.status, answer.json["error"]["code"]) == (400, "CLAIM_MISSING")


async def test_another_clients_upload_is_none(client: Client) -> None:
    """Neither to be filled nor to be named, and it looks like none at all."""
    opened, named = await client.open(), await client.filled(as_bytes(order()))
    filled = await client.send(opened, 0, b"x", "other")
    sent = await client.call("POST", "/api/orders", as_bytes(named), "other")
    assert (filled.status, sent.status) == (404, 404)
    assert client.running.lanes.sent == []


async def test_an_upload_ends_after_a_day(client: Client) -> None:
    """The sweep takes it then."""
    named = await client.filled(as_bytes(order()))
    opened = await client.open()
    assert opened["expires"] == "2026-01-06T12:00:00.000Z"
    client.clock[0] = START + timedelta(days=1)
    assert (await client.call("POST", "/api/orders", as_bytes(named))).status == 404
    assert (await client.send(opened, 0, b"x")).status == 404


async def test_an_operations_id_is_no_uploads(client: Client) -> None:
    """Both are signed with one key."""
    answer = await client.call("POST", "/api/orders", as_bytes(order()))
    operation = answer.headers["location"].rpartition("/")[2]
    named = {"upload": {"id": operation, "size": 5, "sha256": "0" * 64}}
    assert (await client.call("POST", "/api/orders", as_bytes(named))).status == 404
    opened = await client.open()
    assert (await client.call("GET", f"/api/operations/{opened['uploadId']}")).status == 404


@pytest.mark.parametrize("number", ["34", "-1", "x", "1.0", "²", "999999"])
async def test_a_blocks_number_is_bounded(client: Client, number: str) -> None:
    """All blocks together are hardly more than the largest upload."""
    answer = await client.send(await client.open(), number, b"x")
    assert (answer.status, answer.json["error"]["code"]) == (400, "BAD_REQUEST")
    assert client.kept.blocks == {}


@pytest.mark.parametrize(("block", "status"), [(b"", 400), (b"x" * BLOCK, 204), (b"x" * (BLOCK + 1), 413)])
async def test_a_block_has_the_limit_of_a_body(client: Client, block: bytes, status: int) -> None:
    opened = await client.open()
    assert opened["blocks"]["size"] == BLOCK
    assert (await client.send(opened, 0, block)).status == status


async def test_the_same_number_again_replaces_a_block(client: Client) -> None:
    """So a block is sent again when its answer was lost."""
    opened = await client.open()
    for block in (b"{", as_bytes(order())):
        assert (await client.send(opened, 0, block)).status == 204
    digest = hashlib.sha256(as_bytes(order())).hexdigest()
    named = {"upload": {"id": opened["uploadId"], "size": len(as_bytes(order())), "sha256": digest}}
    assert (await client.call("POST", "/api/orders", as_bytes(named))).status == 202


async def test_storage_that_is_away_is_a_503_on_every_step(client: Client) -> None:
    opened, named = await client.open(), await client.filled(as_bytes(order()))
    client.kept.broken = ServiceRequestError("away")
    answers = [
        await client.call("POST", "/api/uploads"),
        await client.send(opened, 0, b"x"),
        await client.call("POST", "/api/orders", as_bytes(named)),
    ]
    assert [(one.status, one.json["error"]["code"], one.json["retryable"]) for one in answers] == [
        (503, "UNAVAILABLE", True)
    ] * 3


async def test_where_claims_are_encrypted_no_plain_copy_stays() -> None:
    """The upload goes once its message is kept, and not before."""
    keys = World().data_keys()
    vault = {"SLUICE_DATA_KEY": "key:k", "SLUICE_ENCRYPT_CLAIMS": "true", "KeyVault__vaultUri": "https://v.example"}
    client = make(vault, {data_keys: keys})
    named = as_bytes(await client.filled(as_bytes(envelope(large_order()))))
    client.running.lanes.failures = [ServiceRequestError("away")]
    assert (await client.call("POST", "/api/messages", named)).status == 503
    assert client.kept.blocks != {}
    assert (await client.call("POST", "/api/messages", named)).status == 202
    assert client.kept.blocks == {}


async def test_links_of_uploads_have_the_public_path() -> None:
    """Callers come through a proxy with a path of its own."""
    client = make({"SLUICE_PUBLIC_URL": "https://api.example.org/shop"})
    opened = await client.open()
    assert opened["blocks"]["path"] == f"/shop/api/uploads/{opened['uploadId']}/blocks/{{number}}"
    assert opened["link"] is None


async def test_a_link_is_offered_where_the_storage_gives_one() -> None:
    """With what its request must have."""

    class Linked(MemoryUploads):
        async def link(self, name: str, *, now: datetime) -> tuple[str, datetime] | None:
            return f"https://a.example/claims/uploads/{UUID(name)}?sig=x", now + timedelta(hours=1)

    link = (await make({}, {uploads: Linked()}).open())["link"]
    assert link.pop("url").startswith("https://a.example/claims/uploads/")
    assert link == {
        "method": "PUT",
        "headers": {"x-ms-blob-type": "BlockBlob"},
        "expires": "2026-01-05T13:00:00.000Z",
    }
