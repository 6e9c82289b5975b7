"""How often and how long an event is tried, and what keeps one subscriber from harming another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from local_azure.keyvault import events as delivery_module
from local_azure.keyvault.events import Delivery, NotTaken, Rejected, Subscription

HAPPENED = 1_000_000
EVENT = {"eventType": "t", "eventTime": datetime.fromtimestamp(HAPPENED, UTC).isoformat()}
DAY = 86_400


class Clock:
    """Time that passes in pauses alone."""

    def __init__(self) -> None:
        self.time = float(HAPPENED)
        self.pauses: list[float] = []

    def now(self) -> float:
        return self.time

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)


class Subscriber:
    """Refuses so often, then takes; or never answers, at the addresses in `silent`."""

    def __init__(self, refusals: float, error: Callable[[], Exception] = lambda: NotTaken("busy")) -> None:
        self.refusals = refusals
        self.error = error
        self.silent: set[str] = set()
        self.taken: list[tuple[str, Mapping[str, Any]]] = []

    async def send(self, subscription: Subscription, event: Mapping[str, Any]) -> None:
        if subscription.webhook in self.silent:
            await asyncio.Event().wait()
        if self.refusals > 0:
            self.refusals -= 1
            raise self.error()
        self.taken.append((subscription.webhook, event))


class Deliveries:
    """A delivery to the subscriptions `a` and `b`, and what it settled."""

    def __init__(self, subscriber: Subscriber) -> None:
        self.clock = Clock()
        self.subscriptions = {name: Subscription(name, webhook=f"http://{name}") for name in ("a", "b")}
        self.settled: list[int] = []
        self._changed = asyncio.Event()
        self.delivery = Delivery(
            subscriber,
            find=self.subscriptions.get,
            settle=self._settle,
            now=self.clock.now,
            pause=self.clock.pause,
        )

    def _settle(self, number: int) -> None:
        self.settled.append(number)
        self._changed.set()

    async def settle(self, *numbers: int) -> None:
        """Wait until these are settled."""
        async with asyncio.timeout(5):
            while not set(numbers) <= set(self.settled):
                self._changed.clear()
                await self._changed.wait()
        await self.delivery.close()


@pytest.mark.parametrize(("refusals", "counts"), [(0, {"delivered": 1}), (3, {"refused": 3, "delivered": 1})])
async def test_an_event_is_tried_until_it_is_taken(refusals: int, counts: dict[str, int]) -> None:
    run = Deliveries(Subscriber(refusals))
    run.delivery.add(7, "a", EVENT)
    await run.settle(7)
    assert run.settled == [7]
    assert dict(run.delivery.counts) == counts


async def test_an_event_is_tried_for_a_day_and_no_longer() -> None:
    """Event Grid's time to live, with pauses that never shrink and end at a minute."""
    run = Deliveries(Subscriber(float("inf")))
    run.delivery.add(7, "a", EVENT)
    await run.settle(7)
    assert run.settled == [7]
    assert run.delivery.counts["given up"] == 1
    assert run.delivery.counts["refused"] == len(run.clock.pauses) + 1
    assert run.clock.pauses == sorted(run.clock.pauses)
    assert run.clock.pauses[-1] == 60
    assert DAY - 60 < sum(run.clock.pauses) <= DAY


async def test_an_event_that_is_older_than_a_day_has_one_try_left() -> None:
    """The vault was off meanwhile."""
    run = Deliveries(Subscriber(1))
    run.clock.time += 2 * DAY
    run.delivery.add(1, "a", EVENT)
    await run.settle(1)
    run.delivery.add(2, "a", EVENT)
    await run.settle(2)
    assert dict(run.delivery.counts) == {"refused": 1, "given up": 1, "delivered": 1}


async def test_what_the_subscriber_rejects_is_not_tried_again() -> None:
    run = Deliveries(Subscriber(1, lambda: Rejected("status 400")))
    run.delivery.add(7, "a", EVENT)
    await run.settle(7)
    assert dict(run.delivery.counts) == {"refused": 1, "given up": 1}


async def test_an_error_that_nobody_foresaw_loses_no_event(caplog: pytest.LogCaptureFixture) -> None:
    """Its task would end, and the event would wait for the next start without a word."""
    subscriber = Subscriber(1, lambda: AttributeError("code=secret"))
    run = Deliveries(subscriber)
    run.delivery.add(7, "a", EVENT)
    await run.settle(7)
    assert dict(run.delivery.counts) == {"refused": 1, "delivered": 1}
    subscriber.refusals = 1
    run.clock.time += 2 * DAY
    run.delivery.add(8, "a", EVENT)
    await run.settle(8)
    assert "AttributeError" in caplog.text
    assert "secret" not in caplog.text


async def test_a_subscriber_that_moves_gets_its_events_at_its_new_address() -> None:
    """A stack that starts again has other ports; what was left goes there."""

    def move() -> Exception:
        run.subscriptions["a"] = Subscription("a", webhook="http://new")
        return NotTaken("away")

    subscriber = Subscriber(1, move)
    run = Deliveries(subscriber)
    run.delivery.add(7, "a", EVENT)
    await run.settle(7)
    assert [address for address, _ in subscriber.taken] == ["http://new"]


async def test_a_subscriber_that_is_silent_holds_up_no_other() -> None:
    subscriber = Subscriber(0)
    subscriber.silent = {"http://a"}
    run = Deliveries(subscriber)
    for number in range(100):
        run.delivery.add(number, "a", EVENT)
    run.delivery.add(100, "b", EVENT)
    await run.settle(100)
    assert run.settled == [100]


async def test_a_subscriber_with_too_many_waiting_costs_only_its_own_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_module, "_MOST_WAITING", 3)
    subscriber = Subscriber(0)
    subscriber.silent = {"http://a"}
    run = Deliveries(subscriber)
    for number in range(4):
        run.delivery.add(number, "a", EVENT)
    assert run.settled == [3]
    run.delivery.add(4, "b", EVENT)
    await run.settle(4)
    assert run.settled == [3, 4]


async def test_events_of_a_subscription_that_is_gone_are_given_up() -> None:
    run = Deliveries(Subscriber(0))
    run.delivery.add(1, "gone", EVENT)
    await run.settle(1)
    assert dict(run.delivery.counts) == {"given up": 1}


async def test_what_is_on_its_way_at_the_end_is_not_settled() -> None:
    run = Deliveries(Subscriber(100))
    run.delivery.add(1, "a", EVENT)
    await asyncio.sleep(0)
    await run.delivery.close()
    assert run.settled == []
