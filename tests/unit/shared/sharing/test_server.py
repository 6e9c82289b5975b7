"""What a recipient has of a table whose columns were others once, and when its links are signed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pyarrow
import pytest
from deltalake import DeltaTable, write_deltalake

from shared.classification import Classification
from shared.datasets import CLASSIFICATION, declared_level
from shared.sharing import BadQuestion, ChangesAsked, NotAllowed, SharedTable, SharingServer, TableQuery
from shared.sharing.changes import LogReader

T = TypeVar("T")
TABLE = SharedTable("sales", "gold", "visits")


class Folder:
    """A lake of one table in a folder, whose links count themselves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signed = 0

    async def read(self, layer: str, name: str, call: Callable[[DeltaTable], T]) -> T:
        """What a call returns of the table; it has no version that its log doesn't name."""
        try:
            return await asyncio.to_thread(call, DeltaTable(self.folder))
        except Exception as error:
            raise BadQuestion(str(error)) from None

    def log(self, layer: str, name: str) -> LogReader:
        """What reads its log."""

        async def read(version: int) -> bytes | None:
            file = self.folder / "_delta_log" / f"{version:020d}.json"
            return file.read_bytes() if file.exists() else None

        return read

    async def links(self, layer: str, name: str, ends: datetime) -> Callable[[str], str]:
        """Links that open nothing."""

        def sign(path: str) -> str:
            self.signed += 1
            return f"https://example.org/{path}"

        return sign


@pytest.fixture
def lake(tmp_path: Path) -> Folder:
    """Versions 0 and 1 have a restricted column; 2 rewrites the table without it, 3 and 4 append."""
    email = pyarrow.field("email", pyarrow.string(), metadata={CLASSIFICATION: "restricted"})
    schema = pyarrow.schema([pyarrow.field("n", pyarrow.int64()), email])
    for n in (1, 2):
        write_deltalake(tmp_path, pyarrow.table({"n": [n], "email": ["a@x"]}, schema=schema), mode="append")
    plain = pyarrow.table({"n": pyarrow.array([3], pyarrow.int64())})
    write_deltalake(tmp_path, plain, mode="overwrite", schema_mode="overwrite")
    for _ in range(2):
        write_deltalake(tmp_path, plain, mode="append")
    return Folder(tmp_path)


@pytest.fixture
def server(lake: Folder) -> SharingServer:
    """Shares the table."""
    return SharingServer(
        lake, levels=lambda _, __: declared_level, link_seconds=600, now=lambda: datetime(2026, 1, 5, tzinfo=UTC)
    )


def lines(found: Any) -> list[dict[str, Any]]:
    """An answer's lines."""
    return [json.loads(line) for line in b"".join(found.lines).splitlines()]


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize(("first", "last"), [(0, None), (1, None), (1, 1), (2, None), (2, 2)])
async def test_files_of_when_the_table_had_a_hidden_column_are_not_told(
    server: SharingServer, rows: bool, first: int, last: int | None
) -> None:
    """Neither those that were added, nor those that the commit without the column removed."""
    asked = ChangesAsked(starting_version=first, ending_version=last, rows=rows)
    with pytest.raises(NotAllowed, match="email"):
        await server.changes(TABLE, Classification.CONFIDENTIAL, asked)


async def test_who_may_see_the_column_has_its_files_too_and_others_those_without(server: SharingServer) -> None:
    """From the version on whose columns they may see."""
    whole = ChangesAsked(starting_version=1, rows=False)
    found = lines(await server.changes(TABLE, Classification.RESTRICTED, whole))
    assert [next(iter(one)) for one in found[2:]] == ["add", "add", "remove", "remove", "add", "add"]
    later = await server.changes(TABLE, Classification.CONFIDENTIAL, ChangesAsked(starting_version=3))
    assert [next(iter(one)) for one in lines(later)[2:]] == ["add", "add"]


async def test_where_the_columns_before_are_not_known_any_more_nothing_is_told(
    server: SharingServer, lake: Folder
) -> None:
    """Once the log before is gone; the version after is told."""
    DeltaTable(lake.folder).create_checkpoint()
    for version in range(4):
        (lake.folder / "_delta_log" / f"{version:020d}.json").unlink()
    with pytest.raises(BadQuestion, match="doesn't have version 3"):
        await server.changes(TABLE, Classification.CONFIDENTIAL, ChangesAsked(starting_version=4))
    write_deltalake(lake.folder, DeltaTable(lake.folder).to_pyarrow_table(), mode="append")
    found = await server.changes(TABLE, Classification.CONFIDENTIAL, ChangesAsked(starting_version=5))
    assert [next(iter(one)) for one in lines(found)[2:]] == ["add"]


async def test_links_are_signed_as_lines_are_sent(server: SharingServer, lake: Folder) -> None:
    """And not before by who answers everybody."""
    level = Classification.CONFIDENTIAL
    for found in (
        await server.query(TABLE, level, TableQuery()),
        await server.changes(TABLE, level, ChangesAsked(starting_version=3)),
    ):
        assert lake.signed == 0
        assert len(lines(found)) - 2 == found.files == lake.signed
        lake.signed = 0


async def test_hints_leave_files_out_and_are_bounded(server: SharingServer) -> None:
    """Files that can't have what is asked for; what is beyond the bounds leaves out none."""
    level = Classification.CONFIDENTIAL
    assert (await server.query(TABLE, level, TableQuery(hints=["n = 4"]))).files == 0
    assert (await server.query(TABLE, level, TableQuery(hints=["n = 3"]))).files == 3
    assert (await server.query(TABLE, level, TableQuery(hints=["n > 0"] * 100 + ["n = 4"]))).files == 3
