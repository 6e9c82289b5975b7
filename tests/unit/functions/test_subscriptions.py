"""Subscriptions over HTTP, in the composed app: everybody sees their own, and what they ask for comes to a receiver."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

import integrations
from functions.composition.subscriptions import deliverer, deliveries, subscription_store, wake_queue
from shared.authentication import api_key_entry
from shared.messages import Registry, discover
from shared.sending import NotSent
from shared.subscriptions import Deliveries, Delivery, DeliveryStatus, SubscriptionStore
from shared.tables import MemoryTable
from tests.unit.asgi import Answer, ask
from tests.unit.functions.conftest import ENVIRONMENT, Running
from tests.unit.memory import MemoryWakes
from tests.unit.shared.subscriptions.kit import NOW, Receiver, event, receiving, shop

ROLES = {"alice": "reader", "bob": "reader", "carol": "producer", "olga": "operator"}
KEYS = {name: secrets.token_urlsafe(32) for name in ROLES}
ENTRIES = [api_key_entry(name, key, [ROLES[name]]) for name, key in KEYS.items()]


class Shop:
    """The composed app, its callers, and its deliverer."""

    def __init__(self, registry: Registry | None = None, settings: Mapping[str, str] | None = None) -> None:
        self.queue = MemoryWakes()
        environment = {
            **ENVIRONMENT,
            "SLUICE_AUTH": "required",
            "SLUICE_API_KEYS": f"[{','.join(ENTRIES)}]",
            "SLUICE_WEBHOOK_ALLOW_LOCAL": "true",
            **(settings or {}),
        }
        clock = {"seconds": 0.0}
        self.app = Running(
            registry or Registry([shop]),
            environment,
            parts={
                subscription_store: SubscriptionStore(MemoryTable("s"), None, clock=lambda: clock["seconds"]),
                deliveries: Deliveries(MemoryTable("d"), now=lambda: datetime.now(UTC)),
                wake_queue: self.queue,
            },
        )

    async def ask(self, method: str, path: str, body: Any = None, *, by: str = "alice", **headers: str) -> Answer:
        """One request of a caller."""
        content = b"" if body is None else json.dumps(body).encode()
        path, _, query = path.partition("?")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        every = {"x-api-key": KEYS[by], "Content-Type": "application/json", **named}
        return await ask(self.app.asgi, method, f"/api/{path}", content, every, query=query)

    async def send(self) -> None:
        """Deal with all that waits, once."""
        waiting, self.queue.waiting = self.queue.waiting, []
        for wake in waiting:
            await self.app.composition.get(deliverer).deliver(wake, again=False)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    async with receiving() as found:
        yield found


@pytest.fixture
async def app() -> AsyncIterator[Shop]:
    """An app with empty edges."""
    found = Shop()
    yield found
    await found.app.composition.close()


def asked(url: str, **more: Any) -> dict[str, Any]:
    """What a subscriber sends."""
    return {"url": url, "eventTypes": ["shop.*"], **more}


async def test_a_subscription_from_its_making_to_its_end(app: Shop, receiver: Receiver) -> None:
    made = await app.ask("POST", "subscriptions", asked(receiver.url + "/a"))
    assert made.status == 201
    secret, identity = made.json["secret"], made.json["id"]
    assert made.headers["location"] == f"/api/subscriptions/{identity}"
    shown = await app.ask("GET", f"subscriptions/{identity}")
    assert "secret" not in shown.json
    assert secret not in shown.body.decode()
    assert (await app.ask("GET", "subscriptions")).json["count"] == 1
    tested = await app.ask("POST", f"subscriptions/{identity}/test")
    assert tested.status == 202
    await app.send()
    (got,) = receiver.at("/a")
    assert json.loads(got.body)["type"] == "sluice.test"
    Webhook(secret).verify(got.body, got.headers)
    (one,) = (await app.ask("GET", f"subscriptions/{identity}/deliveries")).json["value"]
    assert (one["status"], one["tries"][0]["status"], one["tries"][0]["answer"]) == ("delivered", 200, "noted")
    rotated = await app.ask("POST", f"subscriptions/{identity}/secret")
    assert rotated.json["secret"] != secret
    again = await app.ask("POST", f"subscriptions/{identity}/deliveries/{one['id']}/resend")
    assert again.status == 202
    app.app.composition.get(deliverer)._known.clear()  # as two seconds later
    await app.send()
    for each in (secret, rotated.json["secret"]):
        Webhook(each).verify(receiver.at("/a")[-1].body, receiver.at("/a")[-1].headers)
    assert (await app.ask("DELETE", f"subscriptions/{identity}")).status == 204
    assert (await app.ask("GET", f"subscriptions/{identity}")).status == 404


async def test_everybody_sees_their_own_alone(app: Shop, receiver: Receiver) -> None:
    identity = (await app.ask("POST", "subscriptions", asked(receiver.url + "/a"))).json["id"]
    delivery = (await app.ask("POST", f"subscriptions/{identity}/test")).json["id"]
    for by in ("bob", "olga"):
        assert (await app.ask("GET", "subscriptions", by=by)).json["count"] == 0
        for method, path, body in (
            ("GET", "", None),
            ("PATCH", "", {"url": receiver.url + "/mine"}),
            ("DELETE", "", None),
            ("POST", "/secret", None),
            ("POST", "/test", None),
            ("POST", "/replay", {"since": "2026-01-01T00:00:00Z"}),
            ("GET", "/deliveries", None),
            ("GET", f"/deliveries/{delivery}", None),
            ("POST", f"/deliveries/{delivery}/resend", None),
            ("GET", f"/deliveries/{delivery}/payload", None),
        ):
            answer = await app.ask(method, f"subscriptions/{identity}{path}", body, by=by)
            assert answer.status == 404, (method, path)
    assert (await app.ask("POST", "subscriptions", asked(receiver.url), by="carol")).status == 403


async def test_a_receiver_that_wants_a_key_gets_it_and_nobody_reads_it(app: Shop, receiver: Receiver) -> None:
    """Nor a client's secret; null takes it away again."""
    key = {"type": "apiKey", "key": "an example key", "header": "X-Key"}
    made = await app.ask("POST", "subscriptions", asked(receiver.url + "/a", authentication=key))
    one = f"subscriptions/{made.json['id']}"
    assert made.json["authentication"] == {"type": "apiKey", "header": "X-Key"}
    await app.ask("POST", one + "/test")
    await app.send()
    assert receiver.at("/a")[0].headers["X-Key"] == "an example key"
    token = {"type": "oauth2", "tokenUrl": receiver.url + "/token", "clientId": "c", "clientSecret": "a secret"}
    changed = await app.ask("PATCH", one, {"authentication": token})
    assert changed.json["authentication"] == {"type": "oauth2", "tokenUrl": receiver.url + "/token", "clientId": "c"}
    assert (await app.ask("PATCH", one, {"description": "d"})).json["authentication"]["type"] == "oauth2"
    gone = await app.ask("PATCH", one, {"authentication": None})
    assert gone.json["authentication"] is None
    shown = [made, changed, gone, await app.ask("GET", one), await app.ask("GET", "subscriptions")]
    assert not any(word in answer.body.decode() for answer in shown for word in ("an example key", "a secret"))


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"type": "apiKey", "key": ""}, "authentication"),
        ({"type": "apiKey", "key": "a\r\nb: c"}, "authentication"),
        ({"type": "apiKey", "key": "k", "header": "Webhook-Signature"}, "meaning of its own"),
        ({"type": "apiKey", "key": "k", "header": "a b"}, "authentication"),
        ({"type": "basic", "key": "k"}, "authentication"),
        ({"type": "mutualTls"}, "no certificate of its own"),
        ({"type": "oauth2", "tokenUrl": "https://a.example/t?a=1", "clientId": "c", "clientSecret": "s"}, "no query"),
    ],
)
async def test_an_authentication_that_is_none_is_refused(app: Shop, given: dict[str, Any], word: str) -> None:
    """By its name."""
    answer = await app.ask("POST", "subscriptions", asked("http://127.0.0.1:9/a", authentication=given))
    assert answer.status == 400
    assert word in answer.body.decode()


async def test_a_token_endpoint_inside_is_refused(app: Shop, receiver: Receiver) -> None:
    """As a receiver there is."""
    given = {"type": "oauth2", "tokenUrl": "https://169.254.169.254/token", "clientId": "c", "clientSecret": "s"}
    answer = await app.ask("POST", "subscriptions", asked(receiver.url, authentication=given))
    assert answer.status == 403


async def test_changes_meet_their_etag(app: Shop, receiver: Receiver) -> None:
    made = await app.ask("POST", "subscriptions", asked(receiver.url + "/a"))
    path, etag = f"subscriptions/{made.json['id']}", made.headers["etag"]
    changed = await app.ask("PATCH", path, {"description": "b", "rate": 5.0}, If_Match=etag)
    assert (changed.status, changed.json["description"], changed.json["rate"]) == (200, "b", 5.0)
    assert (await app.ask("PATCH", path, {"description": "c"}, If_Match=etag)).status == 412
    cleared = await app.ask("PATCH", path, {"rate": None}, If_Match=changed.headers["etag"])
    assert cleared.json["rate"] is None
    assert (await app.ask("PATCH", path, {"url": None})).status == 400


async def test_a_filter_is_changed_path_by_path(app: Shop, receiver: Receiver) -> None:
    """RFC 7396: a condition that isn't named stays, or more would leave than before."""
    wide = {"country": {"in": ["France", "Spain"]}, "item": {"ge": 1, "lt": 9}}
    made = await app.ask("POST", "subscriptions", asked(receiver.url + "/a", filter=wide))
    path = f"subscriptions/{made.json['id']}"
    for patch, left in (
        ({}, wide),
        ({"total": 3}, {**wide, "total": 3}),
        ({"total": None, "item": {"ge": None, "le": 5}}, {**wide, "item": {"lt": 9, "le": 5}}),
        ({"country": "France", "never": None}, {"country": "France", "item": {"lt": 9, "le": 5}}),
        ({"country": None, "item": None}, {}),
    ):
        changed = await app.ask("PATCH", path, {"filter": patch}, Content_Type="application/merge-patch+json")
        assert (changed.status, changed.json["filter"]) == (200, left)
    await app.ask("PATCH", path, {"filter": {"item": {"ge": 1}}})
    refused: list[Any] = [{"item": {"ge": None}}, {"item": {"like": 1}}, {"a b": 1}, {"a": {"b": {"c": 1}}}, {"a": []}]
    for wrong in (*refused, None):
        answer = await app.ask("PATCH", path, {"filter": wrong})
        assert (answer.status, "filter" in answer.json["error"]["message"]) == (400, True), wrong
    many = {f"p{number}": number for number in range(16)}
    assert (await app.ask("PATCH", path, {"filter": many})).status == 400
    assert (await app.ask("GET", path)).json["filter"] == {"item": {"ge": 1}}


async def test_deleting_and_a_new_secret_meet_the_etag_and_so_does_what_the_app_changes(
    app: Shop, receiver: Receiver
) -> None:
    receiver.answers["/a"] = 410
    made = await app.ask("POST", "subscriptions", asked(receiver.url + "/a"))
    path, old = f"subscriptions/{made.json['id']}", made.headers["etag"]
    await app.ask("POST", f"{path}/test")
    await app.send()
    disabled = await app.ask("GET", path)
    assert disabled.json["status"] == "disabled"
    assert disabled.headers["etag"] != old
    for method, to, body in (("PATCH", "", {"description": "b"}), ("POST", "/secret", None), ("DELETE", "", None)):
        assert (await app.ask(method, path + to, body, If_Match=old)).status == 412
    assert (await app.ask("GET", path)).headers["etag"] == disabled.headers["etag"]
    rotated = await app.ask("POST", f"{path}/secret", If_Match=disabled.headers["etag"])
    assert rotated.status == 200
    assert (await app.ask("DELETE", path, If_Match=disabled.headers["etag"])).status == 412
    assert (await app.ask("DELETE", path, If_Match=rotated.headers["etag"])).status == 204
    assert (await app.ask("DELETE", path)).status == 404


async def test_a_failure_is_another_version_too(app: Shop, receiver: Receiver) -> None:
    receiver.answers["/a"] = 500
    made = await app.ask("POST", "subscriptions", asked(receiver.url + "/a"))
    path, seen = f"subscriptions/{made.json['id']}", {made.headers["etag"]}
    for status in (500, 200):
        receiver.answers["/a"] = status
        await app.ask("POST", f"{path}/test")
        await app.send()
        shown = await app.ask("GET", path)
        assert (shown.json["failingSince"] is None) is (status == 200)
        seen.add(shown.headers["etag"])
    assert len(seen) == 3


async def test_what_the_broker_would_not_take_is_replayed_by_the_next_request(app: Shop, receiver: Receiver) -> None:
    receiver.answers["/a"] = 410
    path = f"subscriptions/{(await app.ask('POST', 'subscriptions', asked(receiver.url + '/a'))).json['id']}"
    for _ in range(40):
        await app.ask("POST", f"{path}/test")
    await app.send()
    receiver.answers["/a"] = 200
    await app.ask("PATCH", path, {"status": "enabled"})
    app.app.composition.get(deliverer)._known.clear()
    since = {"since": (datetime.now(UTC) - timedelta(hours=1)).isoformat()}
    app.queue.failures = [None, None, NotSent("the broker is away")]
    assert (await app.ask("POST", f"{path}/replay", since)).status == 503
    await app.send()
    assert (await app.ask("GET", f"{path}/deliveries?status=pending")).json["count"] == 0
    again = await app.ask("POST", f"{path}/replay", since)
    assert again.json["replayed"] > 0
    await app.send()
    assert (await app.ask("GET", f"{path}/deliveries?status=delivered&top=200")).json["count"] == 40


async def test_a_replay_reads_no_event_before_it_is_its_turn(app: Shop) -> None:
    """500 of them may be 375 MiB."""
    kept = app.app.composition.get(deliveries)
    made = [
        replace(Delivery.of("sub", event(number), "x", now=datetime.now(UTC)), status=DeliveryStatus.MISSED)
        for number in range(3)
    ]
    await kept.begin(made)
    found = await kept.missed("sub", since=NOW - timedelta(hours=1), most=10)
    assert [(one.event, one.status) for one in found] == [(None, DeliveryStatus.MISSED)] * 3


async def test_an_event_that_no_row_holds_is_not_sent_again(app: Shop, receiver: Receiver) -> None:
    identity = (await app.ask("POST", "subscriptions", asked(receiver.url + "/a"))).json["id"]
    large = Delivery.of(identity, event(1), "x" * 2_000_000, now=datetime.now(UTC))
    await app.app.composition.get(deliveries).begin([large])
    path = f"subscriptions/{identity}"
    assert (await app.ask("GET", f"{path}/deliveries/{large.id}")).json["status"] == "failed"
    assert (await app.ask("POST", f"{path}/deliveries/{large.id}/resend")).status == 409
    assert (await app.ask("POST", f"{path}/replay", {"since": "2026-01-01T00:00:00Z"})).json["replayed"] == 0
    assert app.queue.waiting == []


async def test_what_was_missed_is_sent_again_once_it_is_enabled(app: Shop, receiver: Receiver) -> None:
    receiver.answers["/a"] = 410
    identity = (await app.ask("POST", "subscriptions", asked(receiver.url + "/a"))).json["id"]
    path = f"subscriptions/{identity}"
    await app.ask("POST", f"{path}/test")
    await app.send()
    shown = (await app.ask("GET", path)).json
    assert (shown["status"], shown["reason"]) == ("disabled", "the receiver answered 410")
    for call in ("test", "replay"):
        body = {"since": "2026-01-01T00:00:00Z"} if call == "replay" else None
        assert (await app.ask("POST", f"{path}/{call}", body)).status == 409
    receiver.answers["/a"] = 200
    assert (await app.ask("PATCH", path, {"status": "enabled"})).json["reason"] is None
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    assert (await app.ask("POST", f"{path}/replay", {"since": since})).json == {"replayed": 1, "more": False}
    app.app.composition.get(deliverer)._known.clear()
    await app.send()
    found = await app.ask("GET", f"{path}/deliveries?status=delivered")
    assert [one["attempts"] for one in found.json["value"]] == [1]
    assert (await app.ask("POST", f"{path}/replay", {"since": since})).json["replayed"] == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/",
        "https://169.254.169.254/metadata",
        "https://168.63.129.16/",
        "https://somebody@127.0.0.1/",
        "https://localhost.localdomain.invalid/",
        "nonsense",
    ],
)
async def test_an_address_inside_is_refused_and_recorded(
    app: Shop, receiver: Receiver, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = await app.ask("POST", "subscriptions", asked(receiver.url))
    for method, path in (("POST", "subscriptions"), ("PATCH", f"subscriptions/{made.json['id']}")):
        answer = await app.ask(method, path, asked(url))
        assert (answer.status, answer.json["error"]["code"]) == (403, "FORBIDDEN")
    found = [one for one in caplog.records if one.getMessage() == "security"]
    assert len(found) == 2
    assert (await app.ask("GET", path)).json["url"] == receiver.url


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "url"),
        (asked(""), "url"),
        (asked("https://127.0.0.1/", eventTypes=[]), "eventTypes"),
        (asked("https://127.0.0.1/", eventTypes=["order.**"]), "eventTypes"),
        (asked("https://127.0.0.1/", eventTypes=["nobody.publishes"]), "eventTypes"),
        (asked("https://127.0.0.1/", filter={"a b": 1}), "filter"),
        (asked("https://127.0.0.1/", filter={"a": {"like": 1}}), "filter"),
        (asked("https://127.0.0.1/", filter={"a": {}}), "filter"),
        (asked("https://127.0.0.1/", rate=0), "rate"),
        (asked("https://127.0.0.1/", concurrency=1_000), "concurrency"),
        (asked("https://127.0.0.1/", mode="twice"), "mode"),
        (asked("https://127.0.0.1/", secret="mine"), "secret"),
        (asked("https://127.0.0.1/", ordered="yes"), "ordered"),
    ],
)
async def test_what_is_wrong_is_refused_by_its_name(app: Shop, body: dict[str, Any], word: str) -> None:
    answer = await app.ask("POST", "subscriptions", body)
    assert answer.status == 400
    assert word in answer.json["error"]["message"]
    assert (await app.ask("GET", "subscriptions")).json["count"] == 0


async def test_nobody_asks_by_what_is_protected(receiver: Receiver) -> None:
    app = Shop(discover(integrations))
    body = asked(receiver.url, eventTypes=["order.accepted"])
    for path in ("email", "customerId", "name"):
        answer = await app.ask("POST", "subscriptions", body | {"filter": {path: {"exists": True}}}, by="olga")
        assert (answer.status, path in answer.json["error"]["message"]) == (403, True)
    assert (await app.ask("POST", "subscriptions", body | {"filter": {"country": "France"}})).status == 201
    await app.app.composition.close()


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"url": 1}', b"\xff", b'{"url":"a","url":"b"}'])
async def test_bodies_that_are_no_subscription(app: Shop, body: bytes) -> None:
    headers = {"x-api-key": KEYS["alice"], "Content-Type": "application/json"}
    answer = await ask(app.app.asgi, "POST", "/api/subscriptions", body, headers)
    assert answer.status == 400
    headers["Content-Type"] = "text/plain"
    assert (await ask(app.app.asgi, "POST", "/api/subscriptions", body, headers)).status == 415


@pytest.mark.parametrize("query", ["top=0", "top=201", "top=x", "status=lost", "after=a/b", "after=" + "1" * 65])
async def test_pages_that_nobody_has(app: Shop, receiver: Receiver, query: str) -> None:
    identity = (await app.ask("POST", "subscriptions", asked(receiver.url))).json["id"]
    assert (await app.ask("GET", f"subscriptions/{identity}/deliveries?{query}")).status == 400


async def test_pages_follow_one_another(app: Shop, receiver: Receiver) -> None:
    identity = (await app.ask("POST", "subscriptions", asked(receiver.url + "/a"))).json["id"]
    for _ in range(5):
        await app.ask("POST", f"subscriptions/{identity}/test")
    path, found = f"/api/subscriptions/{identity}/deliveries?top=2", []
    while path:
        page = (await app.ask("GET", path.removeprefix("/api/"))).json
        found += [one["id"] for one in page["value"]]
        path = page.get("nextLink", "")
    assert len(found) == len(set(found)) == 5


async def test_a_payload_is_read_by_its_owner(app: Shop, receiver: Receiver) -> None:
    identity = (await app.ask("POST", "subscriptions", asked(receiver.url + "/a"))).json["id"]
    delivery = (await app.ask("POST", f"subscriptions/{identity}/test")).json["id"]
    assert (await app.ask("GET", f"subscriptions/{identity}/deliveries/{delivery}/payload")).json == {"test": True}
    for wrong in ("~turn", "~next:", "x", "0" * 300, "0%00", "0%23", "0%3F", "0%5C", "0A"):
        assert (await app.ask("GET", f"subscriptions/{identity}/deliveries/{wrong}")).status == 404


def test_in_azure_this_machine_is_nobodys_receiver() -> None:
    azure = {"ServiceBus": "", "ServiceBus__fullyQualifiedNamespace": "x.servicebus.windows.net"}
    with pytest.raises(ValueError, match="SLUICE_WEBHOOK_ALLOW_LOCAL is for the local stack"):
        Shop(settings=azure)
    with pytest.raises(ValueError, match="SLUICE_WEBHOOK_REFUSED_NETWORKS"):
        Shop(settings={"SLUICE_WEBHOOK_REFUSED_NETWORKS": "nonsense"})
