"""Datasets over HTTP: the catalogue, pages of one version, other formats, masks, and what is refused."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import polars
import pytest
from arro3.core import Field, Schema, Table
from deltalake import DeltaTable, write_deltalake
from starlette.types import Message

from functions.composition.datasets import datasets
from functions.dataset_answers import DatasetAnswer
from shared.datasets import TooMuch
from shared.http import SLOWEST
from shared.messages import Registry
from tests.unit.asgi import Answer
from tests.unit.shared.datasets.lakes import lake_in, written

from .conftest import ENVIRONMENT, Running
from .test_access import GUARDED, KEYS

SALES = (
    "SELECT DATE '2026-01-01' + CAST(i % 3 AS INTEGER) AS day, ['France', 'Norway', 'Germany'][i % 3 + 1] AS country,"
    " i AS orders, CAST(i * 1.25 AS DECIMAL(18, 2)) AS revenue, 'secret ' || i AS customer,"
    " TIMESTAMPTZ '2026-01-01 08:00:00.5+00' AS placed FROM range(1, 13) AS t(i)"
)
LAKE = {
    "Lake": "AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:1/a",
    "SLUICE_DATASETS": "true",
}


@pytest.fixture
async def reading(registry: Registry, tmp_path: Path) -> AsyncIterator[Running]:
    """The app with callers, and the dataset gold/sales in two files a day."""
    rows = Table.from_arrow(rows_of(SALES))
    fields = [
        Field(one.name, one.type, nullable=True, metadata={"sluice.classification": "restricted"})
        if one.name == "customer"
        else one
        for one in map(rows.schema.field, rows.schema.names)
    ]
    path = str(tmp_path / "lake" / "gold" / "sales")
    typed = Table.from_batches(rows.to_batches(), schema=Schema(fields))
    write_deltalake(path, typed.slice(0, 6), partition_by=["day"])
    write_deltalake(path, typed.slice(6, 6), mode="append")
    lake = lake_in(tmp_path)
    yield Running(registry, {**ENVIRONMENT, **GUARDED, **LAKE}, {datasets: lake})
    await lake.close()


def rows_of(sql: str) -> Any:
    """The rows of a statement."""
    import duckdb

    return Table.from_arrow(duckdb.connect().sql(sql))


async def ask(
    running: Running, path: str = "gold/sales", *, key: str = "reader", accept: str = "", **options: str
) -> Answer:
    """A question; `d` before an option's name is its dollar."""
    query = urlencode({name.replace("d_", "$", 1): text for name, text in options.items()})
    return await running.get(f"/api/datasets/{path}?{query}", **{"x-api-key": KEYS[key], "accept": accept})


async def test_the_catalogue_tells_schema_owner_freshness_and_statistics(reading: Running) -> None:
    """Of what may be seen: nothing of a masked column's values."""
    answer = await reading.get("/api/datasets", **{"x-api-key": KEYS["reader"]})
    (found,) = answer.json["value"]
    assert (found["layer"], found["name"], found["version"], found["rows"], found["files"]) == (
        "gold",
        "sales",
        1,
        12,
        6,
    )
    assert (found["owner"], found["partitionedBy"], found["href"]) == ("orders", ["day"], "/api/datasets/gold/sales")
    assert found["ageSeconds"] >= 0
    columns = {one["name"]: one for one in found["columns"]}
    assert (columns["revenue"]["type"], columns["revenue"]["min"], columns["revenue"]["max"]) == (
        "Edm.Decimal",
        "1.25",
        "15.00",
    )
    assert (columns["day"]["min"], columns["day"]["max"]) == ("2026-01-01", "2026-01-03")
    assert columns["customer"] == {
        "name": "customer",
        "type": "Edm.String",
        "nullable": True,
        "classification": "restricted",
        "masked": True,
    }
    assert "min" in {one["name"]: one for one in (await seen_by_operator(reading))["columns"]}["customer"]


async def seen_by_operator(running: Running) -> Any:
    """The same entry."""
    return (await running.get("/api/datasets/gold", **{"x-api-key": KEYS["operator"]})).json["value"][0]


async def test_pages_are_of_one_version(reading: Running, tmp_path: Path) -> None:
    """Each row once, though rows are added and files rewritten between two pages."""
    answer = await ask(reading, d_top="5", d_orderby="orders desc", d_select="orders", d_count="true")
    assert (answer.json["totalCount"], answer.json["count"], answer.json["version"]) == (12, 5, 1)
    written(tmp_path, "sales", SALES)
    DeltaTable(str(tmp_path / "lake" / "gold" / "sales")).optimize.compact()
    found = [row["orders"] for row in answer.json["value"]]
    while "nextLink" in answer.json:
        answer = await reading.get(answer.json["nextLink"], **{"x-api-key": KEYS["reader"]})
        assert (answer.status, answer.json["version"], answer.headers["delta-table-version"]) == (200, 1, "1")
        found += [row["orders"] for row in answer.json["value"]]
    assert found == list(range(12, 0, -1))
    assert (await ask(reading, d_count="true")).json["totalCount"] == 24


async def test_rows_without_an_order_come_in_the_same_one_every_time(reading: Running) -> None:
    """That in which they lie, so that pages neither lose nor repeat any."""
    whole = [row["orders"] for row in (await ask(reading)).json["value"]]
    found: list[int] = []
    link = "/api/datasets/gold/sales?$top=5"
    while link:
        answer = await reading.get(link, **{"x-api-key": KEYS["reader"]})
        found += [row["orders"] for row in answer.json["value"]]
        link = answer.json.get("nextLink", "")
    assert found == whole
    assert sorted(found) == list(range(1, 13))


async def test_a_continuation_is_good_for_its_question_and_its_reader(reading: Running) -> None:
    """Not for another filter, and not for who sees more."""
    link = (await ask(reading, d_top="2")).json["nextLink"]
    assert (await reading.get(link, **{"x-api-key": KEYS["operator"]})).status == 400
    assert (await reading.get(f"{link}&$filter=orders gt 1", **{"x-api-key": KEYS["reader"]})).status == 400
    assert (await reading.get(link.replace("sales", "other"), **{"x-api-key": KEYS["reader"]})).status in (400, 404)


async def test_rows_are_grouped_and_filtered_before_and_after(reading: Running) -> None:
    """Decimals keep their places."""
    aggregates = "revenue with sum as revenue,$count as n,orders with max as top"
    apply = f"filter(orders le 9)/groupby((country),aggregate({aggregates}))"
    answer = await ask(reading, d_apply=apply, d_filter="top gt 7", d_orderby="country")
    assert answer.json["value"] == [
        {"country": "France", "revenue": "22.50", "n": 3, "top": 9},
        {"country": "Germany", "revenue": "18.75", "n": 3, "top": 8},
    ]


FORMATS = {
    "application/x-ndjson": "ndjson",
    "text/csv": "csv",
    "application/vnd.apache.arrow.stream": "arrow",
    "application/vnd.apache.parquet": "parquet",
}


@pytest.mark.parametrize("kind", FORMATS)
async def test_every_format_has_the_same_rows(reading: Running, kind: str) -> None:
    """By `Accept` and by `format`; read by others than who wrote them."""
    options = {"d_orderby": "orders", "d_filter": "orders le 3"}
    answer = await ask(reading, accept=f"{kind};q=0.9, application/json;q=0.1", **options)
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, kind)
    assert answer.complete
    assert (await ask(reading, format=FORMATS[kind], **options)).headers["content-type"] == answer.headers[
        "content-type"
    ]
    match FORMATS[kind]:
        case "ndjson":
            rows = [json.loads(line) for line in answer.body.splitlines()]
            assert rows[0] == {
                "day": "2026-01-02",
                "country": "Norway",
                "orders": 1,
                "revenue": "1.25",
                "customer": None,
                "placed": "2026-01-01T08:00:00.500000Z",
            }
        case "csv":
            read = list(csv.DictReader(io.StringIO(answer.body.decode())))
            assert read[0]["customer"] == ""
            assert [(one["orders"], one["revenue"]) for one in read] == [("1", "1.25"), ("2", "2.50"), ("3", "3.75")]
        case "arrow":
            frame = polars.read_ipc_stream(io.BytesIO(answer.body))
            assert frame["revenue"].dtype == polars.Decimal(18, 2)
            assert frame["orders"].to_list() == [1, 2, 3]
        case _:
            frame = polars.read_parquet(io.BytesIO(answer.body))
            assert frame["day"].dtype == polars.Date
            assert frame["orders"].to_list() == [1, 2, 3]


async def test_what_nobody_writes_is_not_acceptable(reading: Running) -> None:
    """And an empty answer is a whole one in each format."""
    assert (await ask(reading, accept="image/png")).status == 406
    assert (await ask(reading, format="xlsx")).status == 400
    for kind in FORMATS.values():
        answer = await ask(reading, format=kind, d_filter="orders gt 99")
        assert (answer.status, answer.complete) == (200, True)
    frame = polars.read_ipc_stream(io.BytesIO((await ask(reading, format="arrow", d_filter="orders gt 99")).body))
    assert (frame.height, frame.width) == (0, 6)


@pytest.mark.parametrize(
    "options",
    [
        {"d_filter": "customer eq 'secret 1'"},
        {"d_orderby": "customer"},
        {"d_apply": "groupby((customer))"},
        {"d_apply": "aggregate(customer with max as most)"},
        {"d_apply": "filter(startswith(customer,'s'))/aggregate($count as n)"},
        {"d_apply": "aggregate(customer with countdistinct as many)"},
    ],
)
async def test_nobody_asks_by_what_is_masked(reading: Running, options: dict[str, str]) -> None:
    """Who may see it may."""
    refused = await ask(reading, **options)
    assert (refused.status, refused.json["error"]["code"]) == (403, "FORBIDDEN")
    assert (await ask(reading, key="operator", **options)).status == 200


async def test_what_is_masked_comes_as_null(reading: Running) -> None:
    """In pages with a note; an operator sees it."""
    page = (await ask(reading, d_select="orders,customer", d_top="1")).json
    assert (page["value"][0]["customer"], page["$masked"]) == (None, ["customer"])
    seen = (await ask(reading, key="operator", d_select="customer", d_top="1")).json
    assert seen["value"][0]["customer"].startswith("secret")
    assert "$masked" not in seen


async def test_quarantine_is_for_operators(reading: Running, tmp_path: Path) -> None:
    """For others it isn't there."""
    written(tmp_path, "order_placed", "SELECT 1 AS x", layer="quarantine")
    assert (await ask(reading, "quarantine/order_placed")).status == 404
    assert (await ask(reading, "quarantine/order_placed", key="operator")).json["count"] == 1


async def test_a_version_is_read_by_number_and_by_time(reading: Running, tmp_path: Path) -> None:
    """And what never was, or is gone, is refused by name."""
    assert (await ask(reading, asOf="0", d_count="true")).json["totalCount"] == 6
    assert (await ask(reading, asOf="2100-01-01T00:00:00Z", d_count="true")).json["totalCount"] == 12
    for gone in ("7", "2000-01-01T00:00:00Z"):
        answer = await ask(reading, asOf=gone)
        assert (answer.status, answer.json["error"]["message"][:5]) == (410, "asOf:")
    assert (await ask(reading, asOf="yesterday")).status == 400
    table = DeltaTable(str(tmp_path / "lake" / "gold" / "sales"))
    table.optimize.compact()
    table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    assert (await ask(reading, asOf="1")).status == 410
    assert (await ask(reading, d_count="true")).json["totalCount"] == 12


async def test_changes_are_those_of_rows(reading: Running, tmp_path: Path) -> None:
    """A rewritten file gives the rows that went and those that came, maintenance none."""
    table = DeltaTable(str(tmp_path / "lake" / "gold" / "sales"))
    table.optimize.compact()
    table.update(updates={"revenue": "0"}, predicate="orders = 12")
    table.delete("orders = 11")
    written(tmp_path, "sales", SALES.replace("range(1, 13)", "range(20, 21)"))
    answer = await ask(reading, changesSince="1", d_select="_change_type,orders,revenue", d_orderby="orders")
    assert [tuple(row.values()) for row in answer.json["value"]] == [
        ("delete", 11, "13.75"),
        ("delete", 12, "15.00"),
        ("insert", 12, "0.00"),
        ("insert", 20, "25.00"),
    ]
    only = await ask(reading, changesSince="1", d_apply="groupby((_change_type),aggregate($count as n))")
    assert {row["_change_type"]: row["n"] for row in only.json["value"]} == {"delete": 2, "insert": 2}
    assert (await ask(reading, changesSince="9")).status == 410
    (tmp_path / "lake" / "gold" / "sales" / "_delta_log" / f"{2:020d}.json").unlink()
    assert (await ask(reading, changesSince="1")).status in (410, 500)


async def test_limits_refuse_by_name_and_never_cut(registry: Registry, tmp_path: Path) -> None:
    """Rows of an answer that isn't paged; a part of them is given when it is asked for."""
    written(tmp_path, "sales", SALES)
    lake = lake_in(tmp_path)
    running = Running(registry, {**ENVIRONMENT, **GUARDED, **LAKE, "SLUICE_DATASETS_ROWS": "5"}, {datasets: lake})
    answer = await ask(running, format="csv")
    assert (answer.status, answer.json["error"]["details"]["rows"]) == (400, 12)
    assert (await ask(running, format="csv", d_top="5")).body.count(b"\r\n") == 6
    assert (await ask(running, format="csv", d_filter="orders lt 5")).body.count(b"\r\n") == 5
    assert (await ask(running, d_top="10")).json["count"] == 10
    await lake.close()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"d_filter": "nothing eq 1"}, "there is no field nothing"),
        ({"d_apply": "groupby((nothing))"}, "there is no field nothing"),
        ({"d_apply": "compute(orders mul 2 as x)"}, "compute isn't offered"),
        ({"d_apply": "aggregate(country with sum as x)"}, "sum is of numbers"),
        ({"d_apply": "groupby((country),aggregate(orders with sum as Country))"}, "one name"),
        ({"d_apply": "filter(" + "(" * 40 + "orders eq 1" + ")" * 40 + ")"}, "nested deeper"),
        ({"d_apply": "filter(" + "not " * 900 + "orders eq 1)"}, "words"),
        ({"d_apply": "x" * 5_000}, "characters"),
        ({"d_apply": "groupby((country)"}, "$apply"),
        ({"d_select": "orders,nothing"}, "there is no field nothing"),
        ({"d_top": "-1"}, "$top"),
        ({"changesSince": "x"}, "changesSince"),
        ({"d_skiptoken": "x"}, "no continuation"),
        ({"d_filter": f"revenue eq {'9' * 39}"}, "digits"),
    ],
)
async def test_what_can_t_be_asked_is_refused_with_its_reason(
    reading: Running, options: dict[str, str], reason: str
) -> None:
    """As a bad request."""
    answer = await ask(reading, **options)
    assert (answer.status, answer.json["error"]["code"]) == (400, "BAD_REQUEST")
    assert reason in answer.json["error"]["message"]


HOSTILE = [
    "'; COPY (SELECT 1) TO '/tmp/x'; --",
    "') UNION SELECT * FROM read_csv('/etc/passwd') --",
    "\"; ATTACH '/tmp/x.db'; PRAGMA database_list; --",
    "read_parquet('/etc/passwd')",
    "\x00",
    "$p0",
    "?",
    "%' OR '1'='1",
    "/* */",
    "\\'",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_texts_are_texts(reading: Running, text: str) -> None:
    """In a literal they match nothing; anywhere else they are refused."""
    literal = "'" + text.replace("'", "''") + "'"
    for filters in (f"country eq {literal}", f"contains(country,{literal})", f"country in ({literal})"):
        answer = await ask(reading, d_filter=filters)
        assert (answer.status, answer.json["value"]) == (200, [])
    for option in ("d_filter", "d_apply", "d_select", "d_orderby", "asOf"):
        assert (await ask(reading, **{option: text})).status == 400, option
    assert (await ask(reading, d_apply=f"aggregate(orders with sum as {text})")).status == 400
    assert (await ask(reading, d_apply=f"groupby(({text}),aggregate($count as n))")).status == 400


async def test_odata_reads_metadata_first(reading: Running) -> None:
    """As Excel does: service document, metadata, then rows with numbers that are numbers."""
    headers = {"x-api-key": KEYS["reader"], "OData-MaxVersion": "4.0"}
    service = await reading.get("/api/datasets/gold", **headers)
    assert service.json["value"] == [{"name": "sales", "kind": "EntitySet", "url": "sales"}]
    csdl = await reading.get("/api/datasets/gold/$metadata", **headers)
    types = {one.get("Name"): one.get("Type") for one in ElementTree.fromstring(csdl.body).iter() if one.get("Type")}
    assert (types["revenue"], types["day"]) == ("Edm.Decimal", "Edm.Date")
    page = await reading.get("/api/datasets/gold/sales?$orderby=orders&$top=3&$count=true", **headers)
    assert page.headers["odata-version"] == "4.0"
    assert (page.json["@odata.count"], page.json["value"][0]["revenue"]) == (12, 1.25)
    following = await reading.get(
        "/api/datasets/gold/sales?$orderby=orders&$top=3", **headers, Prefer="odata.maxpagesize=2"
    )
    assert [row["orders"] for row in following.json["value"]] == [1, 2]
    last = await reading.get(following.json["@odata.nextLink"], **headers)
    assert [row["orders"] for row in last.json["value"]] == [3]
    assert "@odata.nextLink" not in last.json


async def test_head_takes_no_place(reading: Running) -> None:
    """However often it is asked."""
    from tests.unit.asgi import ask as send

    for _ in range(5):
        answer = await send(
            reading.asgi, "HEAD", "/api/datasets/gold/sales", headers={"x-api-key": KEYS["reader"]}, query="format=csv"
        )
        assert (answer.status, answer.body, answer.headers["content-type"][:8]) == (200, b"", "text/csv")
    assert (await ask(reading, format="csv")).status == 200


async def test_without_the_setting_there_are_none(registry: Registry) -> None:
    """And nothing is described."""
    running = Running(registry, ENVIRONMENT)
    assert (await running.get("/api/datasets")).status == 404
    assert (await running.get("/api/datasets/gold/sales")).status == 404
    assert not any("datasets" in path for path in (await running.get("/api/openapi.json")).json["paths"])


@pytest.mark.parametrize("kind", ["application/x-ndjson", "text/csv"])
async def test_an_answer_that_fails_midway_never_ends(kind: str) -> None:
    """NDJSON has a last line that tells why; what the answer read from is let go of."""
    gone: list[str] = []

    async def rest() -> AsyncGenerator[bytes, None]:
        yield b"2\n"
        raise TooMuch("too long", limit="seconds")

    stack = AsyncExitStack()
    stack.callback(gone.append, "gone")
    answer = DatasetAnswer(b"1\n", rest(), stack, kind=kind, seconds=20, headers={})
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(TooMuch):
        await answer({"type": "http"}, receive, send)
    body = b"".join(one.get("body", b"") for one in sent[1:])
    trailer = b'{"$error":{"code":"BAD_REQUEST"}}\n' if "ndjson" in kind else b""
    assert (body, gone) == (b"1\n2\n" + trailer, ["gone"])
    assert all(one["more_body"] for one in sent[1:])


@pytest.mark.parametrize("first", [b"1", b"1" * 60 * SLOWEST])
async def test_a_reader_who_takes_too_long_gives_its_place_back(first: bytes) -> None:
    """What it may take grows with the bytes that it takes."""
    gone: list[str] = []

    async def rest() -> AsyncGenerator[bytes, None]:
        yield b"2"

    stack = AsyncExitStack()
    stack.callback(gone.append, "gone")
    answer = DatasetAnswer(first, rest(), stack, kind="text/csv", seconds=0, headers={})
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        if message.get("body") == b"1":
            await asyncio.Event().wait()  # it reads no more
        if "body" in message:
            await asyncio.sleep(0)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    if len(first) == 1:
        with pytest.raises(TimeoutError):
            await answer({"type": "http"}, receive, send)
    else:
        await answer({"type": "http"}, receive, send)
        assert not sent[-1]["more_body"]
    assert gone == ["gone"]


@pytest.mark.parametrize("version", ["999999999999999999", "2", "000000000000000009"])
async def test_a_version_that_never_was_is_gone(reading: Running, version: str) -> None:
    """Also a very large one."""
    assert (await ask(reading, asOf=version)).status == 410
    assert (await ask(reading, changesSince=version)).status == 410
