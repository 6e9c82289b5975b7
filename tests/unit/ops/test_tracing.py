"""`dev.py trace`: the tree of a message, its waits, and the ids by which it is found."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import integrations
from functions.composition.processing import processor
from functions.composition.read_models import projector
from ops.tracing import main
from ops.tracing.kql import find_query
from ops.tracing.mermaid import sequence, topology
from ops.tracing.sources import NoSpans, message_of
from ops.tracing.tree import tree_of
from ops.tracing.waterfall import waterfall
from ops.tracing.workspace import WorkspaceSource
from shared.messages import Delivery, discover
from shared.streams import StreamEvent
from shared.telemetry import Name
from shared.telemetry.span_store import SpanStore, StoredSpan
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


def test_a_tree_becomes_a_diagram() -> None:
    """In which nothing that somebody sent is read as Mermaid's own."""
    text = sequence(tree_of(TRACE, retried()))
    assert text.startswith("sequenceDiagram\n")
    assert "normal-->>app: process normal, done (6.000 s, 30.0 ms)" in text
    assert "client->>app: POST /api/orders (0.000 s, 12.0 ms)" in text
    assert "Note over app: retry: waits 3.99 s" in text
    hostile = sequence(tree_of(TRACE, [stored("a;b\nend#: %%{init}%%", "1", "", 0, 1)]))
    assert len(hostile.splitlines()) == 3
    assert not {"#", ";", "{"} & {*hostile.splitlines()[2].partition(": ")[2]}


def test_what_calls_what_is_counted() -> None:
    """And how often it failed."""
    spans = [replace(one, process="func-api/1/2") for one in retried()]
    text = topology(spans)
    assert text.startswith("flowchart LR\n")
    assert 'normal["normal"] -->|"4, 2 failed"| func_api["func_api"]' in text
    assert topology([]) == "flowchart LR\n"


@pytest.mark.parametrize("text", ["x' or 1 == 1 //", "a\\", 'a"', "é\u2028"])
def test_what_is_typed_stays_a_value_in_kql(text: str) -> None:
    """It ends no string."""
    query = find_query(text, most=5)
    inside = re.findall(r"'((?:[^'\\]|\\u[0-9a-f]{4})*)'", query)
    assert any(re.sub(r"\\u([0-9a-f]{4})", lambda one: chr(int(one[1], 16)), one) == text for one in inside)
    assert query.count("'") % 2 == 0


def test_the_same_question_for_application_insights(ask: Any) -> None:
    """By an id, or by a trace."""
    code, text, _ = ask("c-1", "--kql")
    assert code == 0
    assert "startswith 'c-1'" in text
    code, text, _ = ask(TRACE, "--kql")
    assert f"OperationId == '{TRACE}'" in text


def test_a_topology_and_a_diagram_are_printed(ask: Any) -> None:
    """Of the stack's store."""
    assert "flowchart LR" in ask("--topology")[1]
    assert "sequenceDiagram" in ask(f"{MESSAGE_ID[:-1]}1", "--mermaid")[1]
    assert ask()[0] == 2
    assert ask("x", "--topology")[0] == 2


ROWS = {
    "columns": [
        {"name": name, "type": "string"}
        for name in (
            "TimeGenerated", "OperationId", "Id", "ParentId", "Name", "Type", "DurationMs", "Success", "ResultCode",
            "DependencyType", "AppRoleName", "AppRoleInstance", "Properties",
        )
    ],
    "rows": [
        ["2026-11-30T08:17:10.9630001Z", TRACE, "a1", "s", "process normal", "AppRequests", 12.5, False, "0", None,
         "func-bulk", "i-1", json.dumps({Name.MESSAGE_ID: MESSAGE_ID, Name.OUTCOME: "dead", Name.ATTEMPT: "3",
                                         Name.OPERATION_TYPE: "process", "_MS.links": json.dumps(
                                             [{"operation_Id": TRACE, "id": "a0"}])})],
        ["2026-11-30T08:17:10.9Z", TRACE, "s", "", "send normal", "AppDependencies", 1, True, "0", "Queue Message | x",
         "func-api", "i-1", {Name.OPERATION_TYPE: "send"}],
        ["no time", TRACE, "x", "", "broken", "AppDependencies", 1, True, "0", "", "", "", {}],
    ],
}  # fmt: skip


@pytest.fixture
def workspace() -> Iterator[tuple[str, list[Any], list[tuple[int, Any]]]]:
    """A stand-in for the query API: its address, what it was asked, and what it answers next."""
    asked: list[Any] = []
    answers: list[tuple[int, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, self.headers["Authorization"], body))
            status, answer = answers.pop(0)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked, answers
    server.shutdown()
    server.server_close()


def test_a_workspace_is_asked_over_its_query_api(workspace: tuple[str, list[Any], list[tuple[int, Any]]]) -> None:
    """With a token; its rows become spans with kind, outcome, links and time, and what is no span is left out."""
    endpoint, asked, answers = workspace
    source = WorkspaceSource("w-1", lambda: "t-1", endpoint=endpoint, days=7)
    answers += [(200, {"tables": [ROWS]})]
    spans = source.trace(TRACE)
    tree = tree_of(TRACE, spans)
    assert [node.name for _, node in tree.nodes()] == ["send normal", "queue", "process normal"]
    assert (tree.outcome, tree.attempts[0].attributes[Name.ATTEMPT]) == ("dead", 3)
    assert (spans[0].kind, spans[1].kind, spans[0].problem) == ("consumer", "producer", "0")
    assert spans[0].links == [(TRACE, "a0")]
    assert spans[0].ended - spans[0].started == 12_500_000
    path, token, body = asked[0]
    assert (path, token, body["timespan"]) == ("/v1/workspaces/w-1/query", "Bearer t-1", "P7D")
    columns = [{"name": name, "type": "string"} for name in ("Kind", "Value", "OperationId", "Newest")]
    found = [["key", "k-1", TRACE, ""], ["key", "k-12", "f" * 32, ""]]
    answers += [(200, {"tables": [{"columns": columns, "rows": found}]})] * 2
    assert [one.value for one in source.find("k-1", most=5)] == ["k-1"]
    assert [one.value for one in source.find("k", most=5)] == ["k-1", "k-12"]


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (403, {"error": {"code": "InsufficientAccessError", "message": "no"}}, "403: InsufficientAccessError: no"),
        (400, {"error": {"code": "BadArgumentError", "innererror": {"message": "syntax"}}}, "BadArgumentError: syntax"),
        (502, b"<html>", "502: <html>"),
        (200, b"nonsense", "can't be asked"),
        (200, {"tables": []}, "can't be asked"),
    ],
)
def test_a_workspace_that_refuses_is_reported(
    workspace: tuple[str, list[Any], list[tuple[int, Any]]], status: int, answer: Any, reason: str
) -> None:
    """In its own words."""
    endpoint, _, answers = workspace
    answers.append((status, answer))
    with pytest.raises(NoSpans, match=re.escape(reason)):
        WorkspaceSource("w", lambda: "t", endpoint=endpoint).find("x", most=5)


@pytest.mark.parametrize(("outcome", "wait"), [("parked", "turn"), ("deferred", "pause"), ("retry", "retry")])
def test_a_wait_is_named_for_what_came_before(outcome: str, wait: str) -> None:
    """Behind its key, for an operator, or for its delay."""
    tree = tree_of(TRACE, [*retried()[:2], attempt(1, "s", S, 2 * S, outcome), attempt(2, "s", 5 * S, 6 * S, "done")])
    assert [node.wait for _, node in tree.nodes() if node.wait] == ["queue", wait]
