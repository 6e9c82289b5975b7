"""How listeners are kept alive, and how retry policies run."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local_azure.host.eventhubs.listener import starting_position
from local_azure.host.functions import Function, Parameter, RetryPolicy
from local_azure.host.host_json import HostOptions, InitialOffset
from local_azure.host.invocation import Invoker
from local_azure.host.listener import Backoff, Services, pause, supervise
from local_azure.host.retrying import Interrupted, invoke_with_retries
from local_azure.host.settings import AppSettings


def services() -> Services:
    return Services(
        settings=AppSettings({}),
        options=HostOptions(),
        invoker=Invoker(threads=1, timeout=None),
        instance="one",
        stopping=asyncio.Event(),
    )


def failing(times: int, seen: list[int], retry: RetryPolicy | None) -> Function:
    async def work(value: str) -> None:
        seen.append(1)
        if len(seen) <= times:
            raise ValueError("not yet")

    trigger = Parameter(name="value", converter="generic", annotation=str, binding={"type": "eventHubTrigger"})
    return Function(
        name="work", call=work, is_async=True, wants_context=False, directory="", trigger=trigger, retry=retry
    )


def fixed(count: int, seconds: float = 0) -> RetryPolicy:
    return RetryPolicy(strategy="fixed_delay", max_retry_count=count, delay=timedelta(seconds=seconds))


class FlakySource:
    """A listener whose source fails a number of times before it can be read."""

    name = "flaky"
    function: Any = None

    def __init__(self, failures: int) -> None:
        self.left = failures

    async def run(self) -> None:
        if self.left:
            self.left -= 1
            raise ExceptionGroup("several", [ConnectionError("refused")])

    async def close(self) -> None: ...

    async def run_manually(self, text: str) -> None: ...


def test_pauses_double_up_to_the_longest_and_start_over_after_success() -> None:
    backoff = Backoff(1, 5)
    assert [backoff.next() for _ in range(5)] == [1, 2, 4, 5, 5]
    backoff.reset()
    assert backoff.next() == 1


async def test_a_listener_is_started_again_until_it_ends_by_itself() -> None:
    source = FlakySource(2)
    await asyncio.wait_for(supervise(source, asyncio.Event()), 5)
    assert source.left == 0


async def test_a_listener_is_not_started_again_when_the_host_ends() -> None:
    stopping = asyncio.Event()
    stopping.set()
    source = FlakySource(1)
    await supervise(source, stopping)
    assert source.left == 1


async def test_a_pause_ends_with_the_host() -> None:
    stopping = asyncio.Event()
    assert not await pause(stopping, 0)
    stopping.set()
    assert await pause(stopping, 60)


@pytest.mark.parametrize(
    ("policy", "failures", "attempts", "success"),
    [(None, 0, 1, True), (None, 1, 1, False), (fixed(2), 2, 3, True), (fixed(2), 9, 3, False),
     (fixed(-1), 20, 21, True), (fixed(0), 1, 1, False)],
)  # fmt: skip
async def test_a_retry_policy_counts_retries(policy: Any, failures: int, attempts: int, success: bool) -> None:
    """-1 retries for ever; 0 not at all."""
    seen: list[int] = []
    function = failing(failures, seen, policy)
    assert await invoke_with_retries(function, services(), lambda: "x", reason="test") is success
    assert len(seen) == attempts


async def test_a_host_that_ends_interrupts_a_retry_policy() -> None:
    seen: list[int] = []
    all_services = services()
    waiting = asyncio.create_task(
        invoke_with_retries(failing(9, seen, fixed(-1, 60)), all_services, lambda: "x", reason="test")
    )
    for _ in range(20):
        await asyncio.sleep(0)
    all_services.stopping.set()
    with pytest.raises(Interrupted):
        await waiting
    assert len(seen) == 1


def test_where_a_consumer_group_begins() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert starting_position(InitialOffset()) == "-1"
    assert starting_position(InitialOffset(type="fromEnd")) == "@latest"
    assert starting_position(InitialOffset(type="fromEnqueuedTime", enqueued_time=moment)) == moment
