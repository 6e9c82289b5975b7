"""The simulated partner: its script, its book, and what comes over HTTP."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from local_azure.partner import Asked, Book, Rule, Script, WrongScript
from local_azure.partner.server import RunningPartner, running_partner


def script(*rules: dict[str, Any], drawn: float = 0.5) -> Script:
    """A script of these rules, whose chances are all drawn alike."""
    return Script([Rule.of(rule) for rule in rules], random=lambda: drawn)


def test_the_first_rule_that_fits_decides() -> None:
    """By method, path, times, chance and moment; without one, the partner does what it was asked."""
    followed = script(
        {"method": "POST", "path": "/labels", "times": 1, "status": 503},
        {"path": "/labels/*", "chance": 0.4, "status": 500},
        {"from": 10, "until": 20, "status": 429},
    )
    asked = [
        ("POST", "/labels", 0),
        ("POST", "/labels", 0),
        ("GET", "/labels/1", 0),
        ("GET", "/a", 10),
        ("GET", "/a", 20),
    ]
    assert [followed.behaviour(*one).status for one in asked] == [503, None, None, 429, None]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"rules": [1]}',
        '{"rules": [{"stauts": 200}]}',
        '{"rules": [{"status": 99}]}',
        '{"rules": [{"status": "x"}]}',
        '{"rules": [{"delay": [1]}]}',
        '{"rules": [{"reset": "now"}]}',
    ],
)
def test_a_script_that_cannot_be_followed_is_refused(text: str) -> None:
    """And the rules that are there stay."""
    kept = script({"status": 503})
    with pytest.raises(WrongScript):
        kept.read(text)
    assert len(kept.rules) == 1


def test_a_key_is_done_once() -> None:
    """Its second call gets the first answer; another body under it is refused."""
    book = Book()

    def post(body: bytes) -> int:
        asked = Asked(method="POST", path="/labels", query={}, headers={"idempotency-key": "k"}, body=body, at=0)
        return book.do(asked).status

    assert [post(b'{"a": 1}'), post(b'{"a": 1}'), post(b'{"a": 2}')] == [201, 201, 422]
    assert book.made["labels"] == [{"a": 1, "id": "1"}]


@pytest.fixture
async def partner() -> AsyncIterator[RunningPartner]:
    """One that listens."""
    async with running_partner(script=script(), clock=time.monotonic) as running:
        yield running


async def test_it_is_administered_over_http(partner: RunningPartner) -> None:
    """Its script is changed while it runs; it shows what came and what it made."""
    async with aiohttp.ClientSession(partner.url) as session:
        async with session.post("/labels", json={"reference": "A"}) as made:
            assert (made.status, await made.json()) == (201, {"reference": "A", "id": "1"})
        async with session.put("/-/script", data='{"rules": [{"status": 418}]}') as changed:
            assert changed.status == 200
        async with session.put("/-/script", data="nonsense") as refused:
            assert refused.status == 400
        async with session.get("/labels") as answer:
            assert answer.status == 418
        async with session.get("/-/made") as shown:
            assert await shown.json() == {"labels": [{"reference": "A", "id": "1"}]}
        async with session.get("/-/calls") as calls:
            assert [(one["method"], one["status"]) for one in await calls.json()] == [("POST", 201), ("GET", 418)]
        async with session.delete("/-/calls") as forgotten:
            assert forgotten.status == 204
    assert partner.book.asked == []


@pytest.mark.parametrize(("reset", "made"), [("before", 0), ("after", 1)])
async def test_a_connection_breaks_before_or_after_the_deed(partner: RunningPartner, reset: str, made: int) -> None:
    """Its client can't tell which."""
    partner.script.rules = [Rule.of({"reset": reset})]
    async with aiohttp.ClientSession(partner.url) as session:
        with pytest.raises(aiohttp.ClientError):
            await session.post("/labels", json={})
    assert len(partner.book.made.get("labels", [])) == made


async def test_a_body_may_be_huge(partner: RunningPartner) -> None:
    """And small on the wire."""
    partner.script.rules = [Rule.of({"status": 200, "size": 5_000_000, "gzip": True})]
    async with aiohttp.ClientSession(partner.url, auto_decompress=False) as session, session.get("/") as answer:
        assert len(await answer.read()) < 50_000
