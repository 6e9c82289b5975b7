"""A client for ASGI apps: one request, one answer, nothing between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Scope

__all__ = ["Answer", "ask", "scope_of"]


@dataclass
class Answer:
    """What the app sent."""

    status: int = 0
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    pieces: list[bytes] = field(default_factory=list)
    complete: bool = False

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def scope_of(
    method: str, path: str, headers: Mapping[str, str] | Iterable[tuple[str, str]] = (), *, query: str = ""
) -> Scope:
    """A request's scope; values of headers are sent as latin-1, as they come over the wire."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }


async def ask(
    app: ASGIApp,
    method: str,
    path: str,
    body: bytes | AsyncIterator[bytes] = b"",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    *,
    query: str = "",
) -> Answer:
    """Send a request; the body comes at once, or in pieces as an iterator gives them."""
    answer = Answer()
    pieces = body if not isinstance(body, bytes) else _once(body)

    async def receive() -> Message:
        try:
            return {"type": "http.request", "body": await anext(pieces), "more_body": True}
        except StopAsyncIteration:
            pass
        except ConnectionError:
            return {"type": "http.disconnect"}
        if not ended:
            ended.append(True)
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = Headers(raw=list(message["headers"]))
        else:
            answer.pieces.append(message.get("body", b""))
            answer.body += message.get("body", b"")
            answer.complete = not message.get("more_body", False)

    ended: list[bool] = []
    await app(scope_of(method, path, headers, query=query), receive, send)
    return answer


async def _once(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body
