"""Connections: forward and backward through the pages that REST has, by the same indexes, masks and bounds."""

from __future__ import annotations

import asyncio
import re
import secrets
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_json

from functions import graphql
from functions.composition.graphql import graph_engine
from functions.composition.read_models import read_models, view_pages
from shared.authentication import api_key_entry
from shared.graphql import Asked
from shared.messages import Registry
from shared.query import ReadModels, ViewRow, indexes_of, paging
from shared.tables import MemoryTable

from .conftest import ENVIRONMENT, Running

COUNTRIES = ["France", "Germany", "France", "Norway", "France", "France", "Germany"]
PAGE = """query Page($first: Int, $after: String, $last: Int, $before: String, $filter: String, $orderBy: String) {
  orders(first: $first, after: $after, last: $last, before: $before, filter: $filter, orderBy: $orderBy) {
    edges { cursor node { orderId country } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}"""


def order_row(number: int, country: str) -> ViewRow:
    """An order's row."""
    row = {"orderId": f"{number}", "placedAt": f"2026-01-0{number}T08:00:00Z", "country": country, "customerId": "C1"}
    return ViewRow(view="orders", key=f"{number}", value=to_json(row).decode(), event_id="e", sequence=1)


async def started(registry: Registry, **environment: str) -> Running:
    """The app with a graph and some orders."""
    rows = ReadModels(MemoryTable("readmodels"), indexes_of(registry))
    await rows.put([order_row(number, country) for number, country in enumerate(COUNTRIES, 1)])
    return Running(registry, {**ENVIRONMENT, "SLUICE_GRAPHQL": "true", **environment}, {read_models: rows})


@pytest.fixture
async def graph(registry: Registry) -> Running:
    """It, for everybody."""
    return await started(registry)


async def page(app: Running, *, headers: dict[str, str] | None = None, **variables: Any) -> dict[str, Any]:
    """One page."""
    answer = await app.post("/api/graphql", {"query": PAGE, "variables": variables}, headers)
    assert answer.status == 200, answer.body
    assert "errors" not in answer.json, answer.json
    found: dict[str, Any] = answer.json["data"]["orders"]
    return found


def ids(found: dict[str, Any]) -> list[str]:
    """Whose orders."""
    return [edge["node"]["orderId"] for edge in found["edges"]]


async def refusal(app: Running, *, headers: dict[str, str] | None = None, **variables: Any) -> tuple[str, str]:
    """Code and message of the error."""
    answer = await app.post("/api/graphql", {"query": PAGE, "variables": variables}, headers)
    (told,) = answer.json["errors"]
    return told["extensions"]["code"], told["message"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 200])
@pytest.mark.parametrize("more", [{}, {"filter": "country eq 'France'"}], ids=["all", "filtered"])
async def test_both_ways_lead_through_every_row_once(graph: Running, size: int, more: dict[str, Any]) -> None:
    """In one order, page by page, and each page knows whether there are more."""
    whole = await page(graph, first=200, **more)
    expected = [edge["node"]["orderId"] for edge in whole["edges"]]
    forward: list[str] = []
    found = await page(graph, first=size, **more)
    assert not found["pageInfo"]["hasPreviousPage"]
    while True:
        forward += ids(found)
        assert found["pageInfo"]["startCursor"] == found["edges"][0]["cursor"]
        if not found["pageInfo"]["hasNextPage"]:
            break
        found = await page(graph, first=size, after=found["pageInfo"]["endCursor"], **more)
        assert found["pageInfo"]["hasPreviousPage"]
    assert forward == expected
    backward: list[str] = []
    found = await page(graph, last=size, **more)
    assert not found["pageInfo"]["hasNextPage"]
    while True:
        backward = ids(found) + backward
        if not found["pageInfo"]["hasPreviousPage"]:
            break
        found = await page(graph, last=size, before=found["pageInfo"]["startCursor"], **more)
        assert found["pageInfo"]["hasNextPage"]
    assert backward == expected


async def test_a_row_is_found_by_any_cursor(graph: Running) -> None:
    """What is before and what is behind it is all the rest."""
    edges = (await page(graph, first=200))["edges"]
    for number, edge in enumerate(edges):
        behind = ids(await page(graph, first=200, after=edge["cursor"]))
        before = ids(await page(graph, last=200, before=edge["cursor"]))
        assert [*before, edge["node"]["orderId"], *behind] == [one["node"]["orderId"] for one in edges]
        assert len(before) == number


async def test_an_order_and_a_count(graph: Running) -> None:
    """By the index that serves them, and the counter that is kept with it."""
    query = "{orders(first:1,filter:\"country eq 'France'\"){totalCount nodes{orderId} pageInfo{hasNextPage}}}"
    answer = await graph.post("/api/graphql", {"query": query})
    assert answer.json["data"]["orders"] == {
        "totalCount": 4,
        "nodes": [{"orderId": "1"}],
        "pageInfo": {"hasNextPage": True},
    }
    newest = await page(graph, first=3, filter="customerId eq 'C1'", orderBy="placedAt desc")
    assert ids(newest) == ["7", "6", "5"]
    assert ids(await page(graph, last=2, filter="customerId eq 'C1'", orderBy="placedAt desc")) == ["2", "1"]


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"first": 0}, "1 to 200"),
        ({"first": -1}, "1 to 200"),
        ({"first": 201}, "1 to 200"),
        ({"last": 0}, "1 to 200"),
        ({"first": 1, "last": 1}, "not for both"),
        ({"first": 1, "before": "x"}, "`before` with `last`"),
        ({"last": 1, "after": "x"}, "`after` goes with `first`"),
        ({"after": "x"}, "no cursor of this query"),
        ({"after": ""}, "no cursor of this query"),
        ({"after": "A" * 100_000}, "no cursor of this query"),
        ({"last": 1, "before": "x"}, "no cursor of this query"),
        ({"filter": "units gt 1"}, "find_by"),
        ({"filter": "((((("}, "$filter"),
        ({"filter": "nothing eq 1"}, "nothing"),
        ({"orderBy": "country desc"}, "find_by"),
        ({"filter": " or ".join(["country eq 'x'"] * 10_000)}, "$filter"),
    ],
    ids=range(16),
)
async def test_what_is_asked_wrongly_is_told(graph: Running, variables: dict[str, Any], why: str) -> None:
    code, message = await refusal(graph, **variables)
    assert code == "BAD_REQUEST"
    assert why in message


async def test_a_cursor_is_good_for_its_query_only(graph: Running) -> None:
    """Another filter, another order, another view of the same rows: refused."""
    cursor = (await page(graph, first=1))["pageInfo"]["endCursor"]
    others: list[dict[str, Any]] = [{"filter": "country eq 'France'"}, {"orderBy": "orderId"}]
    for other in others:
        assert "no cursor of this query" in (await refusal(graph, first=1, after=cursor, **other))[1]


async def test_masked_fields_find_nothing(registry: Registry) -> None:
    """A reader may not ask by what it may not see, nor use an operator's cursor."""
    keys = {role: secrets.token_urlsafe(32) for role in ("reader", "operator")}
    entries = ",".join(api_key_entry(role, key, [role]) for role, key in keys.items())
    running = await started(registry, SLUICE_AUTH="required", SLUICE_API_KEYS=f"[{entries}]")
    reader, operator = ({"x-api-key": keys[role]} for role in ("reader", "operator"))
    assert (await refusal(running, headers=reader, filter="customerId eq 'C1'"))[0] == "FORBIDDEN"
    cursor = (await page(running, headers=operator, first=1))["pageInfo"]["endCursor"]
    assert "no cursor" in (await refusal(running, headers=reader, first=1, after=cursor))[1]


async def test_far_from_the_beginning_one_only_goes_forward(graph: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Backward, the order is followed from its beginning, and not for ever."""
    monkeypatch.setattr(paging, "PASSED", 4)
    assert ids(await page(graph, last=1, filter="country eq 'France'")) == ["6"]
    code, message = await refusal(graph, last=1)
    assert (code, "from the beginning" in message) == ("BAD_REQUEST", True)


async def test_a_query_reads_so_many_bytes_and_rows(graph: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """All connections of a query together, whether their rows are shown or not."""
    several = " ".join(f"a{number}:orders(first:7){{nodes{{orderId}}}}" for number in range(10))
    fewest = "{orders(filter:\"country eq 'France' and units eq 99\"){nodes{orderId}}}"
    for name, most, query in (("MOST_BYTES", 2_000, f"{{{several}}}"), ("MOST_ITEMS", 300, f"{{{several}}}")):
        with monkeypatch.context() as patched:
            answer = (await graph.post("/api/graphql", {"query": query})).json
            assert "errors" not in answer
            assert answer["extensions"]["cost"]["lists"] == 10 * 7 * 10
            patched.setattr(graphql, name, most)
            answer = (await graph.post("/api/graphql", {"query": query})).json
            assert {one["extensions"]["code"] for one in answer["errors"]} == {"COST_EXCEEDED"}
    charged: list[int] = []
    monkeypatch.setattr(graphql, "charge", lambda request, tokens: charged.append(tokens))
    monkeypatch.setattr(graphql, "SPENT_OF_TOKEN", 10)
    assert (await graph.post("/api/graphql", {"query": fewest})).json["extensions"]["cost"]["lists"] == 40
    assert charged == [1 + (1 + 100 + 50 * 2) // 100, 1 + 40 // 10]


async def test_backward_a_page_of_large_rows_is_whole(graph: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though pages end early: between its rows and the cursor none is left out."""
    monkeypatch.setattr(paging, "PAGE_BYTES", 1)
    monkeypatch.setattr(graph.composition.get(view_pages), "_reading", asyncio.Semaphore(1))
    cursor = (await page(graph, last=2))["pageInfo"]["startCursor"]
    assert ids(await page(graph, last=4, before=cursor)) == ["2", "3", "4", "5"]
    assert ids(await page(graph, last=3)) == ["5", "6", "7"]
    assert ids(await page(graph, first=3)) == ["1"]


async def test_a_view_without_indexes_is_not_listed(graph: Running) -> None:
    """Its rows are read by key."""
    answer = await graph.post("/api/graphql", {"query": "{creditNotes{nodes{id}}}"})
    assert answer.status == 400
    assert "creditNoteByKey" in answer.body.decode()


async def test_what_the_documentation_asks_is_answered(graph: Running, project: Path) -> None:
    """Every query of its page; a subscription is a query that may be followed."""
    asked = re.findall(
        r"```graphql\n(.*?)```", (project / "docs" / "graphql.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert len(asked) == 2
    engine = graph.composition.get(graph_engine)
    assert [engine.prepare(Asked(query=one, variables={})).subscribes for one in asked] == [False, True]
    answer = await graph.post("/api/graphql", {"query": asked[0]})
    assert "errors" not in answer.json
    assert answer.json["data"]["orders"]["totalCount"] == 4
