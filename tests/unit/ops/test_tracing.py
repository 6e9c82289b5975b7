"""`dev.py trace`: the tree of a message, its waits, and the ids by which it is found."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import integrations
from functions.composition.processing import processor
from functions.composition.read_models import projector
from ops.tracing import main
from ops.tracing.sources import message_of
from ops.tracing.tree import tree_of
from ops.tracing.waterfall import waterfall
from shared.messages import Delivery, discover
from shared.streams import StreamEvent
from shared.telemetry import Name, SpanStore, StoredSpan
from tests.unit.functions.conftest import ENVIRONMENT, Running
from tests.unit.functions.samples import MESSAGE_ID, envelope
from tests.unit.traced import traced

MS = 1_000_000
S = 1_000 * MS
TRACE = "0af7651916cd43dd8448eb211c80319c"


def stored(name: str, span: str, parent: str, started: int, ended: int, **more: Any) -> StoredSpan:
    """A span of the trace."""
    kind = more.pop("kind", "internal")
    attributes = more.pop("attributes", {})
    return StoredSpan(
        trace=more.pop("trace", TRACE),
        span=span,
        parent=parent,
        name=name,
        kind=kind,
        started=started,
        ended=ended,
        attributes=attributes,
        **more,
    )


def attempt(number: int, parent: str, started: int, ended: int, outcome: str, **more: Any) -> StoredSpan:
    """A processing of the message."""
    attributes = {Name.MESSAGE_ID: MESSAGE_ID, Name.ATTEMPT: number, Name.OUTCOME: outcome, Name.KEY: "k"} | more
    problem = "TimeoutError: carrier" if outcome in ("retry", "dead") else None
    return stored(
        "process normal", f"a{number}", parent, started, ended, kind="consumer", problem=problem, attributes=attributes
    )


def retried() -> list[StoredSpan]:
    """An order that was done at its third attempt."""
    return [
        stored("POST /api/orders", "p", "", 0, 12 * MS, kind="server", attributes={Name.HTTP_STATUS: 202}),
        stored("send normal", "s", "p", MS, 10 * MS, kind="producer", attributes={Name.MESSAGE_ID: MESSAGE_ID}),
        attempt(1, "s", 30 * MS, 40 * MS, "retry"),
        attempt(2, "a1", 2 * S, 2 * S + 10 * MS, "retry"),
        attempt(3, "a1", 6 * S, 6 * S + 30 * MS, "done"),
        stored("handle order.placed", "h", "a3", 6 * S + MS, 6 * S + 10 * MS),
        stored("transaction", "t", "a3", 6 * S + 10 * MS, 6 * S + 20 * MS),
        stored("publish", "u", "a3", 6 * S + 25 * MS, 6 * S + 28 * MS),
        stored("process events", "e", "h", 7 * S, 7 * S + 5 * MS, kind="consumer"),
        stored("receive normal", "b", "", 29 * MS, 45 * MS, trace="f" * 32, links=[(TRACE, "s")], kind="client"),
    ]


def test_a_tree_shows_where_it_waited() -> None:
    """In the queue, for its retries, in the outbox and in the event log; later attempts stand beside the first."""
    tree = tree_of(TRACE, retried())
    shown = [(depth, node.wait or node.name) for depth, node in tree.nodes()]
    assert shown == [
        (0, "POST /api/orders"),
        (1, "send normal"),
        (2, "receive normal"),
        (2, "queue"),
        (2, "process normal"),
        (2, "retry"),
        (2, "process normal"),
        (2, "retry"),
        (2, "process normal"),
        (3, "handle order.placed"),
        (4, "event log"),
        (4, "process events"),
        (3, "transaction"),
        (3, "outbox"),
        (3, "publish"),
    ]
    waits = {node.wait: (node.started, node.ended) for _, node in tree.nodes() if node.wait}
    assert waits["queue"] == (10 * MS, 30 * MS)
    assert waits["retry"] == (2 * S + 10 * MS, 6 * S)
    assert waits["event log"] == (6 * S + 28 * MS, 7 * S)
    assert (tree.outcome, len(tree.attempts)) == ("done", 3)


def test_a_waterfall_folds_attempts_and_ends_with_a_command() -> None:
    """A line each, no wider than the terminal, and in ASCII where that is all there is."""
    tree = tree_of(TRACE, retried())
    text = waterfall(tree, width=110)
    assert "process normal ×2" in text
    assert "done after 7.00 s, 3 attempts" in text
    assert text.splitlines()[-1].startswith("next: python3 dev.py trace")
    assert max(map(len, text.splitlines())) <= 140
    assert text.count("process normal") == 2
    assert waterfall(tree, every_attempt=True).count("process normal") == 3
    assert waterfall(tree, unicode=False).isascii()


@pytest.mark.parametrize(
    ("outcome", "command"),
    [("dead", "dead-letters show"), ("retry", "--follow"), ("deferred", "--follow"), ("parked", "trace k")],
)
def test_the_next_command_follows_from_the_outcome(outcome: str, command: str) -> None:
    """What an operator would type."""
    assert command in waterfall(tree_of(TRACE, [attempt(1, "", 0, 5, outcome)])).splitlines()[-1]


def test_what_nobody_took_is_waiting() -> None:
    """A message in its queue."""
    tree = tree_of(TRACE, retried()[:2])
    assert tree.outcome == "waiting"
    assert "pauses" in waterfall(tree)


def test_hostile_spans_make_a_tree_too() -> None:
    """Circles, parents that aren't there, times that run backwards, and control characters."""
    spans = [
        stored("a\x1b[31m", "1", "2", 10, 5),
        stored("b", "2", "1", 0, 0),
        stored("c", "3", "3", 0, 2**62),
        stored("d", "4", "nobody", -5, 1),
        stored("e", "5", "", 0, 1, links=[("x", "y"), (TRACE, "3")], trace="other"),
    ]
    tree = tree_of(TRACE, spans)
    assert {node.name for _, node in tree.nodes()} == {"a\x1b[31m", "b", "c", "d", "e"}
    assert "\x1b" not in waterfall(tree)


@pytest.fixture
async def store(tmp_path: Path) -> Path:
    """A store with two orders from their POST to their row, one of them claim-checked."""
    with traced() as kept:
        app = Running(discover(integrations))
        for number in (1, 2):
            message = envelope(messageId=f"{MESSAGE_ID[:-1]}{number}")
            assert (await app.post("/api/orders", message, {"X-Correlation-ID": f"c-{number}"})).status == 202
        for number, sent in enumerate(app.lanes.sent, 1):
            properties = {str(name): value for name, value in sent.headers.to_properties().items()}
            delivery = Delivery(
                body=sent.body, properties=properties, message_id="", sequence_number=number, delivery_count=1
            )
            await app.composition.get(processor).process(sent.headers.lane, [delivery])
        for number, event in enumerate(app.publisher.facts):
            one = StreamEvent(body=event.body, partition="0", offset="0", sequence_number=number)
            await app.composition.get(projector).project([one])
    file = tmp_path / "spans.sqlite"
    with closing(SpanStore(file)) as written:
        written.put(kept.spans, "sluice/1/1")
    return file


@pytest.fixture
def ask(store: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command line on that store: its exit code, and what it printed."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments, {**ENVIRONMENT, "SLUICE_SPAN_STORE": str(store)})
        return code, *capsys.readouterr()

    return run


def test_a_message_is_shown_by_any_of_its_ids(ask: Any) -> None:
    """Message, correlation, trace, the operation that the POST answered with, and the beginning of each."""
    first = f"{MESSAGE_ID[:-1]}1"
    code, text, _ = ask(first, "--json")
    trace = json.loads(text)["trace"]
    operation = base64.urlsafe_b64encode(UUID(first).bytes + b"\0" * 22).decode()
    for one in (first, "c-1", trace, trace[:8], operation, f"/api/operations/{operation}?request=x", first.upper()):
        code, text, said = ask(one, "--json")
        assert code == 0, (one, said)
        assert json.loads(text)["trace"] == trace
    names = [span["name"] for span in json.loads(text)["spans"]]
    assert {"POST /api/orders", "send normal", "process normal", "transaction", "process events"} <= {*names}


def test_an_ambiguous_id_lists_what_it_may_mean(ask: Any) -> None:
    """The business key of both, and the beginning that both message ids have."""
    for one in ("536365", MESSAGE_ID[:-1], "c-"):
        code, text, _ = ask(one)
        assert code == 1
        assert all(f"{MESSAGE_ID[:-1]}{n}" in text for n in (1, 2))
        code, text, _ = ask(one, "--json")
        assert len(json.loads(text)["candidates"]) == 2


@pytest.mark.parametrize(("text", "code"), [("unknown", 3), ("", 2), ("a\nb", 2), ("x" * 600, 2)])
def test_what_is_no_id_is_refused(ask: Any, text: str, code: int) -> None:
    """With a sentence."""
    found, out, said = ask(text)
    assert (found, out) == (code, "")
    assert said.startswith("trace: ")


def test_without_a_store_there_is_a_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where none was made, and where it isn't one."""
    missing = {**ENVIRONMENT, "SLUICE_SPAN_STORE": str(tmp_path / "none")}
    assert main(["x"], missing) == 3
    assert "dev.py run" in capsys.readouterr().err
    (tmp_path / "none").write_text("no database")
    assert main(["x"], missing) == 3
    assert "can't be read" in capsys.readouterr().err
    assert main(["x"], ENVIRONMENT) == 3


def test_no_id_is_read_from_what_is_no_operation() -> None:
    """Whatever it is."""
    assert [message_of(text) for text in ("", "é", "a" * 40, "abc", "====")][:2] == [None, None]
