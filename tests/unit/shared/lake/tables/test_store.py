"""Tables are opened and made; what can't be done has a name, and tells no address or key."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from arro3.core import DataType, Field, Schema
from azure.core.credentials import AccessToken
from deltalake import QueryBuilder, write_deltalake
from deltalake.exceptions import DeltaError

from shared.azure_clients import Credentials
from shared.environment import Connection
from shared.lake.tables import (
    IncompatibleSchema,
    LakeError,
    LakeStore,
    LakeUnavailable,
    Layer,
    Retention,
    TableMissing,
    VersionMissing,
    maintain_all,
    storage_options,
)
from shared.lake.tables.errors import named_errors
from tests.unit.shared.lake.tables.log import SCHEMA, batch, committer, no_options, rows_of


@pytest.fixture
def store(tmp_path: Path) -> LakeStore:
    return LakeStore(str(tmp_path), no_options)


async def test_a_table_is_made_once_and_read_at_its_versions(store: LakeStore) -> None:
    with pytest.raises(TableMissing, match=r"silver\.events: there is no such table"):
        await store.open(Layer.SILVER, "events")
    made = await store.create(Layer.SILVER, "events", SCHEMA, configuration=Retention().configuration)
    assert made.metadata().configuration["delta.logRetentionDuration"] == "interval 604800 seconds"
    assert (await store.create(Layer.SILVER, "events", SCHEMA)).version() == 0
    await committer(store).append(*batch("events/0", None, 3))
    assert (await store.open(Layer.SILVER, "events")).version() == 1
    assert (await store.open(Layer.SILVER, "events", version=0)).version() == 0
    with pytest.raises(VersionMissing):
        await store.open(Layer.SILVER, "events", version=9)
    for version in (-1, 10**18):
        with pytest.raises(VersionMissing, match="the newest is"):
            await store.open(Layer.SILVER, "events", version=version)


async def test_every_reader_of_delta_can_read_them(store: LakeStore) -> None:
    """No features: neither deletion vectors nor column mapping, and times with their zone."""
    schema = Schema([*(SCHEMA.field(name) for name in SCHEMA.names), Field("at", DataType.timestamp("us", tz="UTC"))])
    protocol = (await store.create(Layer.GOLD, "events", schema)).protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)
    assert not protocol.reader_features


@pytest.mark.parametrize(
    ("fields", "partition_by", "what"),
    [
        ([Field("sequence", DataType.string())], [], "sequence is .*long.*, not .*string"),
        ([Field("sequence", DataType.int64())], ["sequence"], "partitioned by"),
    ],
    ids=["type", "partitions"],
)
async def test_a_table_that_doesnt_fit_is_refused(
    store: LakeStore, fields: list[Field], partition_by: list[str], what: str
) -> None:
    await store.create(Layer.SILVER, "events", SCHEMA)
    with pytest.raises(IncompatibleSchema, match=what):
        await store.create(Layer.SILVER, "events", Schema(fields), partition_by=partition_by)


async def test_columns_that_are_added_join_with_the_first_rows(store: LakeStore) -> None:
    await committer(store).append(*batch("events/0", None, 1))
    fields = [*(SCHEMA.field(name) for name in SCHEMA.names), Field("later", DataType.string(), nullable=True)]
    table = await store.create(Layer.SILVER, "events", Schema(fields))
    assert [field.name for field in table.schema().fields] == ["partition", "sequence"]
    write_deltalake(table, rows_of([("events/0", 2)]), mode="append")
    assert QueryBuilder().register("t", table).execute("select * from t").read_all().num_rows == 2


async def test_a_call_is_bounded_in_time(tmp_path: Path) -> None:
    store = LakeStore(str(tmp_path), no_options, seconds=0.05)
    with pytest.raises(LakeUnavailable, match="no answer within"):
        await store.run(Layer.SILVER, "events", time.sleep, 0.3)


@pytest.mark.parametrize("name", ["", "../x", "Events", "a/b", "1a", "a" * 200])
async def test_a_name_names_a_table_and_no_path(store: LakeStore, name: str) -> None:
    with pytest.raises(ValueError, match="use lower-case letters"):
        await store.open(Layer.SILVER, name)


def test_texts_of_errors_are_plain() -> None:
    with pytest.raises(LakeUnavailable) as found, named_errors("silver.x"):
        raise OSError("Kernel error\n   \x1b[31m↳\x1b[0m Error GET http://h:1/a?sig=SECRET in 1ms <Code>Down</Code>")
    assert str(found.value) == "silver.x: Kernel error Error GET (address) in 1ms Down"


def test_a_store_that_fails_beneath_a_reader_is_unavailable() -> None:
    text = "Kernel error: Arrow error: External: Generic MicrosoftAzure error: Error performing GET http://h/x in 413ms"
    with pytest.raises(LakeUnavailable), named_errors("silver.x"):
        raise DeltaError(text)


def test_a_panic_of_the_library_is_an_error() -> None:
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(LakeError, match="failed: index out of bounds"), named_errors("silver.x"):
        raise panic("index out of bounds")
    with pytest.raises(KeyboardInterrupt), named_errors("silver.x"):
        raise KeyboardInterrupt


async def test_options_of_a_connection_string() -> None:
    text = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=k==;BlobEndpoint=http://127.0.0.1:1/a/;"
    options = await storage_options(Connection(connection_string=text), Credentials())()
    assert options.items() >= {
        "account_name": "a", "access_key": "k==", "endpoint": "http://127.0.0.1:1/a", "allow_http": "true"
    }.items()  # fmt: skip
    azure = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=k;EndpointSuffix=core.windows.net"
    options = await storage_options(Connection(connection_string=azure), Credentials())()
    assert options["endpoint"] == "https://a.blob.core.windows.net"
    assert "allow_http" not in options
    with pytest.raises(ValueError, match="AccountName and AccountKey"):
        storage_options(Connection(connection_string="SharedAccessSignature=x"), Credentials())


async def test_an_identity_is_asked_for_a_token_for_each_handle() -> None:
    """The library sends it as it is; a store that doesn't take it is named."""
    asked: list[str] = []

    async def refuse(request: web.Request) -> web.Response:
        asked.append(request.headers["Authorization"])
        return web.Response(status=403)

    class Identity(Credentials):
        tokens = 0

        def get(self, connection: object) -> Any:
            return self

        async def get_token(self, *scopes: str) -> AccessToken:
            assert scopes == ("https://storage.azure.com/.default",)
            self.tokens += 1
            return AccessToken(f"token-{self.tokens}", 0)

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", refuse)
    async with TestServer(app) as server:
        connection = Connection(blob_service_uri=f"http://127.0.0.1:{server.port}/account")
        store = LakeStore("az://lake", storage_options(connection, Identity()))
        for _ in range(2):
            with pytest.raises(LakeUnavailable, match="403"):
                await store.open(Layer.SILVER, "events")
    assert set(asked) == {"Bearer token-1", "Bearer token-2"}


@pytest.mark.parametrize("wrong", [timedelta(0), timedelta(minutes=90)])
def test_files_are_kept_for_whole_hours(wrong: timedelta) -> None:
    with pytest.raises(ValueError, match="whole hours"):
        Retention(files=wrong)


# Maintenance of several tables.


async def test_every_table_that_is_there_is_maintained(store: LakeStore) -> None:
    one = committer(store)
    for number in range(3):
        await one.append(*batch("events/0", number or None, 1))
    tables = [(Layer.GOLD, "missing"), (Layer.SILVER, "events")]
    assert not await maintain_all(store, tables, Retention(), time_left=lambda: 200.0)
    assert len((await store.open(Layer.SILVER, "events")).file_uris()) == 1
    assert await maintain_all(store, tables, Retention(), time_left=lambda: 10.0)


async def test_a_table_that_is_broken_holds_up_no_other(store: LakeStore, tmp_path: Path) -> None:
    for name in ("a_broken", "events"):
        one = committer(store, name)
        for number in range(2):
            await one.append(*batch("events/0", number or None, 1))
    (tmp_path / "silver" / "a_broken" / "_delta_log" / f"{1:020d}.json").write_text("no log")
    with pytest.raises(ExceptionGroup, match="of the lake's maintenance failed"):
        await maintain_all(
            store, [(Layer.SILVER, "a_broken"), (Layer.SILVER, "events")], Retention(), time_left=lambda: 200.0
        )
    assert len((await store.open(Layer.SILVER, "events")).file_uris()) == 1
