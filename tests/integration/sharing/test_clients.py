"""Readers that others wrote use what is shared: the delta-sharing client with pandas, polars, and DuckDB."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import delta_sharing
import duckdb
import polars
import pytest
from delta_sharing.protocol import DeltaSharingProfile, Table
from delta_sharing.rest_client import DataSharingRestClient
from requests.exceptions import HTTPError

from shared.authentication import Role
from tests.integration.sharing.conftest import COUNTRIES, DAYS, Lake

_DAY = timedelta(days=1, seconds=1)
TABLE = Table(name="daily_sales", share="sales", schema="gold")


class Client:
    """The delta-sharing client with a profile file, each call in a thread."""

    def __init__(self, folder: Path, profile: dict[str, Any]) -> None:
        self.file = folder / "profile.share"
        self.file.write_text(json.dumps(profile), encoding="utf-8")
        self.rest = DataSharingRestClient(DeltaSharingProfile.from_json(profile), num_retries=0)

    async def pandas(self, table: str = "sales.gold.daily_sales", **options: Any) -> Any:
        """A table as pandas has it."""
        return await asyncio.to_thread(delta_sharing.load_as_pandas, f"{self.file}#{table}", **options)

    async def changes(self, **options: Any) -> Any:
        """Its changes."""
        address = f"{self.file}#sales.gold.daily_sales"
        return await asyncio.to_thread(delta_sharing.load_table_changes_as_pandas, address, **options)

    async def files(self, **options: Any) -> Any:
        """Its files, as the REST client sees them."""
        return await asyncio.to_thread(self.rest.list_files_in_table, TABLE, **options)


@pytest.fixture
async def client(lake: Lake, tmp_path: Path) -> Client:
    """A recipient."""
    return Client(tmp_path, await lake.profile("sales"))


async def test_pandas_reads_the_table_as_it_is(client: Client) -> None:
    """Every row and decimal, partitions whose names need encoding; as it was at a version; some rows of it."""
    found = await client.pandas()
    assert sorted(found["orders"]) == list(range(18))
    assert set(found["country"]) == set(COUNTRIES)
    assert sorted(set(found["day"])) == DAYS
    assert sum(found["revenue"]) == Decimal("154.80")
    assert len(await client.pandas(version=0)) == 9
    assert len(await client.pandas(limit=4)) == 4
    with pytest.raises(HTTPError, match="no such version"):
        await client.pandas(version=7)


async def test_the_client_finds_its_way(client: Client, lake: Lake) -> None:
    """Shares, schemas and tables of this recipient alone; the version, also at a time."""
    shared = delta_sharing.SharingClient(str(client.file))
    assert [one.name for one in await asyncio.to_thread(shared.list_shares)] == ["Sales"]
    tables = await asyncio.to_thread(shared.list_all_tables)
    assert sorted(f"{one.share}.{one.schema}.{one.name}" for one in tables) == [
        "Sales.gold.daily_sales",
        "Sales.gold.late",
        "Sales.silver.broken",
        "Sales.silver.mapped",
        "Sales.silver.order_accepted",
        "Sales.silver.people",
    ]
    address = f"{client.file}#sales.gold.daily_sales"
    assert await asyncio.to_thread(delta_sharing.get_table_version, address) == 1
    first = "2000-01-01T00:00:00Z"
    assert await asyncio.to_thread(delta_sharing.get_table_version, address, starting_timestamp=first) == 0
    assert (await asyncio.to_thread(delta_sharing.get_table_protocol, address)).min_reader_version == 1
    metadata = await asyncio.to_thread(delta_sharing.get_table_metadata, address)
    assert (metadata.partition_columns, metadata.num_files) == (["country", "day"], 18)


def equal(column: str, value: str, kind: str) -> dict[str, Any]:
    """A predicate."""
    literal = {"op": "literal", "value": value, "valueType": kind}
    return {"op": "equal", "children": [{"op": "column", "name": column, "valueType": kind}, literal]}


async def test_files_are_chosen_by_partitions_and_statistics(client: Client) -> None:
    """What is left out has no such row, and what pandas reads is right by itself."""
    of_day = json.dumps(equal("day", "2010-12-02", "date"))
    assert len((await client.files(jsonPredicateHints=of_day)).add_files) == 6
    both = json.dumps({"op": "and", "children": [json.loads(of_day), equal("country", COUNTRIES[1], "string")]})
    assert len((await client.files(jsonPredicateHints=both)).add_files) == 2
    by_statistics = json.dumps(equal("orders", "4", "long"))
    assert len((await client.files(jsonPredicateHints=by_statistics)).add_files) == 1
    assert len((await client.files(predicateHints=["country = 'Österreich'"])).add_files) == 6
    assert len((await client.files(limitHint=5)).add_files) == 5
    assert len((await client.files(jsonPredicateHints="{nonsense", limitHint=5)).add_files) == 18
    found = await client.pandas(jsonPredicateHints=both)
    assert set(zip(found["country"], found["day"], strict=True)) == {(COUNTRIES[1], DAYS[1])}


async def test_what_was_added_since_a_version(client: Client, lake: Lake) -> None:
    """The rows of later commits, with the version that brought each."""
    found = await client.changes(starting_version=1)
    assert sorted(found["orders"]) == list(range(9, 18))
    assert set(found["_change_type"]) == {"insert"}
    assert set(found["_commit_version"]) == {1}
    assert len(await client.changes(starting_version=0)) == 18
    assert len(await client.changes(starting_version=0, ending_version=0)) == 9
    with pytest.raises(HTTPError, match="version is 1"):
        await client.changes(starting_version=5)


async def test_polars_and_duckdb_read_the_links(client: Client, tmp_path: Path) -> None:
    """The URL of each file is a Parquet file for everybody who reads those, until it ends."""
    files = (await client.files(version=0)).add_files
    names = []
    for number, file in enumerate(files):
        content = await asyncio.to_thread(_read, file.url)
        assert len(content) == file.size
        (tmp_path / f"{number}.parquet").write_bytes(content)
        names.append(str(tmp_path / f"{number}.parquet"))
    assert polars.read_parquet(names)["orders"].sum() == sum(range(9))
    assert duckdb.execute("select sum(revenue) from read_parquet(?)", [names]).fetchall() == [(Decimal("36.90"),)]


def _read(url: str, method: str = "GET") -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=20) as answer:
        return bytes(answer.read())


async def test_a_token_that_ended_or_was_withdrawn_opens_nothing(lake: Lake, tmp_path: Path) -> None:
    """The client is told why, and doesn't try again."""
    profile = await lake.profile("sales", recipient="short", days=1)
    lake.clock.ahead += _DAY
    with pytest.raises(HTTPError, match="ended at"):
        await Client(tmp_path, profile).pandas()
    profile = await lake.profile("sales", recipient="gone")
    await lake.tokens.withdraw("gone")
    lake.clock.ahead += _DAY / 100
    with pytest.raises(HTTPError, match="withdrawn"):
        await Client(tmp_path, profile).pandas()


async def test_columns_that_a_role_may_not_see_are_not_shared(lake: Lake, client: Client, tmp_path: Path) -> None:
    """A reader is told which; who sees as an operator reads the table."""
    with pytest.raises(HTTPError, match="may not see: email"):
        await client.pandas("sales.silver.people")
    operator = Client(tmp_path, await lake.profile("sales", sees=Role.OPERATOR, recipient="auditor"))
    assert list((await operator.pandas("sales.silver.people"))["email"]) == ["a@x", "b@x"]
