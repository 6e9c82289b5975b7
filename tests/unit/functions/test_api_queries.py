"""Queries over HTTP: our page format, OData's, and everything that is refused."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

import pytest
from pydantic_core import to_json

from functions.composition.read_models import read_models
from shared.messages import Registry
from shared.query import ReadModels, ViewRow, indexes_of
from shared.tables import MemoryTable
from tests.unit.asgi import Answer

from .conftest import ENVIRONMENT, Running

COUNTRIES = ["France", "Germany", "France", "Norway", "France"]


def order_row(number: int, country: str) -> ViewRow:
    """An order's row, as the projection stores it without keys."""
    row = {
        "orderId": f"{number}",
        "status": "accepted",
        "placedAt": f"2026-01-0{number}T08:00:00Z",
        "guest": False,
        "customerId": f"C{number % 2}",
        "country": country,
        "lineCount": number,
        "units": 10 * number,
        "total": f"{number}.10",
    }
    return ViewRow(view="orders", key=f"{number}", value=to_json(row).decode(), event_id="e", sequence=1)


@pytest.fixture
async def reading(registry: Registry) -> Running:
    """The app with five orders."""
    return await started(registry)


async def started(registry: Registry, **environment: str) -> Running:
    """The app with five orders, under more settings."""
    rows = ReadModels(MemoryTable("readmodels"), indexes_of(registry))
    await rows.put([order_row(number, country) for number, country in enumerate(COUNTRIES, 1)])
    return Running(registry, {**ENVIRONMENT, **environment}, {read_models: rows})


async def ask(running: Running, headers: Any = None, **options: str) -> Answer:
    """A query of orders, its options with their dollars."""
    query = urlencode({f"${name}": text for name, text in options.items()})
    return await running.get(f"/api/orders?{query}", **(headers or {}))


def ids(answer: Answer) -> list[str]:
    """Whose orders."""
    assert answer.status == 200, answer.body
    return [row["orderId"] for row in answer.json["value"]]


async def test_a_page_is_found_by_an_index(reading: Running) -> None:
    """Filtered, counted, with the fields that were asked for."""
    answer = await ask(reading, filter="country eq 'France'", count="true", select="orderId,total")
    rows = [{"orderId": key, "total": f"{key}.10"} for key in "135"]
    assert answer.json == {"value": rows, "count": 3, "totalCount": 3, "@odata.count": 3}
    assert ids(await ask(reading, filter="customerId eq 'C1'", orderby="placedAt desc")) == ["5", "3", "1"]
    assert ids(await ask(reading, filter="country in ('Norway','Germany')")) == ["2", "4"]
    assert ids(await ask(reading)) == ["1", "2", "3", "4", "5"]


async def test_the_rest_of_a_filter_narrows_what_the_index_finds(reading: Running) -> None:
    """Also where it is of fields without an index; a dollar may be percent-encoded."""
    text = quote("country eq 'France' and (total gt 2 and not (placedAt ge 2026-01-05))")
    answer = await reading.get(f"/api/orders?%24filter={text}")
    assert ids(answer) == ["3"]


async def test_links_lead_through_all_pages(reading: Running) -> None:
    """Each row once; the last page has no link."""
    answer = await ask(reading, top="2", skip="1")
    found, pages = ids(answer), 1
    while "nextLink" in answer.json:
        answer = await reading.get(answer.json["nextLink"])
        found, pages = [*found, *ids(answer)], pages + 1
    assert (found, pages) == (["2", "3", "4", "5"], 2)


@pytest.mark.parametrize(
    "changed",
    [
        {"filter": "country eq 'Norway'"},
        {"filter": "country eq 'France'", "orderby": "orderId"},
        {"filter": "country eq 'France'", "select": "orderId"},
        {},
    ],
)
async def test_a_continuation_is_good_for_its_query_only(reading: Running, changed: dict[str, str]) -> None:
    """Not for another, and not where its text was changed."""
    link = (await ask(reading, filter="country eq 'France'", top="1")).json["nextLink"]
    token = link.rpartition("skiptoken=")[2]
    if not changed:
        changed, token = {"filter": "country eq 'France'"}, token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
    answer = await ask(reading, **changed, top="1", skiptoken=token)
    assert (answer.status, answer.json["error"]["message"]) == (400, "$skiptoken: is no continuation of this query")


async def test_a_continuation_of_another_key_is_refused(registry: Registry, reading: Running) -> None:
    """As one that was made up."""
    link = (await ask(reading, top="1")).json["nextLink"]
    other = await started(registry, SLUICE_OPERATION_KEY="another-secret-but-thirty-two-long")
    assert (await reading.get(link)).status == 200
    assert (await other.get(link)).status == 400


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"filter": "total gt 5"}, 'it would be served by projects(…, into="orders", find_by=[…, "total"])'),
        (
            {"filter": "country eq 'France'", "orderby": "placedAt desc"},
            'find_by=[…, ("country", "-placedAt")])',
        ),
        ({"filter": "contains(country,'an')"}, "only narrow what eq, in, gt, ge, lt, le or startswith"),
        ({"filter": "country eq 'France' and total gt 1", "count": "true"}, "rows are counted all together"),
        ({"filter": "customerId eq 'C1'", "count": "true"}, "rows are counted all together"),
        ({"orderby": "customerId"}, "customerId is protected"),
        ({"filter": "nothing eq 1"}, "$filter: there is no field nothing"),
        ({"filter": "country eq 5"}, "$filter: 5 is no value of country"),
        ({"filter": "placedAt gt 2026-02-30"}, "$filter: 2026-02-30 is no value of placedAt"),
        ({"filter": "country eq 'it"}, "$filter: can't be read from character 12 on"),
        ({"filter": "country like 'x'"}, "$filter: there is no operator like"),
        ({"filter": "country eq 'x' AND country eq 'y'"}, "$filter: expected and, or, or the end"),
        ({"filter": "(" * 300 + "country eq 'x'" + ")" * 300}, "$filter: is nested deeper than 16"),
        ({"filter": " or ".join(["country eq 'x'"] * 10_000)}, "$filter: has 179996 characters"),
        ({"filter": " or ".join(["units eq 1"] * 150)}, "$filter: has more than 100 terms"),
        ({"filter": "not " * 900 + "guest eq true"}, "only narrow"),
        ({"filter": ""}, "$filter: expected the name of a field before 'the end'"),
        ({"select": "orderId,nothing"}, "$select: there is no field nothing"),
        ({"select": "orderId", "top": "1001"}, "$top: must be 0 to 1000"),
        ({"top": "99999999999999999999"}, "$top: must be 0 to 1000"),
        ({"top": "-1"}, "$top: must be 0 to 1000"),
        ({"skip": "1e9"}, "$skip: must be 0 to 10000"),
        ({"count": "yes"}, "$count: must be true or false"),
        ({"orderby": "total sideways"}, "$orderby: 'total sideways' is no field"),
        ({"expand": "country"}, "$expand: country is no list of objects"),
        ({"expand": "a(b(c))"}, "$expand: can't be read"),
        ({"apply": "groupby((country))"}, "there is no such parameter here"),
        ({"search": "x"}, "there is no such parameter here"),
        ({"skiptoken": "made-up"}, "$skiptoken: is no continuation of this query"),
        ({"skiptoken": "é" * 50}, "$skiptoken: is no continuation of this query"),
    ],
)
async def test_what_cannot_be_answered_is_refused(reading: Running, options: dict[str, str], reason: str) -> None:
    """With the reason, and never ignored."""
    answer = await ask(reading, **options)
    assert answer.status == 400
    assert reason in answer.json["error"]["message"]
    assert len(answer.body) < 2_000


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"filter": f"orderId eq '{'x' * 4_000}'"}, []),
        ({"filter": "orderId eq ''"}, []),
        ({"filter": "orderId eq null"}, []),
        ({"filter": "orderId eq '\x00%/'"}, []),
        ({"filter": "orderId in ('5','1','9')"}, ["1", "5"]),
        ({"filter": "orderId in ('5','1') and country eq 'France'", "top": "1", "skip": "1"}, ["5"]),
        ({"filter": "country eq '\ud7ff\x00\U0010ffff'"}, []),
        ({"filter": f"country eq '{'France' * 300}'"}, []),
        ({"filter": "country eq 'France' and total lt 1e999 and total gt -1e999"}, ["1", "3", "5"]),
        ({"filter": "country eq 'France' and placedAt lt 9999-12-31T23:59:59.999999999Z"}, ["1", "3", "5"]),
        ({"filter": "startswith(country,'Fr') and guest ne true"}, ["1", "3", "5"]),
        ({"top": "0"}, []),
        ({"skip": "10000"}, []),
    ],
)
async def test_strange_questions_have_plain_answers(
    reading: Running, options: dict[str, str], found: list[str]
) -> None:
    """Whatever is compared with whatever."""
    assert ids(await ask(reading, **options)) == found


async def test_odata_readers_get_odatas_format(reading: Running) -> None:
    """By `Accept`: annotations, numbers, `$top` as the whole answer's size, pages as small as preferred."""
    headers = {"Accept": "application/json;odata.metadata=minimal", "Prefer": "odata.maxpagesize=2"}
    first = await ask(reading, headers, count="true", top="3", select="orderId,total")
    assert first.headers["odata-version"] == "4.01"
    assert first.headers["preference-applied"] == "odata.maxpagesize=2"
    assert first.headers["content-type"] == "application/json;odata.metadata=minimal"
    body: dict[str, Any] = first.json
    rows = [{"orderId": key, "total": float(f"{key}.1")} for key in "12"]
    assert body["@odata.context"] == "/api/$metadata#orders(orderId,total)"
    assert (body["@odata.count"], body["value"]) == (5, rows)
    last = await reading.get(body["@odata.nextLink"], **headers)
    assert ids(last) == ["3"]
    assert "@odata.nextLink" not in last.json
    exact = await ask(reading, {"Accept": "application/json;IEEE754Compatible=true"}, top="1", select="total,units")
    assert exact.json["value"] == [{"total": "1.10", "units": "10"}]


async def test_metadata_and_service_document_agree_with_the_rows(reading: Running) -> None:
    """Every property of the type, each set once."""
    answer = await reading.get("/api/$metadata")
    assert (answer.headers["content-type"], answer.headers["odata-version"]) == ("application/xml", "4.01")
    edm = "{http://docs.oasis-open.org/odata/ns/edm}"
    entity = ElementTree.fromstring(answer.body).find(f".//{edm}EntityType[@Name='orders_row']")
    assert entity is not None
    types = {one.get("Name"): one.get("Type") for one in entity.findall(f"{edm}Property")}
    row = (await ask(reading, top="1")).json["value"][0]
    assert set(row) <= set(types)
    assert [types[name] for name in ("placedAt", "total", "units", "guest")] == [
        "Edm.DateTimeOffset",
        "Edm.Decimal",
        "Edm.Int64",
        "Edm.Boolean",
    ]
    service = (await reading.get("/api/")).json
    assert service["value"] == [{"name": "orders", "kind": "EntitySet", "url": "orders"}]


async def test_the_older_question_by_value_takes_no_options(reading: Running) -> None:
    """It answers as it did, and is not mixed with a query."""
    answer = await reading.get("/api/orders?customerId=C1&$top=5")
    assert (answer.status, answer.json["error"]["message"]) == (400, "$top: can't be combined with customerId.")
    assert (await reading.get("/api/orders?top=5")).status == 400
    assert (await reading.get("/api/orders?customerId=C1")).status == 404
