"""What the simulated partner keeps: everything that was asked, and what it made, once for each key. No I/O.

`POST /things` makes one and answers 201 with the body that came and an `id`; `PUT /things/A` makes or replaces the one
that is called A; `GET /things` lists them, `GET /things/1` shows one. A key that comes again gets the first answer,
with another body 422, as the Idempotency-Key draft says.

A list may be asked for in pages, `?pageSize=100`: `{"things": [...], "nextPage": "2"}`. `?updatedSince=` gives what has
changed since that time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
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
    note:
        Called with an entry for each thing that was made, changed or removed; `restore` takes it back.
    on_made:
        Called with the collection and the id of each thing that is new.
    """

    asked: list[Asked] = field(default_factory=list)
    made: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    note: Callable[[dict[str, Any]], None] | None = None
    on_made: Callable[[str, str], None] | None = None
    _by_key: dict[str, tuple[list[str], Answer]] = field(default_factory=dict)
    _by_id: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def do(self, asked: Asked) -> Answer:
        """Do what was asked, as a partner does that has nothing against it."""
        key = asked.headers.get("idempotency-key")
        if key is None or asked.method in ("GET", "HEAD"):
            return self._do(asked)
        request = [asked.method, asked.path, asked.body.decode("utf-8", "replace")]
        if key in self._by_key:
            first, answer = self._by_key[key]
            return answer if first == request else Answer(422, {"error": "the key was used for another request"})
        answer = self._do(asked)
        self._by_key[key] = (request, answer)
        if self.note is not None:
            self.note({"key": key, "request": request, "status": answer.status, "content": answer.content})
        return answer

    def change(self, collection: str, name: str, fields: Mapping[str, Any]) -> dict[str, Any] | None:
        """Change a thing that was made; None where it is gone."""
        found = self._by_id.get((collection, name))
        if found is None:
            return None
        found.update(fields)
        self._noted(collection, found)
        return found

    def restore(self, entry: Mapping[str, Any]) -> None:
        """Take back what was noted of an earlier run."""
        if "key" in entry:
            self._by_key[entry["key"]] = (list(entry["request"]), Answer(entry["status"], entry["content"]))
        elif "removed" in entry:
            self._remove(entry["collection"], entry["removed"])
        else:
            self._put(entry["collection"], entry["thing"])

    def _do(self, asked: Asked) -> Answer:
        collection, _, item = asked.path.strip("/").partition("/")
        if asked.method == "POST" or (asked.method == "PUT" and item):
            return self._written(collection, item, asked)
        if not item:
            return Answer(200, self._list(collection, asked.query))
        found = self._by_id.get((collection, item))
        if found is None:
            return Answer(404, {"error": "there is no such thing"})
        if asked.method == "DELETE":
            self._remove(collection, item)
            if self.note is not None:
                self.note({"collection": collection, "removed": item})
        return Answer(200, found)

    def _written(self, collection: str, item: str, asked: Asked) -> Answer:
        try:
            content = asked.json() or {}
        except ValueError:
            return Answer(400, {"error": "no JSON"})
        if not isinstance(content, dict):
            return Answer(400, {"error": "no object"})
        name = item if asked.method == "PUT" else str(len(self.made.get(collection, ())) + 1)
        is_new = (collection, name) not in self._by_id
        thing = {**content, "id": name}
        self._put(collection, thing)
        self._noted(collection, thing)
        if is_new and self.on_made is not None:
            self.on_made(collection, name)
        return Answer(201 if is_new else 200, dict(thing))

    def _list(self, collection: str, query: Mapping[str, str]) -> Any:
        things = self.made.setdefault(collection, [])
        since = query.get("updatedSince")
        if since is not None:
            things = [one for one in things if str(one.get("updatedAt", "")) >= since]
        size, page = query.get("pageSize", ""), query.get("page", "1")
        if not (size.isdecimal() and page.isdecimal() and int(size) and int(page)):
            return things
        begins = (int(page) - 1) * int(size)
        more = {"nextPage": str(int(page) + 1)} if begins + int(size) < len(things) else {}
        return {collection: things[begins : begins + int(size)], **more}

    def _put(self, collection: str, thing: dict[str, Any]) -> None:
        known = self._by_id.get((collection, str(thing["id"])))
        if known is None:
            self.made.setdefault(collection, []).append(thing)
            self._by_id[collection, str(thing["id"])] = thing
        else:
            known.clear()
            known.update(thing)

    def _remove(self, collection: str, name: str) -> None:
        found = self._by_id.pop((collection, name), None)
        if found is not None:
            self.made[collection] = [one for one in self.made[collection] if one is not found]

    def _noted(self, collection: str, thing: Mapping[str, Any]) -> None:
        if self.note is not None:
            self.note({"collection": collection, "thing": dict(thing)})

    def clear(self) -> None:
        """Forget everything."""
        self.asked.clear()
        self.made.clear()
        self._by_key.clear()
        self._by_id.clear()
