"""A version in the path leads to the same routes, and says when it will be gone."""

from __future__ import annotations

import json

import pytest
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from shared.http.versions import Versioned, deprecations
from tests.unit.asgi import ask


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the path that it was asked for."""
    await JSONResponse([scope["path"], scope["raw_path"].decode()])(scope, receive, send)


@pytest.mark.parametrize(
    ("path", "served"),
    [
        ("/api/v1/orders/1", "/api/orders/1"),
        ("/api/orders/1", "/api/orders/1"),
        ("/api/v2/orders", "/api/v2/orders"),
        ("/api/v1", "/api/"),
        ("/api/v1/v1/orders", "/api/v1/orders"),
        ("/api/v10/orders", "/api/v10/orders"),
        ("/api/views", "/api/views"),
        ("/v1/api/orders", "/v1/api/orders"),
    ],
)
async def test_only_the_version_is_left_out(path: str, served: str) -> None:
    answer = await ask(Versioned(echo, deprecated={}), "GET", path)
    assert answer.json == [served, served]
    assert "deprecation" not in answer.headers


async def test_a_deprecated_version_says_so_and_the_current_path_does_not() -> None:
    link = "https://docs.example.org/v1"
    text = json.dumps({"v1": {"since": "2027-01-01", "sunset": "2027-07-01", "link": link}})
    app = Versioned(echo, deprecated=deprecations(text))
    old = await ask(app, "GET", "/api/v1/orders")
    assert old.headers["deprecation"] == "@1798761600"
    assert old.headers["sunset"] == "Thu, 01 Jul 2027 00:00:00 GMT"
    assert old.headers["link"] == f'<{link}>; rel="deprecation", <{link}>; rel="sunset"'
    assert "sunset" not in (await ask(app, "GET", "/api/orders")).headers


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        "[" * 100_000,
        '{"v9": {"since": "2027-01-01"}}',
        '{"v1": {}}',
        '{"v1": {"since": "soon"}}',
        '{"v1": {"since": "2027-01-01", "sunset": "2026-01-01"}}',
        '{"v1": {"since": "2027-01-01", "link": "https://a\\r\\nX-Evil: 1"}}',
        '{"v1": {"since": "2027-01-01", "link": "https://a>; rel=x"}}',
        '{"v1": {"since": "2027-01-01", "link": "javascript:alert(1)"}}',
        '{"v1": {"since": "9999-12-31"}}',
    ],
)
def test_a_setting_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|valid|before"):
        deprecations(text)
