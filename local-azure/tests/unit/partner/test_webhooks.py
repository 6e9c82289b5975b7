"""What the simulated partner tells of what it made, and that it keeps what it made."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from local_azure.partner import Asked, Book, Rule, Script, WrongScript
from local_azure.partner.journal import kept_in
from local_azure.partner.server import RunningPartner, running_partner
from local_azure.partner.webhooks import Webhook, webhooks_of

SECRET = "whsec_" + base64.b64encode(b"nobody's secret").decode()
TOLD = {
    "on": "labels",
    "set": {"status": "collected"},
    "type": "label.collected",
    "to": "/told",
    "secret": SECRET,
}


@dataclass
class App:
    """Somebody who is told; the first requests get the statuses given."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        """Remember it."""
        self.heard.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.complete.set()
        return web.Response(status=status)


@pytest.fixture
async def app() -> AsyncIterator[App]:
    """One that listens."""
    told = App()
    server = web.Application()
    server.router.add_post("/told", told.take)
    runner = web.AppRunner(server, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    told.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield told
    await runner.cleanup()


@asynccontextmanager
async def telling(app: App, **changed: Any) -> AsyncIterator[tuple[RunningPartner, aiohttp.ClientSession]]:
    """A partner that tells an app."""
    webhook = Webhook.of({**TOLD, **changed})
    script = Script(random=lambda: 0.5)
    async with (
        running_partner(script=script, clock=time.monotonic, webhooks=[webhook], apps=[app.url]) as running,
        aiohttp.ClientSession(running.url) as session,
    ):
        yield running, session


async def settled(session: aiohttp.ClientSession) -> dict[str, int]:
    """What the partner says of its webhooks once none is pending."""
    while True:
        async with session.get("/-/webhooks") as answer:
            found: dict[str, int] = await answer.json()
        if not found["pending"]:
            return found
        await asyncio.sleep(0.01)


async def test_what_is_made_is_told_with_a_signature(app: App) -> None:
    """And sent again under the same id until it is taken."""
    app.statuses = [503, 500]
    async with telling(app) as (running, session):
        await session.post("/labels", json={"reference": "A"})
        async with asyncio.timeout(20):
            await app.complete.wait()
            assert await settled(session) == {"pending": 0, "delivered": 1, "failed": 0}
        assert running.book.made["labels"][0]["status"] == "collected"
    assert len({headers["webhook-id"] for headers, _ in app.heard}) == 1
    assert len(app.heard) == 3
    headers, body = app.heard[-1]
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    signature = base64.b64encode(hmac.digest(b"nobody's secret", content, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{signature}"
    told = json.loads(body)
    assert told["type"] == "label.collected"
    assert told["data"]["reference"] == "A"


async def test_what_is_not_told_is_found_by_who_asks(app: App) -> None:
    """In pages, and since a time."""
    async with telling(app, chance=0.0) as (_, session):
        for reference in "ABC":
            await session.post("/labels", json={"reference": reference})
        assert await settled(session) == {"pending": 0, "delivered": 0, "failed": 0}
        async with session.get("/labels", params={"updatedSince": "2000", "pageSize": "2"}) as first:
            page = await first.json()
        assert ([one["reference"] for one in page["labels"]], page["nextPage"]) == (["A", "B"], "2")
        async with session.get("/labels", params={"updatedSince": "2000", "pageSize": "2", "page": "2"}) as last:
            page = await last.json()
        assert ([one["reference"] for one in page["labels"]], "nextPage" in page) == (["C"], False)
        async with session.get("/labels", params={"updatedSince": "2999"}) as none:
            assert await none.json() == []
    assert app.heard == []


async def test_a_plain_signature(app: App) -> None:
    """For a partner that signs in its own way."""
    async with telling(app, secret="plain", scheme="hex") as (_, session):
        await session.post("/labels", json={})
        async with asyncio.timeout(20):
            await app.complete.wait()
    ((headers, body),) = app.heard
    signed = hmac.digest(b"plain", f"{headers['x-timestamp']}.".encode() + body, "sha256").hex()
    assert headers["x-signature"] == signed


@pytest.mark.parametrize(
    "wrong",
    [
        {"scheme": "none"},
        {"secret": "whsec_!"},
        {"after": "soon"},
        {"set": 1},
        {"unknown": 1},
        {"on": None, "to": None},
    ],
)
def test_a_webhook_that_cannot_be_sent_is_refused(wrong: dict[str, Any]) -> None:
    """When the script is read."""
    given = {name: value for name, value in {**TOLD, **wrong}.items() if value is not None}
    with pytest.raises(WrongScript):
        webhooks_of(json.dumps({"webhooks": [given]}))


def request(method: str, path: str, body: bytes = b"{}", key: str | None = None) -> Asked:
    """One request."""
    headers = {} if key is None else {"idempotency-key": key}
    return Asked(method=method, path=path, query={}, headers=headers, body=body, at=0)


def test_what_was_made_survives_in_a_file(tmp_path: Path) -> None:
    """With the keys, without what was removed; a line that was cut short is dropped."""
    file = tmp_path / "kept" / "carrier.jsonl"
    with kept_in(file, book := Book()):
        assert book.do(request("POST", "/labels", b'{"reference": "A"}', "k")).status == 201
        assert book.do(request("PUT", "/consignments/B")).status == 201
        assert book.do(request("PUT", "/consignments/B", b'{"parcels": [2]}')).status == 200
        assert book.do(request("PUT", "/consignments/C")).status == 201
        assert book.do(request("DELETE", "/consignments/C")).status == 200
        assert book.change("labels", "1", {"status": "collected"}) is not None
    with file.open("ab") as sink:
        sink.write(b'{"collection": "labels", "th')
    for _ in range(2):
        with kept_in(file, again := Book()):
            assert again.made == {
                "labels": [{"reference": "A", "id": "1", "status": "collected"}],
                "consignments": [{"parcels": [2], "id": "B"}],
            }
            assert again.do(request("POST", "/labels", b'{"reference": "A"}', "k")).content["id"] == "1"
            assert len(again.made["labels"]) == 1


async def test_who_shows_no_key_is_refused(app: App) -> None:
    """By a rule that is for all but those who have it."""
    async with telling(app) as (running, session):
        running.script.rules = [Rule.of({"path": "/labels*", "unless": {"X-API-Key": "right"}, "status": 401})]
        found = []
        for headers in ({}, {"X-API-Key": "wrong"}, {"x-api-key": "right"}):
            async with session.get("/labels", headers=headers) as answer:
                found.append(answer.status)
    assert found == [401, 401, 200]
