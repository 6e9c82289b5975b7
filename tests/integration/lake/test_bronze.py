"""Bronze on a real storage: written by batches, read in order and once, whatever happened between the two."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from azure.storage.blob.aio import ContainerClient

from local.azurite import AzuriteEndpoints
from shared.blobs import WholeFiles
from shared.lake.bronze import (
    BronzeFiles,
    BronzeReader,
    BronzeUnavailable,
    BronzeWriter,
    CorruptFile,
    Gap,
    MissingEvents,
    compact,
    completeness,
    erased_event,
    rewrite,
    sweep,
)
from shared.lake.bronze.encoding import encode
from shared.streams import Annotations, StreamEvent
from tests.unit.memory import MemoryLog

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def event(number: int, *, seconds: float | None = None, body: bytes = b"") -> StreamEvent:
    """An event of partition 0, one a second unless it says when."""
    beside = Annotations(enqueued=NOON + timedelta(seconds=number if seconds is None else seconds), system={})
    return StreamEvent(
        body=body or b"%d" % number,
        partition="0",
        offset=str(number),
        sequence_number=number,
        annotations=beside,
    )


def events(first: int, last: int, **options: Any) -> list[StreamEvent]:
    """Those with the numbers between the two."""
    return [event(number, **options) for number in range(first, last + 1)]


class Bronze:
    """A container of its own, written and read by two who know nothing of each other."""

    def __init__(self, container: ContainerClient) -> None:
        self.container = container
        self.files = BronzeFiles(WholeFiles(container), "ns/events")
        self.log = MemoryLog()
        self.writer = self.instance()
        self.now = NOON + timedelta(days=1)

    def instance(self, **options: Any) -> BronzeWriter:
        """Another writer."""
        return BronzeWriter(self.files, self.log.identity, **options)

    def reader(self) -> BronzeReader:
        """Another reader, which remembers nothing."""
        return BronzeReader(self.files)

    async def read(self, found: list[int], after: int = -1) -> None:
        """Tell what is read, as it comes."""
        async for chunk in self.reader().read("0", after=after):
            found += [one.sequence_number for one in chunk]

    async def numbers(self, after: int = -1, **options: Any) -> list[int]:
        """What is read, by its numbers."""
        chunks = [chunk async for chunk in self.reader().read("0", after=after, **options)]
        for chunk in chunks:
            for earlier, later in pairwise(chunk):
                assert later.sequence_number == earlier.sequence_number + 1
        return [one.sequence_number for chunk in chunks for one in chunk]

    async def names(self) -> list[str]:
        """Of its blobs, within the partition."""
        return sorted([name.removeprefix("ns/events/0/") async for name in self.container.list_blob_names()])

    async def capture(self, batch: Sequence[StreamEvent]) -> str:
        """Write a file as Event Hubs does: no metadata."""
        first = batch[0].annotations
        assert first is not None
        name = f"ns/events/0/{first.enqueued:%Y/%m/%d/%H/%M/%S}.avro"
        await self.container.upload_blob(name, encode(batch))
        return name

    async def compacted(self, **options: Any) -> tuple[int, bool]:
        """A run of the job, a day after everything was written."""
        later = datetime.now(UTC) + timedelta(days=1)
        return await compact(self.files, self.reader(), now=lambda: later, time_left=lambda: 9.0, **options)


@pytest.fixture
async def bronze(azurite: AzuriteEndpoints) -> AsyncIterator[Bronze]:
    """Whose container is empty."""
    async with ContainerClient.from_connection_string(azurite.connection_string, f"bronze-{uuid4().hex}") as container:
        await container.create_container()
        yield Bronze(container)


async def test_what_was_written_is_read_in_order(bronze: Bronze) -> None:
    """From any event on; nothing is there before the first, and that is no error. Files lie where Capture puts them."""
    await bronze.container.delete_container()
    assert await bronze.numbers() == []
    assert await bronze.reader().partitions() == []
    for first in (0, 10, 20):
        await bronze.writer.write(events(first, first + 9))
    assert await bronze.names() == [f"2026/11/30/12/00/{second}.avro" for second in ("00", "10", "20")]
    assert await bronze.numbers() == list(range(30))
    for after in range(-1, 30):
        assert await bronze.numbers(after) == list(range(after + 1, 30))
    assert await bronze.reader().partitions() == ["0"]
    whole = [one async for chunk in bronze.reader().read("0") for one in chunk]
    assert whole == events(0, 29)


async def test_a_batch_that_comes_again_changes_nothing(bronze: Bronze) -> None:
    """The same, a longer one, a shorter one, one that overlaps; by another instance too, and over a day's end."""
    await bronze.writer.write(events(0, 9))
    await bronze.writer.write(events(0, 9))
    await bronze.instance().write(events(0, 5))
    assert len(await bronze.names()) == 1
    await bronze.instance().write(events(0, 14))
    assert len(await bronze.names()) == 1
    await bronze.instance().write(events(5, 19))
    night = [event(number, seconds=86_400 + number) for number in range(15, 26)]
    await bronze.instance().write(night)
    assert await bronze.numbers() == list(range(26))
    assert await bronze.numbers(16) == list(range(17, 26))
    for _ in range(26):
        bronze.log.append(b"")
    (found,) = await completeness(bronze.reader(), bronze.log, verify=True)
    assert (found.first, found.last, found.events, found.overlaps, found.behind) == (0, 25, 26, 15, 0)
    assert found.is_whole


async def test_batches_of_one_second_have_files_of_their_own(bronze: Bronze) -> None:
    """A burst is faster than the names that Capture has."""
    for first in range(0, 50, 10):
        await bronze.writer.write(events(first, first + 9, seconds=1))
        await bronze.writer.write(events(first, first + 9, seconds=1))
    assert len(await bronze.names()) == 5
    assert await bronze.numbers(3) == list(range(4, 50))


async def test_a_large_batch_is_cut_into_files(bronze: Bronze) -> None:
    """Each of one event at least, however large."""
    writer = bronze.instance(largest=2_500_000)
    await writer.write([event(number, body=bytes(1_000_000)) for number in range(5)])
    assert len(await bronze.names()) == 3
    assert await bronze.numbers() == list(range(5))
    await writer.write([])
    await writer.write([StreamEvent(body=b"by hand", partition="", offset="", sequence_number=0)])
    assert len(await bronze.names()) == 3


async def test_a_gap_is_told_and_not_passed_over(bronze: Bronze) -> None:
    """Unless the reader says that it may; what is missing is in the report."""
    await bronze.writer.write(events(0, 9))
    await bronze.writer.write(events(15, 19))
    found: list[int] = []
    with pytest.raises(MissingEvents, match="partition 0: no file has the events 10 to 14"):
        await bronze.read(found)
    assert found == list(range(10))
    gaps: list[Gap] = []
    assert await bronze.numbers(on_gap=gaps.append) == [*range(10), *range(15, 20)]
    assert gaps == [Gap(partition="0", first=10, last=14)]
    for _ in range(23):
        bronze.log.append(b"")
    (report,) = await completeness(bronze.reader(), bronze.log)
    assert (report.gaps, report.behind, report.is_whole) == (gaps, 3, False)


async def test_files_of_capture_are_read_like_ours(bronze: Bronze) -> None:
    """Alone, and beside ours where the one went on after the other; from any event on, without reading all of them."""
    for first in range(0, 80, 10):
        await bronze.capture(events(first, first + 9))
    await bronze.container.upload_blob("ns/events/0/2026/11/30/12/59/00.avro", _empty())  # a window without events
    for after in (-1, 0, 9, 10, 44, 79):
        assert await bronze.numbers(after) == list(range(after + 1, 80))
    await bronze.writer.write(events(75, 89))
    assert await bronze.numbers() == list(range(90))
    assert await bronze.numbers(70) == list(range(71, 90))
    assert (await bronze.compacted()) == (0, False)
    for _ in range(90):
        bronze.log.append(b"")
    (report,) = await completeness(bronze.reader(), bronze.log)
    assert (report.first, report.last, report.overlaps, report.is_whole) == (0, 89, 5, True)


def _empty() -> bytes:
    import io

    import fastavro

    from shared.lake.bronze.records import SCHEMA

    file = io.BytesIO()
    fastavro.writer(file, fastavro.parse_schema(dict(SCHEMA)), [])
    return file.getvalue()


@pytest.mark.parametrize("by_capture", [False, True])
async def test_nothing_of_a_wrong_file_is_given(bronze: Bronze, by_capture: bool) -> None:
    """Cut, changed, or another's: named, listed, and what came before it was read. Ours are known by their MD5 too."""
    await bronze.writer.write(events(0, 9))
    if by_capture:
        name = await bronze.capture(events(10, 2_009))
    else:
        await bronze.writer.write(events(10, 2_009))
        name = "ns/events/0/2026/11/30/12/00/10.avro"
    blob = bronze.container.get_blob_client(name)
    whole = await (await blob.download_blob()).readall()
    metadata = (await blob.get_blob_properties()).metadata
    wrongs = [whole[: len(whole) // 2], b"", encode(events(10, 19)) if not by_capture else b"no Avro"]
    for wrong in wrongs:
        await blob.upload_blob(wrong, overwrite=True, metadata=metadata)
        found: list[int] = []
        with pytest.raises(CorruptFile, match=r"10\.avro") as refused:
            await bronze.read(found, after=3)
        assert refused.value.name == name
        assert found == list(range(4, 10))
        (report,) = await completeness(bronze.reader(), bronze.log, verify=True)
        assert [one.name for one in report.corrupt] == [name]
    await blob.upload_blob(whole, overwrite=True, metadata=metadata)
    assert len(await bronze.numbers()) == 2_010


async def test_small_files_of_an_hour_become_one(bronze: Bronze) -> None:
    """Also where the job died after it wrote and before it deleted; an hour that goes on is left alone."""
    for first in range(0, 40, 5):
        await bronze.writer.write(events(first, first + 4))
    before = [one async for chunk in bronze.reader().read("0") for one in chunk]
    assert await bronze.compacted(largest=1) == (0, False)
    soon = datetime.now(UTC) + timedelta(hours=1)
    dying = Dying(WholeFiles(bronze.container), "ns/events")
    with pytest.raises(BronzeUnavailable):
        await compact(dying, BronzeReader(dying), now=lambda: soon, time_left=lambda: 9.0)
    assert len(await bronze.names()) == 8
    assert await bronze.numbers() == list(range(40))
    assert await bronze.compacted() == (7, False)
    assert await bronze.names() == ["2026/11/30/12/00/00.avro"]
    assert [one async for chunk in bronze.reader().read("0") for one in chunk] == before
    assert await bronze.compacted() == (0, False)
    await bronze.writer.write(events(0, 4))  # delivered once more, long after
    await bronze.writer.write(events(10, 14))
    assert await bronze.numbers() == list(range(40))


class Dying(BronzeFiles):
    """The process ends before anything is deleted."""

    async def delete(self, file: Any) -> bool:
        """Never comes to it."""
        raise BronzeUnavailable("the process ended")


async def test_who_reads_while_files_are_put_together_misses_nothing(bronze: Bronze) -> None:
    """The listing that the reader has names files that are gone."""
    for first in range(0, 40, 5):
        await bronze.writer.write(events(first, first + 4))
    found: list[int] = []
    async for chunk in bronze.reader().read("0"):
        found += [one.sequence_number for one in chunk]
        if len(found) == 10:
            assert await bronze.compacted() == (7, False)
    assert found == list(range(40))


async def test_a_file_that_is_written_anew_under_a_reader_is_no_wrong_one(bronze: Bronze) -> None:
    """What was listed is another version, with another MD5."""
    await bronze.writer.write(events(0, 4))
    await bronze.writer.write(events(5, 9))
    found: list[int] = []
    async for chunk in bronze.reader().read("0"):
        found += [one.sequence_number for one in chunk]
        if found == list(range(5)):
            await bronze.instance().write(events(5, 14))
    assert found == list(range(15))


async def test_an_event_is_erased_where_it_lies(bronze: Bronze) -> None:
    """Its number stays, so that nothing is missing; the others, and a file of Capture's, are as they were."""
    await bronze.writer.write(events(0, 4))
    await bronze.capture(events(5, 9))
    for day in await bronze.files.days("0"):
        for file in await bronze.files.of_day("0", day):

            def change(one: StreamEvent) -> StreamEvent:
                return erased_event(one) if one.sequence_number in (3, 7) else one

            assert await rewrite(bronze.files, bronze.reader(), "0", file, change) == 1
            assert await rewrite(bronze.files, bronze.reader(), "0", file, change) == 0
    after = [one async for chunk in bronze.reader().read("0") for one in chunk]
    assert [one.sequence_number for one in after] == list(range(10))
    assert [one.sequence_number for one in after if one.unreadable] == [3, 7]
    assert [one for one in after if not one.unreadable] == [one for one in events(0, 9) if one.sequence_number % 4 != 3]


async def test_old_days_are_swept(bronze: Bronze) -> None:
    """Whole days, the oldest first; a reader that comes from before is refused what is missing."""
    for day in range(4):
        await bronze.writer.write([event(number, seconds=86_400 * day) for number in range(10 * day, 10 * day + 10)])
    now = NOON + timedelta(days=3)
    swept = await sweep(bronze.files, retention=timedelta(days=2), now=lambda: now, time_left=lambda: 9.0)
    assert swept == (1, False)
    assert await bronze.numbers() == list(range(10, 40))
    with pytest.raises(MissingEvents, match="6 to 9"):
        await bronze.numbers(5)


async def test_a_hub_that_was_made_anew_begins_again(bronze: Bronze) -> None:
    """Its numbers are other events: neither hides the other, and the newest log is what is read."""
    await bronze.writer.write(events(0, 29))
    bronze.log.make_anew()
    await bronze.writer.write([event(number, seconds=90_000 + number, body=b"new") for number in range(5)])
    assert await bronze.reader().logs("0") == ["001", "002"]
    assert await bronze.numbers() == list(range(5))
    assert await bronze.numbers(2) == [3, 4]
    assert await bronze.numbers(log="001") == list(range(30))
    for _ in range(5):
        bronze.log.append(b"")
    (report,) = await completeness(bronze.reader(), bronze.log)
    assert (report.first, report.last, report.events) == (0, 4, 5)


async def test_where_bronze_ends_the_hub_goes_on(bronze: Bronze) -> None:
    """One after the other, without a gap between; what the hub let go of before bronze had it is one."""
    for _ in range(40):
        bronze.log.append(b"x")
    await bronze.writer.write(events(0, 24))

    async def read_on(after: int) -> list[int]:
        chunks = bronze.reader().read_on("0", bronze.log, after=after)
        return [one.sequence_number async for chunk in chunks for one in chunk]

    assert await read_on(-1) == list(range(40))
    assert await read_on(30) == list(range(31, 40))
    assert await read_on(39) == []
    bronze.log.expire(30)
    with pytest.raises(MissingEvents, match="25 to 29"):
        await read_on(3)


async def test_a_storage_that_is_away_is_named(azurite: AzuriteEndpoints) -> None:
    """And nothing counts as written."""
    text = azurite.connection_string.replace(f":{azurite.blob}/", ":9/")
    async with ContainerClient.from_connection_string(text, "bronze", retry_total=0, retry_connect=0) as container:
        bronze = Bronze(container)
        with pytest.raises(BronzeUnavailable, match="the lake's storage fails"):
            await bronze.writer.write(events(0, 1))
        with pytest.raises(BronzeUnavailable):
            await bronze.numbers()
