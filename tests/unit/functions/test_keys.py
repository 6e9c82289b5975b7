"""Keys: whatever is accepted can be read under its own address, on every road; the rest is refused at the door."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.messages import CLOUD_EVENT_TYPE, Contract, Integration, Registry
from tests.unit.asgi import ask

from .conftest import Running
from .test_shapes import classic, over_streams

SPECIAL = "/\\%?#. +&=;:@~'\"<>{}|^`*()!$,[]éß日́٣A2Ff"
KEYS = st.text(st.sampled_from(SPECIAL), min_size=1, max_size=6) | st.text(min_size=1, max_size=130)


class Thing(Contract):
    """Anything with a key."""

    key: str


things = Integration("things")


@things.handles("thing.made", key="key", route="things")
async def make(thing: Thing, work: Any) -> None:
    """Never called."""


@things.projects("thing.known", into="things")
def row(thing: Thing) -> Thing:
    """A thing's row."""
    return thing


REGISTRY = Registry([things])
RUNNING = Running(REGISTRY)
"""Made once for all the keys that are tried."""


@given(KEYS)
@example("a/b")
@example("a%2Fb")
@example("%41")
@example("50%")
@example("..")
@example(" a")
@example("a b")
@example("日本")
def test_what_is_accepted_is_found_again(key: str) -> None:
    """By its Location, and by its own path: as the platform's two shapes and as a plain server decode it."""
    asyncio.run(_found_again(key))


async def _found_again(key: str) -> None:
    running = RUNNING
    running.lanes.sent.clear()
    running.views.rows.clear()
    answer = await running.post("/api/things", {"key": key})
    if answer.status != 202:
        assert (answer.status, answer.json["error"]["details"]["errors"][0]["field"]) == (400, "data.key")
        assert running.lanes.sent == []
        return
    assert (await running.get(answer.headers["location"])).status == 200
    kept = running.lanes.sent[0].headers.key
    for other in (unquote(kept), kept.strip(), kept.replace("+", " "), kept.rstrip("."), kept.partition("?")[0]):
        running.views.rows["things", other] = '{"found":"another"}'
    running.views.rows["things", kept] = '{"found":"this"}'
    path = f"/api/things/{quote(key, safe='')}"
    assert await over_streams(running, path) == (200, b'{"found":"this"}')
    assert await classic(running, path) == (200, b'{"found":"this"}')
    plain = await ask(running.asgi, "GET", unquote(path))
    assert (plain.status, plain.body) == (200, b'{"found":"this"}')


@pytest.mark.parametrize("key", ["a/b", "a\\b", "50%", "a?b", "a#b", ".", "..", " a", "a ", " "])
@pytest.mark.parametrize("door", ["/api/things", "/api/messages", "cloud event"])
async def test_every_door_refuses_a_key_that_no_path_names(door: str, key: str) -> None:
    """With the field and what it may not have."""
    running = Running(REGISTRY)
    common = {"source": "/test", "data": {"key": key}}
    envelope = {"messageId": str(UUID(int=1)), "timestamp": "2026-01-02T03:04:05Z", "eventType": "thing.made"}
    event = {"specversion": "1.0", "id": "1", "type": "thing.made", "time": "2026-01-02T03:04:05Z"}
    if door == "/api/things":
        answer = await running.post(door, {"key": key})
    elif door == "cloud event":
        answer = await running.post("/api/messages", event | common, kind=CLOUD_EVENT_TYPE)
    else:
        answer = await running.post("/api/messages", {**envelope, **common, "version": "1.0"})
    assert (answer.status, answer.json["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert answer.json["error"]["details"]["errors"][0]["field"] == "data.key"
    assert running.lanes.sent == []


@pytest.mark.parametrize("key", ["a/b", "a//b", "a\\b", "a?b#c", "50%"])
async def test_what_was_accepted_before_is_still_read(key: str) -> None:
    """Rows with such keys lie in the tables of those who had them."""
    running = Running(REGISTRY)
    running.views.rows["things", key] = '{"found":"this"}'
    for road in (over_streams, classic):
        assert (await road(running, f"/api/things/{quote(key, safe='')}"))[0] == 200
