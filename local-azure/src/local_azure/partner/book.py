"""What the simulated partner keeps: everything that was asked, and what it made, once for each key. No I/O.

`POST /things` makes one and answers 201 with the body that came and an `id`; `GET /things` lists them, `GET /things/1`
shows one. A key that comes again gets the first answer, with another body 422, as the Idempotency-Key draft says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Answer", "Asked", "Book"]


@dataclass(slots=True, kw_only=True)
class Asked:
    """One request, with the status of its answer: 0 where the connection was broken. Header names in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    at: float
    status: int = 0

    def json(self) -> Any:
        """The body as JSON; None where there is none."""
        return json.loads(self.body) if self.body else None


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and content of an answer in JSON."""

    status: int
    content: Any


@dataclass(slots=True)
class Book:
    """What was asked, and what was made of it.

    Attributes
    ----------
    made:
        Collection, for example `labels` → what was made in it, in order.
    """

    asked: list[Asked] = field(default_factory=list)
    made: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _by_key: dict[str, tuple[tuple[str, str, bytes], Answer]] = field(default_factory=dict)

    def do(self, asked: Asked) -> Answer:
        """Do what was asked, as a partner does that has nothing against it."""
        key = asked.headers.get("idempotency-key")
        if key is None or asked.method in ("GET", "HEAD"):
            return self._do(asked)
        request = (asked.method, asked.path, asked.body)
        if key in self._by_key:
            first, answer = self._by_key[key]
            return answer if first == request else Answer(422, {"error": "the key was used for another request"})
        answer = self._do(asked)
        self._by_key[key] = (request, answer)
        return answer

    def _do(self, asked: Asked) -> Answer:
        collection, _, item = asked.path.strip("/").partition("/")
        things = self.made.setdefault(collection, [])
        if asked.method == "POST":
            return self._made(things, asked)
        if not item:
            return Answer(200, things)
        found = next((one for one in things if str(one["id"]) == item), None)
        if found is None:
            return Answer(404, {"error": "there is no such thing"})
        if asked.method == "DELETE":
            things.remove(found)
        return Answer(200, found)

    def _made(self, things: list[dict[str, Any]], asked: Asked) -> Answer:
        try:
            content = asked.json() or {}
        except ValueError:
            return Answer(400, {"error": "no JSON"})
        if not isinstance(content, dict):
            return Answer(400, {"error": "no object"})
        thing = {**content, "id": str(len(things) + 1)}
        things.append(thing)
        return Answer(201, thing)

    def clear(self) -> None:
        """Forget everything."""
        self.asked.clear()
        self.made.clear()
        self._by_key.clear()
