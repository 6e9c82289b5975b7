"""Changes in the composed app: from the hub to the ordered lane, poison aside."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from functions.composition import CAPABILITIES
from functions.composition.changes import capability, change_consumer
from functions.composition.composing import capabilities_of
from ops.dead_letters.command_line import redrive_of
from shared.changes import Change
from shared.messages import Contract, Integration, Lane, Registry
from shared.streams import StreamEvent
from shared.work import Work
from tests.unit.functions.conftest import Running
from tests.unit.shared.changes.documented import ANNE, ANNE_MARIE, NO_CHANGES, postgresql

crm = Integration("crm")


class Customer(Contract):
    id: int
    first_name: str


@crm.changes("public.customers", key="id")
async def customer(change: Change[Customer], work: Work) -> None: ...


def events(*documents: Any) -> list[StreamEvent]:
    bodies = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in documents]
    return [
        StreamEvent(body=body, partition="0", offset=str(number), sequence_number=number)
        for number, body in enumerate(bodies)
    ]


@pytest.fixture
def app() -> Running:
    return Running(Registry([crm]))


async def test_changes_of_declared_tables_are_on_the_ordered_lane_in_their_order(app: Running) -> None:
    other = postgresql("c", after={"id": 1})
    other["payload"]["source"]["table"] = "orders"
    batch = events(
        postgresql("c", after=ANNE, lsn=1),
        b"",
        other,
        *NO_CHANGES.values(),
        postgresql("u", before={"id": 1}, after=ANNE_MARIE, lsn=2),
        b"default",
    )
    consumer = app.composition.get(change_consumer)
    await consumer.apply(batch)
    first, second = app.lanes.sent
    assert (first.headers.lane, first.headers.key, second.headers.key) == (Lane.ORDERED, "1", "1")
    assert [json.loads(one.body)["data"]["operation"] for one in (first, second)] == ["c", "u"]
    assert app.dead_letters.letters == {}
    await consumer.apply(batch)
    assert [one.headers.message_id for one in app.lanes.sent[2:]] == [
        first.headers.message_id,
        second.headers.message_id,
    ]


async def test_what_cannot_be_read_is_a_dead_letter_and_the_rest_goes_on(app: Running) -> None:
    unreadable = StreamEvent(body=b"x", partition="0", offset="9", sequence_number=9, unreadable="The body is a value.")
    batch = [*events(b"{", {"a": 1}, postgresql("x", after=ANNE), postgresql("c", after=ANNE)), unreadable]
    await app.composition.get(change_consumer).apply(batch)
    assert len(app.lanes.sent) == 1
    assert (
        sorted(one.code for one in app.dead_letters.letters.values()) == ["MALFORMED_JSON"] + ["VALIDATION_ERROR"] * 3
    )
    assert {one.source for one in app.dead_letters.letters.values()} == {"changes"}


async def test_a_change_without_its_key_or_that_its_model_cannot_read_is_on_the_lane_for_a_dead_letter(
    app: Running,
) -> None:
    await app.composition.get(change_consumer).apply(
        events(postgresql("d", before={"name": "x"}), postgresql("c", after={"id": 1}))
    )
    keys = [one.headers.key for one in app.lanes.sent]
    assert keys == [str(one.headers.message_id) for one in app.lanes.sent]


def log_message(content: bytes, prefix: str = "public.customers") -> dict[str, Any]:
    return postgresql("m", message={"prefix": prefix, "content": base64.b64encode(content).decode()})


def nested(depth: int) -> Any:
    return json.loads("[" * depth + "]" * depth)


ISO_DATE = "io.debezium.time.IsoDate"


def typed(fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {"fields": [{"field": "after", "fields": fields}]}


@pytest.mark.parametrize(
    "poison",
    [
        log_message(b'{"id":1,"x":"\\ud800"}'),
        log_message(b'{"id":1,"x":' + b"[" * 200 + b"]" * 200 + b"}"),
        log_message(b'{"id":1,"x":NaN}'),
        log_message(b'{"id":1,"x":1e999}'),
        log_message(b'{"id":1,"x":1e99999999999999999999}'),
        log_message(b'{"id":1,"id":2}'),
        log_message('{"id":1}'.encode("utf-16")),
        postgresql("c", after={**ANNE, "x": nested(62)})["payload"],
        {**postgresql("c", after={**ANNE, "born": 7}), "schema": typed([{"field": "born", "name": ISO_DATE}])},
        {**postgresql("c", after=ANNE), "schema": typed([{"field": ["id"]}])},
        {
            "op": "c",
            "source": {"connector": "mongodb", "db": "public", "collection": "customers", "ts_ms": 1},
            "after": '{"id":1,"first_name":"\\ud800"}',
        },
    ],
    ids=range(11),
)
async def test_what_no_message_can_hold_is_a_dead_letter_and_the_rest_goes_on(app: Running, poison: Any) -> None:
    await app.composition.get(change_consumer).apply(events(poison, postgresql("c", after=ANNE)))
    assert [one.headers.key for one in app.lanes.sent] == ["1"]
    assert [one.code for one in app.dead_letters.letters.values()] == ["VALIDATION_ERROR"]


async def test_a_change_as_deep_as_a_message_may_be_is_taken(app: Running) -> None:
    deepest = postgresql("c", after={**ANNE, "x": nested(61)})["payload"]
    await app.composition.get(change_consumer).apply(events(deepest))
    assert (len(app.lanes.sent), app.dead_letters.letters) == (1, {})


async def test_messages_of_somebody_else_are_passed_over(app: Running) -> None:
    routed = StreamEvent(
        body=b'"no JSON"', partition="0", offset="9", sequence_number=9, properties={"id": "4d", "eventType": "Else"}
    )
    batch = [*events(log_message(b"\x00\x01", "someone_elses"), postgresql("c", after=ANNE)), routed]
    await app.composition.get(change_consumer).apply(batch)
    assert (len(app.lanes.sent), app.dead_letters.letters) == (1, {})


@pytest.mark.parametrize("table", ["file", b"file", base64.b64encode(b"file").decode()], ids=["text", "bytes", "kafka"])
async def test_a_property_that_happens_to_be_base64_is_read_as_it_is(table: str | bytes) -> None:
    made = Integration("made")

    @made.changes("file", key="id")
    async def changed(change: Change[Customer], work: Work) -> None: ...

    app = Running(Registry([made]))
    row = json.dumps({"id": 1, "first_name": "a"}).encode()
    event = StreamEvent(
        body=row, partition="0", offset="1", sequence_number=1, properties={"__table": table, "__op": "c"}
    )
    await app.composition.get(change_consumer).apply([event])
    assert [one.headers.event_type for one in app.lanes.sent] == ["change:file"]


async def test_an_outage_is_raised_so_that_the_events_come_again(app: Running) -> None:
    app.lanes.broken = ConnectionError("away")
    with pytest.raises(ConnectionError):
        await app.composition.get(change_consumer).apply(events(postgresql("c", after=ANNE)))
    assert app.dead_letters.letters == {}


def test_the_function_is_there_where_changes_are_handled(app: Running) -> None:
    made = capabilities_of(app.composition, CAPABILITIES)
    (changes,) = (one for one in made if one.name == "changes")
    assert [one.name for one in changes.functions] == ["take_changes"]
    assert capability(Running(Registry([])).composition).functions == ()
    assert redrive_of(app.composition) is not None


async def test_the_guide_runs(project: Path) -> None:
    guide = (project / "docs" / "changes.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for snippet in re.findall(r"^```python\n(.*?)^```", guide, re.MULTILINE | re.DOTALL):
        exec(compile(snippet, "changes.md", "exec", dont_inherit=True), names)
    await names["test_a_customer_is_known"]()
