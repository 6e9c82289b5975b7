"""What can't be read, takes too much or breaks off is refused by name, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from shared.classification import Classification
from shared.datasets import (
    NDJSON,
    Busy,
    CannotCompute,
    Datasets,
    Limits,
    NoSuchDataset,
    TooMuch,
    Unreadable,
    VersionGone,
)
from shared.datasets.streaming import pieces

from .lakes import LIMITS, ask, lake_in, question, written

MANY = "SELECT i AS id, md5(CAST(i AS VARCHAR)) AS text FROM range(200000) AS t(i)"


def folder_of(tmp_path: Path) -> Path:
    """Of the table."""
    return tmp_path / "lake" / "gold" / "sales"


async def test_a_name_leads_to_no_other_place(datasets: Datasets, tmp_path: Path) -> None:
    """Whatever it has in it."""
    written(tmp_path, "sales", "SELECT 1 AS x")
    for layer, name in (
        ("gold", "../gold/sales"),
        ("gold", "nothing"),
        ("..", "gold"),
        ("gold", ""),
        ("gold", "Sales"),
    ):
        with pytest.raises(NoSuchDataset):
            await datasets.open(layer, name, Classification.RESTRICTED)


async def test_too_many_bytes_are_refused_before_any_is_read(datasets: Datasets, tmp_path: Path) -> None:
    """A filter by the partition makes them fewer."""
    for day in ("2026-01-01", "2026-01-02"):
        written(tmp_path, "sales", f"SELECT DATE '{day}' AS day, * FROM ({MANY})", partition_by=["day"])
    size = max(one.stat().st_size for one in folder_of(tmp_path).rglob("*.parquet"))
    limits = Limits(bytes=size + 1_000, rows=10, seconds=30)
    with pytest.raises(TooMuch, match="2 files of") as refused:
        await ask(datasets, "sales", limits=limits, apply="aggregate($count as n)")
    assert "by day, which it is partitioned by" in refused.value.details["help"]
    assert not (tmp_path / "copies").exists()
    found = await ask(datasets, "sales", limits=limits, apply="filter(day eq 2026-01-02)/aggregate($count as n)")
    assert found == [{"n": 200_000}]
    assert len(list((tmp_path / "copies").iterdir())) == 1


async def test_too_long_is_stopped(datasets: Datasets, tmp_path: Path) -> None:
    """By the time that it computes."""
    written(tmp_path, "sales", MANY)
    limits = Limits(bytes=1 << 30, rows=10, seconds=0)

    async def ask_again() -> None:
        while True:  # a fast machine may have answered before anybody looked
            await ask(datasets, "sales", limits=limits, orderby="text")

    with pytest.raises(TooMuch, match="took longer than 0 s"):
        await ask_again()


async def test_too_much_memory_is_refused(tmp_path: Path) -> None:
    """Nothing is written to the disk instead."""
    written(tmp_path, "sales", f"SELECT text || text || text || text AS text FROM ({MANY})")
    lake = lake_in(tmp_path, memory=16 << 20)
    with pytest.raises(TooMuch, match="memory"):
        await ask(lake, "sales", apply="groupby((text))", orderby="text")
    await lake.close()


async def test_a_sum_that_is_too_large_is_refused(datasets: Datasets, tmp_path: Path) -> None:
    """A whole number has 64 bits."""
    written(tmp_path, "sales", "SELECT 9223372036854775807 AS n FROM range(2)")
    with pytest.raises(CannotCompute):
        await ask(datasets, "sales", apply="aggregate(n with sum as s)")
    assert (await ask(datasets, "sales", apply="aggregate(n with max as m)"))[0]["m"] == 2**63 - 1


async def test_more_than_may_be_at_once_come_again(tmp_path: Path) -> None:
    """The place is free when its question is answered."""
    written(tmp_path, "sales", "SELECT 1 AS x")
    lake = lake_in(tmp_path, at_once=1)
    asked = question(await lake.open("gold", "sales", Classification.RESTRICTED))
    async with lake.reading(asked, LIMITS):
        with pytest.raises(Busy):
            await ask(lake, "sales")
    assert len(await ask(lake, "sales")) == 1
    await lake.close()


async def test_one_client_takes_half_of_the_places(tmp_path: Path) -> None:
    """The others are for everybody else, and it has its own again when they are free."""
    written(tmp_path, "sales", "SELECT 1 AS x")
    lake = lake_in(tmp_path, at_once=4)
    asked = question(await lake.open("gold", "sales", Classification.RESTRICTED))
    async with lake.reading(asked, LIMITS, client="one"):
        async with lake.reading(asked, LIMITS, client="one"):
            with pytest.raises(Busy, match="2 questions of yours"):
                async with lake.reading(asked, LIMITS, client="one"):
                    pass
            async with lake.reading(asked, LIMITS, client="other") as reading:
                assert await reading.count() == 1
        async with lake.reading(asked, LIMITS, client="one") as reading:
            assert await reading.count() == 1
    await lake.close()


@pytest.mark.parametrize("damage", ["cut", "zeros", "longer"])
async def test_a_damaged_file_is_named(datasets: Datasets, tmp_path: Path, damage: str) -> None:
    """And one that went says so."""
    written(tmp_path, "sales", MANY)
    (file,) = folder_of(tmp_path).glob("*.parquet")
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[:-100], "zeros": bytes(len(whole)), "longer": whole + b"x"}[damage])
    with pytest.raises(Unreadable):
        await ask(datasets, "sales", top=1)
    file.unlink()
    with pytest.raises(Unreadable if damage == "zeros" else VersionGone):  # as long as it should be: a copy is there
        await ask(datasets, "sales", top=1)


async def test_features_that_change_rows_are_refused(datasets: Datasets, tmp_path: Path) -> None:
    """A table with deletion vectors has rows in its files that aren't there."""
    written(tmp_path, "sales", "SELECT 1 AS x")
    log = folder_of(tmp_path) / "_delta_log" / f"{0:020d}.json"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for one in lines:
        if "protocol" in one:
            features = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
            one["protocol"] = {"minReaderVersion": 3, "minWriterVersion": 7, **features}
    log.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(Unreadable, match="deletionVectors"):
        await ask(datasets, "sales")


async def test_columns_that_came_later_are_null_before(datasets: Datasets, tmp_path: Path) -> None:
    """And partition values with signs of any kind, of which some are null, are in the log alone."""
    written(tmp_path, "sales", "SELECT 1 AS x, 'a/b %20=c''d' AS part", partition_by=["part"])
    written(tmp_path, "sales", "SELECT 2 AS x, CAST(NULL AS VARCHAR) AS part, 5 AS later", schema_mode="merge")
    assert await ask(datasets, "sales", orderby="x") == [
        {"x": 1, "part": "a/b %20=c'd", "later": None},
        {"x": 2, "part": None, "later": 5},
    ]
    assert await ask(datasets, "sales", filter="part eq 'a/b %20=c''d' and later eq null", select="x") == [{"x": 1}]


async def test_a_stream_that_fails_midway_raises_behind_its_pieces(tmp_path: Path) -> None:
    """It is never ended as if it were whole; and one that nobody reads any more gives its place back."""
    written(tmp_path, "sales", MANY)
    lake = lake_in(tmp_path, at_once=1)
    asked = question(await lake.open("gold", "sales", Classification.RESTRICTED))
    async with lake.reading(asked, LIMITS) as reading:
        answer = await reading.whole(NDJSON, top=None, skip=0)
        first = await anext(answer)
        assert first.startswith(b'{"id":')
        await answer.aclose()
    assert len(await ask(lake, "sales", top=1)) == 1
    await lake.close()


async def test_pieces_come_in_order_and_the_failure_last() -> None:
    """At the pace of the reader."""
    from concurrent.futures import ThreadPoolExecutor

    made: list[int] = []

    def make() -> Iterator[bytes]:
        for number in range(20):
            made.append(number)
            yield b"%d" % number
        raise Unreadable("broken")

    found: list[bytes] = []
    with ThreadPoolExecutor(1) as executor:

        async def read() -> None:
            answer: AsyncIterator[bytes] = pieces(make, executor, lambda reason: None)
            async for one in answer:
                found.append(one)
                assert len(made) <= len(found) + 6
                await asyncio.sleep(0)

        with pytest.raises(Unreadable):
            await read()
    assert found == [b"%d" % number for number in range(20)]


async def test_a_reader_who_comes_late_has_all_pieces_and_the_failure() -> None:
    """The thread is done long before, with as many pieces ready as may be."""
    from concurrent.futures import ThreadPoolExecutor

    broken = Event()

    def make() -> Iterator[bytes]:
        yield from (b"1", b"2", b"3", b"4", b"5")
        broken.set()
        raise Unreadable("broken")

    with ThreadPoolExecutor(1) as executor:
        answer = pieces(make, executor, lambda reason: None)
        found = [await anext(answer)]
        await asyncio.to_thread(broken.wait)
        await asyncio.sleep(0.05)
        found += [await anext(answer) for _ in range(4)]
        with pytest.raises(Unreadable):
            await anext(answer)
    assert found == [b"1", b"2", b"3", b"4", b"5"]


async def test_copies_go_when_there_is_no_room(tmp_path: Path) -> None:
    """Those that were used last stay."""
    for name in ("one", "two", "three"):
        written(tmp_path, name, MANY)
    lake = lake_in(tmp_path, capacity=1)
    for name in ("one", "two", "three"):
        assert (await ask(lake, name, apply="aggregate($count as n)")) == [{"n": 200_000}]
        assert list((tmp_path / "copies").iterdir()) == []
    await lake.close()


@pytest.mark.parametrize("nested", [{"a": "x"}, [1, 2], {"t": "x", "l": [None, {"d": 2}]}])
async def test_nested_values_are_shown_as_they_lie(datasets: Datasets, tmp_path: Path, nested: Any) -> None:
    """They can't be asked by."""
    text = json.dumps(nested).replace("null", "NULL").replace('"', "'")
    written(tmp_path, "sales", f"SELECT {text} AS value")
    ((row),) = await ask(datasets, "sales")
    assert row == {"value": nested}
