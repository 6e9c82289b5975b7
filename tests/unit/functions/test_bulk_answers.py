"""Answers to bulks that are cut off, read slowly or not at all, or have nothing to say for long."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from azure.core.exceptions import ServiceRequestError
from starlette.types import Message, Scope

from functions.composition.encryption import data_keys
from functions.composition.processing import processor
from shared.bulk import NDJSON, running
from shared.messages import Delivery
from shared.sending import NotSent
from tests.scale import SCALE
from tests.unit.asgi import ask, scope_of
from tests.unit.shared.encryption.vault import World
from tests.unit.virtual_time import VirtualTime

from .conftest import Running
from .samples import order
from .test_bulk import Sender, lines_of, ndjson, orders

LONGEST_CALL = 300
"""Seconds: `functionTimeout` of host.json."""
CUTS = max(20, round(20 * SCALE))


@pytest.fixture
def time() -> Iterator[VirtualTime]:
    """Time that passes while everybody waits."""
    found = VirtualTime()
    yield found
    found.close()


class Reader:
    """A client that reads as much as it likes of an answer, and may leave."""

    def __init__(self, body: bytes, path: str = "/api/orders/bulk", **headers: str) -> None:
        self.body = body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        length = {"Content-Type": NDJSON, "Content-Length": str(len(body))}
        path, _, query = path.partition("?")
        self.scope: Scope = scope_of("POST", path, {**length, **named}, query=query)
        self.left = asyncio.Event()
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.pieces: list[bytes] = []
        self.status = 0
        self._sent = False

    async def ask(self, running: Running, *, leave_after: int | None = None) -> None:
        """Read to the end, or leave after so many pieces."""

        async def send(message: Message) -> None:
            await self.may_read.wait()
            if message["type"] == "http.response.start":
                self.status = message["status"]
            else:
                self.pieces.append(message.get("body", b""))
            if leave_after is not None and len(self.pieces) >= leave_after:
                self.left.set()

        await running.asgi(self.scope, self._receive, send)

    async def _receive(self) -> Message:
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What was read."""
        return [json.loads(one) for one in b"".join(self.pieces).splitlines()]


async def process(running: Running) -> None:
    """Everything that the lanes have."""
    waiting, running.lanes.sent = running.lanes.sent, []
    for start in range(0, len(waiting), 64):
        deliveries = [
            Delivery(
                body=one.body,
                properties={str(name): value for name, value in one.headers.to_properties().items()},
                message_id=one.headers.broker_id,
                sequence_number=number,
                delivery_count=1,
            )
            for number, one in enumerate(waiting[start : start + 64])
        ]
        await running.composition.get(processor).process(waiting[start].headers.lane, deliveries)


async def settle() -> None:
    """Let what runs on without a client come to its end."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_a_bulk_cut_off_at_any_point_and_sent_again_does_every_line_once() -> None:
    """Whole or from where it got to, by leaving or by a broker that is away for a moment."""
    sender, dice, lines = Sender(), random.Random(17), 700
    body = ndjson(*orders(lines))
    taken: set[str] = set()
    for _ in range(CUTS):
        through = 0
        reader = Reader(body, Idempotency_Key="cut")
        if dice.random() < 0.5:
            sender.running.lanes.failures = [None] * dice.randrange(lines) + [NotSent("away")]
        await reader.ask(sender.running, leave_after=dice.randrange(1, 4))
        await settle()
        sender.running.lanes.failures = []
        taken |= {one["messageId"] for one in reader.lines if one.get("status") == 202}
        if kept := sender.kept.kept:
            told = json.loads(next(iter(kept.values())))
            assert told["status"] in ("interrupted", "stopped", "completed")
            through = told["through"]
    last = Reader(body, f"/api/orders/bulk?after={through}", Idempotency_Key="cut")
    await last.ask(sender.running)
    assert last.lines[-1]["bulk"]["status"] == "completed"
    ids = {str(one.headers.message_id) for one in sender.running.lanes.sent}
    assert len(ids) == lines
    assert taken <= ids
    await process(sender.running)
    done = [key for _, key in sender.running.state.rows if key.startswith("inbox:")]
    assert len(done) == lines
    assert len(sender.running.publisher.facts) == len({one.body for one in sender.running.publisher.facts}) == lines


async def test_who_left_learns_how_far_it_came() -> None:
    """Later, and from another instance."""
    sender = Sender()
    reader = Reader(ndjson(*orders(3_000)), Idempotency_Key="k")
    await reader.ask(sender.running, leave_after=1)
    await settle()
    (kept,) = sender.kept.kept.values()
    told = json.loads(kept)
    assert told["status"] == "interrupted"
    sent = len(sender.running.lanes.sent)
    assert 0 < told["through"] == told["accepted"] <= sent < 3_000
    await settle()
    assert len(sender.running.lanes.sent) == sent


async def test_places_are_given_back_however_a_bulk_ends() -> None:
    """Cut off, refused, failed or whole."""
    sender = Sender()
    for number in range(5):
        reader = Reader(ndjson(*orders(1_200)), Idempotency_Key=str(number))
        await reader.ask(sender.running, leave_after=1)
        assert (await sender.send(b"", kind="text/plain")).status == 415
        assert (await sender.send(b"")).status == 400
        sender.running.lanes.broken = NotSent("away")
        assert (await sender.send(ndjson(order()))).status == 503
        sender.running.lanes.broken = RuntimeError("nobody expected this")
        assert (await sender.send(ndjson(order()))).status in (500, 503)
        sender.running.lanes.broken = None
    assert (await sender.send(ndjson(order()))).status == 202


async def test_progress_that_can_not_be_kept_hurts_nobody() -> None:
    sender = Sender()
    sender.kept.broken = ServiceRequestError("away")
    assert (await sender.send(ndjson(*orders(3)))).status == 202
    assert len(sender.ids) == 3


def test_progress_that_nobody_takes_delays_an_answer_by_a_moment(time: VirtualTime) -> None:
    """The storage that keeps it may hang; the messages are with the broker."""
    sender = Sender()

    async def hangs(*_: object) -> None:
        await asyncio.sleep(3_600)

    sender.kept.keep_progress = hangs  # type: ignore[assignment]

    async def story() -> None:
        assert (await sender.send(ndjson(*orders(3)))).status == 202
        assert time.clock() < 3

    time.run(story())


def test_who_reads_slowly_slows_the_sending(time: VirtualTime) -> None:
    """What was read ahead is bounded, and nothing more is sent until somebody reads."""
    sender = Sender()

    async def story() -> None:
        reader = Reader(ndjson(*orders(5_500)))
        reader.may_read.clear()
        asking = asyncio.ensure_future(reader.ask(sender.running))
        await asyncio.sleep(60)
        waiting = len(sender.running.lanes.sent)
        assert waiting < 4_500
        await asyncio.sleep(30)
        assert len(sender.running.lanes.sent) == waiting
        reader.may_read.set()
        await asking
        assert reader.lines[-1]["bulk"]["through"] == 5_500

    time.run(story())


def test_who_never_reads_ends_its_bulk(time: VirtualTime) -> None:
    """After two minutes; its place is free then."""
    sender = Sender()

    async def story() -> None:
        readers = [Reader(ndjson(*orders(2_600))) for _ in range(4)]
        for one in readers:
            one.may_read.clear()
        asking = [asyncio.ensure_future(one.ask(sender.running)) for one in readers]
        await asyncio.sleep(1)
        answer = await sender.send(ndjson(order()))
        assert (answer.status, answer.headers["retry-after"]) == (503, "2")
        await asyncio.sleep(150)
        assert (await sender.send(ndjson(order()))).status == 202
        for one in readers:
            one.left.set()
            one.may_read.set()
        await asyncio.gather(*asking)

    time.run(story())


def test_while_there_is_nothing_to_say_a_line_keeps_the_connection(time: VirtualTime) -> None:
    """More often than any proxy gives up; how far it came is kept meanwhile."""
    sender = Sender()
    slow = sender.running.lanes.send

    async def waits(*message: Any) -> None:
        await asyncio.sleep(0.1)
        await slow(*message)

    sender.running.lanes.send = waits  # type: ignore[assignment]

    async def story() -> None:
        reader = Reader(ndjson(*orders(900)))
        asking = asyncio.ensure_future(reader.ask(sender.running))
        await asyncio.sleep(35)
        assert reader.status == 207
        beats = [one["bulk"]["status"] for one in reader.lines if "bulk" in one]
        assert beats == ["processing"] * len(beats)
        assert len(beats) >= 2
        (kept,) = sender.kept.kept.values()
        assert json.loads(kept)["status"] == "processing"
        await asking
        assert [one["line"] for one in reader.lines if "line" in one] == list(range(1, 901))

    time.run(story())


async def test_a_bulk_whose_instance_died_was_interrupted() -> None:
    """A minute after its last word."""
    clock = [datetime(2026, 1, 5, tzinfo=UTC)]
    sender = Sender(now=lambda: clock[0])
    answer = await sender.send(ndjson(order()), Idempotency_Key="k")
    (name,) = sender.kept.kept
    told = json.loads(sender.kept.kept[name]) | {"status": "processing"}
    sender.kept.kept[name] = json.dumps(told).encode()
    path = answer.headers["location"]
    running = await sender.running.get(path)
    assert (running.json["status"], running.headers["retry-after"]) == ("processing", "1")
    clock[0] += timedelta(seconds=61)
    assert (await sender.running.get(path)).json["status"] == "interrupted"


async def upload(sender: Sender, payload: bytes, **more: str) -> bytes:
    """An upload of a bulk, and the line that names it."""
    opened = (await sender.running.post("/api/uploads?for=bulk", b"")).json
    assert opened["largest"] == 50_000 * opened["blocks"]["size"]
    name = opened["blocks"]["path"].split("/")[4]
    assert name == opened["uploadId"]
    for number, start in enumerate(range(0, len(payload), opened["blocks"]["size"])):
        block = payload[start : start + opened["blocks"]["size"]]
        path = opened["blocks"]["path"].format(number=40_000 + number)
        assert (await ask(sender.running.asgi, "PUT", path, block)).status == 204
    digest = hashlib.sha256(payload).hexdigest()
    return ndjson({"upload": {"id": name, "size": len(payload), "sha256": digest, **more}})


async def test_a_bulk_by_upload() -> None:
    """Longer than any body; named again it sends the same messages."""
    sender = Sender({"SLUICE_MAX_BODY_BYTES": "100000"})
    payload = ndjson(*orders(900))
    assert len(payload) > 2 * 100_000
    named = await upload(sender, payload)
    first = await sender.send(named)
    assert (first.status, lines_of(first)[-1]["bulk"]["accepted"]) == (202, 900)
    again = await sender.send(named, "/api/orders/bulk?after=898")
    assert again.status == 202
    assert sender.ids[-2:] == sender.ids[898:900]
    assert len(set(sender.ids)) == 900


@pytest.mark.parametrize("lines", [5, 3_000])
async def test_where_claims_are_encrypted_no_upload_stays(lines: int) -> None:
    """However long its answer; as long as some of it isn't kept it can be named again."""
    keys = World().data_keys()
    vault = {"SLUICE_DATA_KEY": "key:k", "SLUICE_ENCRYPT_CLAIMS": "true", "KeyVault__vaultUri": "https://v.example"}
    sender = Sender(vault, {data_keys: keys})
    named = await upload(sender, ndjson(*orders(lines)))
    sender.running.lanes.failures = [None] * (lines - 2) + [NotSent("away")]
    stopped = lines_of(await sender.send(named))[-1]["bulk"]
    assert (stopped["status"], len(sender.kept.blocks)) == ("stopped", 1)
    sender.running.lanes.failures = []
    answer = await sender.send(named, f"/api/orders/bulk?after={stopped['through']}")
    assert (lines_of(answer)[-1]["bulk"]["status"], sender.kept.blocks) == ("completed", {})


def test_a_bulk_ends_before_the_host_would_end_it(time: VirtualTime, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on its way is still answered for, and the rest is taken from where it says."""
    monkeypatch.setattr(running, "WINDOW_LINES", 20)
    sender = Sender()
    slow = sender.running.lanes.send

    async def waits(*message: Any) -> None:
        await asyncio.sleep(0.1)
        await slow(*message)

    sender.running.lanes.send = waits  # type: ignore[assignment]

    async def story() -> None:
        body, through, asked = ndjson(*orders(3_000)), 0, 0
        while True:
            asked += 1
            began = time.clock()
            reader = Reader(body, f"/api/orders/bulk?after={through}", Idempotency_Key="k")
            await reader.ask(sender.running)
            assert time.clock() - began < LONGEST_CALL - 20
            last = reader.lines[-1]["bulk"]
            assert last["through"] - through == last["accepted"] > 0
            through = last["through"]
            if last["status"] == "completed":
                break
            assert (last["status"], last["error"]["code"], last["error"]["retryAfter"]) == ("stopped", "UNAVAILABLE", 0)
            assert time.clock() - began >= 240
        assert (asked, sender.keys) == (2, [str(number) for number in range(1, 3_001)])

    time.run(story())


@pytest.mark.parametrize("each", [1.0, 3_600.0])
def test_an_upload_that_is_not_read_in_time_says_so(time: VirtualTime, each: float) -> None:
    """Nothing of it was reached, and nothing would be by the same again."""
    sender = Sender()

    async def story() -> None:
        named = await upload(sender, ndjson(*orders(5)))

        async def pieces(*_given: object, **_named: object) -> AsyncGenerator[bytes, None]:
            for _ in range(400):
                await asyncio.sleep(each)
                yield b"{}"

        sender.kept.stream = pieces  # type: ignore[method-assign]
        reader = Reader(named)
        await reader.ask(sender.running)
        assert 240 <= time.clock() < 250
        last = reader.lines[-1]["bulk"]
        assert (last["status"], last["error"]["code"], last["error"]["retryAfter"]) == (
            "stopped",
            "PAYLOAD_TOO_LARGE",
            None,
        )

    time.run(story())


def test_who_reads_slowly_learns_in_time_where_to_go_on(time: VirtualTime, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody has read yet is no reason to wait on when the time is over."""
    monkeypatch.setattr(running, "WINDOW_LINES", 100)
    sender = Sender()

    class Slow(asyncio.Event):
        async def wait(self) -> Literal[True]:
            await asyncio.sleep(6)
            return True

    async def story() -> None:
        reader = Reader(ndjson(*orders(6_500)), Idempotency_Key="k")
        reader.may_read = Slow()
        await reader.ask(sender.running)
        last = reader.lines[-1]["bulk"]
        assert (last["status"], 240 < time.clock() < LONGEST_CALL) == ("stopped", True)
        assert last["through"] == len(sender.running.lanes.sent) == last["accepted"] < 6_500

    time.run(story())


@pytest.mark.parametrize("change", [{"size": 5}, {"sha256": "0" * 64}])
async def test_nothing_is_sent_of_an_upload_that_is_not_what_was_named(change: dict[str, Any]) -> None:
    sender = Sender()
    named = json.loads(await upload(sender, ndjson(*orders(5))))
    answer = await sender.send(ndjson({"upload": named["upload"] | change}))
    assert (answer.status, answer.json["error"]["code"]) == (400, "CLAIM_CHANGED")
    assert sender.ids == []


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"id": "x"}, 404, "NOT_FOUND"),
        ({"encoding": "deflate"}, 400, "VALIDATION_ERROR"),
        ({"encoding": 5}, 400, "VALIDATION_ERROR"),
        ({"size": 0}, 400, "VALIDATION_ERROR"),
        ({"encoding": "gzip"}, 400, "BAD_REQUEST"),
    ],
)
async def test_what_names_no_upload(change: dict[str, Any], status: int, code: str) -> None:
    sender = Sender()
    named = json.loads(await upload(sender, ndjson(*orders(5))))
    answer = await sender.send(ndjson({"upload": named["upload"] | change}))
    assert (answer.status, answer.json["error"]["code"]) == (status, code)


async def test_storage_that_is_away_says_when_to_come_again() -> None:
    sender = Sender()
    named = await upload(sender, ndjson(*orders(5)))
    sender.kept.broken = ServiceRequestError("away")
    answer = await sender.send(named)
    assert (answer.status, answer.json["retryAfter"]) == (503, 2)
