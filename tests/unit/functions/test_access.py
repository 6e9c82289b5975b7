"""Who may call what: every route, every role, and before anything of a body is read."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

import integrations
from functions.composition import Composition
from functions.composition.authentication import authenticator
from shared.authentication import ApiKeys, Authenticator, CannotTell, api_key_entry
from shared.environment import WrongSettings
from shared.messages import discover
from shared.settings import Settings
from tests.unit.asgi import Answer, ask
from tests.unit.functions.conftest import ENVIRONMENT, Running

KEYS = {name: secrets.token_urlsafe(32) for name in ("producer", "reader", "operator", "other")}
ENTRIES = [api_key_entry(name, key, ["producer" if name == "other" else name]) for name, key in KEYS.items()]
GUARDED = {"SLUICE_AUTH": "required", "SLUICE_API_KEYS": f"[{','.join(ENTRIES)}]"}
MESSAGE_ID = "9f0e2c6a-8f8e-4a52-9b5d-3d1a1a4a1b1d"
ORDER = {
    "orderId": "A1",
    "placedAt": "2026-01-05T08:26:00Z",
    "country": "France",
    "lines": [{"sku": "1", "quantity": 1, "unitPrice": 1}],
}


@pytest.fixture
def guarded() -> Running:
    """The API with a key for each role."""
    return Running(discover(integrations), ENVIRONMENT | GUARDED)


async def call(app: Running, method: str, path: str, who: str | None, body: bytes = b"") -> Answer:
    """One request by somebody."""
    headers = {"content-type": "application/json"} | ({} if who is None else {"x-api-key": KEYS[who]})
    return await ask(app.asgi, method, path, body, headers)


@pytest.mark.parametrize("path", ["/api/health", "/api/openapi.json", "/api/docs"])
async def test_some_pages_are_for_everybody(guarded: Running, path: str) -> None:
    """Whether it lives, and what it takes."""
    assert (await call(guarded, "GET", path, None)).status == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/api/orders", {"producer"}),
        ("POST", "/api/messages", {"producer"}),
        ("POST", "/api/credit-notes", {"producer"}),
        ("GET", "/api/orders/A1", {"reader", "operator"}),
        ("HEAD", "/api/orders/A1", {"reader", "operator"}),
        ("GET", "/api/nothing", {"reader", "operator"}),
        ("DELETE", "/api/orders/A1", {"producer"}),
        ("GET", "/api/operations/made-up", {"producer", "reader", "operator"}),
        ("POST", "/api/health", None),
        ("POST", "/api//orders", {"producer"}),
        ("GET", "/api/health/", {"reader", "operator"}),
        ("GET", "/api/Health", {"reader", "operator"}),
        ("GET", "/", {"reader", "operator"}),
    ],
)
async def test_every_route_asks_for_its_role(
    guarded: Running, method: str, path: str, allowed: set[str] | None
) -> None:
    """401 for nobody, 403 for the wrong role, and whatever the route says for the right one."""
    body = json.dumps(ORDER).encode() if method == "POST" else b""
    nobody = await call(guarded, method, path, None, body)
    if allowed is None:
        assert nobody.status not in (401, 403)
        return
    assert nobody.status == 401
    assert nobody.headers["www-authenticate"] == 'Bearer realm="sluice"'
    assert nobody.json["error"]["code"] == "UNAUTHENTICATED"
    for role in ("producer", "reader", "operator"):
        answer = await call(guarded, method, path, role, body)
        assert (answer.status not in (401, 403)) == (role in allowed), (role, answer.status)
        if role not in allowed:
            assert answer.json["error"]["code"] == "FORBIDDEN"
            assert "insufficient_scope" in answer.headers["www-authenticate"]
    assert len(guarded.lanes.sent) <= 1


async def test_a_stranger_costs_nothing(guarded: Running) -> None:
    """The app doesn't read a refused body: not a byte of 100 MB."""
    read: list[int] = []

    async def huge() -> AsyncIterator[bytes]:
        for number in range(100):
            read.append(number)
            yield b" " * 1_000_000

    headers = {"content-type": "application/json", "content-length": "100000000"}
    assert (await ask(guarded.asgi, "POST", "/api/orders", huge(), headers)).status == 401
    assert read == []


async def test_a_client_sees_its_own_operations(guarded: Running) -> None:
    """Another producer isn't told that there is one; readers and operators see all."""
    kept = await call(guarded, "POST", "/api/orders", "producer", json.dumps({**ORDER, "orderId": "B1"}).encode())
    where = kept.headers["location"]
    assert [(await call(guarded, "GET", where, who)).status for who in ("producer", "reader", "operator")] == [200] * 3
    foreign = await call(guarded, "GET", where, "other")
    made_up = await call(guarded, "GET", "/api/operations/made-up", "other")
    assert (
        (foreign.status, foreign.json["error"])
        == (made_up.status, made_up.json["error"])
        == (404, foreign.json["error"])
    )


async def test_an_id_of_somebody_else_shows_nothing_of_their_message(guarded: Running) -> None:
    """Posting under an id that another client used gives an operation of one's own, and never the other's outcome."""
    where = {}
    for who in ("producer", "other"):
        headers = {"content-type": "application/json", "x-api-key": KEYS[who], "idempotency-key": MESSAGE_ID}
        kept = await ask(guarded.asgi, "POST", "/api/orders", json.dumps(ORDER).encode(), headers)
        where[who] = kept.headers["location"]
    first = guarded.lanes.sent[0].headers
    row = {"status": "dead", "code": "REJECTED", "reason": "told to the first client", "sender": first.sender}

    async def find(bucket: int, keys: list[str]) -> dict[str, Any]:
        return dict.fromkeys(keys, row)

    guarded.state.find = find  # type: ignore[method-assign,assignment]
    answers = {who: await call(guarded, "GET", where[who], who) for who in where}
    assert answers["producer"].json["error"]["message"] == "told to the first client"
    assert (answers["other"].status, answers["other"].json["status"]) == (200, "failed")
    assert b"told to the first client" not in answers["other"].body
    assert (await call(guarded, "GET", where["other"].partition("?")[0], "other")).status == 404
    assert (await call(guarded, "GET", where["other"], "operator")).status == 200


async def test_what_cannot_be_checked_just_now_is_asked_again() -> None:
    """503 with a time to wait, not a refusal."""

    async def away() -> ApiKeys:
        raise CannotTell("Tokens can't be checked just now.", retry_after=2)

    parts = {authenticator: Authenticator(None, away)}
    answer = await call(
        Running(discover(integrations), ENVIRONMENT | GUARDED, parts), "GET", "/api/orders/A1", "reader"
    )
    assert (answer.status, answer.headers["retry-after"], answer.json["retryable"]) == (503, "2", True)


async def test_the_document_says_how_callers_are_known(guarded: Running) -> None:
    """Both schemes, on everything but what is for everybody."""
    document = (await call(guarded, "GET", "/api/openapi.json", None)).json
    assert set(document["components"]["securitySchemes"]) == {"bearer", "apiKey"}
    assert document["security"] == [{"bearer": []}, {"apiKey": []}]
    assert document["paths"]["/api/health"]["get"]["security"] == []
    assert "security" not in document["paths"]["/api/orders"]["post"]
    assert {"401", "403"} <= document["paths"]["/api/orders"]["post"]["responses"].keys()


def test_an_app_that_nobody_could_call_does_not_start() -> None:
    """One line says what is missing, and how to let everybody in on purpose."""
    settings = Settings.load({**ENVIRONMENT, "SLUICE_AUTH": "required"})
    with pytest.raises(WrongSettings, match=r"SLUICE_AUTH_ISSUER and SLUICE_API_KEYS .* SLUICE_AUTH=none"):
        Composition(settings, discover(integrations)).get(authenticator)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"SLUICE_AUTH_ISSUER": "https://login.example.com/t/v2.0"}, "SLUICE_AUTH_AUDIENCE"),
        ({"SLUICE_AUTH_ISSUER": "http://login.example.com/t"}, "SLUICE_AUTH_ISSUER"),
        ({"SLUICE_AUTH": "maybe"}, "SLUICE_AUTH"),
        ({"SLUICE_CLOUD": "moon"}, "SLUICE_CLOUD"),
    ],
)
def test_wrong_settings_are_named(more: dict[str, str], why: str) -> None:
    """By their variable."""
    with pytest.raises(WrongSettings, match=why):
        Settings.load({**ENVIRONMENT, **more})


def test_wrong_keys_in_the_settings_stop_the_start() -> None:
    """By the entry, not with its value."""
    settings = Settings.load({**ENVIRONMENT, "SLUICE_AUTH": "required", "SLUICE_API_KEYS": '[{"client": "x"}]'})
    with pytest.raises(WrongSettings, match="SLUICE_API_KEYS: entry 1"):
        Composition(settings, discover(integrations)).get(authenticator)
