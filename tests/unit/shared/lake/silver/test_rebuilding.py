"""Tables are built anew from the log, and what was in quarantine comes back once it fits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from arro3.core import Table

from shared.lake.silver import RebuildWouldLose, SilverIngest, SilverLine, SilverRebuild, lines_of
from shared.lake.tables import IncompatibleSchema, LakeError, LakeUnavailable, Layer, Retention
from shared.messages import Silver
from shared.streams import StreamEvent
from tests.unit.shared.lake.silver.parcels import DATA, NOW, SILVER, Log, Parcel, event, ingest, plenty, rows
from tests.unit.shared.lake.tables.log import FaultyStore


class Mended(Parcel):
    """It needs no id any more."""

    parcel_id: str | None = None  # type: ignore[assignment]


class Changed(Parcel):
    """A column of another type: this would have to be a new line."""

    total: str = "0"  # type: ignore[assignment]


MENDED = Silver("parcel.scanned", "1.0", Mended, ("items",))
CHANGED = Silver("parcel.scanned", "1.0", Changed, ("items",))
NAMELESS = event(2, DATA | {"parcelId": None})


@pytest.fixture
def store(tmp_path: Path) -> FaultyStore:
    return FaultyStore(tmp_path)


def rebuild(store: FaultyStore, *silvers: Silver) -> SilverRebuild:
    def make(lines: Sequence[SilverLine], prefix: str) -> SilverIngest:
        return SilverIngest(
            store, lines, log="events", retention=Retention(), now=lambda: NOW + timedelta(hours=1), prefix=prefix
        )

    return SilverRebuild(store, lines_of(silvers or [SILVER]), make)


async def ids(store: FaultyStore, name: str = "parcel_scanned") -> list[str]:
    return [str(one) for one in (await rows(store, name))["event_id"].to_pylist()]


def log() -> list[StreamEvent]:
    return [event(0), event(1), NAMELESS, event(3), event(0, partition="1")]


async def test_a_rebuild_gives_the_same_rows(store: FaultyStore) -> None:
    await ingest(store).catch_up(Log(log()), plenty)
    names = [("parcel_scanned", Layer.SILVER), ("parcel_scanned_items", Layer.SILVER)]
    before = [(await rows(store, *one)).to_struct_array().to_pylist() for one in names]
    await rebuild(store).run(Log(log()))
    assert [(await rows(store, *one)).to_struct_array().to_pylist() for one in names] == before
    assert (await rows(store, "parcel_scanned", Layer.QUARANTINE))["log_sequence"].to_pylist() == [2]
    await ingest(store).catch_up(Log([*log(), event(4)]), plenty)  # and goes on where it was
    assert await ids(store) == ["0-0", "0-1", "0-3", "0-4", "1-0"]


async def test_what_was_in_quarantine_comes_back_once_it_fits(store: FaultyStore) -> None:
    await ingest(store).catch_up(Log(log()), plenty)
    await rebuild(store, MENDED).run(Log(log()))
    assert await ids(store) == ["0-0", "0-1", "0-2", "0-3", "1-0"]
    assert (await rows(store, "parcel_scanned"))["parcel_id"].to_pylist() == ["p1", "p1", None, "p1", "p1"]
    assert (await rows(store, "parcel_scanned", Layer.QUARANTINE)).num_rows == 0


async def test_a_type_that_changed_is_refused_before_anything_is_replaced(store: FaultyStore) -> None:
    await ingest(store).catch_up(Log(log()), plenty)
    with pytest.raises(IncompatibleSchema, match="total is"):
        await rebuild(store, CHANGED).run(Log(log()))
    assert len(await ids(store)) == 4


async def test_readers_see_the_old_table_or_the_new_one(store: FaultyStore) -> None:
    await ingest(store).catch_up(Log(log()), plenty)
    pinned = await store.open(Layer.SILVER, "parcel_scanned")
    await rebuild(store).run(Log(log()))
    assert pinned.count() == 4


async def test_events_that_come_meanwhile_are_in_the_new_table(store: FaultyStore) -> None:
    await ingest(store).catch_up(Log(log()), plenty)

    class Growing(Log):
        """The live table gets an event as soon as the rebuild has read everything."""

        grown = 0

        async def partitions(self) -> list[str]:
            if self.grown < 3:
                self.grown += 1
                if self.grown > 1:
                    self.events.append(event(3 + self.grown))
                    await ingest(store).catch_up(Log(self.events), plenty)
            return await super().partitions()

    await rebuild(store).run(Growing(log()))
    await ingest(store).catch_up(Log([*log(), event(5), event(6)]), plenty)
    assert await ids(store) == ["0-0", "0-1", "0-3", "0-5", "0-6", "1-0"]


async def test_a_log_that_has_less_replaces_nothing(store: FaultyStore) -> None:
    await ingest(store).catch_up(Log(log()), plenty)
    short = Log([one for one in log() if one.sequence_number > 0])
    with pytest.raises(RebuildWouldLose, match="the log has 2 events of the 4 in the table"):
        await rebuild(store).run(short)
    assert len(await ids(store)) == 4
    await rebuild(store).run(short, force=True)
    assert len(await ids(store)) == 2


@pytest.mark.parametrize("step", range(12))
async def test_a_rebuild_that_dies_anywhere_is_done_by_the_next(
    store: FaultyStore, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr("shared.lake.tables.committer._TRIES", 1)
    await ingest(store).catch_up(Log(log()), plenty)
    store.faults = [*[""] * step, "after"]
    try:
        await rebuild(store).run(Log(log()))
    except LakeUnavailable:
        await ingest(store).catch_up(Log([*log(), event(4)]), plenty)
    store.faults = []
    await rebuild(store).run(Log([*log(), event(4)]))
    assert await ids(store) == ["0-0", "0-1", "0-3", "0-4", "1-0"]
    assert sorted(await ids(store, "parcel_scanned_items")) == sorted(["0-0", "0-1", "0-3", "0-4", "1-0"] * 2)


async def test_a_table_that_is_set_back_under_a_job_stops_it(store: FaultyStore) -> None:
    """Else it would go on behind what is gone."""
    job = ingest(store)
    await job.catch_up(Log(log()), plenty)
    table = job.committer(lines_of([SILVER])[0].root)
    marks = await table.watermarks(["events/0", "events/1"])
    await table.replace(rows_of_nothing, {"events/0": 0, "events/1": 0}, after=marks)
    with pytest.raises(LakeError, match="went back"):
        await job.catch_up(Log([*log(), event(4)]), plenty)
    await ingest(store).catch_up(Log([*log(), event(4)]), plenty)
    assert await ids(store) == ["0-1", "0-3", "0-4"]  # behind the watermark to which it was set back


def rows_of_nothing() -> Table:
    return Table.from_batches([], schema=lines_of([SILVER])[0].root.schema())


@pytest.mark.parametrize("force", [False, True])
async def test_a_rare_events_table_is_rebuilt_wherever_batches_ended(
    store: FaultyStore, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    """Events of others come behind its last row, and its watermark stands among them."""
    monkeypatch.setattr("shared.lake.silver.ingest.BATCH_EVENTS", 6)
    others = {number: event(number, kind="other.thing") for number in (1, 2, 3, 4, 6, 7, 8)}
    events = [others.get(number) or event(number) for number in range(9)]
    for end in (1, 8, 9):
        await ingest(store).catch_up(Log(events[:end]), plenty)
    before = await ids(store)
    await rebuild(store).run(Log(events), force=force)
    assert await ids(store) == before
