"""What operators read of a batch: its log lines, its dead letters, and what a late message is put off with."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import pytest

from shared.messages import Category, Delivery, ErrorCode, Failure, Lane, payload_hash
from shared.processing import BatchFailed, pipeline
from shared.processing.handling import _size
from shared.tables import Create
from shared.work import Dead, Ended, Fresh, Message, RetryLater
from tests.unit.shared.processing.world import NOW, World, delivery, headers, of


def lines(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    """The fields of an event's lines, with their level."""
    found = [record for record in caplog.records if record.message == event]
    return [{"level": record.levelno, **record.__dict__["fields"]} for record in found]


async def test_a_retry_says_when_and_why(caplog: pytest.LogCaptureFixture) -> None:
    """Its copy goes to the lane on which the message failed."""
    world = World()
    with caplog.at_level(logging.INFO):
        await world.process(delivery(1, behave="retry", with_headers={"lane": Lane.LOW}))
    (line,) = lines(caplog, "retry later")
    assert line == {
        "level": logging.WARNING,
        "messageId": str(UUID(int=1)),
        "attempt": 2,
        "seconds": 7.0,
        "category": "transient",
        "reason": "not yet",
    }
    (copy,) = world.lanes.sent
    assert (copy.headers.lane, copy.when) == (Lane.NORMAL, NOW + timedelta(seconds=7))


async def test_seconds_are_logged_to_the_millisecond(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    with caplog.at_level(logging.INFO):
        await world.process(delivery(1, behave="has a bug"), delivery(2, behave="postponed"))
    seconds = {line["messageId"]: line["seconds"] for line in lines(caplog, "retry later")}
    assert all(value == round(value, 3) for value in seconds.values())
    assert seconds[str(UUID(int=2))] == 45


async def test_a_spent_budget_stretches_only_waits_that_count() -> None:
    world = World(reserve=1)
    await world.process(delivery(3, behave="retry"))
    await world.process(delivery(1, behave="retry"), delivery(2, behave="postponed"))
    waits = {one.headers.message_id.int: one.when for one in world.lanes.sent}
    assert waits == {number: NOW + timedelta(seconds=seconds) for number, seconds in ((3, 7), (1, 300), (2, 45))}


async def test_a_batch_that_fails_says_so_and_is_held(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.state.broken = TimeoutError("storage")
    with caplog.at_level(logging.INFO), pytest.raises(BatchFailed, match="TimeoutError: the batch goes back"):
        await world.process(delivery(1), delivery(2))
    (line,) = lines(caplog, "batch failed")
    assert line == {"level": logging.ERROR, "lane": "normal", "received": 2}
    (record,) = [one for one in caplog.records if one.message == "batch failed"]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], TimeoutError)
    assert lines(caplog, "batch") == []


async def test_a_batch_says_what_became_of_it(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    with caplog.at_level(logging.INFO):
        await world.process(delivery(1), delivery(2, behave="retry"), delivery(3, behave="reject"), delivery(1))
    (line,) = lines(caplog, "batch")
    assert 0 <= line.pop("milliseconds") < 60_000
    expected = {"received": 4, "paused": 0, "done": 1, "duplicates": 1, "retried": 1, "dead": 1, "parked": 0}
    assert line == {"level": logging.INFO, "lane": "normal", **expected}


@pytest.mark.parametrize(("lane", "longest"), [(Lane.NORMAL, pipeline.LONGEST_HOLD), (Lane.ORDERED, None)])
async def test_how_long_a_failed_batch_is_held(
    lane: Lane, longest: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the ordered lane to the end of its time, since nothing may overtake it."""
    held: list[tuple[float, float]] = []

    async def hold(_: Any, ends: float, most: float) -> None:
        held.append((ends, most))

    monkeypatch.setattr(pipeline, "_hold", hold)
    world = World(in_order=True)
    world.state.broken = TimeoutError()
    with pytest.raises(BatchFailed):
        await world.processor.process(lane, [delivery(1, with_headers={"lane": lane})])
    ((ends, most),) = held
    assert most == (ends if longest is None else longest)
    assert ends == pytest.approx(asyncio.get_running_loop().time() + 15 + pipeline.GRACE_SECONDS, abs=5)


async def test_another_payload_under_a_known_id_is_a_dead_letter_of_its_own() -> None:
    """The record of the first stays as it is."""
    world = World()
    await world.process(delivery(1, "bolt", amount=1))
    first = world.state.inbox(UUID(int=1))
    await world.process(delivery(1, "bolt", amount=2))
    await world.process(delivery(1, "bolt", amount=3))
    assert [one.code for one in world.dead.letters.values()] == [ErrorCode.MESSAGE_ID_CONFLICT] * 2
    assert world.state.inbox(UUID(int=1)) == first
    hashes = [payload_hash("stock.moved", "1.0", {"item": "bolt", "amount": amount}).exact for amount in (2, 3)]
    assert len({one.id for one in world.dead.letters.values()}) == len(set(hashes)) == 2


async def test_a_webhook_that_comes_again_with_another_count_of_tries_is_a_duplicate() -> None:
    """Its sender can't be asked for another id."""
    world = World()
    (handler,) = (one for one in world.registry.integrations[0].handlers if one.event_type == "stock.moved")
    object.__setattr__(handler, "webhook", "erp")
    await world.process(delivery(1, "bolt", amount=1))
    await world.process(delivery(1, "bolt", amount=2))
    assert (world.stock("bolt") or {})["moves"] == [1]
    assert world.dead.letters == {}


async def test_what_dies_is_in_the_inbox_with_its_payload_and_lane() -> None:
    world = World()
    await world.process(delivery(1, "bolt", behave="reject", with_headers={"lane": Lane.LOW}))
    row = world.state.inbox(UUID(int=1))
    assert row is not None
    expected = payload_hash("stock.moved", "1.0", {"item": "bolt", "behave": "reject"}).columns()
    assert {name: row[name] for name in expected} == expected
    assert (row["status"], row["code"]) == ("dead", "CUSTOMER_BLOCKED")


async def test_a_killer_is_forgotten_with_its_dead_letter_and_others_are_not() -> None:
    world = World()
    forgotten: list[str] = []

    async def forget(delivery: Delivery) -> None:
        forgotten.append(delivery.message_id)

    world.suspects.forget = forget  # type: ignore[method-assign]
    settler = world.processor._settler
    for number, code in ((1, ErrorCode.WORKER_LOST), (2, ErrorCode.HANDLER_ERROR)):
        failure = Failure(Category.PERMANENT, code, "why")
        await settler.settle(Lane.NORMAL, Ended(delivery(number), Dead(failure), headers(number, f"item-{number}")))
    assert forgotten == [str(UUID(int=1))]
    assert len(world.dead.letters) == 2


@pytest.mark.parametrize("status", ["done", "replaying", None])
async def test_a_killer_that_was_dealt_with_is_a_duplicate(status: str | None) -> None:
    """Its worker died after the commit; one that an operator replays is not."""
    world = World()
    one = delivery(1, "bolt")
    if status is not None:
        await world.process(one)
        row = world.state.inbox(UUID(int=1))
        assert row is not None
        row["status"] = status
    suspects = world.suspects
    found = await world.processor._killer(suspects, one)
    assert (found.delivery, found.headers) == (one, headers(1, "bolt"))
    assert (type(found.outcome).__name__ == "Duplicate") is (status == "done")
    assert (await world.processor._killer(suspects, of(b"", {}))).headers is None


def test_parts_of_a_batch_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim counts with the size that its headers name, whatever else a property says."""
    monkeypatch.setattr(pipeline, "PART_BYTES", 100)
    sizes = [60, 40, 1, 100, 101, 30, 30]
    batch = [of(b"x" * size, {}, number) for number, size in enumerate(sizes)]
    assert [[len(one.body) for one in part] for part in pipeline._parts(batch)] == [
        [60, 40],
        [1],
        [100],
        [101],
        [30, 30],
    ]
    claimed = replace(of(b"abc", {"claimSize": 70}), body=b"")
    assert [len(part) for part in pipeline._parts([claimed, claimed])] == [1, 1]
    assert pipeline._payload_size(of(b"abc", {"claimSize": "70"})) == 3
    assert pipeline._payload_size(of(b"abc", {"claimSize": 2})) == 3
    assert pipeline._payload_size(of(b"abc", {"claimSize": 4})) == 4


def test_the_size_of_a_row_is_about_that_on_the_wire() -> None:
    """Never less than its values as base64, and no more than half as much again for rows that matter."""
    assert _size(Create({"PartitionKey": "p" * 60, "RowKey": "r" * 60, "n": 1})) == 400 + 140 * 3 + 160 - 80
    assert _size(Create({"value": b"x" * 3_000})) == 400 + 140 + 4_000 - 40
    assert _size(Create({})) == 400


async def test_without_time_left_a_message_is_put_off_at_once_and_counts_no_attempt() -> None:
    world = World()
    runner = world.processor._runner
    decoded = await world.processor._decoder.read(delivery(1))
    assert isinstance(decoded, Message)
    loop = asyncio.get_running_loop()
    found = await runner.run(Lane.NORMAL, Fresh(decoded, cast("Any", None)), loop.time())
    assert isinstance(found, Ended)
    assert isinstance(found.outcome, RetryLater)
    assert (found.outcome.seconds, found.outcome.counts) == (0.0, False)
    assert found.outcome.failure.reason == "the batch ran out of time"
    assert world.calls == []
