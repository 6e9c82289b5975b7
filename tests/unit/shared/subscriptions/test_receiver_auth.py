"""What a receiver sees beside the signature: an API key, a token, the app's certificate."""

from __future__ import annotations

import base64
import json
import ssl
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding

from shared.privacy import FieldProtection
from shared.subscriptions import DeliveryStatus, Mode, ReceiverAuth, ReceiverAuthKind, Status, SubscriptionStore
from shared.tables import MemoryTable, Query
from tests.unit.shared.encryption.vault import World as Keys
from tests.unit.shared.partners.certificates import authority, certificate, pem
from tests.unit.shared.partners.test_auth import served
from tests.unit.shared.subscriptions.kit import Receiver, World, event, receiving, subscription

API_KEY = ReceiverAuth(kind=ReceiverAuthKind.API_KEY, secret="an example key", header="X-Key")


def oauth2(url: str) -> ReceiverAuth:
    """A client of a token endpoint there."""
    return ReceiverAuth(
        kind=ReceiverAuthKind.OAUTH2, token_url=f"{url}/token", client_id="sluice", secret="a secret", scope="hooks"
    )


def issuing(receiver: Receiver, *, life: int = 3_600) -> list[dict[str, list[str]]]:
    """Have the receiver issue token-1, token-2 and so on; what it was asked."""
    asked: list[dict[str, list[str]]] = []

    async def token(request: web.Request) -> web.Response:
        pair = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        asked.append({**parse_qs(await request.text()), "pair": [pair]})
        padding = "x" * 4_000  # tokens are longer than what is kept of a webhook's answer
        content = {"access_token": f"token-{len(asked)}", "token_type": "Bearer", "expires_in": life, "more": padding}
        return web.json_response(content)

    receiver.answers["/token"] = token
    return asked


async def test_an_api_key_goes_with_every_post() -> None:
    """In its header, beside the signature."""
    async with receiving() as receiver:
        world = World()
        await world.store.create(subscription("a", f"{receiver.url}/a", authentication=API_KEY))
        await world.store.create(subscription("b", f"{receiver.url}/b"))
        await world.publish(event(1))
        await world.run()
        ((to_a,), (to_b,)) = receiver.at("/a"), receiver.at("/b")
        assert to_a.headers["X-Key"] == "an example key"
        assert "webhook-signature" in to_a.headers
        assert "X-Key" not in to_b.headers
        await world.close()


async def test_a_token_is_fetched_once_and_anew_when_it_is_refused() -> None:
    """The receiver's 401 costs one attempt, and the next one has another token."""
    async with receiving() as receiver:
        asked = issuing(receiver)

        async def hook(request: web.Request) -> web.Response:
            return web.Response(status=401 if request.headers["Authorization"] == "Bearer token-1" else 200)

        world = World()
        await world.store.create(subscription("a", f"{receiver.url}/a", authentication=oauth2(receiver.url)))
        await world.publish(event(1))
        await world.run()
        receiver.answers["/a"] = hook
        await world.publish(event(2))
        await world.run(60)
        await world.publish(*(event(number) for number in range(3, 9)))
        await world.run()
        assert await world.statuses("a") == ["delivered"] * 8
        assert len(asked) == 2
        expected = {"grant_type": ["client_credentials"], "scope": ["hooks"], "pair": ["sluice:a+secret"]}
        assert {**asked[0], "pair": [asked[0]["pair"][0].replace("%20", "+")]} == expected
        await world.close()


async def test_a_token_is_fetched_again_before_its_end() -> None:
    """A minute before, or a tenth of a short life."""
    async with receiving() as receiver:
        asked = issuing(receiver, life=100)
        world = World()
        await world.store.create(subscription("a", f"{receiver.url}/a", authentication=oauth2(receiver.url)))
        for number, seconds in enumerate((0, 80, 20)):
            await world.run(seconds)
            await world.publish(event(number))
            await world.run()
        shown = [one.headers["Authorization"] for one in receiver.at("/a")]
        assert shown == ["Bearer token-1"] * 2 + ["Bearer token-2"]
        assert len(asked) == 2
        await world.close()


async def test_without_a_token_nothing_is_sent() -> None:
    """With the reason and no secret in it; the receiver hears of it when there is one."""
    async with receiving() as receiver:
        world = World()
        await world.store.create(subscription("a", f"{receiver.url}/a", authentication=oauth2(receiver.url)))

        async def nothing(_: web.Request) -> web.Response:
            return web.json_response({"error": "invalid_client"})

        for answer in (500, 404, nothing):
            receiver.answers["/token"] = answer
            await world.publish(event(1))
            await world.run()
            (delivery, *_) = await world.all("a")
            assert "token" in str(delivery.tries[-1])
            assert "secret" not in str(delivery.tries[-1])
            assert receiver.at("/a") == []
        issuing(receiver)
        await world.run(3_600)
        assert set(await world.statuses("a")) == {"delivered"}
        await world.close()


async def test_a_token_endpoint_is_guarded_as_receivers_are(caplog: pytest.LogCaptureFixture) -> None:
    """Its address is the subscriber's word too."""
    async with receiving() as receiver:
        world = World()
        inner = ReceiverAuth(kind=ReceiverAuthKind.OAUTH2, token_url="https://169.254.169.254/token", client_id="a")
        await world.store.create(subscription("a", f"{receiver.url}/a", authentication=inner))
        await world.publish(event(1))
        await world.run()
        (delivery,) = await world.all("a")
        assert "token endpoint gives no token" in str(delivery.tries[-1])
        assert receiver.received == []
        (refused,) = [one for one in caplog.records if one.getMessage() == "security"]
        assert refused.__dict__["fields"].items() >= {"kind": "refused-address", "path": "/subscriptions/a"}.items()
        await world.close()


@pytest.mark.parametrize("mode", Mode)
async def test_what_was_never_sent_is_no_attempt(mode: Mode) -> None:
    """At most once too; the receiver has it when its token endpoint is back."""
    async with receiving() as receiver:
        receiver.answers["/token"] = 503
        world = World()
        auth = oauth2(receiver.url)
        await world.store.create(subscription("a", f"{receiver.url}/a", authentication=auth, mode=mode))
        await world.publish(event(1))
        await world.run(6 * 3_600)
        (delivery,) = await world.all("a")
        assert (delivery.status, delivery.attempts) == (DeliveryStatus.PENDING, 0)
        issuing(receiver)
        await world.run(3_600)
        assert await world.statuses("a") == ["delivered"]
        assert len(receiver.at("/a")) == 1
        await world.close()


@pytest.mark.parametrize("mode", Mode)
async def test_it_ends_where_no_credential_ever_comes_and_the_receiver_is_not_blamed(mode: Mode) -> None:
    """After five days each try counts; that the app has no certificate disables nobody."""
    world = World()
    auth = ReceiverAuth(kind=ReceiverAuthKind.MUTUAL_TLS)
    await world.store.create(subscription("a", "https://a.example/a", authentication=auth, mode=mode))
    await world.publish(event(1))
    await world.run(5 * 86_400 - 3_600)
    assert await world.statuses("a") == ["pending"]
    await world.run(2 * 86_400)
    assert await world.statuses("a") == ["failed"]
    assert world.waiting == []
    one = await world.store.get("alice", "a")
    assert one is not None
    assert (one.status, one.failing_since) == (Status.ENABLED, None)
    await world.close()


async def test_the_apps_certificate_is_shown(tmp_path: Path) -> None:
    """To a receiver that asks for it; without one nothing is sent."""
    root = authority()
    trusted = root[0].public_bytes(Encoding.PEM).decode()
    for name in ("server", "client"):
        (tmp_path / f"{name}.pem").write_text(pem(certificate(name, root)), encoding="utf-8")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=trusted)
    server.load_cert_chain(tmp_path / "server.pem")
    server.verify_mode = ssl.CERT_REQUIRED
    shown: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        subject = dict(one[0] for one in request.transport.get_extra_info("peercert")["subject"])
        shown.append(subject["commonName"])
        return web.Response()

    async def own() -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=trusted)
        context.load_cert_chain(tmp_path / "client.pem")
        return context

    auth = ReceiverAuth(kind=ReceiverAuthKind.MUTUAL_TLS)
    async with served(answer, tls=server) as url:
        world = World()
        await world.store.create(subscription("a", f"{url}/a", authentication=auth))
        await world.publish(event(1))
        await world.run()
        (delivery,) = await world.all("a")
        assert "no certificate of its own" in str(delivery.tries[-1])
        world.certificate = own
        world.deliverer = world.instance()
        await world.run(60)
        assert await world.statuses("a") == ["delivered"]
        assert shown == ["client"]
        await world.close()


async def test_what_proves_it_is_encrypted_where_the_app_has_a_data_key() -> None:
    """And read again; the row of one without an authentication is as the release before writes it."""
    table, keys = MemoryTable("subscriptions"), Keys()
    store = SubscriptionStore(table, FieldProtection(keys.data_keys(), keys.subject_keys(), None), clock=lambda: 0.0)
    await store.create(subscription("a", "https://a.example/a", authentication=API_KEY))
    await store.create(subscription("b", "https://a.example/b"))
    rows = {str(row["RowKey"]): json.dumps(row, default=str) async for row in table.query(Query())}
    assert "an example key" not in "".join(rows.values())
    assert "authentication" not in rows["b"]
    found = await store.get("alice", "a")
    assert found is not None
    assert found.authentication == API_KEY
    assert [one.authentication for one in await store.owned("alice")] == [
        ReceiverAuth(kind=ReceiverAuthKind.API_KEY, header="X-Key"),
        None,
    ]
