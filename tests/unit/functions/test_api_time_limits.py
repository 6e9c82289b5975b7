"""A read that waits for storage is given up and answered, whichever route it is."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from starlette.requests import Request
from starlette.responses import Response

from functions.api import build_api
from shared.http import ANONYMOUS, Route
from tests.unit.asgi import ask


@pytest.mark.parametrize("path", ["orders/{key}", "operations/{key}", "health/{key}"])
async def test_a_read_that_never_ends_is_a_503_in_the_error_format(path: str) -> None:
    """With when to ask again; the endpoint is cancelled, so that it keeps nothing."""
    cancelled = asyncio.Event()

    async def hangs(_: Request) -> Response:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError("it never gets here")

    route = Route(method="GET", path=path, endpoint=hangs, access=ANONYMOUS)
    app = build_api([route], authenticate=None, now=lambda: datetime(2026, 1, 5, tzinfo=UTC), read_seconds=0.01)
    answer = await ask(app, "GET", f"/api/{path.replace('{key}', 'A1')}")
    assert (answer.status, answer.json["error"]["code"], answer.json["retryable"]) == (503, "UNAVAILABLE", True)
    assert answer.json["retryAfter"] == 2
    assert cancelled.is_set()
