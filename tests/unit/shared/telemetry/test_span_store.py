"""The store of spans: found by any id, bounded, and never a message's failure."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from opentelemetry.trace import SpanKind

from shared.telemetry import TRACING, Name, RecordedSpan, span
from shared.telemetry.background import BackgroundSink
from shared.telemetry.span_store import SpanStore, SpanWriter, store_sink
from shared.telemetry.spans import Journey
from tests.scale import SCALE
from tests.unit.traced import traced

MESSAGE = "9f0e2c6a-8f8e-4a52-9b5d-3d1a1a4a1b10"


def spans(count: int, *, first: int = 1, message: str = "m-{n}", key: str = "k") -> list[RecordedSpan]:
    """Ended spans, each a trace of its own."""
    journey = Journey((), sampled=True)
    made = []
    for n in range(first, first + count):
        one = RecordedSpan(
            "process normal",
            journey,
            trace_id=n << 96 | n,
            span_id=n,
            parent_id=0,
            kind=SpanKind.CONSUMER,
            attributes={Name.MESSAGE_ID: message.format(n=n), Name.KEY: key, Name.OUTCOME: "done"},
            started_at=n,
        )
        one.end(n + 5)
        made.append(one)
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a store is to be."""
    return tmp_path / "spans.sqlite"


@pytest.fixture
def store(file: Path) -> Iterator[SpanStore]:
    """An open one."""
    with closing(SpanStore(file, most=1_000)) as opened:
        yield opened


def test_a_span_is_read_as_it_was_recorded(store: SpanStore) -> None:
    """With its attributes, events, links, error and place."""
    with traced() as kept:
        with pytest.raises(OSError, match="no"), span("one", kind=SpanKind.PRODUCER, attributes={Name.KEY: "k-1"}):
            raise OSError("no")
        first = kept.named("one")
        with span("two", links=[]) as two:
            two.add_link(first.get_span_context())
    store.put(kept.spans, "app/1/2")
    (found,) = store.find("k-1", most=5)
    one, two_read = store.trace(found.trace, most=10)
    assert (one.name, one.kind, one.problem, one.process) == ("one", "producer", "OSError: no", "app/1/2")
    assert one.attributes == {Name.KEY: "k-1"}
    assert one.events[0]["attributes"]["exception.type"] == "OSError"
    assert (one.started, one.ended, one.parent) == (first.started_at, first.ended_at, "")
    assert two_read.name == "two"
    assert two_read.links == [(one.trace, one.span)]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("m-7", ["message"]),
        ("m-70", ["message"]),
        ("m-", ["message"] * 5),
        ("k", ["key"] * 5),
        (f"{7:08x}", ["trace"]),
        (f"{7 << 96 | 7:032x}", ["trace"]),
        ("nothing", []),
        ("%", []),
        ("m-7'; DROP TABLE spans; --", []),
        ("\U0010ffff", []),
    ],
)
def test_a_trace_is_found_by_any_id_and_its_beginning(store: SpanStore, text: str, kinds: Sequence[str]) -> None:
    """What is exactly the text goes before what only begins with it, and what is bounded stays so."""
    store.put(spans(100), "p")
    assert [one.kind for one in store.find(text, most=5)] == kinds


def test_the_store_is_bounded(store: SpanStore, file: Path) -> None:
    """The oldest go first, with the names and links by which they were found."""
    for first in range(1, 4_001, 200):
        store.put(spans(200, first=first), "p")
    with closing(sqlite3.connect(file)) as database:
        (count, oldest) = database.execute("SELECT COUNT(*), MIN(id) FROM spans").fetchone()
        assert count <= 1_000
        assert oldest > 2_950
        assert database.execute("SELECT COUNT(*) FROM names").fetchone()[0] <= 2 * 1_000
    assert store.find("m-1", most=3) == []
    assert store.find("m-4000", most=3) != []


def test_several_processes_write_to_one_file(file: Path) -> None:
    """Each of them everything."""
    with closing(SpanStore(file)) as one, closing(SpanStore(file)) as two:
        for n in range(1, 40, 2):
            one.put(spans(1, first=n), "one")
            two.put(spans(1, first=n + 1), "two")
        assert [len(one.find(f"m-{n}", most=3)) for n in range(1, 41)] == [1] * 40


def test_a_new_file_is_made_by_several_at_once(file: Path) -> None:
    """Who comes second waits."""

    def open_and_write(number: int) -> None:
        with closing(SpanStore(file)) as store:
            store.put(spans(1, first=number), "p")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(open_and_write, range(1, 9)))
    with closing(SpanStore(file, read_only=True)) as read:
        assert len(read.find("k", most=20)) == 8


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + os.urandom(4_096)])
def test_a_corrupt_file_is_put_aside(file: Path, content: bytes) -> None:
    """And the next write begins anew."""
    file.write_bytes(content)
    writer = SpanWriter(file, most=1_000, process="p")
    with pytest.raises(sqlite3.Error):
        writer.write(spans(1))
    writer.write(spans(1, first=2))
    writer.close()
    assert file.with_suffix(".corrupt").read_bytes() == content
    with closing(SpanStore(file, read_only=True)) as read:
        assert len(read.find("m-2", most=3)) == 1


def test_what_cannot_be_written_is_reported_and_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder in the place of the file, as a full disk would be: the sink goes on, and says so once."""
    (tmp_path / "spans.sqlite").mkdir()
    sink = store_sink(tmp_path / "spans.sqlite", most=1_000, process="p")
    with caplog.at_level("WARNING", "sluice"):
        for one in spans(3):
            sink.take(one)
        sink.close(5)
    (line,) = [one for one in caplog.records if one.message.startswith("spans lost")]
    assert "unable to open" in str(getattr(line, "fields", ""))


def test_a_sink_that_hangs_ends_in_time() -> None:
    """The end of the process waits for it only so long."""
    hanging, release = threading.Event(), threading.Event()

    def hang(_: Sequence[RecordedSpan]) -> None:
        hanging.set()
        release.wait(60)

    sink = BackgroundSink("stuck", hang, lambda: None, every=0.01)
    TRACING.start(sink)
    with span("one"):
        pass
    assert hanging.wait(10)
    began = time.monotonic()
    TRACING.stop(0.2)
    assert time.monotonic() - began < 5
    release.set()


def test_one_of_very_many_is_found_at_once(tmp_path: Path) -> None:
    """By the indexes alone, whichever id is asked for."""
    count = int(20_000 * SCALE * (5 if SCALE > 1 else 1))
    with closing(SpanStore(tmp_path / "s", most=2_000_000)) as store:
        for first in range(1, count, 2_000):
            store.put(spans(2_000, first=first, key="k-{n}"), "p")
        with closing(sqlite3.connect(tmp_path / "s")) as database:
            for query in (
                "SELECT value FROM names WHERE value >= 'm-77' AND value < 'm-78' ORDER BY newest DESC LIMIT 3",
                "SELECT * FROM spans WHERE trace = 'x'",
                "SELECT trace FROM spans WHERE trace >= 'x' AND trace < 'y' GROUP BY trace LIMIT 3",
                "SELECT * FROM spans WHERE id IN (SELECT span FROM links WHERE trace = 'x')",
            ):
                plan = " ".join(row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {query}"))
                assert "SCAN" not in plan, (query, plan)
        began = time.process_time()
        (found,) = store.find(f"m-{count // 2}", most=3)
        assert store.trace(found.trace, most=10)
        assert time.process_time() - began < 1
