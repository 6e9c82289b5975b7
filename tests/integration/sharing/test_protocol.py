"""The protocol's edges: who is let in, pages, what can't be shared or asked, and links that open nothing else."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pyarrow
import pytest
from deltalake import DeltaTable as LakeTable
from deltalake import write_deltalake

import integrations
from shared.authentication import Role
from shared.blobs import Container
from shared.lake.silver import lines_of
from shared.messages import discover
from tests.integration.sharing.conftest import Lake
from tests.unit.asgi import Answer, ask

TABLE = "shares/sales/schemas/gold/tables/daily_sales"
PATHS = [
    ("GET", "shares", ""),
    ("GET", "shares/sales", ""),
    ("GET", "shares/sales/schemas", ""),
    ("GET", "shares/sales/all-tables", ""),
    ("GET", "shares/sales/schemas/gold/tables", ""),
    ("GET", f"{TABLE}/version", ""),
    ("GET", f"{TABLE}/metadata", ""),
    ("POST", f"{TABLE}/query", ""),
    ("GET", f"{TABLE}/changes", "startingVersion=0"),
]
ELSEWHERE = [
    ("GET", "/api/orders"),
    ("GET", "/api/orders/A1"),
    ("POST", "/api/orders"),
    ("POST", "/api/messages"),
    ("GET", "/api/usage"),
    ("GET", "/api/operations/x"),
    ("POST", "/api/graphql"),
    ("GET", "/api/subscriptions"),
    ("GET", "/api/nothing"),
]


async def call(
    lake: Lake,
    token: str,
    path: str,
    *,
    body: Any = None,
    query: str = "",
    method: str = "",
    capabilities: str = "",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request with a token."""
    sent = {"authorization": f"Bearer {token}"} if token else {}
    sent |= {"delta-sharing-capabilities": capabilities} if capabilities else {}
    payload = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    full = path if path.startswith("/") else f"/api/delta-sharing/{path}"
    how = method or ("POST" if path.endswith("/query") else "GET")
    return await ask(lake.running.asgi, how, full, payload, sent | dict(headers or {}), query=query)


def lines(answer: Answer) -> list[dict[str, Any]]:
    """The answer's lines."""
    return [json.loads(line) for line in answer.body.splitlines()]


async def test_only_a_share_token_opens_a_share_and_it_opens_nothing_else(lake: Lake) -> None:
    """Route by credential: every route of the protocol, and some of the others."""
    token = await lake.token("sales")
    for method, path, query in PATHS:
        assert (await call(lake, token, path, query=query, method=method)).status == 200, path
        assert (await call(lake, "", path, query=query, method=method)).status == 401, path
        assert (await call(lake, "slshare_" + "x" * 43, path, query=query, method=method)).status == 401, path
        for role, key in lake.keys.items():
            answer = await call(lake, "", path, query=query, method=method, headers={"x-api-key": key})
            assert answer.status == 403, (role, path)
    for method, path in ELSEWHERE:
        assert (await call(lake, token, path, method=method, body={})).status == 403, path
    both = await call(lake, token, "shares", headers={"x-api-key": lake.keys["operator"]})
    assert both.status == 401


async def test_a_recipient_has_its_own_shares_alone(lake: Lake) -> None:
    """Another's share isn't there at all; names are compared without case."""
    token = await lake.token("other", recipient="second")
    assert (await call(lake, token, "shares")).json == {"items": [{"name": "other"}]}
    hidden = await call(lake, token, f"{TABLE}/version")
    missing = await call(lake, token, "shares/nothing/schemas/gold/tables/daily_sales/version")
    assert (
        (hidden.status, hidden.json["message"])
        == (missing.status, missing.json["message"])
        == (
            404,
            "There is no such share.",
        )
    )
    assert hidden.json["errorCode"] == hidden.json["error"]["code"] == "NOT_FOUND"
    answer = await call(lake, token, "shares/OTHER/schemas/GOLD/tables/Daily_Sales/version")
    assert (answer.status, answer.headers["delta-table-version"]) == (200, "1")
    assert (await call(lake, token, "shares/other/schemas/silver/tables")).status == 404
    assert (await call(lake, token, "shares/other/schemas/gold/tables/late/version")).status == 404


async def test_lists_come_in_pages(lake: Lake) -> None:
    """Each names the next; the last one doesn't."""
    token = await lake.token("sales")
    found, page = [], "0"
    while page:
        answer = (await call(lake, token, "shares/sales/all-tables", query=f"maxResults=2&pageToken={page}")).json
        found += [one["name"] for one in answer["items"]]
        page = answer.get("nextPageToken", "")
    assert found == ["daily_sales", "late", "people", "mapped", "broken", "order_accepted"]
    for wrong in ("maxResults=-1", "pageToken=x", "maxResults=1e3", "limit=1"):
        assert (await call(lake, token, "shares", query=wrong)).status == 400
    assert (await call(lake, token, "shares", query="pageToken=99")).json == {"items": []}


async def test_files_come_in_pages_of_one_version(lake: Lake) -> None:
    """For who takes an `endStreamAction`; nobody else is sent one, and gets all files."""
    token = await lake.token("sales")
    able = "responseformat=delta,parquet;includeEndStreamAction=true"
    seen: list[str] = []
    body: dict[str, Any] = {"maxFiles": 4, "version": 1}
    while True:
        answer = await call(lake, token, f"{TABLE}/query", body=body, capabilities=able)
        *found, last = lines(answer)
        assert list(found[0]) == ["protocol"]
        assert list(found[1]) == ["metaData"]
        seen += [one["file"]["id"] for one in found[2:]]
        assert last["endStreamAction"]["minUrlExpirationTimestamp"] > 0
        if "nextPageToken" not in last["endStreamAction"]:
            break
        body["pageToken"] = last["endStreamAction"]["nextPageToken"]
    assert len(seen) == len(set(seen)) == 18
    plain = await call(lake, token, f"{TABLE}/query", body={"maxFiles": 4})
    assert {tuple(one) for one in lines(plain)[2:]} == {("file",)}
    assert len(lines(plain)) == 20
    assert "delta-sharing-capabilities" not in plain.headers


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "valid JSON"),
        (b"[1]", "JSON object"),
        (b"[" * 50_000, "valid JSON"),
        ({"version": "x"}, "version: must"),
        ({"version": True}, "version: must"),
        ({"version": -1}, "version: must"),
        ({"version": 10**30}, "version: must"),
        ({"version": 1, "timestamp": "2026-01-01T00:00:00Z"}, "name one of them"),
        ({"timestamp": "yesterday"}, "timestamp: must be a time"),
        ({"timestamp": "1999-01-01T00:00:00Z"}, "younger"),
        ({"version": 9}, "no such version"),
        ({"predicateHints": "x"}, "must be a list"),
        ({"jsonPredicateHints": {}}, "must be a text"),
        ({"limitHint": []}, "limitHint: must"),
        ({"startingVersion": 9}, "version is 1"),
        ({"startingVersion": 1, "endingVersion": 0}, "before the beginning"),
        ({"startingVersion": 1, "version": 0}, "name one of them"),
    ],
)
async def test_what_makes_no_sense_is_refused(lake: Lake, body: Any, says: str) -> None:
    """By one sentence."""
    answer = await call(lake, await lake.token("sales"), f"{TABLE}/query", body=body)
    assert answer.status == 400
    assert says in answer.json["message"]


async def test_more_that_makes_no_sense(lake: Lake) -> None:
    """Other formats, invented pages, a body without end, changes from nowhere."""
    token = await lake.token("sales")
    only_delta = await call(lake, token, f"{TABLE}/query", body={}, capabilities="responseformat=delta")
    assert (only_delta.status, "parquet alone" in only_delta.json["message"]) == (400, True)
    able = "includeendstreamaction=true"
    for page in ("x", "W10=", "WzEsIDJd", 5):
        answer = await call(lake, token, f"{TABLE}/query", body={"pageToken": page}, capabilities=able)
        assert answer.status == 400, page
    assert (await call(lake, token, f"{TABLE}/query", body=b" " * 200_000)).status == 413
    assert (await call(lake, token, f"{TABLE}/changes")).status == 400
    assert (await call(lake, token, f"{TABLE}/query")).status == 200
    assert (await call(lake, token, "shares/sales/schemas/gold/tables/late/version")).status == 404


async def test_a_link_reads_its_own_file_and_ends(lake: Lake) -> None:
    """By GET and HEAD alone, and not for longer than was said."""
    token = await lake.token("sales")
    answer = await call(lake, token, f"{TABLE}/query", body={"limitHint": 2})
    file, other = (line["file"] for line in lines(answer)[2:])
    url, without = file["url"], other["url"].partition("?")
    assert sent("GET", url) == sent("HEAD", url) == 200
    assert lines(answer)[2]["file"]["expirationTimestamp"] <= (lake.clock.seconds() + 600) * 1_000
    refused = {
        "put": sent("PUT", url, b"x"),
        "delete": sent("DELETE", url),
        "another": sent("GET", f"{without[0]}?{url.partition('?')[2]}"),
        "list": sent("GET", url.split("/gold/")[0] + f"?restype=container&comp=list&{url.partition('?')[2]}"),
        "later": sent("GET", url.replace("&se=20", "&se=21")),
    }
    assert refused == dict.fromkeys(refused, 403)
    lake.clock.ahead -= timedelta(hours=3)
    old = await call(lake, token, f"{TABLE}/query", body={"limitHint": 1})
    assert sent("GET", lines(old)[2]["file"]["url"]) == 403


def sent(method: str, url: str, body: bytes | None = None) -> int:
    """A request by who has nothing but the link; its status."""
    try:
        request = urllib.request.Request(url, body, {"x-ms-blob-type": "BlockBlob"}, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


def commit(version: int, *actions: Mapping[str, Any]) -> tuple[str, bytes]:
    """A file of a table's log, by somebody else's library."""
    return f"{version:020d}.json", b"\n".join(json.dumps(one).encode() for one in actions)


async def log(lake: Lake, table: str, *files: tuple[str, bytes]) -> None:
    """Put files into a table's log."""
    container: Container = lake.container
    for name, content in files:
        await container.upload_blob(f"{table}/_delta_log/{name}", content, overwrite=True)


MAPPING = {"delta.columnMapping.id": 1, "delta.columnMapping.physicalName": "n"}
FIELD = {"name": "n", "type": "long", "nullable": True, "metadata": MAPPING}
METADATA = {
    "id": "1",
    "format": {"provider": "parquet", "options": {}},
    "schemaString": json.dumps({"type": "struct", "fields": [FIELD]}),
    "partitionColumns": [],
    "configuration": {},
}


async def test_tables_that_nobody_could_read_are_refused(lake: Lake) -> None:
    """Deletion vectors, column mapping, a log that somebody broke: a clear error, and no file at all."""
    token = await lake.token("sales")
    features = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
    vectors = {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **features}}
    mapped = {"metaData": {**METADATA, "configuration": {"delta.columnMapping.mode": "name"}}}
    await log(lake, "silver/broken", commit(0, vectors, {"metaData": METADATA}))
    by_name = {"protocol": {"minReaderVersion": 2, "minWriterVersion": 5}}
    await log(lake, "silver/mapped", commit(0, by_name, mapped))
    for table, says in (("broken", "deletionVectors"), ("mapped", "columnMapping")):
        for what in ("metadata", "query", "version", "changes"):
            path, query = (
                f"shares/sales/schemas/silver/tables/{table}/{what}",
                "startingVersion=0" * (what == "changes"),
            )
            answer = await call(lake, token, path, query=query)
            assert (answer.status, says in answer.json["message"]) == (400, True), (table, what)
    await log(lake, "silver/broken", commit(0, {"protocol": 5}), commit(1, {}))
    answer = await call(lake, token, "shares/sales/schemas/silver/tables/broken/query")
    assert (answer.status, answer.json["message"]) == (400, "The table's log can't be read.")


async def test_rewritten_rows_are_told_only_by_who_says_which(lake: Lake) -> None:
    """Without a change feed the erasure of a person is no change that can be read; with it, its rows are."""
    token = await lake.token("sales")
    late = "shares/sales/schemas/gold/tables/late"
    rows = pyarrow.table({"n": pyarrow.array([1, 2, 3], pyarrow.int64())})
    write_deltalake(f"{lake.root}/gold/late", rows, storage_options=lake.options)
    lake.table("gold/late").delete("n = 1")
    assert "rewrote rows" in (await call(lake, token, f"{late}/changes", query="startingVersion=0")).json["message"]
    found = lines(await call(lake, token, f"{late}/query", body={"startingVersion": 0}))
    assert [next(iter(one)) for one in found] == ["protocol", "metaData", "add", "add", "remove"]
    lake.table("gold/late").alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    lake.table("gold/late").delete("n = 2")
    answer = await call(lake, token, f"{late}/changes", query="startingVersion=3")
    assert [next(iter(one)) for one in lines(answer)] == ["protocol", "metaData", "cdf"]
    (change,) = (one["cdf"] for one in lines(answer) if "cdf" in one)
    assert (change["version"], sent("GET", change["url"])) == (3, 200)
    assert lines(answer)[1]["metaData"]["configuration"] == {"enableChangeDataFeed": "true"}


async def test_a_log_that_forgot_is_said(lake: Lake) -> None:
    """Changes from before aren't told as if they were whole."""
    token = await lake.token("other")
    path = "shares/other/schemas/gold/tables/daily_sales"
    container: Container = lake.container
    lake.table("gold/daily_sales").create_checkpoint()
    first = await container.download_blob("gold/daily_sales/_delta_log/00000000000000000000.json")
    content = await first.readall()
    await container.delete_blob("gold/daily_sales/_delta_log/00000000000000000000.json")
    try:
        answer = await call(lake, token, f"{path}/changes", query="startingVersion=0")
        assert (answer.status, "doesn't have version 0" in answer.json["message"]) == (400, True)
        assert (await call(lake, token, f"{path}/query", body={"version": 0})).status == 400
        assert (await call(lake, token, f"{path}/query", body={})).status == 200
        assert (
            await call(lake, token, f"{path}/version", query="startingTimestamp=2000-01-01T00:00:00Z")
        ).status == 200
    finally:
        await container.upload_blob("gold/daily_sales/_delta_log/00000000000000000000.json", content)


async def test_columns_of_silver_are_as_sensitive_as_their_fields(lake: Lake) -> None:
    """As the model declares them, whatever the table's own metadata says: a reader has nothing of it."""
    declared = next(table for line in lines_of(discover(integrations).silvers) for table in line.tables)
    table = f"shares/sales/schemas/silver/tables/{declared.name}"
    LakeTable.create(f"{lake.root}/silver/{declared.name}", declared.schema(), storage_options=lake.options)
    refused = await call(lake, await lake.token("sales"), f"{table}/query")
    assert (refused.status, "may not see" in refused.json["message"]) == (403, True)
    seen = await call(lake, await lake.token("sales", sees=Role.OPERATOR, recipient="auditor"), f"{table}/query")
    assert (seen.status, len(lines(seen))) == (200, 2)
