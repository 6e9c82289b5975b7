"""Rows are committed once: whoever commits, whatever gets lost, in whatever order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from arro3.core import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.lake.tables import (
    Advance,
    CommitConflict,
    Committer,
    LakeUnavailable,
    Layer,
    Retention,
    WatermarkMoved,
    maintain,
)
from shared.lake.tables import (
    committer as module,
)
from tests.scale import SCALE
from tests.unit.shared.lake.tables.log import SCHEMA, FaultyStore, batch, committer, no_sleep, rows_of, stored

ZERO, ONE = "events/0", "events/1"


@pytest.fixture
def store(tmp_path: Path) -> FaultyStore:
    return FaultyStore(tmp_path)


async def test_rows_and_watermarks_of_all_partitions_are_one_commit(store: FaultyStore) -> None:
    one = committer(store)
    rows = rows_of([(ZERO, 1), (ZERO, 2), (ONE, 1)])
    version = await one.append(rows, [Advance(ZERO, None, 2), Advance(ONE, None, 1)])
    assert version == 1
    assert await one.watermarks([ZERO, ONE, "events/2"]) == {ZERO: 2, ONE: 1, "events/2": None}
    assert await stored(store) == [(ZERO, 1), (ZERO, 2), (ONE, 1)]


async def test_no_rows_move_watermarks_too(store: FaultyStore) -> None:
    one = committer(store)
    await one.append(rows_of([]), [Advance(ZERO, None, 7)])
    assert await one.watermarks([ZERO]) == {ZERO: 7}
    assert await stored(store) == []


@pytest.mark.parametrize("fault", ["before", "after"])
async def test_a_commit_whose_answer_is_lost_is_done_once(store: FaultyStore, fault: str) -> None:
    one = committer(store)
    await one.append(*batch(ZERO, None, 3))
    store.faults = [fault, fault]
    assert await one.append(*batch(ZERO, 3, 2)) == 2
    assert await stored(store) == [(ZERO, number) for number in range(1, 6)]


async def test_a_store_that_stays_down_is_told_and_found_out_later(store: FaultyStore) -> None:
    one = committer(store)
    await one.append(*batch(ZERO, None, 1))
    store.faults = ["before"] * 20
    with pytest.raises(LakeUnavailable, match="broke before"):
        await one.append(*batch(ZERO, 1, 1))
    store.faults = []
    await one.append(*batch(ZERO, 1, 1))
    assert await stored(store) == [(ZERO, 1), (ZERO, 2)]


async def test_a_commit_that_was_cancelled_may_be_done_and_is_found(store: FaultyStore) -> None:
    one = committer(store)
    await one.append(*batch(ZERO, None, 1))
    task = asyncio.ensure_future(one.append(*batch(ZERO, 1, 1)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await one.append(*batch(ZERO, 1, 1))
    assert await stored(store) == [(ZERO, 1), (ZERO, 2)]


async def test_a_zombie_is_refused(store: FaultyStore) -> None:
    zombie, other = committer(store), committer(store)
    await zombie.append(*batch(ZERO, None, 1))
    await other.append(*batch(ZERO, 1, 1))
    with pytest.raises(WatermarkMoved) as moved:
        await zombie.append(*batch(ZERO, 1, 2))
    assert moved.value.stored == {ZERO: 2}
    assert await stored(store) == [(ZERO, 1), (ZERO, 2)]


async def test_of_two_at_once_one_is_refused_though_they_have_other_partitions(store: FaultyStore) -> None:
    """What they know of the table, such as which events it has, is true of both or of one alone."""
    first, second = committer(store), committer(store)
    await asyncio.gather(first.table(), second.table())
    await first.append(*batch(ZERO, None, 1))
    table = await second.table()
    with pytest.raises(CommitConflict, match="transaction"):
        await store.run(Layer.SILVER, "events", module._write, table, rows_of([]), {module.COUNT: 1, ONE: 1})


async def test_a_handle_that_is_older_than_the_log_is_opened_anew(store: FaultyStore, tmp_path: Path) -> None:
    old, one = committer(store), committer(store)
    await old.append(*batch(ZERO, None, 1))
    for number in range(1, 6):
        await one.append(*batch(ZERO, number, 1))
    table = await store.open(Layer.SILVER, "events")
    table.create_checkpoint()
    for file in sorted((tmp_path / "silver" / "events" / "_delta_log").glob("*.json"))[:-1]:
        file.unlink()  # as a clean-up does with what is expired
    with pytest.raises(WatermarkMoved):
        await old.append(*batch(ZERO, 1, 2))
    await old.append(*batch(ZERO, 6, 1))
    assert await stored(store) == [(ZERO, number) for number in range(1, 8)]


async def test_maintenance_beside_a_committer_opens_no_way_round_the_fence(store: FaultyStore) -> None:
    one, other = committer(store), committer(store)
    for number in range(4):
        await one.append(*batch(ZERO, number or None, 1))
    await other.table()
    await one.append(*batch(ZERO, 4, 1))
    done = await maintain(store, Layer.SILVER, "events", Retention())
    assert (done.added, done.removed, done.failed) == (1, 5, ())
    with pytest.raises(WatermarkMoved):
        await other.append(*batch(ZERO, 4, 2))
    await one.append(*batch(ZERO, 5, 1))
    assert await stored(store) == [(ZERO, number) for number in range(1, 7)]


@pytest.mark.parametrize(("after", "upto"), [(5, 5), (5, 4), (None, -1), (0, 2**63)])
def test_a_watermark_only_moves_forward(after: int | None, upto: int) -> None:
    with pytest.raises(ValueError, match="can't go from"):
        Advance(ZERO, after, upto)


async def test_rows_without_a_watermark_are_refused(store: FaultyStore) -> None:
    with pytest.raises(ValueError, match="with the watermarks"):
        await committer(store).append(rows_of([(ZERO, 1)]), [])


# A history: committers that plan at one moment and commit at another, restarts, faults, maintenance.

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("plan"), st.integers(0, 1), st.sampled_from([ZERO, ONE]), st.integers(1, 3)),
        st.tuples(st.just("commit"), st.integers(0, 1), st.sampled_from(["", "before", "after"]), st.just(0)),
        st.tuples(st.just("restart"), st.integers(0, 1), st.just(""), st.just(0)),
        st.tuples(st.just("maintain"), st.just(0), st.just(""), st.just(0)),
    ),
    min_size=6,
    max_size=16,
)

Action = tuple[str, int, str, int]


async def run_history(folder: Path, actions: Sequence[Action], kind: type[Committer] = Committer) -> None:
    """Play a history; raises AssertionError where an event is in the table twice, or not at all."""
    store = FaultyStore(folder)

    def fresh() -> Committer:
        return kind(store, Layer.SILVER, "events", SCHEMA, sleep=no_sleep, random=lambda: 0.0)

    writers = [fresh(), fresh()]
    plans: list[tuple[Table, list[Advance]] | None] = [None, None]
    await writers[0].table()
    for action, writer, text, count in actions:
        if action == "plan":
            after = (await writers[writer].watermarks([text]))[text]
            plans[writer] = batch(text, after, count)
        elif action == "commit" and (plan := plans[writer]) is not None:
            store.faults = [text]
            try:
                await writers[writer].append(*plan)
            except WatermarkMoved:
                writers[writer] = fresh()
        elif action == "restart":
            writers[writer] = fresh()
        elif action == "maintain":
            await maintain(store, Layer.SILVER, "events", Retention())
    last = fresh()
    marks = await last.watermarks([ZERO, ONE])
    expected = [(partition, number) for partition in (ZERO, ONE) for number in range(1, (marks[partition] or 0) + 1)]
    assert await stored(store) == expected


@settings(max_examples=max(1, round(8 * SCALE)))
@given(ACTIONS)
def test_no_history_loses_or_doubles_an_event(actions: list[Action]) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(run_history(Path(folder), actions))


class TrustsItsHandle(Committer):
    """The library's fence alone, with watermarks that were read once: the first hole."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._read: dict[str, int | None] = {}

    async def watermarks(self, app_ids: Sequence[str]) -> dict[str, int | None]:
        asked = [one for one in app_ids if one != module.COUNT]
        for app_id in asked:
            if app_id not in self._read:
                self._read |= await super().watermarks([app_id])
        return {app_id: self._read.get(app_id) for app_id in app_ids}

    async def _try(self, rows: Table, advances: Sequence[Advance]) -> int:
        table = await self.table()
        stored = await self.watermarks([one.app_id for one in advances])
        if any(stored[one.app_id] != one.after for one in advances):
            raise WatermarkMoved("silver.events", stored)
        transactions = {one.app_id: one.upto for one in advances}
        await self._store.run(self._layer, self._name, module._write, table, rows, transactions)
        self._read |= transactions
        return table.version()


class ComparesNothing(Committer):
    """The library's fence alone, with numbers that nobody compares: the second hole."""

    async def _try(self, rows: Table, advances: Sequence[Advance]) -> int:
        table = await self.table()
        count = (await self.watermarks([module.COUNT]))[module.COUNT]
        transactions = {module.COUNT: (count or 0) + 1, **{one.app_id: one.upto for one in advances}}
        await self._store.run(self._layer, self._name, module._write, table, rows, transactions)
        return table.version()


HOLE_ONE: list[Action] = [
    ("plan", 1, ZERO, 2),
    ("plan", 0, ZERO, 2),
    ("commit", 0, "", 0),
    ("plan", 1, ONE, 1),
    ("commit", 1, "", 0),
    ("plan", 1, ZERO, 2),
    ("commit", 1, "", 0),
]
HOLE_TWO: list[Action] = [
    ("plan", 0, ZERO, 3),
    ("plan", 1, ZERO, 1),
    ("commit", 0, "", 0),
    ("restart", 1, "", 0),
    ("commit", 1, "", 0),
]
ANSWER_LOST: list[Action] = [("plan", 0, ZERO, 2), ("commit", 0, "after", 0)]


@pytest.mark.parametrize(
    ("history", "mutant"),
    [(HOLE_ONE, TrustsItsHandle), (HOLE_TWO, ComparesNothing), (ANSWER_LOST, ComparesNothing)],
    ids=["hole-one", "hole-two", "answer-lost"],
)
async def test_the_holes_of_the_library_are_found_and_closed(
    tmp_path: Path, history: list[Action], mutant: type[Committer]
) -> None:
    with pytest.raises(AssertionError):
        await run_history(tmp_path / "mutant", history, mutant)
    await run_history(tmp_path / "ours", history)
