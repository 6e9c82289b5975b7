"""Poisoned events among good ones: one dead letter for each, every good one projected, no partition blocked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import psutil  # type: ignore[import-untyped]
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.eventhub.amqp import AmqpAnnotatedMessage

from local.fuzz.report import Case, Options, Report
from local.fuzz.stores import rows_of

__all__ = ["fuzz_events", "good_event", "poison_event"]

_PARTITIONS = 4
_HUB = "events"
_LOOK_SECONDS = 1.0
_STALL_SECONDS = 300.0
"""Longer than the job takes that closes what no later event follows."""
_TRIES = 6
"""Of one batch: the first, and the retries of the platform."""
_GROWTH = 1.3
_UNBOUND = 0.01
"""Share of bodies that the binding itself refuses: each costs its whole batch the retry policy."""

Body = bytes | dict[str, Any]


def good_event(key: str, number: int, **changes: Any) -> bytes:
    """An event that the sample integration projects, with other attributes where they are given."""
    data = {
        "orderId": key, "placedAt": "2026-01-05T08:26:00Z", "guest": True, "country": "Norway", "lineCount": 1,
        "units": 1, "total": "1.50",
    }  # fmt: skip
    attributes = {
        "specversion": "1.0", "id": f"{key}:{number}", "type": "order.accepted", "source": "/sluice", "subject": key,
        "time": "2026-01-05T08:26:00Z", "datacontenttype": "application/json",
        "dataschema": "urn:sluice:order.accepted:1.0", "correlationid": "c", "sequence": "000000000001", "data": data,
    }  # fmt: skip
    more = changes.pop("data", {})
    event = attributes | changes | {"data": data | more if isinstance(more, dict) else more}
    return json.dumps({name: value for name, value in event.items() if value is not ...}).encode()


def poison_event(chance: Random, key: str) -> tuple[str, Body]:
    """A body that nothing can be made of, and what is wrong with it."""
    if chance.random() < _UNBOUND:
        text = good_event(key, 1).decode()
        values = (text, b"\xff", {"a": [1, {"b": None}]}, [1, "two"], 12, True, 1.5, datetime(2026, 1, 5, tzinfo=UTC))
        value = chance.choice(values)
        return f"AMQP {type(value).__name__}", {"value_body": value}
    attribute = chance.choice(("id", "type", "source", "subject", "time", "dataschema", "data"))
    huge = b"9" * chance.randint(4_301, 200_000)
    depth = chance.randint(65, 100_000)
    wrong: Sequence[tuple[str, Body]] = (
        ("AMQP sequence", {"sequence_body": [[1, 2], ["three"]]}) if chance.random() < _UNBOUND else ("empty", b""),
        ("white space", b" \n" * chance.randint(1, 100)),
        ("bytes", b"\xff" + chance.randbytes(chance.randint(1, 2_000))),
        ("cut", good_event(key, 1)[: chance.randint(1, 200)]),
        ("scalar", chance.choice((b"null", b"12", b'"text"', b"[]", b"true", b"NaN"))),
        ("deep", b"[" * depth + b"]" * depth),
        ("deep data", good_event(key, 1, data={"more": "?"}).replace(b'"?"', b"[" * depth + b"]" * depth)),
        ("named twice", good_event(key, 1)[:-1] + b', "id": "again"}'),
        ("half a character", good_event(key, 1).replace(b'"Norway"', b'"\\ud800"')),
        ("huge number", good_event(key, 1).replace(b'"units": 1', b'"units": ' + huge)),
        ("infinite number", good_event(key, 1).replace(b'"units": 1', b'"units": 1e999999')),
        ("many lists", b"[" + b"[]," * 260_000 + b"0]"),
        ("sequence", good_event(key, 1, sequence=chance.choice(
            (10**20, str(10**20), 2**63, -1, "-1", None, True, [], {}, "1_0", "", "٣", 1.5, "9" * 5_000)
        ))),
        ("missing", good_event(key, 1, **{attribute: ...})),
        ("id", good_event(key, 1, id=chance.choice(("", "x" * 257)))),
        ("type", good_event(key, 1, type=chance.choice(("", "x" * 129)))),
        ("subject", good_event(key, 1, subject=chance.choice(("", "x" * 129)))),
        ("time", good_event(key, 1, time=chance.choice(("", "yesterday", None, 12, [], "2026-13-01T00:00:00Z")))),
        ("data", good_event(key, 1, data=chance.choice((None, 12, "text", [], {"units": "many"}, {"total": []})))),
        ("model", good_event(key, 1, data={"country": chance.choice((None, 12, [], {}))})),
        ("encrypted", good_event(key, 1, data={"customerId": "slp1." + "A" * chance.randint(0, 90)})),
    )  # fmt: skip
    return chance.choice(wrong)


@dataclass(kw_only=True)
class _Sent:
    """What went to a partition: bodies in order, and their cases."""

    bodies: list[Body] = field(default_factory=list)
    good: dict[str, int] = field(default_factory=dict)
    bad: dict[int, tuple[int, str]] = field(default_factory=dict)
    """By sequence number the case, and what is wrong with it."""


async def fuzz_events(
    *, broker: str, storage: str, host_log: Path, host_pid: int, options: Options, report: Report
) -> Report:
    """Send as many bad events as asked for with one good one each, and wait until every partition was read."""
    async with EventHubProducerClient.from_connection_string(broker, eventhub_name=_HUB) as producer:
        first = [
            (await producer.get_partition_properties(str(one)))["last_enqueued_sequence_number"] + 1
            for one in range(_PARTITIONS)
        ]
        sent = _made(options, first)
        began = time.monotonic()
        await asyncio.gather(*(_send(producer, str(number), one.bodies) for number, one in enumerate(sent)))
    ends = {str(number): first[number] + len(one.bodies) - 1 for number, one in enumerate(sent)}
    memory: list[int] = []
    blocked = await _until_read(storage, ends, host_pid, memory)
    seconds = time.monotonic() - began
    rows = {str(row["key"]) for row in await rows_of(storage, "readmodels", "", ["key"])}
    letters = Counter(
        (place["partition"], place["sequenceNumber"])
        for row in await rows_of(storage, "deadletters", "source eq 'events'", ["position"])
        for place in (json.loads(row["position"]),)
    )
    for number, one in enumerate(sent):
        for key, case in one.good.items():
            if key not in rows:
                report.failed.append(Case(number=case, broken="a good event was not projected", sent=key))
        for place, (case, kind) in one.bad.items():
            if (times := letters[str(number), place]) != 1:
                broken = f"{times} dead letters instead of one"
                report.failed.append(Case(number=case, broken=broken, sent=f"{kind} at {number}:{place}"))
    report.rows += [
        ("poisoned events", f"{sum(len(one.bad) for one in sent):,}"),
        ("good events", f"{sum(len(one.good) for one in sent):,}"),
        ("good events projected", f"{sum(key in rows for one in sent for key in one.good):,}"),
        ("dead letters of events", f"{sum(letters.values()):,}"),
        ("blocked partitions", f"{len(blocked)}"),
        ("events took", f"{seconds:.0f} s"),
    ]
    if blocked:
        report.complaints.append(f"Nothing more is read of the partitions {', '.join(sorted(blocked))}.")
    _judge(report, memory, host_log, sum(len(one.bodies) for one in sent))
    return report


def _made(options: Options, first: Sequence[int]) -> list[_Sent]:
    sent = [_Sent() for _ in range(_PARTITIONS)]
    run = f"{options.seed:x}-{options.first}"
    odd = ("", " ", "\U0001f600", "%2F", "/", "'", "x" * 100)
    for number in range(options.first, options.first + options.count):
        chance = Random(f"events:{options.seed}:{number}")  # noqa: S311 - a case must be repeatable
        partition = number % _PARTITIONS
        one = sent[partition]
        key = f"{run}-{number}{chance.choice(odd)}"
        kind, bad = poison_event(chance, f"{run}-{number}-bad")
        pair: list[Body] = [good_event(key, 1), bad]
        if chance.random() < 0.5:
            pair.reverse()
        one.good[key] = number
        one.bad[first[partition] + len(one.bodies) + pair.index(bad)] = (number, kind)
        one.bodies += pair
    return sent


async def _send(producer: EventHubProducerClient, partition: str, bodies: Sequence[Body]) -> None:
    batch = await producer.create_batch(partition_id=partition)
    for body in bodies:
        event = EventData(body) if isinstance(body, bytes) else AmqpAnnotatedMessage(**body)
        try:
            batch.add(event)
        except ValueError:  # it is full
            await producer.send_batch(batch)
            batch = await producer.create_batch(partition_id=partition)
            batch.add(event)
    await producer.send_batch(batch)


async def _until_read(storage: str, ends: dict[str, int], host_pid: int, memory: list[int]) -> set[str]:
    """Wait until everything was dealt with; the partitions of which nothing more is read."""
    host, moved, before = psutil.Process(host_pid), time.monotonic(), dict.fromkeys(ends, -1)
    while True:
        found = {
            str(row["RowKey"]): int(row["sequence"])
            for row in await rows_of(storage, "streampositions", "", ["RowKey", "sequence"])
        }
        left = {partition for partition, end in ends.items() if found.get(partition, -1) < end}
        if not left:
            return left
        if found != before:
            moved, before = time.monotonic(), found
        elif time.monotonic() - moved > _STALL_SECONDS:
            return left
        with contextlib.suppress(psutil.Error):
            memory.append(host.memory_info().rss)
        await asyncio.sleep(_LOOK_SECONDS)


def _judge(report: Report, memory: Sequence[int], host_log: Path, events: int) -> None:
    """Nothing spins, and memory is flat: the last fifth of the run takes hardly more than its second tenth did."""
    calls = len(re.findall(r"Executing 'Functions\.read_models'", host_log.read_text("utf-8", "replace")))
    report.rows.append(("invocations of read_models", f"{calls:,}"))
    if calls > 20 + _TRIES * events:
        report.complaints.append(f"read_models was invoked {calls} times for {events} events.")
    tenth = len(memory) // 10
    if tenth >= 2:
        early, late = max(memory[tenth : 2 * tenth]), max(memory[-2 * tenth :])
        report.rows.append(("memory of the host with events, early and late", f"{early >> 20} and {late >> 20} MiB"))
        if late > early * _GROWTH:
            report.complaints.append(f"The host's memory grew from {early >> 20} to {late >> 20} MiB.")
