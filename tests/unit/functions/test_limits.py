"""Limits at the door: who is refused, what an answer says of them, and what is counted."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import http_sf
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from functions.composition.limits import limits, limits_table
from shared.authentication import api_key_entry
from shared.environment import WrongSettings
from shared.http import Limited
from shared.limits import Counts, Limiter, Plans, Surroundings, TableBlocks, TableUsage, UsageMeter
from shared.messages import Registry
from shared.settings import Settings
from shared.tables import MemoryTable
from tests.unit.asgi import Answer, ask

from .conftest import ENVIRONMENT, Running
from .samples import order

KEYS = {"acme": "a" * 40, "=evil": "b" * 40, "boss": "c" * 40}
ROLES = {"acme": ["producer", "reader"], "=evil": ["producer"], "boss": ["operator"]}
PLANS = {
    "default": "standard",
    "clients": {"boss": "free"},
    "plans": {
        "standard": {
            "rate": 10,
            "burst": 20,
            "routes": {"POST /orders": {"rate": 2, "burst": 4}},
            "quotas": {"day": 50},
            "prices": {"request": "0.001", "message": "0.01"},
        },
        "free": {},
    },
}


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        """The time of day."""
        return datetime(2026, 1, 5, 8, tzinfo=UTC) + timedelta(seconds=self.seconds)


class Door:
    """The app with plans, and the table behind its limits."""

    def __init__(self, registry: Registry, plans: dict[str, Any], **more: str) -> None:
        self.clock = Clock()
        self.table = MemoryTable("limits")
        self.meter = UsageMeter(TableUsage(self.table), instance="one", now=self.clock.now)
        store = TableBlocks(self.table, now=self.clock.now)
        self.around = Surroundings(store, instances=10, clock=self.clock, random=lambda: 0.0)
        limiter = Limiter(Plans.parse(json.dumps(plans)), self.around, now=self.clock.now)
        entries = [json.loads(api_key_entry(name, key, ROLES[name])) for name, key in KEYS.items()]
        environment = ENVIRONMENT | {
            "SLUICE_AUTH": "required",
            "SLUICE_API_KEYS": json.dumps(entries),
            "SLUICE_RATE_PLANS": json.dumps(plans),
        }
        environment |= more
        parts = {limits_table: self.table, limits: (limiter, self.meter)}
        self.app = Running(registry, environment, parts, now=self.clock.now)

    async def get(self, path: str, client: str, **headers: str) -> Answer:
        """Read as a client."""
        return await self.app.get(path, **{"x-api-key": KEYS[client], **headers})

    async def order(self, client: str) -> Answer:
        """Place an order as a client."""
        return await self.app.post("/api/orders", order(), {"x-api-key": KEYS[client]})


@pytest.fixture
def door(registry: Registry) -> Door:
    """The app with the plans above."""
    return Door(registry, PLANS)


async def test_a_client_is_limited_per_route_and_in_all_and_told_how_it_stands(door: Door) -> None:
    taken = [await door.order("acme") for _ in range(4)]
    statuses = [one.status for one in taken]
    assert statuses[:2] == [202, 202]
    refused = next(one for one in [*taken, await door.order("acme")] if one.status == 429)
    assert refused.json["error"]["code"] == "TOO_MANY_REQUESTS"
    assert refused.json["error"]["details"] == {"limit": "POST /orders", "plan": "standard"}
    assert refused.json["retryable"] is True
    assert refused.headers["retry-after"] == str(refused.json["retryAfter"]) == "1"
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert (await door.get("/api/orders/1", "acme")).status == 404, "another route has tokens"
    assert (await door.order("=evil")).status == 202, "another client has its own"
    door.clock.seconds += 2
    assert (await door.order("acme")).status == 202


async def test_the_fields_name_every_limit(door: Door) -> None:
    answer = await door.order("acme")
    assert answer.headers["ratelimit-policy"] == '"POST /orders";q=4;w=2, "requests";q=20;w=2, "day";q=50;w=86400'
    assert [one.split(";")[0] for one in answer.headers["ratelimit"].split(", ")] == [
        '"POST /orders"',
        '"requests"',
        '"day"',
    ]
    assert answer.headers["x-ratelimit-limit"] == "4"
    assert 0 <= int(answer.headers["x-ratelimit-remaining"]) <= 3
    assert int(answer.headers["x-ratelimit-reset"]) >= 1


async def test_a_parser_of_others_reads_the_fields(door: Door) -> None:
    """As lists of structured fields, RFC 9651."""
    answer = await door.order("acme")
    policies: Any = http_sf.parse(answer.headers["ratelimit-policy"].encode(), tltype="list")
    assert policies == [
        ("POST /orders", {"q": 4, "w": 2}),
        ("requests", {"q": 20, "w": 2}),
        ("day", {"q": 50, "w": 86_400}),
    ]
    states: Any = http_sf.parse(answer.headers["ratelimit"].encode(), tltype="list")
    assert [(name, sorted(state)) for name, state in states] == [(name, ["r", "t"]) for name, _ in policies]
    assert all(0 <= state["r"] <= policy["q"] for (_, state), (_, policy) in zip(states, policies, strict=True))


async def test_a_refusal_reads_nothing_of_the_body(door: Door) -> None:
    while (await door.order("acme")).status != 429:
        pass

    async def body() -> Any:
        raise AssertionError("the body was read")
        yield b""

    answer = await door.app.post("/api/orders", body(), {"x-api-key": KEYS["acme"]})
    assert answer.status == 429


async def test_who_is_not_known_takes_no_token_and_health_is_never_limited(door: Door) -> None:
    for _ in range(60):
        assert (await door.app.get("/api/health")).status == 200
        assert (await door.app.get("/api/orders/1")).status == 401
    assert (await door.get("/api/orders/1", "acme")).status == 404


async def test_a_limit_of_a_route_counts_under_its_other_paths(registry: Registry) -> None:
    routes = {"GET /orders/{key}": {"rate": 1, "burst": 2}, "GET /$metadata": {"rate": 1, "burst": 2}}
    plans = {"default": "a", "plans": {"a": {"rate": 100, "routes": routes}}}
    door = Door(registry, plans)
    paths = ["/api/orders/1", "/api/orders('1')"]
    limited = [(await door.get(paths[turn % 2], "acme")).headers["ratelimit-policy"] for turn in range(4)]
    assert all(one.startswith('"GET /orders/{key}"') for one in limited)
    assert 429 in [(await door.get("/api/orders('1')", "acme")).status for _ in range(3)]
    assert (await door.get("/api/$metadata", "acme")).headers["ratelimit-policy"].startswith('"GET /$metadata"')


async def test_only_accepted_messages_count_as_messages(door: Door) -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(status_code=202)(scope, receive, send)

    limiter, table = Limiter(Plans.parse(json.dumps(PLANS)), door.around, now=door.clock.now), MemoryTable()
    meter = UsageMeter(TableUsage(table), instance="one", now=door.clock.now)
    app = Limited(answer, limiter=limiter, usage=meter, route_of=lambda *_: "POST /x", now=door.clock.now)
    assert (await ask(app, "POST", "/api/x")).status == 202
    await meter.close()
    (row,) = table.rows.values()
    assert (row["requests"], row["messages"]) == (1, 0)


async def test_a_day_is_a_quota_and_the_next_one_another(door: Door) -> None:
    passed = 0
    for _ in range(80):
        door.clock.seconds += 1
        answer = await door.get("/api/orders/1", "acme")
        passed += answer.status == 404
    assert passed == 50
    assert answer.status == 429
    assert answer.json["error"]["details"]["limit"] == "day"
    assert 50_000 < int(answer.headers["retry-after"]) <= 86_400
    door.clock.seconds += 86_400
    assert (await door.get("/api/orders/1", "acme")).status == 404


async def test_a_plan_without_limits_limits_nothing(door: Door) -> None:
    for _ in range(60):
        answer = await door.get("/api/orders/1", "boss")
        assert answer.status == 404
    assert "ratelimit" not in answer.headers


async def test_ten_thousand_clients_need_a_bounded_memory(registry: Registry) -> None:
    plans = Plans.parse(json.dumps(PLANS))
    clock = Clock()
    around = Surroundings(TableBlocks(MemoryTable(), now=clock.now), instances=10, clock=clock, random=lambda: 0.0)
    limiter = Limiter(plans, around, now=clock.now, size=100)
    for number in range(500):
        assert not (await limiter.check(f"client-{number}", "POST /orders")).refused_by
    assert len(limiter._clients) == 100
    again = await limiter.check("client-0", "POST /orders")
    assert again.applied.leases[0].state()[0] <= 2, "what was forgotten here is known in the store"


async def test_a_graph_query_is_charged_by_its_cost(registry: Registry) -> None:
    plans = {"default": "a", "plans": {"a": {"rate": 10, "burst": 20}}}

    async def passed(query: str) -> int:
        door = Door(registry, plans, SLUICE_GRAPHQL="true")
        statuses = []
        for _ in range(20):
            answer = await door.app.post("/api/graphql", {"query": query}, {"x-api-key": KEYS["acme"]})
            statuses.append(answer.status)
        return statuses.count(200)

    cheap = await passed("{__typename}")
    costly = await passed("{orders(first: 500) {edges {node {orderId country total}}}}")
    assert cheap >= 8
    assert 1 <= costly <= cheap / 2


async def test_usage_is_told_to_the_client_and_to_operators(door: Door) -> None:
    await door.order("acme")
    await door.get("/api/orders/1", "acme")
    await door.order("=evil")
    await door.meter.flush()
    own = await door.get("/api/usage", "acme")
    assert own.status == 200
    assert own.json["from"] == "2026-01-01"
    assert own.json["to"] == "2026-01-05"
    (row,) = own.json["value"]
    assert row.pop("bytes") > 500
    assert row == {
        "day": "2026-01-05",
        "client": "acme",
        "plan": "standard",
        "requests": 2,
        "messages": 1,
        "amount": "0.012",
        "currency": "EUR",
    }
    every = await door.get("/api/usage?from=2026-01-05&to=2026-01-05", "boss", accept="text/csv")
    assert every.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(every.body.decode())))
    assert {one["client"]: one["requests"] for one in rows} == {"acme": "2", "'=evil": "1"}
    assert (await door.get("/api/usage?client=acme", "boss")).json["count"] == 1
    assert (await door.get("/api/usage?client=nobody", "boss")).json["count"] == 0
    assert (await door.get("/api/usage?client=acme", "=evil")).status == 403


async def test_nobody_reads_the_usage_of_who_has_a_longer_name(registry: Registry) -> None:
    door = Door(registry, PLANS)
    plan = Plans.parse(json.dumps(PLANS)).of("acme")
    day = door.clock.now().date()
    names = [f"acme:{number}" for number in range(20)]  # some are in acme's own partition
    for name in names:
        door.meter.add(name, plan, messages=0, size=1)
    await door.order("acme")
    await door.meter.flush()
    assert {one["client"] for one in (await door.get("/api/usage", "acme")).json["value"]} == {"acme"}
    for name in names:
        assert [one.client async for one in TableUsage(door.table).read(day, day, name)] == [name]


async def test_every_instances_last_flush_is_remembered(door: Door) -> None:
    usage, day = TableUsage(door.table), door.clock.now().date()
    for flush in range(3):
        for instance in range(60):
            await usage.add(day, "acme", "standard", Counts(1), flush=f"{instance}.{flush}")
    for instance in range(60):
        await usage.add(day, "acme", "standard", Counts(1), flush=f"{instance}.2")
    (found,) = [one async for one in usage.read(day, day, "acme")]
    assert found.counts.requests == 180


async def test_usage_of_long_ago_is_deleted_and_nothing_else(door: Door) -> None:
    """Buckets and quotas lie in the same table."""
    usage, day = TableUsage(door.table), door.clock.now().date()
    await door.order("acme")
    for back in (400, 401, 900):
        for number in range(120):
            at = day - timedelta(days=back)
            await usage.add(at, f"client-{number}", "standard", Counts(1), flush=f"{number}.{back}")
    others = len(door.table.rows) - 360
    assert not await usage.sweep(day - timedelta(days=400), time_left=lambda: 0.0)
    assert len(door.table.rows) == others + 360
    assert await usage.sweep(day - timedelta(days=400), time_left=lambda: 1.0)
    assert len(door.table.rows) == others + 120
    assert len([one async for one in usage.read(day - timedelta(days=400), day, None)]) == 120


@pytest.mark.parametrize(
    "query",
    [
        "from=yesterday",
        "from=2026-02-01",
        "from=20260101",
        "from=0001-01-01",
        "to=9999-12-31",
        "from=2025-01-01",
        "top=1",
    ],
)
async def test_days_that_cannot_be_are_refused(door: Door, query: str) -> None:
    answer = await door.get(f"/api/usage?{query}", "boss")
    assert answer.status == 400
    assert answer.json["error"]["code"] == "BAD_REQUEST"


async def test_a_flush_whose_outcome_is_unknown_counts_once(door: Door) -> None:
    class Unsure(MemoryTable):
        fails = True

        async def submit(self, operations: Any) -> list[str | None]:
            """Writes, and loses the answer once."""
            found = await super().submit(operations)
            if self.fails:
                self.fails = False
                raise TimeoutError
            return found

    table = Unsure("state")
    plan = Plans.parse(json.dumps(PLANS)).of("acme")
    meters = [UsageMeter(TableUsage(table), instance=name, now=door.clock.now) for name in ("one", "two")]
    for meter in meters:
        meter.add("acme", plan, messages=1, size=10)
    for meter in meters:
        await meter.flush()
    for meter in meters:
        await meter.close()
    day = door.clock.now().date()
    (found,) = [one async for one in TableUsage(table).read(day, day, "acme")]
    assert (found.counts.requests, found.counts.messages, found.counts.size) == (2, 2, 20)


async def test_a_name_that_is_too_long_for_a_key_is_counted_all_the_same(door: Door) -> None:
    plan = Plans.parse(json.dumps(PLANS)).of("acme")
    names = ["x" * 5_000, "/\\#?\r\n", "é" * 300, "\ud800"]
    for name in names:
        door.meter.add(name, plan, messages=0, size=1)
    await door.meter.flush()
    day = door.clock.now().date()
    assert len([one async for one in TableUsage(door.table).read(day, day, None)]) == len(names)


def test_a_plan_for_a_route_that_is_not_there_stops_the_start(registry: Registry) -> None:
    plans = {"default": "a", "plans": {"a": {"rate": 9, "routes": {"POST /nothing": {"rate": 1}}}}}
    with pytest.raises(WrongSettings, match="POST /nothing"):
        Running(registry, ENVIRONMENT | {"SLUICE_RATE_PLANS": json.dumps(plans)})
    open_to_all = {"default": "a", "plans": {"a": {"rate": 9, "routes": {"GET /health": {"rate": 1}}}}}
    with pytest.raises(WrongSettings, match="GET /health"):
        Running(registry, ENVIRONMENT | {"SLUICE_RATE_PLANS": json.dumps(open_to_all)})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLUICE_RATE_PLANS", "{}"),
        ("SLUICE_RATE_STORE", "http://cache"),
        ("SLUICE_RATE_STORE", "redis://cache.example.org"),
        ("SLUICE_RATE_INSTANCES", "0"),
    ],
)
def test_settings_that_cannot_be_are_named(name: str, value: str) -> None:
    with pytest.raises(WrongSettings, match=name):
        Settings.load(ENVIRONMENT | {name: value})


async def test_pages_of_named_origins_may_call_and_others_may_not(registry: Registry) -> None:
    origin = "https://app.example.org"
    running = Running(registry, ENVIRONMENT | {"SLUICE_CORS_ORIGINS": origin})
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    preflight = await ask(running.asgi, "OPTIONS", "/api/orders", headers=asked)
    assert preflight.status == 200
    assert preflight.headers["access-control-allow-origin"] == origin
    for field in ("OData-MaxVersion", "If-Match", "If-Modified-Since", "Cache-Control", "Last-Event-ID"):
        asked["Access-Control-Request-Headers"] = field.lower()
        assert (await ask(running.asgi, "OPTIONS", "/api/orders", headers=asked)).status == 200
    answer = await running.get("/api/health", Origin=origin)
    assert answer.headers["access-control-allow-origin"] == origin
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"RateLimit", "ETag", "OData-Version", "Preference-Applied", "Age"} <= set(exposed)
    stranger = await running.get("/api/health", Origin="https://evil.example")
    assert "access-control-allow-origin" not in stranger.headers
    closed = await Running(registry).get("/api/health", Origin=origin)
    assert "access-control-allow-origin" not in closed.headers


async def test_the_pinned_version_is_the_same_api(registry: Registry) -> None:
    deprecated = json.dumps({"v1": {"since": "2027-01-01", "sunset": "2027-07-01", "link": "https://example.org/v1"}})
    running = Running(registry, ENVIRONMENT | {"SLUICE_API_DEPRECATIONS": deprecated})
    answer = await running.post("/api/v1/orders", order())
    assert answer.status == 202
    assert answer.headers["sunset"].endswith("2027 00:00:00 GMT")
    assert (await running.get(answer.headers["location"])).status == 200
    assert (await running.get("/api/v1/orders/none")).status == 404
    assert "sunset" not in (await running.post("/api/orders", order())).headers
    links = await running.get("/api/v1/usage", accept="application/hal+json")
    assert links.json["_links"]["self"]["href"] == "/api/usage"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLUICE_CORS_ORIGINS", "*"),
        ("SLUICE_CORS_ORIGINS", "https://app.example.org/path"),
        ("SLUICE_CORS_ORIGINS", "null"),
        ("SLUICE_API_DEPRECATIONS", "{}x"),
        ("SLUICE_SHED_LEAST", "2000"),
        ("SLUICE_SHED_LAG_SECONDS", "0"),
    ],
)
def test_settings_of_the_door_that_cannot_be_are_named(name: str, value: str) -> None:
    with pytest.raises(WrongSettings, match=name):
        Settings.load(ENVIRONMENT | {name: value})
