"""Every event is in its tables once, whatever happens on the way; what doesn't fit is in quarantine with its reason."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from shared.lake.silver import Applied, WrongSilver, lines_of
from shared.lake.silver import ingest as module
from shared.lake.tables import LakeUnavailable, Layer, TableMissing
from shared.messages import Silver
from shared.streams import StreamEvent
from tests.unit.shared.lake.silver.parcels import DATA, NOW, SILVER, Log, Parcel, event, ingest, plenty, rows
from tests.unit.shared.lake.tables.log import FaultyStore


@pytest.fixture
def store(tmp_path: Path) -> FaultyStore:
    return FaultyStore(tmp_path)


async def test_an_event_becomes_rows_to_the_last_digit(store: FaultyStore) -> None:
    applied, more = await ingest(store).catch_up(Log([event(0)]), plenty)
    assert (applied.rows, more) == ({"parcel_scanned": 1, "parcel_scanned_items": 2}, False)
    found = (await rows(store, "parcel_scanned")).to_struct_array().to_pylist()[0]
    assert found == {
        "event_id": "0-0", "event_time": NOW, "event_day": date(2026, 1, 5), "event_version": "1.0", "key": "p1",
        "sequence": 1, "log_partition": "0", "log_sequence": 0, "parcel_id": "p1", "customer_id": None, "name": None,
        "scanned_at": datetime(2026, 1, 5, 8, 26, 0, 500_000, tzinfo=UTC), "due": date(2026, 1, 7), "size": "large",
        "state": "gone", "weight": 1.25, "total": Decimal("123456789012345678901234567.123456789"), "fragile": True,
        "depot_city": "Köln", "depot_floor": -1, "stops": [{"city": "Rom", "floor": None}],
        "extra": '{"any":[1,null]}', "customer_id_token": None, "subject_key": None,
    }  # fmt: skip
    items = await rows(store, "parcel_scanned_items")
    assert items["number"].to_pylist() == [1, 2]
    assert items["price"].to_pylist() == [Decimal("2.550000"), Decimal("0.000001")]
    assert items["tags"].to_pylist() == [["x", "y"], None]


async def ids(store: FaultyStore, name: str = "parcel_scanned") -> list[str]:
    return [str(one) for one in (await rows(store, name))["event_id"].to_pylist()]


def two_partitions(count: int) -> list[StreamEvent]:
    return [event(number, partition=partition) for number in range(count) for partition in ("0", "1")]


@pytest.mark.parametrize("fault", ["before", "after"])
@pytest.mark.parametrize("step", range(6))
async def test_a_job_that_dies_anywhere_goes_on_where_it_was(
    store: FaultyStore, monkeypatch: pytest.MonkeyPatch, step: int, fault: str
) -> None:
    """Before and after each commit of a batch; the next run begins with nothing but the tables."""
    monkeypatch.setattr(module, "BATCH_EVENTS", 6)
    monkeypatch.setattr("shared.lake.tables.committer._TRIES", 1)
    log = Log([*two_partitions(5), event(5, "no object"), event(6)])
    store.faults = [*[""] * step, fault]
    with suppress(LakeUnavailable):
        await ingest(store).catch_up(log, plenty)
    store.faults = []
    await ingest(store).catch_up(log, plenty)
    applied, _ = await ingest(store).catch_up(log, plenty)
    assert applied.rows == {"parcel_scanned": 0} or not any(applied.rows.values())
    expected = [f"{partition}-{number}" for partition in ("0", "1") for number in range(5)]
    assert sorted(await ids(store)) == sorted([*expected, "0-6"])
    assert sorted(await ids(store, "parcel_scanned_items")) == sorted([*expected, "0-6"] * 2)
    quarantine = await rows(store, "parcel_scanned", Layer.QUARANTINE)
    assert quarantine["log_sequence"].to_pylist() == [5]


async def test_two_jobs_at_once_add_each_event_once(store: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_EVENTS", 4)
    log = Log(two_partitions(8), size=1)
    await ingest(store).catch_up(Log([event(0)]), plenty)  # the tables are there
    await asyncio.gather(*(ingest(store).catch_up(log, plenty) for _ in range(3)), return_exceptions=True)
    await ingest(store).catch_up(log, plenty)
    expected = sorted(f"{partition}-{number}" for partition in ("0", "1") for number in range(8))
    assert sorted(await ids(store)) == expected
    assert sorted(await ids(store, "parcel_scanned_items")) == sorted(expected * 2)


async def test_repeated_events_are_known_however_late(store: FaultyStore) -> None:
    """The same event again: in the same batch, in the next one, in another partition, much later."""
    first, again = event(0, event_id="same", at=NOW), event(1, event_id="same", at=NOW)
    await ingest(store).catch_up(Log([first, again, event(2)]), plenty)
    elsewhere = event(0, event_id="same", at=NOW, partition="1")
    applied, _ = await ingest(store).catch_up(Log([elsewhere]), plenty)
    assert (applied.rows.get("parcel_scanned"), applied.duplicates) == (0, 1)
    await ingest(store).catch_up(
        Log([event(number, at=NOW + timedelta(days=number)) for number in range(3, 9)]), plenty
    )
    applied, _ = await ingest(store).catch_up(Log([event(9, event_id="same", at=NOW)]), plenty)
    assert applied.duplicates == 1
    assert (await ids(store)).count("same") == 1
    assert (await ids(store, "parcel_scanned_items")).count("same") == 2


async def test_late_events_go_to_the_day_that_they_are_of(store: FaultyStore) -> None:
    await ingest(store).catch_up(Log([event(0)]), plenty)
    await ingest(store).catch_up(Log([event(1, at=NOW - timedelta(days=40))]), plenty)
    found = await rows(store, "parcel_scanned")
    assert found["event_day"].to_pylist() == [date(2026, 1, 5), date(2025, 11, 26)]


async def test_events_in_order_cost_no_read_of_what_is_there(
    store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    class Watched:
        def __init__(self) -> None:
            read.append("a query")

    await ingest(store).catch_up(Log([event(0)]), plenty)
    monkeypatch.setattr("deltalake.QueryBuilder", Watched)
    await ingest(store).catch_up(Log([event(1)]), plenty)
    assert not read


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("text", "the data is no object"),
        ({"scannedAt": "2026-01-05T00:00:00Z"}, "parcelId is missing"),
        (DATA | {"total": "1.0000000001"}, "total has more than 29 digits before the point or 9 behind it"),
        (DATA | {"scannedAt": "yesterday"}, "scannedAt is no time as RFC 3339 writes it"),
        (DATA | {"depot": {"city": 5}}, "depot.city is no text"),
        (DATA | {"items": "none"}, "items is no list"),
        (DATA | {"items": [{"sku": "a", "price": "1"}, {"sku": "b"}]}, "items 2: price is missing"),
        (DATA | {"items": [None]}, "items 1: is no object"),
        (DATA | {"stops": [{"floor": "x"}]}, "stops floor is no whole number of 64 bits"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_doesnt_fit_is_in_quarantine_whole(store: FaultyStore, data: Any, reason: str) -> None:
    applied, _ = await ingest(store).catch_up(Log([event(0), event(1, data), event(2)]), plenty)
    assert applied.quarantined == 1
    assert await ids(store) == ["0-0", "0-2"]
    assert set(await ids(store, "parcel_scanned_items")) == {"0-0", "0-2"}
    found = (await rows(store, "parcel_scanned", Layer.QUARANTINE)).to_struct_array().to_pylist()
    assert [(one["reason"], one["log_partition"], one["log_sequence"], one["event_id"]) for one in found] == [
        (reason, "0", 1, "0-1")
    ]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"[]", b'{"id":"x"}', b'{"a":1,"a":2}', b"[" * 100_000, b'{"id":"\\ud800"}', b"NaN"],
    ids=["empty", "cut", "no-utf8", "list", "no-event", "twice", "deep", "surrogate", "nan"],
)
async def test_what_is_no_event_is_in_quarantine(store: FaultyStore, body: bytes) -> None:
    applied, _ = await ingest(store).catch_up(Log([event(0, body=body), event(1)]), plenty)
    assert (applied.quarantined, await ids(store)) == (1, ["0-1"])
    assert (await rows(store, "unreadable", Layer.QUARANTINE))["log_sequence"].to_pylist() == [0]


async def test_events_that_nobody_keeps_are_passed_over_and_moves_are_noted(
    store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_EVENTS", 3)
    others = [event(number, kind="other.happened") for number in range(1, 6)]
    await ingest(store).catch_up(Log([event(0)]), plenty)
    await ingest(store).catch_up(Log([event(0), *others[:2]]), plenty)
    assert await ingest(store).positions(["0"], Applied()) == {"0": 0}
    await ingest(store).catch_up(Log([event(0), *others]), plenty)
    assert await ingest(store).positions(["0"], Applied()) == {"0": 5}
    assert await ids(store) == ["0-0"]


# Versions.


class More(Parcel):
    depth: int | None = None


class Breaking(Parcel):
    weight: str | None = None  # type: ignore[assignment]


async def test_fields_that_are_added_are_columns_that_older_rows_leave_empty(store: FaultyStore) -> None:
    await ingest(store).catch_up(Log([event(0)]), plenty)
    both = [SILVER, Silver("parcel.scanned", "1.1", More, ("items",))]
    newer = event(1, DATA | {"depth": 4}, version="1.1")
    await ingest(store, *both).catch_up(Log([event(0), newer, event(2)]), plenty)
    assert (await rows(store, "parcel_scanned"))["depth"].to_pylist() == [None, 4, None]
    assert (await rows(store, "parcel_scanned"))["event_version"].to_pylist() == ["1.0", "1.1", "1.0"]
    await ingest(store).catch_up(Log([event(3)]), plenty)  # the release before, which runs on beside it
    assert (await rows(store, "parcel_scanned"))["depth"].to_pylist() == [None, 4, None, None]


async def test_a_breaking_change_is_a_table_of_its_own(store: FaultyStore) -> None:
    with pytest.raises(WrongSilver, match=r"weight of parcel\.scanned changes its type"):
        lines_of([SILVER, Silver("parcel.scanned", "1.2", Breaking)])
    both = [SILVER, Silver("parcel.scanned", "2.0", Breaking)]
    newer = event(1, DATA | {"weight": "heavy"}, version="2.0")
    await ingest(store, *both).catch_up(Log([event(0), newer]), plenty)
    assert await ids(store) == ["0-0"]
    assert (await rows(store, "parcel_scanned_v2"))["weight"].to_pylist() == ["heavy"]


async def test_a_version_that_nobody_declared_is_in_quarantine(store: FaultyStore) -> None:
    await ingest(store).catch_up(Log([event(0), event(1, version="9.1")]), plenty)
    assert (await rows(store, "parcel_scanned", Layer.QUARANTINE))["reason"].to_pylist() == [
        "no version like '9.1' is declared"
    ]


@pytest.mark.parametrize(
    ("declared", "what"),
    [
        ([SILVER, Silver("parcel-scanned", "1.0", Parcel)], "is of parcel-scanned and of parcel.scanned"),
        ([Silver("parcel.scanned", "1.0", Parcel, ("depot",))], "takes a list of models"),
    ],
    ids=["names", "no-list"],
)
def test_a_declaration_that_cant_be_followed_is_refused(declared: list[Silver], what: str) -> None:
    with pytest.raises(WrongSilver, match=what):
        lines_of(declared)


# Tables that others have altered.


async def test_a_column_that_was_altered_holds_up_its_own_table_alone(store: FaultyStore, tmp_path: Path) -> None:
    await ingest(store).catch_up(Log([event(0)]), plenty)
    broken = tmp_path / "silver" / "other_happened"
    other = Silver("other.happened", "1.0", Parcel)
    schema = lines_of([SILVER])[0].root.schema()
    wrong = [schema.field(name) for name in schema.names if name != "total"]
    from arro3.core import DataType, Field, Schema

    DeltaTable.create(str(broken), Schema([*wrong, Field("total", DataType.string())]), partition_by=["event_day"])
    log = Log([event(0), event(1), event(2, kind="other.happened")])
    applied, _ = await ingest(store, SILVER, other).catch_up(log, plenty)
    assert "total is" in str(applied.failed["other_happened"])
    assert await ids(store) == ["0-0", "0-1"]


async def test_a_table_whose_rows_somebody_else_added_goes_on(store: FaultyStore) -> None:
    """A foreign commit beside ours neither moves a watermark nor stops one."""
    await ingest(store).catch_up(Log([event(0)]), plenty)
    table = await store.open(Layer.SILVER, "parcel_scanned")
    table.delete("event_id = '0-0'")
    await ingest(store).catch_up(Log([event(0), event(1)]), plenty)
    assert await ids(store) == ["0-1"]


async def test_nothing_to_do_makes_no_table(store: FaultyStore) -> None:
    await ingest(store).catch_up(Log([]), plenty)
    with pytest.raises(TableMissing):
        await store.open(Layer.QUARANTINE, "parcel_scanned")


# What nobody here wrote reads the tables.


async def test_foreign_readers_agree(store: FaultyStore, tmp_path: Path) -> None:
    """Polars reads the log and the files by itself, DuckDB the Arrow rows."""
    import duckdb
    import polars

    await ingest(store).catch_up(Log(two_partitions(4)), plenty)
    ours = await rows(store, "parcel_scanned")
    lazy = polars.scan_delta(str(tmp_path / "silver" / "parcel_scanned")).sort("log_partition", "log_sequence")
    frame = lazy.select(ours.column_names).collect()
    assert frame["total"].to_list() == ours["total"].to_pylist()
    assert frame["scanned_at"].to_list() == ours["scanned_at"].to_pylist()
    assert frame["event_id"].to_list() == ours["event_id"].to_pylist()
    with duckdb.connect() as connection:
        connection.register("parcels", ours)
        total = connection.execute("select sum(total), count(*) from parcels").fetchone()
    assert total == (Decimal("987654312098765431209876536.987654312"), 8)
