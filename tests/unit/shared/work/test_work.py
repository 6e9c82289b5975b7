"""The unit of work: what a handler stages becomes one transaction, guarded by what it had read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from shared.messages import CloudEvent, InvalidMessage, Lane, OutgoingCommand, PayloadHash
from shared.secrets import Secret, UnknownSecret
from shared.state import Conflict, TooLarge, inbox_key, outbox_key, sequence_key, state_key, unpack
from shared.tables import Create, Replace, etag_of
from shared.telemetry import hiding, redact
from shared.work import Aggregate
from tests.unit.memory import MemoryState

from .world import NOW, Other, Stock, commit, headers, work


@pytest.fixture
def store() -> MemoryState:
    """An empty table."""
    return MemoryState()


async def test_nothing_is_written_before_the_commit_and_all_of_it_then(store: MemoryState) -> None:
    """Inbox record, state, head and outbox rows in one transaction."""
    unit = work(store)
    await unit.save("stock", "A", Stock(count=1))
    unit.publish("stock.counted", Stock(count=1))
    assert store.rows == {}
    await commit(store, unit)
    assert [key for _, key in store.rows] == [
        f"inbox:{UUID(int=1)}",
        "state:stock:A",
        "head:A",
        "outbox:A:000000000001",
    ]
    assert len(store.transactions) == 1


async def test_what_was_saved_is_loaded_again(store: MemoryState) -> None:
    """Within the same work and by the next message."""
    unit = work(store)
    await unit.save("stock", "A", Stock(count=1, note="große 😀"))
    assert await unit.load("stock", "A", Stock) == Stock(count=1, note="große 😀")
    await commit(store, unit)
    assert await work(store, 2).load("stock", "A", Stock) == Stock(count=1, note="große 😀")
    assert await work(store, 2).load("other", "A", Stock) is None


async def test_a_value_over_several_columns_shrinks_without_remains(store: MemoryState) -> None:
    """The row is replaced, not merged."""
    for number, note in enumerate(("é" * 100_000, "short"), start=1):
        unit = work(store, number)
        await unit.save("stock", "A", Stock(count=number, note=note))
        await commit(store, unit)
    assert await work(store, 3).load("stock", "A", Stock) == Stock(count=2, note="short")


async def test_loading_as_another_model_than_was_staged_is_a_mistake(store: MemoryState) -> None:
    """It would otherwise differ from what the next message reads."""
    unit = work(store)
    await unit.save("stock", "A", Stock(count=1))
    with pytest.raises(TypeError, match="saved as Stock, not Other"):
        await unit.load("stock", "A", Other)


async def test_a_change_after_loading_is_a_conflict(store: MemoryState) -> None:
    """The second of two that had read the same loses, whole."""
    first, second = work(store, 1), work(store, 2)
    for unit in (first, second):
        assert await unit.load("stock", "A", Stock) is None
        await unit.save("stock", "A", Stock(count=1))
    await commit(store, first)
    with pytest.raises(Conflict):
        await commit(store, second)
    assert store.inbox(UUID(int=2)) is None

    third, fourth = work(store, 3), work(store, 4)
    for unit in (third, fourth):
        assert await unit.load("stock", "A", Stock) == Stock(count=1)
        await unit.save("stock", "A", Stock(count=2))
    await commit(store, third)
    with pytest.raises(Conflict):
        await commit(store, fourth)


async def test_a_save_without_loading_replaces_whatever_is_there(store: MemoryState) -> None:
    """Nothing was read, so nothing can have changed."""
    for number in (1, 2):
        unit = work(store, number)
        await unit.save("stock", "A", Stock(count=number))
        await commit(store, unit)
    assert await work(store, 3).load("stock", "A", Stock) == Stock(count=2)


async def test_deleting_forgets_and_is_guarded_as_well(store: MemoryState) -> None:
    """Also when the row changes after it was looked at."""
    unit = work(store, 1)
    await unit.save("stock", "A", Stock(count=1))
    await commit(store, unit)

    unit, rival = work(store, 2), work(store, 3)
    await unit.delete("stock", "A")
    assert await unit.load("stock", "A", Stock) is None
    await rival.save("stock", "A", Stock(count=9))
    await commit(store, rival)
    with pytest.raises(Conflict):
        await commit(store, unit)

    unit = work(store, 4)
    await unit.delete("stock", "A")
    await commit(store, unit)
    assert await work(store, 5).load("stock", "A", Stock) is None


async def test_deleting_what_is_not_there_changes_nothing(store: MemoryState) -> None:
    """The message is still remembered."""
    unit = work(store)
    await unit.delete("stock", "A")
    await commit(store, unit)
    assert store.keys("") == [f"inbox:{UUID(int=1)}"]


async def test_delete_then_save_and_save_then_delete(store: MemoryState) -> None:
    """The last word counts."""
    unit = work(store)
    await unit.delete("stock", "A")
    await unit.save("stock", "A", Stock(count=5))
    await commit(store, unit)
    assert await work(store, 2).load("stock", "A", Stock) == Stock(count=5)
    unit = work(store, 3)
    await unit.save("stock", "A", Stock(count=6))
    await unit.delete("stock", "A")
    await commit(store, unit)
    assert await work(store, 4).load("stock", "A", Stock) is None


@pytest.mark.parametrize("buckets", [1, 4])
async def test_one_message_changes_one_aggregate(buckets: int) -> None:
    """Even where chance puts two of them into one bucket: in production chance would not."""
    unit = work(MemoryState(buckets))
    for call in (
        unit.save("stock", "B", Stock(count=1)),
        unit.load("stock", "B", Stock),
        unit.delete("stock", "B"),
    ):
        with pytest.raises(ValueError, match="another aggregate"):
            await call


async def test_a_value_too_large_is_refused_while_the_handler_runs(store: MemoryState) -> None:
    """Where it can still be told which one it was."""
    with pytest.raises(TooLarge):
        await work(store).save("stock", "A", Stock(count=1, note="x" * 1_000_000))


async def test_facts_carry_their_order_key_and_trace(store: MemoryState) -> None:
    """Distinct ids, the aggregate as subject, the correlation id."""
    unit = work(store)
    unit.publish("stock.counted", Stock(count=1))
    unit.publish("stock.closed", Stock(count=2), version="2.0")
    await commit(store, unit)
    keys = store.keys("outbox:")
    assert keys == [row["RowKey"] for row in unit.outbox_rows()]
    rows = [next(row for (_, key), row in store.rows.items() if key == wanted) for wanted in keys]
    facts = [CloudEvent.from_json(unpack(row).encode()) for row in rows]
    assert [(fact.id, fact.type, fact.version, fact.sequence) for fact in facts] == [
        (f"{UUID(int=1)}:0", "stock.counted", "1.0", 1),
        (f"{UUID(int=1)}:1", "stock.closed", "2.0", 2),
    ]
    assert {(fact.subject, fact.correlation_id, fact.traceparent) for fact in facts} == {("A", "c-1", "00-1-2-01")}


async def test_the_inbox_record_tells_what_a_summary_counts(store: MemoryState) -> None:
    """Lane, times, payload."""
    await commit(store, work(store))
    row = store.inbox(UUID(int=1))
    assert row is not None
    wanted: dict[str, Any] = {
        "status": "done",
        "lane": "normal",
        "eventType": "stock.moved",
        "key": "A",
        "acceptedAt": NOW,
        "processedAt": NOW,
        "payloadSha256": "f" * 64,
    }
    assert wanted.items() <= row.items()


def row(store: MemoryState, row_key: str) -> dict[str, Any]:
    """What is stored under a row key, without what the store adds."""
    (found,) = [each for (_, key), each in store.rows.items() if key == row_key]
    return {name: value for name, value in found.items() if name not in ("PartitionKey", "RowKey")}


def addressed(event_type: str, version: str, data: Any) -> OutgoingCommand:
    """As the registry does it, for commands that begin with `stock.`."""
    if not event_type.startswith("stock."):
        raise InvalidMessage(f"nobody takes {event_type}")
    body = f'{{"messageId":"","count":{data.count}}}'.encode()
    return OutgoingCommand(headers(0, "B", event_type=event_type, version=version, lane=Lane.HIGH), body)


async def test_rows_have_the_columns_that_others_read(store: MemoryState) -> None:
    """Views, sweeps, the doctor and operators find state, sequence and outbox by them."""
    clock = iter([NOW, NOW + timedelta(seconds=2)])
    unit = work(store, address=addressed, now=lambda: next(clock))
    await unit.save("stock", "A", Stock(count=1, last_move="m-7"))
    unit.publish("stock.counted", Stock(count=1, last_move="m-7"))
    unit.send("stock.check", Stock(count=2))
    await commit(store, unit)
    assert row(store, state_key("stock", "A")) == {
        "kind": "stock",
        "key": "A",
        "value": '{"count":1,"note":"","lastMove":"m-7"}',
    }
    assert row(store, sequence_key("A")) == {"sequence": 2, "facts": 1}
    for number, kind in ((1, "event"), (2, "command")):
        columns = row(store, outbox_key("A", number))
        columns.pop("value")
        wanted = {"kind": kind, "subject": "A", "messageId": str(UUID(int=1)), "createdAt": NOW}
        assert columns == wanted, "by the time when the handler began"
    assert row(store, inbox_key(UUID(int=1)))["processedAt"] == NOW + timedelta(seconds=2), "when it was over"
    (event,) = unit.events
    assert (event.source, event.time, event.data) == ("/sluice", NOW, '{"count":1,"note":"","lastMove":"m-7"}')


async def test_what_is_emitted_is_numbered_after_what_the_aggregate_had(store: MemoryState) -> None:
    """Events among themselves; rows, events and commands together, under the sequence row's ETag."""
    await commit(store, _emitting(store, 1, Aggregate()))
    (sequence,) = (await store.find(work(store).bucket, [sequence_key("A")])).values()
    known = Aggregate(sequence=3, events=2, etag=etag_of(sequence))
    unit = _emitting(store, 2, known)
    assert [event.sequence for event in unit.events] == [3, 4]
    assert [event.id for event in unit.events] == [f"{UUID(int=2)}:0", f"{UUID(int=2)}:2"]
    assert [each["RowKey"] for each in unit.outbox_rows()] == [outbox_key("A", number) for number in (4, 5, 6)]
    await commit(store, unit)
    assert row(store, sequence_key("A")) == {"sequence": 6, "facts": 4}
    with pytest.raises(Conflict):
        await commit(store, _emitting(store, 3, known))
    with pytest.raises(Conflict):
        await commit(store, _emitting(store, 4, Aggregate(sequence=6, events=4)))


def _emitting(store: MemoryState, number: int, aggregate: Aggregate) -> Any:
    """An event, a command, an event."""
    unit = work(store, number, address=addressed, aggregate=aggregate)
    unit.publish("stock.counted", Stock(count=1))
    unit.send("stock.check", Stock(count=2))
    unit.publish("stock.counted", Stock(count=3))
    return unit


async def test_a_command_follows_the_message_that_sent_it(store: MemoryState) -> None:
    """Its id is the same on every run of the handler, and another one for each command of it."""
    units = [work(store, number, address=addressed, traceparent=f"00-{number}") for number in (1, 1, 2)]
    for unit in units:
        unit.send("stock.check", Stock(count=5), version="2.0")
        unit.send("stock.check", Stock(count=6))
    commands = [[OutgoingCommand.from_json(unpack(each)) for each in unit.outbox_rows()] for unit in units]
    ids = [[command.headers.message_id for command in each] for each in commands]
    assert ids[0] == ids[1]
    assert len({*ids[0], *ids[2]}) == 4
    one = commands[0][0].headers
    assert (one.event_type, one.version, one.key, one.lane) == ("stock.check", "2.0", "B", Lane.HIGH)
    assert (one.correlation_id, one.traceparent) == ("c-1", "00-1")
    assert commands[0][0].body == f'{{"messageId":"{one.message_id}","count":5}}'.encode()
    assert commands[0][1].headers.version == "1.0"


async def test_a_command_that_nobody_takes_is_refused_while_the_handler_runs(store: MemoryState) -> None:
    """And nothing of it is emitted; the same where there is nobody to ask."""
    unit = work(store, address=addressed)
    with pytest.raises(InvalidMessage, match="nobody takes parcel"):
        unit.send("parcel.sent", Stock(count=1))
    with pytest.raises(RuntimeError, match=r"^this unit of work has no registry to address commands with$"):
        work(store).send("stock.check", Stock(count=1))
    assert unit.emitted == []


async def test_a_replay_takes_the_place_of_the_inbox_record_that_was_opened_for_it(store: MemoryState) -> None:
    """Under its ETag: of two replays of one message, the second changes nothing."""
    await commit(store, work(store))
    opened = store.inbox(UUID(int=1))
    assert opened is not None
    again = work(store, aggregate=Aggregate(replayed=etag_of(opened)), payload_hash=PayloadHash("e" * 64, "e" * 64))
    assert isinstance(again.operations()[0], Replace)
    await commit(store, again)
    assert row(store, inbox_key(UUID(int=1)))["payloadSha256"] == "e" * 64
    with pytest.raises(Conflict):
        await commit(store, work(store, aggregate=Aggregate(replayed=etag_of(opened))))


async def test_the_transaction_is_made_once_and_anew_after_a_change(store: MemoryState) -> None:
    """Whoever tries a commit again sends the same rows."""
    unit = work(store, address=addressed)
    assert unit.outbox_rows() == []
    unit.publish("stock.counted", Stock(count=1))
    once, rows = unit.operations(), unit.outbox_rows()
    assert unit.operations() is once
    assert unit.outbox_rows() is rows
    for change in (
        unit.save("stock", "A", Stock(count=1)),
        unit.delete("stock", "A"),
    ):
        await change
        assert unit.operations() is not once
        once = unit.operations()
    unit.publish("stock.counted", Stock(count=2))
    assert len(unit.outbox_rows()) == 2
    unit.send("stock.check", Stock(count=2))
    assert len(unit.outbox_rows()) == 3
    assert [type(each) for each in unit.operations()[1:]] == [Create] * 4


async def test_the_state_alone_is_kept_of_a_message_that_is_half_done(store: MemoryState) -> None:
    """No inbox record, so that it comes again; nothing emitted, which the rest of it will do."""
    unit = work(store)
    await unit.save("stock", "A", Stock(count=1))
    unit.publish("stock.counted", Stock(count=1))
    await store.commit(unit.bucket, unit.progress())
    assert [key for _, key in store.rows] == ["state:stock:A"]


class Vault:
    """Has one secret."""

    async def get(self, name: str) -> Any:
        """It, or the error that the vault's cache raises."""
        if name != "carrier":
            raise UnknownSecret(name, "not here")
        return Secret(name=name, value="s3cret", version="1", created=NOW)


async def test_a_secret_comes_from_the_vault_and_stays_out_of_telemetry(store: MemoryState) -> None:
    """As long as the message is worked on."""
    unit = work(store, secrets=Vault())
    with hiding(Stock(count=1)):
        assert redact("with s3cret") == "with s3cret"
        assert (await unit.secret("carrier")).value == "s3cret"
        assert "s3cret" not in redact("with s3cret")
    with pytest.raises(UnknownSecret, match="printer"):
        await unit.secret("printer")


async def test_an_app_without_a_vault_says_which_setting_it_lacks(store: MemoryState) -> None:
    """And which secret was wanted."""
    with pytest.raises(UnknownSecret, match=r"carrier.*the app has no key vault: set KeyVault__vaultUri"):
        await work(store).secret("carrier")
