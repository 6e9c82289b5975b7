"""The host's own span is the parent of what an invocation does."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any, List, get_type_hints  # noqa: UP035 - as a trigger's function is annotated

import azure.functions as func
import pytest
from opentelemetry.trace import SpanKind

from functions.invocation import with_host_trace
from shared.telemetry import current_traceparent, span
from tests.unit.traced import traced

HOST = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
CLIENT = "00-11111111111111111111111111111111-2222222222222222-01"


async def lane_high(messages: List[func.ServiceBusMessage]) -> str | None:  # noqa: UP006
    """A batch, and a request within."""
    with span("receive high", kind=SpanKind.CLIENT):
        with span("POST /x", kind=SpanKind.SERVER, parent=CLIENT):
            pass
        with span("process high", kind=SpanKind.CONSUMER, parent=CLIENT):
            pass
        return current_traceparent()


def context(traceparent: str) -> Any:
    """What the worker hands over."""
    return SimpleNamespace(trace_context=SimpleNamespace(trace_parent=traceparent))


def test_the_worker_sees_the_function_and_its_context() -> None:
    """By name, parameters and annotations."""
    registered = with_host_trace(lane_high)
    assert registered.__name__ == "lane_high"
    assert [*inspect.signature(registered).parameters] == ["messages", "context"]
    assert get_type_hints(registered)["context"] is func.Context
    assert get_type_hints(registered)["messages"] == List[func.ServiceBusMessage]  # noqa: UP006


async def test_what_the_host_traces_goes_on() -> None:
    """Its span is the batch's parent, and the request's too, which it has recorded as one already."""
    with traced() as kept:
        await with_host_trace(lane_high)(messages=[], context=context(HOST))
    batch, post, process = (kept.named(name) for name in ("receive high", "POST /x", "process high"))
    assert f"{batch.trace_id:032x}-{batch.parent_id:016x}" == HOST[3:-3]
    assert f"{post.trace_id:032x}-{post.parent_id:016x}" == HOST[3:-3]
    assert post.kind is SpanKind.INTERNAL
    assert f"{process.trace_id:032x}-{process.parent_id:016x}" == CLIENT[3:-3]


@pytest.mark.parametrize("empty", ["", "x", "00-0-0-0"])
async def test_where_the_host_traces_nothing_the_app_begins(empty: str) -> None:
    """As without Application Insights; the caller of a request is its parent then."""
    with traced() as kept:
        await with_host_trace(lane_high)(messages=[], context=context(empty))
    assert kept.named("receive high").parent_id == 0
    post = kept.named("POST /x")
    assert post.kind is SpanKind.SERVER
    assert f"{post.trace_id:032x}-{post.parent_id:016x}" == CLIENT[3:-3]
