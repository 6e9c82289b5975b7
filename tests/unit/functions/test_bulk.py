"""Bulks: many messages in one request, each accepted or refused by itself, and answered for by a line."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import brotli
import pytest

import integrations
from functions.composition.uploads import uploads
from shared.blobs.zstandard import zstd
from shared.bulk import BATCH_TYPE, NDJSON
from shared.messages import discover
from shared.sending import NotSent
from tests.unit.asgi import Answer, ask
from tests.unit.memory import MemoryUploads

from .conftest import ENVIRONMENT, Running
from .samples import credit_note, envelope, order


class Sender:
    """Sends bulks to the app, and reads what is answered."""

    def __init__(
        self,
        environment: dict[str, str] | None = None,
        parts: dict[Any, Any] | None = None,
        *,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self.kept = MemoryUploads()
        streams = {"PYTHON_ENABLE_INIT_INDEXING": "1"}
        self.running = Running(
            discover(integrations),
            ENVIRONMENT | streams | (environment or {}),
            {uploads: self.kept, **(parts or {})},
            now,
        )

    async def send(
        self,
        body: bytes | AsyncIterator[bytes],
        path: str = "/api/orders/bulk",
        *,
        kind: str = NDJSON,
        **headers: str,
    ) -> Answer:
        """One bulk; underscores in names of headers are hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.running.post(path, body, named, kind=kind)

    @property
    def ids(self) -> list[UUID]:
        """Of the messages that were sent."""
        return [one.headers.message_id for one in self.running.lanes.sent]

    @property
    def keys(self) -> list[str]:
        """Of the messages that were sent."""
        return [one.headers.key for one in self.running.lanes.sent]


@pytest.fixture
def sender() -> Sender:
    return Sender()


def lines_of(answer: Answer) -> list[dict[str, Any]]:
    """The lines of an answer, with the last."""
    assert answer.headers["content-type"] == NDJSON
    assert answer.body.endswith(b"\n")
    return [json.loads(one) for one in answer.body.splitlines()]


def ndjson(*values: Any) -> bytes:
    """One a line; bytes as they are."""
    return b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in values)


def orders(count: int, first: int = 1) -> list[dict[str, Any]]:
    """Orders by number."""
    return [order(orderId=str(number)) for number in range(first, first + count)]


async def test_all_were_accepted(sender: Sender) -> None:
    """202; each line has its operation, and the last one tells of them all."""
    answer = await sender.send(ndjson(*orders(3)))
    *lines, last = lines_of(answer)
    assert answer.status == 202
    assert [(one["line"], one["status"], one["messageId"]) for one in lines] == [
        (number, 202, str(message_id)) for number, message_id in enumerate(sender.ids, 1)
    ]
    assert sender.keys == ["1", "2", "3"]
    for one in lines:
        found = await sender.running.get(one["operation"])
        assert (found.json["messageId"], found.json["status"]) == (one["messageId"], "accepted")
    whole = last["bulk"]
    assert (whole["status"], whole["through"], whole["accepted"], whole["refused"]) == ("completed", 3, 3, 0)
    assert answer.headers["location"] == whole["operation"]
    kept = (await sender.running.get(whole["operation"])).json
    assert kept == {name: value for name, value in whole.items() if name != "operation"}


async def test_some_were_accepted(sender: Sender) -> None:
    """207; what is refused says why, as if it had come alone."""
    wrong, alone = order(lines=[]), await sender.running.post("/api/orders", order(lines=[]))
    answer = await sender.send(ndjson(order(orderId="1"), wrong, b"{", b"", order(orderId="2")))
    *lines, last = lines_of(answer)
    assert answer.status == 207
    assert [(one["line"], one["status"]) for one in lines] == [(1, 202), (2, 400), (3, 400), (5, 202)]
    assert lines[1]["error"] == alone.json["error"]
    assert (lines[2]["error"]["code"], lines[2]["retryable"]) == ("MALFORMED_JSON", False)
    assert (last["bulk"]["through"], last["bulk"]["accepted"], last["bulk"]["refused"]) == (5, 2, 2)


async def test_none_was_accepted(sender: Sender) -> None:
    """400, with a line for each."""
    answer = await sender.send(ndjson({}, b"x"))
    assert (answer.status, len(lines_of(answer))) == (400, 3)
    assert sender.ids == []


@pytest.mark.parametrize("body", [b"", b"\n\n", b" \r\n", b"\xef\xbb\xbf"])
async def test_a_bulk_of_nothing_is_refused(sender: Sender, body: bytes) -> None:
    """In the form of every error."""
    answer = await sender.send(body)
    assert (answer.status, answer.json["error"]["code"]) == (400, "VALIDATION_ERROR")


async def test_any_command_by_the_general_path(sender: Sender) -> None:
    """Each by its envelope, whose id is its own; the same id twice is the same message."""
    first, second = envelope(order(orderId="1")), envelope(order(orderId="2"), messageId=str(UUID(int=2)))
    answer = await sender.send(ndjson(first, second, first), "/api/messages/bulk")
    assert answer.status == 202
    assert [str(one) for one in sender.ids] == [first["messageId"], second["messageId"], first["messageId"]]
    bare = await sender.send(ndjson(order()), "/api/messages/bulk")
    assert bare.status == 400


async def test_lines_may_end_as_they_like(sender: Sender) -> None:
    """CRLF, no end at all, a byte order mark before the first."""
    one, two = json.dumps(order(orderId="1")).encode(), json.dumps(order(orderId="2")).encode()
    answer = await sender.send(b"\xef\xbb\xbf" + one + b"\r\n" + two)
    assert (answer.status, sender.keys) == (202, ["1", "2"])


async def test_a_batch_of_cloud_events(sender: Sender) -> None:
    """An array; what is wrong is said by the names of attributes."""
    events = [
        {"specversion": "1.0", "id": str(n), "source": "/shop", "type": "order.placed", "data": order(orderId=str(n))}
        for n in range(3)
    ]
    del events[1]["source"]
    answer = await sender.send(json.dumps(events, indent=1).encode(), "/api/messages/bulk", kind=BATCH_TYPE)
    *lines, _ = lines_of(answer)
    assert (answer.status, [one["status"] for one in lines]) == (207, [202, 400, 202])
    assert lines[1]["error"]["details"]["errors"][0]["field"] == "source"
    assert sender.keys == ["0", "2"]


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"[1,]", b"[]x", b"nothing", b"[1}"])
async def test_what_is_no_array_stops_where_that_is_seen(sender: Sender, body: bytes) -> None:
    """Nothing of it was accepted."""
    answer = await sender.send(body, kind=BATCH_TYPE)
    assert answer.status == 400
    assert b"MALFORMED_JSON" in answer.body
    assert sender.ids == []


async def test_the_same_line_under_the_same_key_is_the_same_message(sender: Sender) -> None:
    """However often it is sent, and wherever one goes on; without a key each is a new one."""
    body = ndjson(*orders(4))
    first = await sender.send(body, Idempotency_Key="monday")
    again = await sender.send(body, "/api/orders/bulk?after=2", Idempotency_Key='"monday"')
    other = await sender.send(body, Idempotency_Key="tuesday")
    ids = sender.ids
    assert ids[4:6] == ids[2:4]
    assert len(set(ids)) == 8
    assert [one["line"] for one in lines_of(again)[:-1]] == [3, 4]
    assert first.headers["location"] == again.headers["location"] != other.headers["location"]
    without = [await sender.send(body) for _ in range(2)]
    assert len(set(sender.ids)) == 16
    assert without[0].headers["location"] != without[1].headers["location"]


async def test_the_same_line_of_another_path_is_another_message(sender: Sender) -> None:
    """Orders and credit notes that come in one night under one key."""
    first = await sender.send(ndjson(order()), Idempotency_Key="night")
    other = await sender.send(ndjson(credit_note()), "/api/credit-notes/bulk", Idempotency_Key="night")
    assert (first.status, other.status, len(set(sender.ids))) == (202, 202, 2)
    assert first.headers["location"] != other.headers["location"]


async def test_what_was_done_already_is_nothing_to_do(sender: Sender) -> None:
    """Who asks for the rest of what is whole learns that."""
    answer = await sender.send(ndjson(*orders(2)), "/api/orders/bulk?after=2", Idempotency_Key="k")
    assert (answer.status, lines_of(answer)[-1]["bulk"]["status"]) == (202, "completed")
    beyond = await sender.send(ndjson(*orders(2)), "/api/orders/bulk?after=3", Idempotency_Key="k")
    assert (beyond.status, beyond.json["error"]["code"]) == (400, "BAD_REQUEST")


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "zstd": zstd.compress,
    "br": lambda body: brotli.compress(body, quality=4),
    "identity": bytes,
}


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_compressed_bulk(sender: Sender, coding: str) -> None:
    """By each coding that is offered."""
    answer = await sender.send(CODINGS[coding](ndjson(*orders(50))), Content_Encoding=coding)
    assert (answer.status, len(sender.ids)) == (202, 50)


@pytest.mark.parametrize("coding", ["gzip, gzip", "deflate", "compress", "GZIP, br", "x" * 500])
async def test_another_coding_is_refused(sender: Sender, coding: str) -> None:
    """By name."""
    answer = await sender.send(gzip.compress(ndjson(order())), Content_Encoding=coding)
    assert (answer.status, answer.json["error"]["code"]) == (415, "UNSUPPORTED_ENCODING")


@pytest.mark.parametrize("coding", ["gzip", "zstd", "br"])
@pytest.mark.parametrize(("cut", "code"), [(slice(None, -3), "INCOMPLETE_BODY"), (slice(3, None), "BAD_REQUEST")])
async def test_half_a_compressed_bulk(sender: Sender, coding: str, cut: slice, code: str) -> None:
    """What came before the cut was accepted, and the last line says where to go on."""
    whole = CODINGS[coding](ndjson(*orders(2_000)))
    if coding == "br" and cut.start:  # almost anything may be the beginning of such a stream
        whole = b"\x00\x00\x00" + b"\xff" * 100
    answer = await sender.send(whole[cut], Content_Encoding=coding)
    if sender.ids:
        last = lines_of(answer)[-1]["bulk"]
        assert (answer.status, last["status"], last["error"]["code"]) == (207, "stopped", code)
        assert last["through"] == last["accepted"] == len(sender.ids)
    else:
        assert (answer.status, answer.json["error"]["code"]) == (400, code)


@pytest.mark.parametrize(
    ("coding", "filling"),
    [("gzip", b"\n"), ("gzip", b"{}\n"), ("zstd", b"\n"), ("zstd", b" "), ("br", b"\n"), ("br", b" ")],
)
async def test_a_bomb_is_refused(sender: Sender, coding: str, filling: bytes) -> None:
    """Long before it is expanded."""
    size = 12 * 1024 * 1024
    bomb = CODINGS[coding](filling * (size // len(filling)))
    answer = await sender.send(bomb, Content_Encoding=coding)
    assert answer.status in (207, 400, 413)
    assert b"PAYLOAD_TOO_LARGE" in answer.body or b"were refused" in answer.body
    assert sender.ids == []


async def test_a_line_that_is_too_long_is_refused_alone(sender: Sender) -> None:
    """Those around it are taken; it is never held."""
    long = order(orderId="long", country="x" * 1_100_000)
    answer = await sender.send(ndjson(order(orderId="1"), long, order(orderId="2")))
    *lines, _ = lines_of(answer)
    assert [one["status"] for one in lines] == [202, 413, 202]
    assert sender.keys == ["1", "2"]


async def test_a_large_line_is_a_claim(sender: Sender) -> None:
    """As it would be alone."""
    large = order(orderId="large", customerId="x" * 30_000)
    single = await sender.running.post("/api/orders", large)
    answer = await sender.send(ndjson(large))
    assert answer.status == single.status
    assert len(sender.running.claims.payloads) == (2 if single.status == 202 else 0)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 415),
        ("text/plain", 415),
        (NDJSON + "; charset=latin-1", 415),
        (NDJSON + "; charset=UTF-8", 202),
    ],
)
async def test_the_content_type_counts(sender: Sender, kind: str, status: int) -> None:
    """And the charset is UTF-8."""
    assert (await sender.send(ndjson(order()), kind=kind)).status == status


async def test_invalid_utf8_is_its_lines_own(sender: Sender) -> None:
    answer = await sender.send(ndjson(b'{"orderId": "\xff"}', order(orderId="1")))
    *lines, _ = lines_of(answer)
    assert [one["status"] for one in lines] == [400, 202]


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "", "9" * 16, "²"])
async def test_where_to_go_on_is_a_number(sender: Sender, after: str) -> None:
    answer = await sender.send(ndjson(order()), f"/api/orders/bulk?after={after}".replace("²", "%C2%B2"))
    assert answer.status == 400


async def test_a_body_over_the_limit_is_refused(sender: Sender) -> None:
    """By its length, or as soon as it is longer."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 100_000

    for body in (b"x" * 2_000_001, pieces()):
        answer = await sender.send(body)
        assert (answer.status, answer.json["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_body_without_a_length_is_taken_where_bodies_are_streamed() -> None:
    """And needs a length where they aren't."""

    async def pieces(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    body = ndjson(*orders(3))
    assert (await Sender().send(pieces(body))).status == 202
    whole = Sender({"SLUICE_HTTP_STREAMS": "false"})
    headers = {"Content-Type": NDJSON, "Transfer-Encoding": "chunked"}
    answer = await ask(whole.running.asgi, "POST", "/api/orders/bulk", pieces(body), headers)
    assert (answer.status, answer.json["error"]["code"]) == (411, "INCOMPLETE_BODY")
    assert (await whole.send(body)).status == 202


async def test_what_the_broker_does_not_take_stops_the_bulk(sender: Sender) -> None:
    """Nothing behind it is sent; `through` says where to go on, and going on there leaves none out."""
    sender.running.lanes.failures = [None] * 3 + [NotSent("away")]
    answer = await sender.send(ndjson(*orders(6)), Idempotency_Key="k")
    *lines, last = lines_of(answer)
    assert [one["status"] for one in lines] == [202] * 3 + [503] * 3
    assert [one["retryable"] for one in lines[3:]] == [True] * 3
    whole = last["bulk"]
    assert (answer.status, whole["status"], whole["through"], whole["failed"]) == (207, "stopped", 3, 3)
    assert whole["error"]["retryAfter"] == 2
    again = await sender.send(ndjson(*orders(6)), "/api/orders/bulk?after=3", Idempotency_Key="k")
    assert (again.status, sender.keys) == (202, ["1", "2", "3", "4", "5", "6"])


async def test_a_broker_that_is_away_is_a_503(sender: Sender) -> None:
    """With when to come again."""
    sender.running.lanes.broken = NotSent("away")
    answer = await sender.send(ndjson(*orders(2)))
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert lines_of(answer)[-1]["bulk"]["failed"] == 2


async def test_the_order_of_lines_is_the_order_of_sending(sender: Sender) -> None:
    """Across windows."""
    answer = await sender.send(ndjson(*orders(1_700)))
    *lines, last = lines_of(answer)
    assert sender.keys == [str(number) for number in range(1, 1_701)]
    assert [one["line"] for one in lines] == list(range(1, 1_701))
    assert last["bulk"]["through"] == 1_700


async def test_a_long_bulk_is_207_since_its_end_is_not_known_when_it_begins(sender: Sender) -> None:
    """Each line has its status; the last one says that all were accepted."""
    answer = await sender.send(ndjson(*orders(1_700)))
    assert answer.status == 207
    assert len(answer.pieces) > 3
    assert lines_of(answer)[-1]["bulk"]["accepted"] == 1_700


async def test_where_answers_are_held_whole_a_bulk_is_short() -> None:
    """It says where to go on."""
    whole = Sender({"SLUICE_HTTP_STREAMS": "false"})
    answer = await whole.send(b"x\n" * 10_001)
    last = lines_of(answer)[-1]["bulk"]
    assert (last["status"], last["through"], last["error"]["retryAfter"]) == ("stopped", 10_000, 0)


async def test_made_up_ids_of_bulks_are_none(sender: Sender) -> None:
    """Nor those of operations."""
    answer = await sender.send(ndjson(order()))
    good = answer.headers["operation-id"]
    operation = lines_of(answer)[0]["operation"].rpartition("/")[2].partition("?")[0]
    for made_up in ("x", good[:-1], good + "A", operation):
        assert (await sender.running.get(f"/api/operations/bulk/{made_up}")).status == 404
    assert (await sender.running.get(f"/api/operations/{good}")).status == 404
    sender.kept.kept.clear()
    assert (await sender.running.get(f"/api/operations/bulk/{good}")).json["status"] == "unknown"
