"""The chain: every change to it is found and named, whoever writes it and whatever the clock does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.audit import AuditAnchor, AuditChain, AuditRecord, StoredRecord, check
from shared.audit.chain import FIRST, MAX_TEXT, hash_of
from shared.tables import MemoryTable, Operation

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def record(verb: str = "pause", **changes: Any) -> AuditRecord:
    usual = {"run": "r", "phase": "begun", "by": "ada", "login": "ada@desk", "reason": "a leak"}
    return AuditRecord(verb=verb, **{**usual, **changes})


async def chain_of(table: MemoryTable, count: int) -> list[StoredRecord]:
    chain = AuditChain(table, now=lambda: NOON)
    for number in range(count):
        await chain.add(record(f"verb-{number + 1}"))
    return [one async for one in chain.records()]


async def head_of(table: MemoryTable) -> tuple[int, str] | None:
    return await AuditChain(table, now=lambda: NOON).head()


async def test_an_empty_and_a_whole_chain_are_whole() -> None:
    table = MemoryTable()
    assert check([], await head_of(table)) is None
    records = await chain_of(table, 3)
    assert [one.number for one in records] == [1, 2, 3]
    assert [one.content()["verb"] for one in records] == ["verb-1", "verb-2", "verb-3"]
    assert check(records, await head_of(table), known={2: records[1].hash}) is None


def changed(records: Sequence[StoredRecord], number: int, **changes: Any) -> list[StoredRecord]:
    return [replace(one, **changes) if one.number == number else one for one in records]


async def test_what_is_done_to_a_chain_is_named() -> None:
    table = MemoryTable()
    records = await chain_of(table, 5)
    head = await head_of(table)
    two = records[1]
    swapped = [records[0], replace(records[2], number=2), replace(two, number=3), *records[3:]]
    rewritten = records[:1]
    for one in records[1:]:  # by somebody who knows how
        text = one.text.replace("ada", "eve")
        rewritten.append(StoredRecord(one.number, text, hash_of(rewritten[-1].hash, text)))
    for broken, end, known, said in [
        (changed(records, 2, text=two.text.replace("ada", "eve")), head, {}, "record 2 was changed"),
        (changed(records, 2, hash="0" * 64), head, {}, "record 2 was changed"),
        (changed(records, 2, text="{"), head, {}, "record 2 was changed: it can't be read"),
        (changed(records, 2, text="[]"), head, {}, "record 2 was changed: it can't be read"),
        (swapped, head, {}, "record 2 was reordered"),
        ([*records[:1], *records[2:]], head, {}, "record 2 is missing: 3 follows 1"),
        (records[1:], head, {}, "record 1 is missing"),
        ([replace(records[0], number=0), *records[1:]], head, {}, "record 1 is missing: 0 follows 0"),
        (records[:3], head, {}, "record 4 is missing: the head counts 5"),
        ([], head, {}, "record 1 is missing: the head counts 5"),
        (records, None, {}, "the head is missing"),
        (records, (4, records[3].hash), {}, "the head says 4, and the last record is 5"),
        (records, (5, "0" * 64), {}, "the head says 5"),
        (rewritten, (5, rewritten[-1].hash), {4: records[3].hash}, "record 4 isn't the one that the log knows"),
        (records[:3], (3, records[2].hash), {5: records[4].hash}, "record 4 is missing: the log knows 5"),
    ]:
        finding = check(broken, end, known=known)
        assert finding is not None, said
        assert finding.what.startswith(said), finding
    assert check(rewritten, (5, rewritten[-1].hash)) is None  # what only the log can tell


class Crowded(MemoryTable):
    """Lets every writer read before any writes."""

    async def submit(self, operations: Sequence[Operation]) -> list[str | None]:
        await asyncio.sleep(0)
        return await super().submit(operations)


async def test_writers_at_once_share_one_chain() -> None:
    table = Crowded()
    chains = [AuditChain(table, now=lambda: NOON) for _ in range(5)]
    await asyncio.gather(*(chain.add(record(f"{number}")) for chain in chains for number in range(6)))
    records = [one async for one in chains[0].records()]
    assert len({one.content()["verb"] for one in records}) == 6
    assert len(records) == 30
    assert check(records, await head_of(table)) is None


async def test_who_never_wins_says_so() -> None:
    class Busy(MemoryTable):
        async def get(self, *words: Any, **more: Any) -> Any:
            found = await super().get(*words, **more)
            if found is not None:
                self.put(found)
            return found

    table = Busy()
    await chain_of(table, 1)
    with pytest.raises(TimeoutError, match="keeps changing"):
        await AuditChain(table, now=lambda: NOON).add(record())


async def test_a_clock_that_jumps_breaks_nothing() -> None:
    table = MemoryTable()
    times = iter([NOON, NOON - timedelta(days=400), NOON + timedelta(days=400), datetime.min.replace(tzinfo=UTC)])
    chain = AuditChain(table, now=lambda: next(times))
    for _ in range(4):
        await chain.add(record())
    assert check([one async for one in chain.records()], await head_of(table)) is None


async def test_a_record_is_bounded_and_its_text_is_what_was_hashed() -> None:
    table = MemoryTable()
    chain = AuditChain(table, now=lambda: NOON)
    made = await chain.add(record(by="é\ud800" * 2_000, reason="\n\x1b[2J", about={"ids": ["x" * 64] * 2_000}))
    assert len(made.text) < MAX_TEXT
    assert made.text.isascii()
    assert made.content()["about"] == {"cut": pytest.approx(140_000, rel=0.1)}
    assert made.hash == hash_of(FIRST, made.text)


async def test_the_end_is_logged_once_each_time_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    table = MemoryTable()
    anchor = AuditAnchor(AuditChain(table, now=lambda: NOON))
    caplog.set_level("INFO", "sluice")
    await anchor.run()
    records = await chain_of(table, 2)
    for _ in range(3):
        await anchor.run()
    found = [vars(one)["fields"] for one in caplog.records if one.message == "audit"]
    assert found == [{"number": 2, "hash": records[-1].hash}]
    assert json.dumps(found)
