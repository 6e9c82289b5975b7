"""What is recorded of a request whose client left, and of one that fails here."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from shared.http import Observed
from tests.unit.asgi import ask
from tests.unit.traced import Traced, traced

NOW = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
def spans() -> Iterator[Traced]:
    """What is traced while a test runs."""
    with traced() as kept:
        yield kept


@pytest.mark.parametrize(
    ("failure", "status", "recorded"),
    [(ClientDisconnect(), 499, []), (ZeroDivisionError(), 500, ["request failed"])],
)
async def test_a_client_that_leaves_is_no_failure(
    spans: Traced,
    caplog: pytest.LogCaptureFixture,
    failure: Exception,
    status: int,
    recorded: list[str],
) -> None:
    """Neither a log line nor an exception nor a 5xx for it, and no answer to nobody."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise failure

    with caplog.at_level(logging.INFO):
        answer = await ask(Observed(app, now=lambda: NOW), "POST", "/api/orders")
    assert answer.status == (0 if status == 499 else 500)
    assert [one.message for one in caplog.records] == recorded
    (span,) = spans.spans
    assert span.attributes["http.response.status_code"] == status
    assert len(span.events) == len(recorded)
