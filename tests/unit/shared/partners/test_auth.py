"""How the app shows a partner who it is; a foreign OAuth server and a foreign verifier of signatures check it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, pkcs12
from oauthlib.oauth2 import (  # type: ignore[import-untyped]
    BackendApplicationServer,
    LegacyApplicationServer,
    RequestValidator,
)
from standardwebhooks.webhooks import Webhook

from shared.partners import (
    ApiKey,
    Basic,
    ClientCredentials,
    HmacSigned,
    InvalidAnswer,
    ManagedIdentity,
    MutualTls,
    Partner,
    PartnerError,
    PartnerFailed,
    PartnerRefused,
    PartnerThrottled,
    PartnerUnavailable,
    RefreshToken,
    Target,
    Timeouts,
    UnknownTarget,
)
from shared.partners.sessions import Received, Request
from shared.partners.tokens import read_token
from shared.resilience import BreakerPolicy, Concurrency, Limit, RetryPlan
from shared.secrets import Secret, UnknownSecret
from tests.unit.shared.partners.certificates import authority, certificate, pem
from tests.unit.shared.partners.world import NOW, Label, Parcel, World, world

PARCEL = Parcel(reference="536365")
ALONE = RetryPlan(max_attempts=1, base=0.01, cap=0.02)
REQUEST = Request(method="POST", path="/labels", endpoint="labels", query={}, headers={}, body=b"{}")
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


class Vault:
    """Secrets with their versions, the current one last; `changed` has a cached one read anew."""

    def __init__(self, **values: Any) -> None:
        self.values = {name.replace("_", "-"): [value] for name, value in values.items()}
        self.cached: dict[str, int] = {}
        self.reads = 0

    def rotate(self, name: str, value: str) -> None:
        """A next version, which the cache doesn't know of yet."""
        self.values[name].append(value)

    def _secret(self, name: str, number: int) -> Secret:
        return Secret(name=name, value=self.values[name][number], version=str(number), created=NOW)

    async def get(self, name: str) -> Secret:
        """As it is cached."""
        if name not in self.values:
            raise UnknownSecret(name, "not here")
        return self._secret(name, self.cached.setdefault(name, len(self.values[name]) - 1))

    async def both(self, name: str) -> Sequence[Secret]:
        """The current one and the one before."""
        last = len(self.values[name]) - 1
        return [self._secret(name, number) for number in (last, last - 1) if number >= 0]

    async def changed(self, name: str) -> bool:
        """Read anew."""
        self.reads += 1
        return self.cached.pop(name, None) is not None


@asynccontextmanager
async def guarded(auth: Any, vault: Vault | None, **options: Any) -> AsyncIterator[World]:
    """A carrier whose calls are authenticated so."""
    given = {"secrets": vault, **options.pop("given", {})}
    async with world(auth=auth, given=given, **options) as made:
        yield made


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        (ApiKey(secret="key"), "x-api-key", "k1"),
        (ApiKey(secret="key", header="Authorization", prefix="Bearer "), "authorization", "Bearer k1"),
        (Basic(user="sluice", secret="key"), "authorization", "Basic " + base64.b64encode(b"sluice:k1").decode()),
    ],
    ids=["key", "bearer", "basic"],
)
async def test_a_key_goes_with_every_call(auth: Any, header: str, value: str) -> None:
    """As the vault has it."""
    async with guarded(auth, Vault(key="k1")) as carrier:
        await carrier.calls().post("/labels", Label, PARCEL)
        assert carrier.asked[0].headers[header] == value


async def test_a_key_may_be_a_parameter() -> None:
    """Beside those of the call."""
    async with guarded(ApiKey(secret="key", query="api_key"), Vault(key="k&1")) as carrier:
        await carrier.calls().get("/labels", list[Label], query={"page": 1})
        assert carrier.asked[0].query == {"page": "1", "api_key": "k&1"}


async def test_without_its_secret_nobody_is_called() -> None:
    """The message is tried again: the secret may be on its way."""
    for vault in (None, Vault()):
        async with guarded(ApiKey(secret="key"), vault) as carrier:
            with pytest.raises(UnknownSecret):
                await carrier.calls().post("/labels", Label, PARCEL)
            assert not carrier.asked


@asynccontextmanager
async def accepting(*keys: str) -> AsyncIterator[tuple[str, set[str], list[str]]]:
    """A partner that accepts some keys: its URL, the keys, to be changed, and the keys that came."""
    accepted, came = set(keys), []

    async def answer(request: web.Request) -> web.Response:
        key = request.headers.get("X-API-Key", "")
        came.append(key)
        if key not in accepted:
            return web.Response(status=401)
        return web.json_response({"id": "1"})

    async with served(answer) as url:
        yield url, accepted, came


@asynccontextmanager
async def served(answer: Any, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that answers everything so."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("partner_first", [True, False])
async def test_a_key_is_rotated_without_a_failed_call(partner_first: bool) -> None:
    """Whoever changes first, the partner or the vault, and though the cache still has the former key."""
    vault = Vault(key="old")
    async with (
        accepting("old") as (url, accepted, came),
        guarded(ApiKey(secret="key"), vault, urls={"carrier": url}) as carrier,
    ):
        await carrier.calls().post("/labels", Label, PARCEL)
        if partner_first:
            accepted.clear()
            accepted.add("new")
            vault.rotate("key", "new")
        else:
            vault.rotate("key", "new")
            await vault.changed("key")
        for _ in range(3):
            await carrier.calls().post("/labels", Label, PARCEL)
        if not partner_first:
            accepted.clear()
            accepted.add("new")
        for _ in range(3):
            await carrier.calls().post("/labels", Label, PARCEL)
        assert came[-1] == "new"
        assert len(came) <= 9


async def test_a_key_that_nobody_accepts_is_refused_once() -> None:
    """It is no reason to call again and again, and none for the breaker."""
    async with (
        accepting() as (url, _, came),
        guarded(ApiKey(secret="key"), Vault(key="k"), urls={"carrier": url}) as carrier,
    ):
        with pytest.raises(PartnerRefused) as raised:
            await carrier.calls().post("/labels", Label, PARCEL)
        assert raised.value.status == 401
        assert "k" not in raised.value.args[0].removeprefix("carrier: labels: ").split()
        assert came == ["k"]


async def test_calls_side_by_side_survive_a_rotation() -> None:
    """Fifty are refused with the new version and find the one before; each says which of them it had sent."""
    vault = Vault(key="v1")
    vault.rotate("key", "v2")
    async with (
        accepting("v1") as (url, accepted, came),
        guarded(ApiKey(secret="key"), vault, urls={"carrier": url}, concurrency=Concurrency(most=7)) as carrier,
    ):
        for version in ("v1", "v2"):
            accepted.clear()
            accepted.add(version)
            await asyncio.gather(*(carrier.calls().post("/labels", Label, PARCEL) for _ in range(50)))
            assert came[-1] == version


async def test_a_late_refusal_undoes_nothing() -> None:
    """The version that it was about has been left meanwhile."""
    vault = Vault(key="v1")
    vault.rotate("key", "v2")
    async with guarded(ApiKey(secret="key"), vault) as carrier:
        await carrier.calls().post("/labels", Label, PARCEL)
        (client,) = carrier.partners._clients.values()
        prover = client._authenticators
        used = await prover.collect()
        for _ in range(3):
            assert await prover.refused(used)
            proven = prover.apply(REQUEST, await prover.collect())
            assert proven.headers["X-API-Key"] == "v1"


async def test_refusals_without_end_leave_the_vault_in_peace() -> None:
    """It is read anew five times, then every other second."""
    async with (
        accepting() as (url, _, came),
        guarded(ApiKey(secret="key"), vault := Vault(key="k"), urls={"carrier": url}) as carrier,
    ):
        for _ in range(60):
            with pytest.raises(PartnerRefused):
                await carrier.calls().post("/labels", Label, PARCEL)
        assert len(came) == 60
        assert 1 <= vault.reads < 30


async def test_a_second_request_counts_in_the_limit() -> None:
    """One that is made because the first was refused; where it has no moment, the message comes again."""
    vault = Vault(key="v1")
    vault.rotate("key", "v2")
    soon = asyncio.get_running_loop().time() + 12
    async with (
        accepting("v1") as (url, _, came),
        guarded(ApiKey(secret="key"), vault, urls={"carrier": url}, limit=Limit(calls=1, per=30)) as carrier,
    ):
        with pytest.raises(PartnerUnavailable, match="limit"):
            await carrier.calls(deadline=soon).post("/labels", Label, PARCEL)
        assert came == ["v2"]


class SlowVault(Vault):
    """One that takes longer than the partner may."""

    async def get(self, name: str) -> Secret:
        """Late."""
        await asyncio.sleep(0.3)
        return await super().get(name)


async def test_what_has_no_time_left_is_not_sent() -> None:
    """The vault took it: no call without end, and nothing that may have been done; the message comes again."""
    auth = ApiKey(secret="key")
    soon = asyncio.get_running_loop().time() + 0.3
    options: dict[str, Any] = {"timeouts": Timeouts(total=0.2), "idempotency_header": None, "retry": ALONE}
    async with guarded(auth, SlowVault(key="k"), **options) as carrier:
        carrier.says("POST", delay=1)
        with pytest.raises(PartnerUnavailable, match="its credential took too long"):
            await carrier.calls(deadline=soon).post("/labels", Label, PARCEL)
        assert not carrier.asked


async def test_a_slow_vault_is_no_failure_of_the_partner() -> None:
    """Its time isn't the partner's, and opens no breaker, neither for failures nor for calls that are slow."""
    policy = BreakerPolicy(failures=1, slow=0.2, slow_rate=0.5, calls=2, least_calls=1)
    options: dict[str, Any] = {"timeouts": Timeouts(total=0.25), "retry": ALONE, "breaker": policy}
    async with guarded(ApiKey(secret="key"), SlowVault(key="k"), **options) as carrier:
        for _ in range(3):
            await carrier.calls().post("/labels", Label, PARCEL)
        assert len(carrier.asked) == 3


async def test_a_slow_vault_after_a_refusal_is_none_either() -> None:
    """The partner answered 401 at once: the time is over while the vault is asked anew, its breaker stays closed."""
    vault = SlowVault(key="v1")
    options: dict[str, Any] = {"timeouts": Timeouts(total=0.25), "retry": ALONE, "breaker": BreakerPolicy(failures=1)}
    async with (
        accepting("v1") as (url, accepted, came),
        guarded(ApiKey(secret="key"), vault, urls={"carrier": url}, **options) as carrier,
    ):
        await carrier.calls().post("/labels", Label, PARCEL)
        accepted ^= {"v1", "v2"}
        vault.rotate("key", "v2")
        with pytest.raises(PartnerFailed, match="no time left"):
            await carrier.calls().post("/labels", Label, PARCEL)
        await carrier.calls().post("/labels", Label, PARCEL)
        assert came[-1] == "v2"


async def test_a_vault_that_is_asked_holds_neither_place_nor_moment() -> None:
    """They are for calls that can be made: a key comes first."""
    running: list[int] = []

    class Watching(Vault):
        async def get(self, name: str) -> Secret:
            client = next(iter(carrier.partners._clients.values()))
            running.append(client._guard._bulkhead.running)
            return await super().get(name)

    async with guarded(ApiKey(secret="key"), Watching(key="k")) as carrier:
        await carrier.calls().post("/labels", Label, PARCEL)
        assert running == [0]


class Issuer(RequestValidator):  # type: ignore[misc]
    """Of an OAuth 2.0 server by oauthlib: its client and the tokens that it issued."""

    def __init__(self) -> None:
        self.secret = "s3cret/&"
        self.valid: list[str] = []

    def authenticate_client(self, request: Any, *_: Any, **__: Any) -> bool:
        """By HTTP Basic, or by fields of the body."""
        header, colon = request.headers.get("Authorization", ""), ""
        if header.startswith("Basic "):
            user, colon, secret = base64.b64decode(header[6:]).decode().partition(":")
            pair = (unquote(user), unquote(secret))
        else:
            pair = (request.client_id or "", request.client_secret or "")
        request.client = type("Client", (), {"client_id": pair[0]})()
        return bool(colon or not header) and pair == ("sluice", self.secret)

    def client_authentication_required(self, *_: Any, **__: Any) -> bool:
        """Always."""
        return True

    def validate_grant_type(self, *_: Any, **__: Any) -> bool:
        """Every grant that the server knows."""
        return True

    def validate_scopes(self, _: Any, scopes: Sequence[str], *__: Any, **___: Any) -> bool:
        """Labels alone."""
        return list(scopes) == ["labels"]

    def get_default_scopes(self, *_: Any, **__: Any) -> list[str]:
        """Without being asked."""
        return ["labels"]

    def validate_refresh_token(self, refresh_token: str, *_: Any, **__: Any) -> bool:
        """The one that the vault has."""
        return refresh_token == "r3fresh"

    def get_original_scopes(self, *_: Any, **__: Any) -> list[str]:
        """Of the refresh token."""
        return ["labels"]

    def rotate_refresh_token(self, *_: Any, **__: Any) -> bool:
        """It stays."""
        return False

    def save_bearer_token(self, token: dict[str, Any], *_: Any, **__: Any) -> None:
        """Issued."""
        self.valid.append(token["access_token"])


@asynccontextmanager
async def oauth(issuer: Issuer, *, life: int = 3_600) -> AsyncIterator[tuple[str, list[str]]]:
    """A server with a token endpoint, and an API that believes its tokens; and the grants that were asked for."""
    grants: list[str] = []
    endpoints = {
        "client_credentials": BackendApplicationServer(issuer, token_expires_in=life),
        "refresh_token": LegacyApplicationServer(issuer, token_expires_in=life),
    }

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/token":
            fields = await request.post()
            grants.append(str(fields["grant_type"]))
            await asyncio.sleep(0.01)
            headers, body, status = endpoints[grants[-1]].create_token_response(
                str(request.url), "POST", await request.text(), dict(request.headers)
            )
            return web.Response(status=status, headers=headers, text=body)
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in issuer.valid:
            return web.Response(status=401)
        return web.json_response({"id": "1"})

    async with served(answer) as url:
        yield url, grants


def credentials(url: str, **changed: Any) -> ClientCredentials:
    """Of the client that the issuer knows."""
    plain = {"token_url": f"{url}/token", "client_id": "sluice", "secret": "client-secret", "scope": "labels"}
    return ClientCredentials(**{**plain, **changed})


@pytest.mark.parametrize("in_body", [False, True])
async def test_a_token_is_fetched_once_by_all(in_body: bool) -> None:
    """Fifty calls side by side, and those after them, need one."""
    async with oauth(issuer := Issuer()) as (url, grants):
        vault = Vault(client_secret=issuer.secret)
        async with guarded(credentials(url, in_body=in_body), vault, urls={"carrier": url}) as carrier:
            await asyncio.gather(*(carrier.calls().post("/labels", Label, PARCEL) for _ in range(50)))
            await carrier.calls().post("/labels", Label, PARCEL)
            assert grants == ["client_credentials"]


async def test_a_token_that_was_revoked_is_replaced_once() -> None:
    """The call goes on; where the next one isn't believed either, it ends."""
    async with oauth(issuer := Issuer()) as (url, grants):
        vault = Vault(client_secret=issuer.secret)
        async with guarded(credentials(url), vault, urls={"carrier": url}) as carrier:
            await carrier.calls().post("/labels", Label, PARCEL)
            issuer.valid.clear()
            await carrier.calls().post("/labels", Label, PARCEL)
            assert len(grants) == 2
            issuer.save_bearer_token = lambda *_, **__: None  # type: ignore[method-assign]
            issuer.valid.clear()
            with pytest.raises(PartnerRefused):
                await carrier.calls().post("/labels", Label, PARCEL)
            assert len(grants) == 3


async def test_a_token_near_its_end_is_not_used() -> None:
    """A tenth of its life before, here at once."""
    async with oauth(issuer := Issuer(), life=-1) as (url, grants):
        vault = Vault(client_secret=issuer.secret)
        async with guarded(credentials(url), vault, urls={"carrier": url}) as carrier:
            for _ in range(3):
                await carrier.calls().post("/labels", Label, PARCEL)
            assert len(grants) == 3


async def test_a_client_secret_is_rotated_without_a_failed_call() -> None:
    """The issuer refuses the former one: the vault is asked anew."""
    async with oauth(issuer := Issuer(), life=-1) as (url, _):
        vault = Vault(client_secret=issuer.secret)
        async with guarded(credentials(url), vault, urls={"carrier": url}) as carrier:
            await carrier.calls().post("/labels", Label, PARCEL)
            issuer.secret = "next"
            vault.rotate("client-secret", "next")
            await carrier.calls().post("/labels", Label, PARCEL)


async def test_a_wrong_client_is_told_by_its_partners_name() -> None:
    """And never with the secret."""
    async with (
        oauth(Issuer()) as (url, _),
        guarded(credentials(url), Vault(client_secret="wr0ng"), urls={"carrier": url}) as carrier,
    ):
        with pytest.raises(PartnerRefused, match="carrier: token: answered 401") as raised:
            await carrier.calls().post("/labels", Label, PARCEL)
        assert "wr0ng" not in str(raised.value)


async def test_a_refresh_token_gives_tokens() -> None:
    """Again and again."""
    async with oauth(issuer := Issuer(), life=-1) as (url, grants):
        vault = Vault(client_secret=issuer.secret, refresh="r3fresh")
        auth = RefreshToken(
            token_url=f"{url}/token", client_id="sluice", secret="client-secret", refresh_secret="refresh"
        )
        async with guarded(auth, vault, urls={"carrier": url}) as carrier:
            for _ in range(2):
                await carrier.calls().post("/labels", Label, PARCEL)
            assert grants == ["refresh_token"] * 2


async def test_a_refresh_token_is_rotated_without_a_failed_call() -> None:
    """The issuer refuses the one that is cached: the vault is asked anew."""
    async with oauth(issuer := Issuer(), life=-1) as (url, _):
        vault = Vault(client_secret=issuer.secret, refresh="former")
        await vault.get("refresh")
        vault.rotate("refresh", "r3fresh")
        auth = RefreshToken(
            token_url=f"{url}/token", client_id="sluice", secret="client-secret", refresh_secret="refresh"
        )
        async with guarded(auth, vault, urls={"carrier": url}) as carrier:
            await carrier.calls().post("/labels", Label, PARCEL)


async def test_tokens_that_nobody_believes_are_not_fetched_without_end() -> None:
    """Five in a row, then one every other second."""
    async with oauth(issuer := Issuer()) as (url, grants):
        issuer.save_bearer_token = lambda *_, **__: None  # type: ignore[method-assign]
        vault = Vault(client_secret=issuer.secret)
        async with guarded(credentials(url), vault, urls={"carrier": url}) as carrier:
            for _ in range(40):
                with pytest.raises(PartnerRefused):
                    await carrier.calls().post("/labels", Label, PARCEL)
            assert 6 <= len(grants) < 20


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"access_token": "a", "token_type": "bearer", "expires_in": 1' + b"0" * 400 + b"}",
        b'{"access_token": "\\n", "token_type": "bearer"}',
        b"[]",
        b"",
    ],
    ids=["deep", "long", "line", "list", "empty"],
)
def test_an_answer_that_holds_no_token_is_told_as_one(body: bytes) -> None:
    """Whatever a token endpoint thinks of."""
    with pytest.raises(InvalidAnswer, match="carrier: token: answered with no"):
        read_token("carrier", Received(200, {}, body))


@pytest.mark.parametrize("status", [500, 503, 0], ids=str)
async def test_a_token_that_is_not_given_leaves_no_outcome_unknown(status: int) -> None:
    """The call itself was never made: it is tried again, though the partner knows no keys."""

    async def answer(request: web.Request) -> web.Response:
        if not status:
            assert request.transport is not None
            request.transport.close()
        return web.Response(status=status or 200)

    async with served(answer) as url:
        auth = credentials(url)
        async with guarded(auth, Vault(client_secret="s"), idempotency_header=None, retry=ALONE) as carrier:
            with pytest.raises((PartnerFailed, PartnerThrottled)) as raised:
                await carrier.calls().post("/labels", Label, PARCEL)
            assert not raised.value.sent
            assert not carrier.asked


async def test_a_token_endpoint_has_a_breaker_of_its_own() -> None:
    """What fails there puts the message off after a while, and says nothing of the partner's other endpoints."""
    came: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        came.append(request.path)
        return web.Response(status=500)

    options: dict[str, Any] = {"retry": ALONE, "breaker": BreakerPolicy(failures=2)}
    async with served(answer) as url, guarded(credentials(url), Vault(client_secret="s"), **options) as carrier:
        for _ in range(2):
            with pytest.raises(PartnerFailed, match="carrier: token: answered 500"):
                await carrier.calls().post("/labels", Label, PARCEL)
        with pytest.raises(PartnerUnavailable, match="carrier: token: not called: its breaker is open"):
            await carrier.calls().post("/labels", Label, PARCEL)
        assert came == ["/token"] * 2
        breaker = next(iter(carrier.partners._clients.values()))._guard._breaker("labels")
        assert breaker is not None
        assert not breaker.is_open


async def test_a_slow_token_endpoint_takes_none_of_the_partners_time() -> None:
    """A token may take longer than the call that needs it."""

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(0.3)
        return web.json_response({"access_token": "t", "token_type": "Bearer"})

    options: dict[str, Any] = {"timeouts": Timeouts(total=0.25), "retry": ALONE, "breaker": BreakerPolicy(failures=1)}
    async with served(answer) as url, guarded(credentials(url), Vault(client_secret="s"), **options) as carrier:
        await carrier.calls().post("/labels", Label, PARCEL)
        assert carrier.asked[-1].headers["authorization"] == "Bearer t"


async def test_the_apps_identity_opens_azures_own_doors() -> None:
    """Its token is kept until shortly before its end, and fetched anew when it is refused."""
    asked: list[str] = []

    async def identity(scope: str) -> tuple[str, float]:
        asked.append(scope)
        return f"token-{len(asked)}", NOW.timestamp() + 3_600

    auth = ManagedIdentity(scope="api://carrier/.default")
    async with guarded(auth, None, given={"identity": identity}) as carrier:
        for _ in range(3):
            await carrier.calls().post("/labels", Label, PARCEL)
        assert asked == ["api://carrier/.default"]
        carrier.says(status=401, times=1)
        await carrier.calls().post("/labels", Label, PARCEL)
        assert carrier.asked[-1].headers["authorization"] == "Bearer token-2"


STANDARD = HmacSigned(
    secret="signing",
    header="webhook-signature",
    signed="{id}.{timestamp}.{body}",
    prefix="v1,",
    encoding="base64",
    key="base64",
    id_header="webhook-id",
    timestamp_header="webhook-timestamp",
)


async def test_a_signed_call_is_verified_by_a_foreign_verifier(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of Standard Webhooks, which refuses it with another body."""
    async with guarded(STANDARD, Vault(signing=WEBHOOK_SECRET)) as carrier:
        await carrier.calls().post("/labels", Label, PARCEL)
        (asked,) = carrier.asked
    webhook = Webhook(WEBHOOK_SECRET)
    monkeypatch.setattr(webhook, "_Webhook__verify_timestamp", lambda _: NOW, raising=False)
    assert webhook.verify(asked.body, dict(asked.headers)) == {"reference": "536365"}
    with pytest.raises(Exception, match="No matching signature"):
        webhook.verify(asked.body + b" ", dict(asked.headers))


async def test_the_signed_id_is_the_calls_key() -> None:
    """In whatever header the partner has it."""
    async with guarded(STANDARD, Vault(signing=WEBHOOK_SECRET), idempotency_header="X-Request-Key") as carrier:
        await carrier.calls().post("/labels", Label, PARCEL)
        (asked,) = carrier.asked
    assert asked.headers["webhook-id"] == asked.headers["x-request-key"]


@pytest.mark.parametrize("secret", ["no Base64!", "schlüssel"])
async def test_a_key_that_is_none_takes_no_place(secret: str) -> None:
    """The error names the secret alone; as soon as the vault has a key, calls go on."""
    vault = Vault(signing=secret)
    async with guarded(STANDARD, vault, concurrency=Concurrency(most=1)) as carrier:
        for _ in range(2):
            soon = asyncio.get_running_loop().time() + 11
            with pytest.raises(PartnerError, match="the secret signing is no Base64") as raised:
                await carrier.calls(deadline=soon).post("/labels", Label, PARCEL)
            assert secret not in str(raised.value)
            assert not raised.value.sent
        vault.values["signing"] = [WEBHOOK_SECRET]
        await carrier.calls().post("/labels", Label, PARCEL)


async def test_a_key_that_is_none_says_nothing_of_the_partner() -> None:
    """Its failures are still in a row, and a probe that wasn't made closes no breaker."""
    vault = Vault(signing=WEBHOOK_SECRET)
    async with guarded(STANDARD, vault, retry=ALONE, breaker=BreakerPolicy(failures=2)) as carrier:
        carrier.says(status=500)
        for secret, error in (
            (WEBHOOK_SECRET, PartnerFailed),
            ("none!", PartnerError),
            (WEBHOOK_SECRET, PartnerFailed),
        ):
            vault.values["signing"] = [secret]
            with pytest.raises(error):
                await carrier.calls().post("/labels", Label, PARCEL)
        with pytest.raises(PartnerUnavailable, match="2 failures in a row"):
            await carrier.calls().post("/labels", Label, PARCEL)


async def test_a_signature_is_over_all_that_it_names() -> None:
    """In hex, with braces in the body and a key as text."""
    how = HmacSigned(secret="signing", signed="{timestamp}|{method}|{path}|{query}|{body}", algorithm="sha512")
    async with guarded((how, ApiKey(secret="signing", query="key")), Vault(signing="k")) as carrier:
        await carrier.calls().post("/labels", Label, Parcel(reference="{id}"), query={"a": "b c"})
        (asked,) = carrier.asked
    text = f"{int(NOW.timestamp())}|POST|/labels|a=b+c&key=k|".encode() + asked.body
    assert asked.headers["x-signature"] == hmac.new(b"k", text, hashlib.sha512).hexdigest()


async def test_a_signature_is_over_path_and_query_as_they_are_sent() -> None:
    """The base URL's own path is part of it, and what is encoded is signed encoded."""
    came: list[tuple[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        came.append((f"{request.raw_path}", request.headers["X-Signature"]))
        return web.json_response([])

    how = HmacSigned(secret="signing", signed="{path}?{query}{body}", timestamp_header="")
    async with (
        served(answer) as url,
        guarded(how, Vault(signing="k"), urls={"carrier": f"{url}/v2"}) as carrier,
    ):
        await carrier.calls().get("/labels of/ä", list[Label], query={"q": "a b/c&ü"})
    ((target, signature),) = came
    assert target.startswith("/v2/labels%20of/")
    assert signature == hmac.new(b"k", target.encode(), hashlib.sha256).hexdigest()


async def test_a_certificate_of_the_vault_is_shown(tmp_path: Path) -> None:
    """As PEM or PKCS #12, another one as soon as the vault has it; without one there is no connection."""
    root = authority()
    trusted = root[0].public_bytes(Encoding.PEM).decode()
    (tmp_path / "server.pem").write_text(pem(certificate("server", root)), encoding="utf-8")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=trusted)
    context.load_cert_chain(tmp_path / "server.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    shown: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        subject = dict(one[0] for one in request.transport.get_extra_info("peercert")["subject"])
        shown.append(subject["commonName"])
        return web.json_response({"id": "1"})

    first, second = certificate("first", root), certificate("second", root)
    packed = base64.b64encode(pkcs12.serialize_key_and_certificates(b"a", second[1], second[0], None, NoEncryption()))
    vault = Vault(certificate=pem(first), authorities=trusted)
    auth = MutualTls(secret="certificate", authorities="authorities")
    async with served(answer, tls=context) as url:
        async with guarded(auth, vault, urls={"carrier": url}) as carrier:
            await carrier.calls().post("/labels", Label, PARCEL)
            vault.rotate("certificate", packed.decode())
            await vault.changed("certificate")
            await carrier.calls().post("/labels", Label, PARCEL)
        assert shown == ["first", "second"]
        async with guarded((), vault, urls={"carrier": url}, timeouts=Timeouts(total=1)) as carrier:
            with pytest.raises(PartnerFailed, match="no connection"):
                await carrier.calls(deadline=asyncio.get_running_loop().time() + 1.5).get("/labels", Label)


async def test_the_target_is_chosen_by_region_tier_and_customer() -> None:
    """Each with its own key; a region that nobody named is refused, not defaulted."""
    async with accepting("eu", "gold", "big", "us") as (url, _, came):
        targets = (
            Target("eu", region="eu", auth=(ApiKey(secret="eu"),)),
            Target("eu-gold", region="eu", tier="gold", auth=(ApiKey(secret="gold"),)),
            Target("us", region="us"),
            Target("big", region="us", customer="17850", auth=(ApiKey(secret="big"),)),
        )
        urls = {f"carrier.{one.name}": url for one in targets}
        vault = Vault(eu="eu", gold="gold", big="big", usual="us")
        async with guarded(ApiKey(secret="usual"), vault, urls=urls, targets=targets) as carrier:
            for at in (
                {"region": "eu"},
                {"region": "eu", "tier": "gold"},
                {"region": "eu", "tier": "iron"},
                {"region": "us", "customer": "17850"},
                {"region": "us", "customer": "1"},
            ):
                await carrier.calls(at=at).post("/labels", Label, PARCEL)
            assert came == ["eu", "gold", "eu", "big", "us"]
            for wrong in ({"region": "mars"}, {}, {"tier": "gold"}):
                with pytest.raises(UnknownTarget):
                    carrier.calls(at=wrong)


async def test_targets_without_regions_are_in_none() -> None:
    """Tiers and customers alone: to name a region is a mistake here too."""
    targets = (Target("gold", tier="gold"), Target("usual"))
    async with world(targets=targets, urls={f"carrier.{one.name}": "https://c.example" for one in targets}) as carrier:
        carrier.calls(at={"tier": "gold"})
        carrier.calls()
        for wrong in ({"region": "mars"}, {"region": "mars", "tier": "gold"}):
            with pytest.raises(UnknownTarget):
                carrier.calls(at=wrong)


async def test_a_partner_with_one_place_has_no_regions() -> None:
    """To name one is a mistake."""
    async with world() as carrier:
        with pytest.raises(UnknownTarget):
            carrier.calls(at={"region": "eu"})


@pytest.mark.parametrize(
    "declare",
    [
        lambda: ApiKey(secret="not a name"),
        lambda: ApiKey(secret="key", header="a b"),
        lambda: Basic(user="a:b", secret="key"),
        lambda: credentials("http://issuer.example"),
        lambda: credentials("https://user@issuer.example"),
        lambda: ManagedIdentity(scope="api://carrier"),
        lambda: HmacSigned(secret="key", signed="{timestamp}"),
        lambda: HmacSigned(secret="key", signed="{body}{secret}"),
        lambda: MutualTls(secret="key", authorities="a/b"),
        lambda: Partner("carrier", targets=(Target("eu"), Target("eu"))),
        lambda: Target("EU"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_declared(declare: Any) -> None:
    """At import."""
    with pytest.raises(ValueError, match=r"auth|target|Target"):
        declare()
