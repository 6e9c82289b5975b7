"""Async generators that are left before their end are closed where they were opened, not by the garbage collector.

From Python 3.13 on a generator whose loop is gone by then says that its `aclose` was never awaited.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.requests import Request

from shared.http.bodies import BadBody, read_body
from shared.processing import BatchFailed
from shared.resilience import LaneTurns
from tests.unit.shared.processing.world import World, delivery


@pytest.fixture
def left_open() -> Iterator[list[str]]:
    """The generators that the garbage collector met before their end."""
    found: list[str] = []
    before = sys.get_asyncgen_hooks()
    yield found
    sys.set_asyncgen_hooks(*before)


def _watch(found: list[str]) -> None:
    """The running loop sets hooks of its own, so this is called within it."""
    sys.set_asyncgen_hooks(finalizer=lambda generator: found.append(repr(generator)))


async def test_a_batch_that_fails_closes_its_slices(left_open: list[str]) -> None:
    _watch(left_open)
    world = World()
    world.state.broken = ConnectionError("storage is away")
    with pytest.raises(BatchFailed):
        await world.process(delivery(1))
    gc.collect()
    assert not [name for name in left_open if LaneTurns.slices.__qualname__ in name]


async def test_a_body_that_is_too_large_closes_its_stream(left_open: list[str]) -> None:
    _watch(left_open)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 100, "more_body": True}

    request = Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)
    with pytest.raises(BadBody):
        await read_body(request, limit=150)
    gc.collect()
    assert left_open == []
