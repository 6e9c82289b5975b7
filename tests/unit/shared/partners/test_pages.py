"""Lists that a partner hands out page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from shared.partners import (
    CursorPages,
    InvalidAnswer,
    LinkPages,
    OffsetPages,
    PartnerFailed,
    PartnerModel,
)
from shared.partners.paging import Page
from shared.partners.paths import check_path
from shared.resilience import RetryPlan
from tests.unit.shared.partners.test_auth import served
from tests.unit.shared.partners.world import Label, World, world


class Labels(PartnerModel):
    """A page."""

    labels: Sequence[Label]
    next: str | None = None


def ids(page: Labels) -> list[str]:
    """Of its labels."""
    return [one.id for one in page.labels]


def count(page: Labels) -> int:
    """Its labels."""
    return len(page.labels)


ALL = [str(number) for number in range(7)]


def page_of(first: int, size: int = 3, **more: Any) -> dict[str, Any]:
    """Some labels from the first on."""
    return {"labels": [{"id": one} for one in ALL[first : first + size]], **more}


def linked(request: web.Request) -> web.Response:
    """With a Link header as GitHub writes it."""
    first = int(request.query.get("from", "0"))
    links = [f'<{request.path}?from=0>; rel="first"']
    if first + 3 < len(ALL):
        links.append(f'<http://{request.host}{request.path}?from={first + 3}&all=true>; title="a,b;c"; rel="prev next"')
    return web.json_response(page_of(first), headers={"Link": ", ".join(links)})


def with_cursor(request: web.Request) -> web.Response:
    """With a cursor in the page."""
    first = int(request.query.get("cursor", "c0")[1:])
    return web.json_response(page_of(first, next=f"c{first + 3}" if first + 3 < len(ALL) else None))


def with_offset(request: web.Request) -> web.Response:
    """As much as was asked for."""
    return web.json_response(page_of(int(request.query["offset"]), int(request.query["limit"])))


def numbered(request: web.Request) -> web.Response:
    """Pages with numbers."""
    assert request.query["size"] == "3"
    return web.json_response(page_of((int(request.query["page"]) - 1) * 3))


@asynccontextmanager
async def listing(answer: Callable[[web.Request], web.Response]) -> AsyncIterator[tuple[World, list[str]]]:
    """A carrier whose list is answered so beneath a path of its own, and what was asked for."""
    asked: list[str] = []

    async def answered(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        return answer(request)

    async with served(answered) as url, world(urls={"carrier": f"{url}/v2"}) as carrier:
        yield carrier, asked


@pytest.mark.parametrize(
    ("answer", "how"),
    [
        (linked, LinkPages()),
        (with_cursor, CursorPages(lambda page: page.next)),
        (with_offset, OffsetPages(count, size=3)),
        (numbered, OffsetPages(count, size=3, query="page", size_query="size", start=1, step=1)),
    ],
    ids=["link", "cursor", "offset", "numbered"],
)
async def test_a_list_is_read_to_its_end(answer: Any, how: Any) -> None:
    """Each page once, and with what the handler asked for."""
    async with listing(answer) as (carrier, asked):
        found = [
            one
            async for page in carrier.calls().pages("/labels", Labels, how, query={"all": True})
            for one in ids(page)
        ]
        assert found == ALL
        assert len(asked) == 3
        assert all(one.startswith("/v2/labels?") and "all=true" in one for one in asked)


async def test_the_next_page_is_asked_for_when_it_is_wanted() -> None:
    """A handler that has found what it looked for asks no more."""
    async with listing(with_cursor) as (carrier, asked):
        async for _ in carrier.calls().pages("/labels", Labels, CursorPages(lambda page: page.next)):
            break
        assert len(asked) == 1


async def test_pages_of_a_second_run_are_the_same_calls() -> None:
    """With the same keys."""
    keys: list[str] = []

    def answer(request: web.Request) -> web.Response:
        keys.append(request.headers["Idempotency-Key"])
        return with_cursor(request)

    async with listing(answer) as (carrier, _):
        for _ in range(2):
            assert (
                len([one async for one in carrier.calls().pages("/l", Labels, CursorPages(lambda page: page.next))])
                == 3
            )
        assert keys[:3] == keys[3:]
        assert len(set(keys)) == 3


@pytest.mark.parametrize(
    "option", [{"once": True}, {"fallback": lambda _: Labels(labels=())}], ids=["once", "fallback"]
)
async def test_pages_are_neither_kept_nor_made_up(option: dict[str, Any]) -> None:
    """What isn't the partner's answer doesn't lead to the next page: a second run would end after the first."""
    async with listing(linked) as (carrier, asked):
        with pytest.raises(TypeError, match="no once and no fallback"):
            await anext(carrier.calls().pages("/labels", Labels, LinkPages(), **option))
        assert not asked


async def test_what_was_kept_has_no_headers() -> None:
    """Those of an earlier answer aren't its own."""
    async with listing(linked) as (carrier, _):
        for run in range(2):
            calls = carrier.calls()
            await calls.get("/other", Labels)
            assert "link" in calls.headers
            await calls.get("/labels", Labels, once=True)
            assert ("link" in calls.headers) is not bool(run)


@pytest.mark.parametrize("cursors", [["c"], ["a", "b", "a"]], ids=["itself", "back"])
async def test_a_cursor_that_jumps_back_is_caught(cursors: list[str]) -> None:
    """Instead of reading without end."""
    left = iter(cursors * 3)

    def answer(request: web.Request) -> web.Response:
        return web.json_response(page_of(0, next=next(left)))

    async with listing(answer) as (carrier, asked):
        with pytest.raises(InvalidAnswer, match="carrier: labels: its pages go in a circle"):
            async for _ in carrier.calls().pages("/labels", Labels, CursorPages(lambda page: page.next)):
                pass
        assert len(asked) <= len(cursors) + 1


async def test_pages_without_end_are_left() -> None:
    """At the bound that the handler gave."""

    def answer(request: web.Request) -> web.Response:
        return web.json_response(page_of(0))

    async with listing(answer) as (carrier, asked):
        with pytest.raises(InvalidAnswer, match="more than 5 pages"):
            async for _ in carrier.calls().pages("/labels", Labels, OffsetPages(count, size=3), most=5):
                pass
        assert len(asked) == 5


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("https://elsewhere.example/v2/labels?page=2", "elsewhere"),
        ("//elsewhere.example/v2/labels", "elsewhere"),
        ("/v1/labels", "elsewhere"),
        ("/v2-internal/labels", "elsewhere"),
        ("/v2/labels/%2e%2e/keys", "no . or .."),
        ("labels?a=1&a=2", "twice"),
    ],
)
async def test_a_link_leads_nowhere_else(target: str, why: str) -> None:
    """The next page is asked for with the app's key: it stays beneath the base URL."""

    def answer(request: web.Request) -> web.Response:
        return web.json_response(page_of(0), headers={"Link": f'<{target}>; rel="next"'})

    async with listing(answer) as (carrier, asked):
        with pytest.raises(InvalidAnswer, match=why):
            async for _ in carrier.calls().pages("/labels", Labels, LinkPages()):
                pass
        assert len(asked) == 1


async def test_a_failure_amid_a_list_is_the_calls() -> None:
    """The pages so far were dealt with."""
    alone = RetryPlan(max_attempts=1, base=0.01, cap=0.02)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=500) if "cursor" in request.query else with_cursor(request)

    async with served(answer) as url, world(urls={"carrier": url}, retry=alone) as carrier:
        pages = carrier.calls().pages("/labels", Labels, CursorPages(lambda page: page.next))
        assert count(await anext(pages)) == 3
        with pytest.raises(PartnerFailed, match="carrier: labels: answered 500"):
            await anext(pages)


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ('<a>; rel="next"', "a"),
        ("<a>;rel=next", "a"),
        ('<a>; REL="next"', "a"),
        ('<a>; rel="prev next"', "a"),
        ('<p>; rel="prev", <a>; rel="next"', "a"),
        ('<a,b;c>; title="x, y; z"; rel=next', "a,b;c"),
        ('<a>; rel="prev"; rel="next"', None),
        ('<a>; rel="nextish"', None),
        ("<a>", None),
        ("a; rel=next", None),
        ("<a; rel=next", None),
        ("", None),
        ("<a>; " + ";" * 100_000, None),
        (", ".join(["<p>; rel=prev"] * 1_000) + ", <a>; rel=next", None),
    ],
)
def test_a_link_header_is_read_by_its_grammar(header: str, target: str | None) -> None:
    """RFC 8288, 3: names without case, several relations, the first rel; what is malformed or endless says nothing."""
    found = LinkPages().after(Page("/x", {}), None, {"link": header}, "https://carrier")
    assert (found.path if found else None) == (None if target is None else f"/{target}")


@pytest.mark.parametrize(
    ("base", "target", "path"),
    [
        ("https://carrier/v2", "/v2/items/a%2Fb?page=2", "/items/a%2Fb"),
        ("https://carrier/v2", "/v2/items/a%252Fb", "/items/a%252Fb"),
        ("https://carrier/v2", "https://carrier:443/v2/items", "/items"),
        ("https://Carrier:443/v2", "https://carrier/v2/items", "/items"),
        ("http://carrier:8080", "http://carrier:8080/items", "/items"),
    ],
)
def test_a_link_is_asked_for_as_it_is_written(base: str, target: str, path: str) -> None:
    """An escaped slash stays one, and a port that goes without saying is none of another host."""
    found = LinkPages().after(Page("/items", {}), None, {"link": f"<{target}>; rel=next"}, base)
    assert found is not None
    assert found.path == path
    check_path(found.path)


@pytest.mark.parametrize(
    "target", ["https://carrier:444/v2/x", "http://carrier/v2/x", "https://me@carrier/v2/x", "https://carrier:x/v2/x"]
)
def test_a_link_to_another_port_leads_elsewhere(target: str) -> None:
    """As one with another scheme or a user does."""
    with pytest.raises(ValueError, match=r"."):
        LinkPages().after(Page("/items", {}), None, {"link": f"<{target}>; rel=next"}, "https://carrier/v2")
