"""How functions are run: context, threads, time limit, results."""

import asyncio
import inspect
import json
import threading
from datetime import timedelta
from typing import Any

import azure.functions as func
import pytest

from local_azure.host.context import Retry, RetryError, TraceContext
from local_azure.host.functions import Function, Parameter
from local_azure.host.invocation import InvocationFailed, Invoker
from local_azure.host.logs import HOST_LOGGER, configure_host_log


def function(call: Any, *, wants_context: bool = False, kind: str = "serviceBusTrigger") -> Function:
    trigger = Parameter(name="value", converter="generic", annotation=str, binding={"type": kind})
    return Function(
        name="work", call=call, is_async=inspect.iscoroutinefunction(call), wants_context=wants_context,
        directory="/app", trigger=trigger,
    )  # fmt: skip


@pytest.fixture
def invoker() -> Invoker:
    return Invoker(threads=2, timeout=timedelta(seconds=0.2), traced=True)


async def test_sync_functions_run_beside_the_loop(invoker: Invoker) -> None:
    seen: list[int] = []
    await invoker.invoke(function(lambda value: seen.append(threading.get_ident())), lambda: "x")
    assert seen[0] != threading.get_ident()


async def test_async_functions_overlap_on_the_one_loop(invoker: Invoker) -> None:
    arrived = asyncio.Barrier(8)

    async def work(value: str) -> None:
        await arrived.wait()

    await asyncio.gather(*(invoker.invoke(function(work), lambda: "x") for _ in range(8)))


async def test_the_context_tells_trace_and_retry(invoker: Invoker) -> None:
    seen: list[func.Context] = []

    async def work(value: str, context: func.Context) -> None:
        seen.append(context)

    trace = invoker.trace(incoming={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "k=v"})
    retry = Retry(2, 5, RetryError("before"))
    await invoker.invoke(function(work, wants_context=True), lambda: "x", trace=trace, retry=retry, invocation_id="id")
    context = seen[0]
    assert (context.invocation_id, context.function_name, context.function_directory) == ("id", "work", "/app")
    parent = context.trace_context.trace_parent.split("-")
    assert parent[1] == "a" * 32
    assert parent[2] != "b" * 16
    assert parent[3] == "01"
    assert context.trace_context.trace_state == "k=v"
    assert (context.retry_context.retry_count, context.retry_context.max_retry_count) == (2, 5)
    assert context.retry_context.exception.message == "before"


def test_without_application_insights_the_trace_context_is_empty() -> None:
    trace = Invoker(threads=1, timeout=None).trace(incoming={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    context = TraceContext(trace)
    assert (context.trace_parent, context.trace_state, context.attributes) == ("", "", {})


async def test_too_long_fails_the_invocation(invoker: Invoker) -> None:
    async def work(value: str) -> None:
        await asyncio.sleep(60)

    with pytest.raises(InvocationFailed, match="TimeoutError"):
        await invoker.invoke(function(work), lambda: "x")
    assert invoker.running == 0


async def test_what_a_converter_raises_fails_the_invocation(invoker: Invoker) -> None:
    def broken() -> Any:
        raise IndexError("list index out of range")

    with pytest.raises(InvocationFailed, match="IndexError"):
        await invoker.invoke(function(lambda value: None), broken)


async def test_a_value_without_a_return_binding_fails(invoker: Invoker) -> None:
    with pytest.raises(InvocationFailed, match="without a \\$return binding returned a non-None value"):
        await invoker.invoke(function(lambda value: 1), lambda: "x")


async def test_waiting_for_idle_is_bounded(invoker: Invoker) -> None:
    release = asyncio.Event()

    async def work(value: str) -> None:
        await release.wait()

    running = asyncio.create_task(invoker.invoke(function(work), lambda: "x"))
    await asyncio.sleep(0)
    assert not await invoker.wait_idle(0.01)
    release.set()
    assert await invoker.wait_idle(1)
    await running


@pytest.mark.parametrize(("kind", "lines"), [("timerTrigger", 0), ("serviceBusTrigger", 2)])
async def test_timers_that_succeed_can_be_kept_out_of_the_log(
    kind: str, lines: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Several run every few seconds; one that fails is still told, and everything else."""
    monkeypatch.setattr(HOST_LOGGER, "handlers", [])
    monkeypatch.setattr(HOST_LOGGER, "propagate", False)
    monkeypatch.setattr(HOST_LOGGER, "level", HOST_LOGGER.level)
    configure_host_log(quiet=False, as_json=True)
    quiet = Invoker(threads=1, timeout=None, quiet_timers=True)

    async def work(value: str) -> None:
        if value == "bad":
            raise ValueError("bad")

    await quiet.invoke(function(work, kind=kind), lambda: "good")
    assert len(capsys.readouterr().out.splitlines()) == lines
    with pytest.raises(InvocationFailed):
        await quiet.invoke(function(work, kind=kind), lambda: "bad")
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told[-1]["level"] == "error"
    assert "Executed 'Functions.work' (Failed" in told[-1]["event"]
