"""From messages to changes: positions, what a snapshot has already, and bytes that don't follow each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.postgresql import ChangeRecord, ChangeStream, Database, MalformedOutput, Position, Progress, Visibility
from shared.postgresql.progress import TableRead
from shared.postgresql.stream import BEGINNING
from tests.integration.postgresql.day import assert_same

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text())
MESSAGES = [(one["lsn"], bytes.fromhex(one["data"])) for one in RECORDED["messages"]]
DATABASE = Database(source="crm", name="postgres", keys={"public.customers": ("id",), "public.notes": ("id",)})


def changes(after: Position = BEGINNING, database: Database = DATABASE) -> list[ChangeRecord]:
    """What the recorded messages say, behind a position."""
    stream = ChangeStream(database, after)
    return [change for lsn, data in MESSAGES for change in stream.feed(lsn, data)]


def test_reading_on_gives_what_comes_after_in_the_same_words() -> None:
    """Wherever it ended, also in the middle of a transaction."""
    every = changes()
    assert [one.position for one in every] == sorted({one.position for one in every})
    for number, one in enumerate(every):
        assert changes(one.position) == every[number + 1 :]


def test_a_table_that_is_not_captured_is_passed_over() -> None:
    """It may be published for others."""
    only = Database(source="crm", name="postgres", keys={"public.notes": ("id",)})
    assert {one.table for one in changes(database=only)} == {"public.notes", ""}


def test_what_a_snapshot_has_is_passed_over_but_for_messages() -> None:
    """A snapshot of everything leaves what was said to the log itself."""
    seen = Visibility(xmin=2**31, xmax=2**31, running=frozenset(), lsn=2**63)
    database = Database(source="crm", name="postgres", keys=DATABASE.keys, seen=dict.fromkeys(DATABASE.keys, seen))
    assert {one.value["op"] for one in changes(database=database)} == {"m"}


@given(st.integers(2, 2**40), st.data())
def test_visibility_is_that_of_the_server(xmax: int, data: st.DataObject) -> None:
    """`pg_visible_in_snapshot`, from a number without its epoch."""
    xmin = data.draw(st.integers(max(1, xmax - 1_000), xmax))
    running = frozenset(data.draw(st.sets(st.integers(xmin, xmax), max_size=5))) - {xmax}
    xid = data.draw(st.integers(max(1, xmax - 2_000), xmax + 2_000))
    seen = Visibility(xmin=xmin, xmax=xmax, running=running, lsn=100)
    assert seen.sees(xid & 0xFFFF_FFFF, 99) == (xid < xmin or (xid < xmax and xid not in running))
    assert not seen.sees(xid & 0xFFFF_FFFF, 100)


def test_visibility_reads_the_server_s_text() -> None:
    """`xmin:xmax:running`."""
    assert Visibility.of("10:20:10,14", 5) == Visibility(xmin=10, xmax=20, running=frozenset({10, 14}), lsn=5)
    assert Visibility.of("10:10:", 5).running == frozenset()


def test_rows_that_nothing_describes_are_refused() -> None:
    """A row before its relation, and one outside of a transaction."""
    kinds = [data[:1] for _, data in MESSAGES]
    row = MESSAGES[kinds.index(b"I")]
    with pytest.raises(MalformedOutput, match="wasn't described"):
        list(ChangeStream(DATABASE).feed(*row))
    stream = ChangeStream(DATABASE)
    list(stream.feed(*MESSAGES[kinds.index(b"R")]))
    with pytest.raises(MalformedOutput, match="outside of a transaction"):
        list(stream.feed(*row))


def test_progress_is_kept_as_a_row() -> None:
    """What is written is read again."""
    read = TableRead(snapshot="10:20:", lsn=5, at=1_800_000_000_000_000, last=("1", "a"), rows=7)
    progress = Progress(begun=1, position=Position(2**40, 3), upto=2**63, tables={"public.customers": read})
    assert Progress.of(progress.columns()) == progress
    assert Progress.of({}) == Progress()


def test_debezium_tells_the_same_of_the_same_day() -> None:
    """The recorded messages of a day, and what the Debezium Engine made of it: the same changes in the same order."""
    day = json.loads((Path(__file__).parent / "day.json").read_text())
    keys = {"public.customers": ("id",), "public.notes": ("id",), "public.kinds": ("part", "id")}
    types = {16_384: ("enum", 0)}
    stream = ChangeStream(Database(source="crm", name="postgres", keys=keys, types=types))
    assert_same(
        [change for lsn, data in day["messages"] for change in stream.feed(lsn, bytes.fromhex(data))], day["debezium"]
    )
    assert {one["value"]["op"] for one in day["debezium"]} == set("cudtm")
