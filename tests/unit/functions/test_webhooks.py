"""Webhooks over HTTP: what is genuine is on its lane before it is answered, once, whatever it says."""

from __future__ import annotations

import base64
import hmac
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.requests import Request

from functions.composition import CAPABILITIES, capabilities_of
from functions.composition.declarations import declarations
from functions.composition.secrets import secret_cache
from functions.composition.webhooks import fetcher, webhooks
from functions.openapi import document
from shared.http_signatures import SignedRequest
from shared.http_signatures.components import component, signature_base
from shared.http_signatures.structured_fields import InnerList
from shared.messages import Contract, Integration, Lane, Registry
from shared.secrets import Secret, VaultUnavailable
from shared.sending import NotSent
from shared.webhooks import PRESETS, EventGrid, GitHub, Hmac
from shared.work import Work
from tests.unit.asgi import Answer, ask
from tests.unit.functions.conftest import ENVIRONMENT, Running

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
SECONDS = str(int(NOW.timestamp()))
SECRET, BEFORE = "an example secret", "the example before"


class Order(Contract):
    id: int
    note: str = ""


class Charge(Contract):
    id: str


class Charged(Contract):
    object: Charge


class Payment(Contract):
    id: str
    type: str
    data: Charged


class Event(Contract):
    event_id: str


class GridEvent(Contract):
    id: str


class Action(Contract):
    action: str


shop = Integration("shop")
shop.receives("grid", EventGrid())
shop.receives("erp", Hmac(header="x-signature"), secrets=["erp-eu", "erp-us"])


@shop.webhook("shopify", topic="orders/create", key="id")
async def created(order: Order, work: Work) -> None: ...


@shop.webhook("stripe", topic="payment.succeeded", key="data.object.id", ordered=True)
async def paid(payment: Payment, work: Work) -> None: ...


@shop.webhook("slack", topic="message", key="event_id")
@shop.webhook("erp", key="event_id")
async def any_event(event: Event, work: Work) -> None: ...


@shop.webhook("grid", topic="made", key="id")
async def made(event: GridEvent, work: Work) -> None: ...


@shop.webhook("github", key="action", priority=Lane.LOW)
async def pushed(event: Action, work: Work) -> None: ...


class Vault:
    """Two versions of every secret, or none at all."""

    reachable = True

    async def both(self, name: str) -> tuple[Secret, ...]:
        """As the cache does."""
        if not self.reachable:
            raise VaultUnavailable(name, "nobody answers")
        return (Secret(name, SECRET, "2", NOW), Secret(name, BEFORE, "1", NOW))

    async def close(self) -> None:
        """As the cache does."""


def running(vault: Vault | None = None, registry: Registry | None = None, **settings: str) -> Running:
    parts = {secret_cache: vault or Vault()}
    return Running(registry or Registry([shop]), {**ENVIRONMENT, **settings}, parts, lambda: NOW)


async def shopify(
    app: Running, body: bytes, delivery: str = "d-1", topic: str = "orders/create", secret: str = SECRET
) -> Answer:
    signature = base64.b64encode(hmac.digest(secret.encode(), body, "sha256")).decode()
    headers = {"X-Shopify-Hmac-Sha256": signature, "X-Shopify-Topic": topic, "X-Shopify-Webhook-Id": delivery}
    return await app.post("/api/webhooks/shopify", body, headers)


async def test_a_genuine_webhook_is_on_its_lane(caplog: pytest.LogCaptureFixture) -> None:
    """As its sender wrote it, byte for byte, under an id that is the same when it comes again."""
    app = running()
    body = b'{"id": 820982911946154508, "note": "1.10", "total": 1.10}'
    answer = await shopify(app, body)
    assert (answer.status, answer.body) == (200, b"")
    assert (await shopify(app, body)).status == 200
    assert (await shopify(app, body, "d-2", secret=BEFORE)).status == 200
    first, again, other = (one.headers for one in app.lanes.sent)
    assert app.lanes.sent[0].body.endswith(b'"data":' + body + b"}")
    assert (first.event_type, first.key, first.lane) == (
        "webhook:shopify:orders/create",
        "820982911946154508",
        Lane.NORMAL,
    )
    assert first.source == "/webhooks/shopify"
    assert first.message_id == again.message_id != other.message_id
    assert first.sender == other.sender


@pytest.mark.parametrize("changed", ["body", "secret", "header"])
async def test_one_that_isnt_genuine_is_refused_and_nothing_is_kept(
    changed: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = running()
    if changed == "header":
        answer = await app.post("/api/webhooks/shopify", b"{}")
    else:
        answer = await shopify(app, b'{"id": 1}', secret="a guess" if changed == "secret" else SECRET[:-1])
    assert answer.status == 401
    assert answer.json["error"] == {"code": "UNAUTHENTICATED", "message": "The signature doesn't fit.", "details": {}}
    assert app.lanes.sent == []


async def test_what_its_handler_cant_read_is_kept_all_the_same() -> None:
    """It becomes a dead letter there, with all that it says; the sender has done its part."""
    app = running()
    assert (await shopify(app, b'{"id": "not a number"}')).status == 200
    assert (await shopify(app, b'{"other": true}', "d-2")).status == 200
    assert [one.headers.key for one in app.lanes.sent] == [str(one.headers.message_id) for one in app.lanes.sent]


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": 1, "a": 2}', b"[" * 100 + b"]" * 100, b"\xff"])
async def test_what_is_no_json_is_refused(body: bytes) -> None:
    app = running()
    answer = await shopify(app, body)
    assert (answer.status, answer.json["error"]["code"]) == (400, "MALFORMED_JSON")
    assert app.lanes.sent == []


async def test_a_topic_that_nobody_handles_is_acknowledged_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A sender that gets errors switches all of its webhooks off in the end."""
    app = running()
    assert (await shopify(app, b"{}", topic="shop/redact")).status == 200
    assert app.lanes.sent == []
    assert any("webhook ignored" in record.message for record in caplog.records)


async def test_while_nothing_can_be_kept_the_sender_is_asked_to_repeat() -> None:
    for vault, lanes_fail in ((Vault(), True), (_unreachable(), False)):
        app = running(vault)
        app.lanes.broken = NotSent("nobody answers") if lanes_fail else None
        answer = await shopify(app, b'{"id": 1}')
        assert (answer.status, answer.headers["retry-after"]) == (503, "2")
        assert app.lanes.sent == []


async def test_without_a_vault_it_is_sent_again() -> None:
    """Until somebody says where it is."""
    app = Running(Registry([shop]), ENVIRONMENT, now=lambda: NOW)
    answer = await shopify(app, b'{"id": 1}')
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")


def _unreachable() -> Vault:
    vault = Vault()
    vault.reachable = False
    return vault


async def test_a_key_further_down_and_the_ordered_lane() -> None:
    app = running()
    body = b'{"id": "evt_1", "type": "payment.succeeded", "data": {"object": {"id": "pi_9"}}}'
    signed = hmac.digest(SECRET.encode(), f"{SECONDS}.".encode() + body, "sha256").hex()
    answer = await app.post("/api/webhooks/stripe", body, {"Stripe-Signature": f"t={SECONDS},v1={signed}"})
    assert answer.status == 200
    (headers,) = (one.headers for one in app.lanes.sent)
    assert (headers.key, headers.lane) == ("pi_9", Lane.ORDERED)


async def test_a_form_with_a_payload_is_read_as_the_payload() -> None:
    app = running()
    body = urlencode({"payload": '{"action": "opened"}'}).encode()
    signature = "sha256=" + hmac.digest(SECRET.encode(), body, "sha256").hex()
    headers = {"X-Hub-Signature-256": signature, "X-GitHub-Event": "issues", "X-GitHub-Delivery": "1"}
    answer = await app.post("/api/webhooks/github", body, headers, kind="application/x-www-form-urlencoded")
    assert answer.status == 200
    (sent,) = app.lanes.sent
    assert (sent.headers.key, sent.headers.lane) == ("opened", Lane.LOW)
    assert sent.body.endswith(b'"data":{"action":"opened"}}')


async def test_json_is_no_form_whatever_it_is_called() -> None:
    """Nobody signs the type: a captured request must stay the same message under another."""
    app = running()
    body = b'{"id": "evt_1", "type": "payment.succeeded", "data": {"object": {"id": "pi_9"}}}'
    mac = hmac.digest(SECRET.encode(), f"{SECONDS}.".encode() + body, "sha256").hex()
    for kind in ("application/json", "application/x-www-form-urlencoded"):
        answer = await app.post("/api/webhooks/stripe", body, {"Stripe-Signature": f"t={SECONDS},v1={mac}"}, kind=kind)
        assert answer.status == 200
    assert len({one.headers.message_id for one in app.lanes.sent}) == 1


async def test_a_handshake_is_answered_once_it_is_genuine() -> None:
    app = running()
    body = b'{"type": "url_verification", "challenge": "c"}'
    for secret, status in ((SECRET, 200), ("a guess", 401)):
        signed = "v0=" + hmac.digest(secret.encode(), f"v0:{SECONDS}:".encode() + body, "sha256").hex()
        headers = {"X-Slack-Signature": signed, "X-Slack-Request-Timestamp": SECONDS}
        answer = await app.post("/api/webhooks/slack", body, headers)
        assert answer.status == status
        if status == 200:
            assert answer.json == {"challenge": "c"}
    assert app.lanes.sent == []


async def test_event_grid_asks_first_and_sends_several_at_once() -> None:
    app = running()
    consent = await ask(
        app.asgi,
        "OPTIONS",
        "/api/webhooks/grid",
        headers={"WebHook-Request-Origin": "eventgrid.azure.net"},
        query="key=x",
    )
    assert (consent.status, consent.headers["webhook-allowed-origin"]) == (200, "eventgrid.azure.net")
    events = [{"id": str(number), "eventType": "made", "subject": "s", "data": {}} for number in range(100)]
    answer = await app.post(f"/api/webhooks/grid?{urlencode({'key': SECRET})}", [*events, events[0]])
    assert answer.status == 200
    assert len({one.headers.message_id for one in app.lanes.sent}) == 101  # one id twice in a request: two of them
    assert (await app.post("/api/webhooks/grid?key=guess", events)).status == 401
    assert (await app.post(f"/api/webhooks/grid?{urlencode({'key': SECRET, 'more': '1'})}", events)).status == 400


async def test_any_secret_of_a_source_counts() -> None:
    app = running()
    body = b'{"event_id": "1"}'
    for secret in (SECRET, BEFORE):
        signature = hmac.digest(secret.encode(), body, "sha256").hex()
        assert (await app.post("/api/webhooks/erp", body, {"X-Signature": signature})).status == 200


@shop.handles("order.checked", key="event_id", internal=True)
async def checked(event: Event, work: Work) -> None: ...


@pytest.mark.parametrize("event_type", ["webhook:shopify:orders/create", "order.checked"])
async def test_producers_cant_send_what_others_vouch_for(event_type: str) -> None:
    """A signature, or the app itself."""
    app = running()
    envelope = {
        "messageId": "6f1f6b0e-8a44-4d41-a8d7-4f6c2f3e9a10",
        "timestamp": "2026-11-30T12:00:00Z",
        "source": "somebody",
        "eventType": event_type,
        "version": "1.0",
        "data": {"id": 1},
    }
    answer = await app.post("/api/messages", envelope)
    assert (answer.status, answer.json["error"]["code"]) == (400, "UNKNOWN_EVENT_TYPE")
    assert app.lanes.sent == []


async def test_webhooks_need_no_token_and_others_still_do() -> None:
    app = running(SLUICE_AUTH="required", SLUICE_API_KEYS="[]")
    assert (await shopify(app, b'{"id": 1}')).status == 200
    assert (await app.post("/api/messages", b"{}")).status == 401
    assert (await app.post("/api/webhooks/acme", b"{}")).status == 401
    assert (await app.get("/api/webhooks/shopify")).status in (401, 405)


def test_what_is_declared() -> None:
    """Routes with how they are checked, and who reads the secrets; the gateway lets them through."""
    app = running()
    found = declarations(capabilities_of(app.composition, CAPABILITIES), Registry([shop]))
    mine = [route for route in found["routes"] if route["of"] == "webhooks"]
    assert {"method": "POST", "path": "/api/webhooks/erp", "callers": "the signature of erp", "of": "webhooks"} in mine
    assert {route["method"] for route in mine if route["path"] == "/api/webhooks/grid"} == {"POST", "OPTIONS"}
    assert re.search(found["openRoutes"], "POST /api/webhooks/unheard-of") is None
    assert re.search(found["openRoutes"], "GET /api/webhooks/shopify") is None
    assert re.search(found["openRoutes"], "POST /api/webhooks/shopify")
    assert [one.get("webhook") for one in found["integrations"][0]["handles"]].count("shopify") == 1


def test_without_webhooks_nothing_is_needed() -> None:
    app = running(registry=Registry([Integration("empty")]))
    (webhooks,) = [one for one in capabilities_of(app.composition, CAPABILITIES) if one.name == "webhooks"]
    assert (webhooks.routes, webhooks.needs) == ((), ())


def test_wrong_declarations() -> None:
    other = Integration("other")
    other.receives("erp", GitHub())
    with pytest.raises(ValueError, match="the webhook source erp is declared twice"):
        Registry([shop, other])
    unknown = Integration("unknown")
    unknown.webhook("acme", key="id")(created)
    with pytest.raises(ValueError, match="'acme' isn't known"):
        Registry([unknown])
    with pytest.raises(TypeError, match=r"Payment has no field 'data\.object\.name'"):
        unknown.webhook("stripe", key="data.object.name")(paid)
    with pytest.raises(TypeError, match=r"Payment has no field 'id\.more'"):
        unknown.webhook("stripe", key="id.more")(paid)


class Answers:
    """Gives certificates out, and counts."""

    asked = 0

    async def __call__(self, url: str) -> bytes:
        """As the fetcher does."""
        self.asked += 1
        raise OSError("nobody answers")


async def test_a_certificate_that_cant_be_fetched_is_our_own_trouble() -> None:
    """Nobody can tell whether the request is genuine: 503. One from elsewhere isn't even asked for."""
    pay = Integration("pay")

    @pay.webhook("paypal", key="id")
    async def told(event: Order, work: Work) -> None: ...

    answers = Answers()
    hosts = [f"https://{number}.paypal.com/c" for number in range(30)]
    parts: dict[Any, Any] = {secret_cache: Vault(), fetcher: answers}
    app = Running(Registry([pay]), ENVIRONMENT, parts, lambda: NOW)
    for url, status, asked in (("https://example.org/c", 401, 0), ("https://api.paypal.com/c", 503, 1)):
        assert (await app.post("/api/webhooks/paypal", b"{}", {"PayPal-Cert-Url": url})).status == status
        assert answers.asked == asked
    for url in hosts:  # anybody may name them
        assert (await app.post("/api/webhooks/paypal", b"{}", {"PayPal-Cert-Url": url})).status == 503
    assert answers.asked == 10


def test_the_description_is_valid() -> None:
    """Two methods of one path, and a body of any kind."""
    app = running()
    listed = [route for one in capabilities_of(app.composition, CAPABILITIES) for route in one.routes]
    found = document(listed, server="", checks_callers=True)
    assert list(OpenAPIV31SpecValidator(found).iter_errors()) == []
    assert set(found["paths"]["/api/webhooks/grid"]) == {"post", "options"}
    assert found["paths"]["/api/webhooks/grid"]["post"].get("security") == []


async def test_the_guide_runs(project: Path) -> None:
    guide = (project / "docs" / "webhooks.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for snippet in re.findall(r"^```python\n(.*?)^```", guide, re.MULTILINE | re.DOTALL):
        exec(compile(snippet, "webhooks.md", "exec"), names)
    await names["test_an_order_of_the_shop"]()
    assert set(Registry([names["shop"], names["erp"]]).webhook_sources) == {"shopify", "erp"}
    assert all(f"`{name}`" in guide for name in PRESETS)


def test_headers_that_come_twice_are_joined_as_they_are_signed() -> None:
    """By a comma and a space (RFC 9421, 2.1)."""
    fields = [(b"host", b"app"), (b"x-part", b"1"), (b"x-part", b"2")]
    scope = {"type": "http", "method": "POST", "path": "/x", "query_string": b"", "headers": fields, "scheme": "https"}
    taking = running().composition.get(webhooks)
    headers = taking._incoming(Request({**scope, "server": ("app", 443)}), b"").headers
    base = signature_base(SignedRequest("POST", "https://app/x", headers, b""), InnerList((component("x-part"),), {}))
    assert base.startswith(b'"x-part": 1, 2\n')
