"""Shedding: overload lowers what may be under way, the least important goes first, health never."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from starlette.requests import Request
from starlette.responses import Response

from functions.api import build_api
from functions.door import Door
from shared.authentication import Caller, Role
from shared.http import ANONYMOUS, EVERY_ROLE, AdaptiveLimit, Importance, OverloadWatch, Route, ShedPolicy
from shared.telemetry import Metrics
from shared.telemetry.metrics import enable
from tests.unit.asgi import Answer, ask
from tests.unit.virtual_time import VirtualTime

POLICY = ShedPolicy(least=4, most=100, begin=100, lag=0.25, storage=1, backlog=50)
QUIET = {"lag": 0.0, "storage": 0.01, "backlog": 0}


class Clock:
    """Time that a test moves."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize("sign", [{"lag": 0.3}, {"storage": 1.2}, {"backlog": 60}])
def test_each_sign_of_overload_lowers_the_limit_and_quiet_raises_it(sign: dict[str, float]) -> None:
    clock = Clock()
    limit = AdaptiveLimit(POLICY, clock=clock)
    for _ in range(50):
        assert limit.enter(Importance.WRITE)
    limit.look(**(QUIET | sign))  # type: ignore[arg-type]
    assert limit.limit == 100, "one look may be a pause of the machine"
    for _ in range(3):
        clock.seconds += 0.1
        limit.look(**(QUIET | sign))  # type: ignore[arg-type]
    assert limit.limit == 35, "seven tenths of what was under way, once in a while"
    for _ in range(100):
        clock.seconds += 0.1
        limit.look(**(QUIET | sign))  # type: ignore[arg-type]
    assert limit.limit == 4
    looks = 0
    while limit.limit < 100:
        limit.look(**QUIET)  # type: ignore[arg-type]
        looks += 1
    assert 50 < looks < 200


def test_the_important_have_room_when_the_others_have_none() -> None:
    limit = AdaptiveLimit(ShedPolicy(least=10, most=10), clock=Clock())
    admitted = {one: sum(limit.enter(one) for _ in range(20)) for one in Importance}
    assert admitted == {Importance.READ: 8, Importance.WRITE: 1, Importance.HIGH: 1}
    limit.exit()
    assert not limit.enter(Importance.READ)
    assert limit.enter(Importance.HIGH)


def test_one_request_is_always_possible() -> None:
    limit = AdaptiveLimit(ShedPolicy(least=1, most=1), clock=Clock())
    assert limit.enter(Importance.READ)


@pytest.mark.parametrize("wrong", [{"least": 0}, {"least": 9, "most": 8}, {"lag": 0}, {"storage": -1}, {"backlog": 0}])
def test_a_policy_that_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="shedding"):
        ShedPolicy(**wrong)


@pytest.fixture
def metrics() -> Iterator[None]:
    """Instruments that keep what they are told."""
    enable()
    yield
    enable(False)


async def by_header(headers: object) -> Caller:
    """Who says so is an operator."""
    named = dict(headers)  # type: ignore[call-overload]
    return Caller("boss", frozenset({Role.OPERATOR if b"x-operator" in named else Role.PRODUCER, Role.READER}))


async def test_the_door_sheds_by_importance_and_never_health(metrics: None) -> None:
    going = asyncio.Event()

    async def waits(_: Request) -> Response:
        await going.wait()
        return Response(status_code=204)

    async def alive(_: Request) -> Response:
        return Response(status_code=204)

    watch = OverloadWatch(AdaptiveLimit(ShedPolicy(least=10, most=10), clock=Clock()), waiting=lambda: 0)
    app = build_api(
        [
            Route(method="POST", path="orders", endpoint=waits, access=EVERY_ROLE),
            Route(method="GET", path="health", endpoint=alive, access=ANONYMOUS),
            Route(method="GET", path="events", endpoint=alive, access=EVERY_ROLE, streams=True),
        ],
        authenticate=by_header,
        now=lambda: datetime(2026, 1, 5, tzinfo=UTC),
        door=Door(overload=watch),
    )

    async def post(**headers: str) -> Answer:
        return await ask(app, "POST", "/api/orders", headers=headers)

    under_way = [asyncio.create_task(post()) for _ in range(9)]
    await asyncio.sleep(0.01)
    refused = await post()
    assert refused.status == 503
    assert refused.json["error"]["code"] == "UNAVAILABLE"
    assert refused.headers["retry-after"] in ("1", "2", "3")
    assert (await ask(app, "GET", "/api/events")).status == 503
    assert (await ask(app, "GET", "/api/health")).status == 204
    under_way.append(asyncio.create_task(post(**{"x-operator": "yes"})))
    await asyncio.sleep(0.01)
    assert not under_way[-1].done()
    going.set()
    assert {one.status for one in await asyncio.gather(*under_way)} == {204}
    assert watch.limit.running == 0
    assert (await post()).status == 204
    assert {str(one.attributes["importance"]): one.value for one in Metrics.requests_shed.points()} == {
        "write": 1,
        "read": 1,
    }
    await watch.close()


def test_the_watch_sees_slow_stores_and_rests_when_nothing_is_under_way(metrics: None) -> None:
    time = VirtualTime()
    limit = AdaptiveLimit(POLICY, clock=time.clock)
    watch = OverloadWatch(limit, waiting=lambda: 0)

    async def run() -> int:
        for _ in range(20):
            limit.enter(Importance.WRITE)
        watch.touch()
        for _ in range(20):
            Metrics.storage_duration.record(3.0, operation="get", table="state")
            await asyncio.sleep(0.1)
        lowered = limit.limit
        for _ in range(20):
            limit.exit()
        await asyncio.sleep(0.5)  # the last look ends the watching: nothing else waits for time any more
        assert len(asyncio.all_tasks()) == 1
        return lowered

    assert time.run(run()) <= 14
    time.close()
