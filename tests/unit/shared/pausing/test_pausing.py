"""Pauses: one row that all instances read, messages set aside once, and nothing counted against them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from shared.pausing import (
    Kind,
    NotPaused,
    PauseBook,
    PauseWatch,
    Release,
    SetAside,
    SetAsideMessage,
    TooManyPauses,
    UnknownName,
    known_name,
)
from shared.tables import MemoryTable

START = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Clock:
    """Time that is moved."""

    def __init__(self) -> None:
        self.moment = START

    def now(self) -> datetime:
        """The moment."""
        return self.moment

    def seconds(self) -> float:
        """The same as seconds."""
        return (self.moment - START).total_seconds()

    def move(self, **by: float) -> None:
        """Let time pass."""
        self.moment += timedelta(**by)


class CountingTable(MemoryTable):
    """Counts point reads, and lets another write first."""

    def __init__(self) -> None:
        super().__init__("state")
        self.reads = 0
        self.races: list[Any] = []

    async def get(self, *place: Any, **options: Any) -> Any:
        """A point read."""
        self.reads += 1
        return await super().get(*place, **options)

    async def submit(self, operations: Any) -> list[str | None]:
        """A transaction, after those that come before it."""
        if self.races:
            await self.races.pop(0)
        return await super().submit(operations)


@pytest.fixture
def clock() -> Clock:
    """A clock."""
    return Clock()


@pytest.fixture
def table() -> CountingTable:
    """The table of state."""
    return CountingTable()


@pytest.fixture
def book(table: CountingTable, clock: Clock) -> PauseBook:
    """The pauses."""
    return PauseBook(table, now=clock.now)


def message(broker_id: str = "m1", *, lane: str = "low", integration: str = "", **properties: Any) -> SetAsideMessage:
    """A message that was delivered."""
    known = {"attempt": 1, "firstAttemptAt": START.isoformat(), "key": "k", **properties}
    return SetAsideMessage(
        lane=lane,
        integration=integration,
        broker_id=broker_id,
        sequence_number=1,
        body=b"{}",
        properties=known,
        since=START,
    )


async def test_a_pause_says_who_when_and_why_until_it_ends(book: PauseBook, clock: Clock) -> None:
    assert await book.pause(Kind.LANE, "low", by="ada", reason="the warehouse is down")
    assert not await book.pause(Kind.LANE, "low", by="bob", reason="me too")
    (known,) = (await book.state()).active
    assert (known.by, known.reason, known.at) == ("ada", "the warehouse is down", START)
    clock.move(hours=70)
    ended = await book.resume(Kind.LANE, "low", by="bob", reason="it is back")
    assert (ended.by, ended.ended_by, ended.ended_reason) == ("ada", "bob", "it is back")
    assert ended.ended_at == START + timedelta(hours=70)
    state = await book.state()
    assert (state.active, state.ended) == ([], [ended])
    with pytest.raises(NotPaused):
        await book.resume(Kind.LANE, "low", by="bob")


async def test_two_operators_at_once_lose_neither_pause(table: CountingTable, book: PauseBook) -> None:
    """The row is written over the version that was read only."""
    await book.pause(Kind.LANE, "high", by="ada", reason="r")
    table.races.append(book.pause(Kind.LANE, "low", by="bob", reason="r"))
    await book.pause(Kind.INTEGRATION, "orders", by="ada", reason="r")
    assert {one.name for one in (await book.state()).active} == {"high", "low", "orders"}


async def test_the_row_stays_within_a_column(book: PauseBook, table: CountingTable, clock: Clock) -> None:
    """However long the reasons, and however often something was paused; what isn't released yet is never forgotten."""
    await book.pause(Kind.INTEGRATION, "first", by="ada", reason="r")
    await book.resume(Kind.INTEGRATION, "first", by="ada")
    for number in range(60):
        await book.pause(Kind.LANE, f"{number}", by="ü" * 999, reason="ü" * 999)
        ended = await book.resume(Kind.LANE, f"{number}", by="ü" * 999, reason="ü" * 999)
        await book.released([ended])
    for number in range(40):
        await book.pause(Kind.LANE, f"{number}", by="ü" * 999, reason='"' * 999)
    with pytest.raises(TooManyPauses):
        await book.pause(Kind.LANE, "one more", by="b", reason="r")
    state = await book.state()
    assert len(state.ended) == 21
    assert [one.name for one in state.unreleased] == ["first"]


async def test_an_instance_reads_once_in_four_seconds_and_only_when_asked(
    book: PauseBook, table: CountingTable, clock: Clock
) -> None:
    watch = PauseWatch(book, clock=clock.seconds)
    assert table.reads == 0
    for _ in range(100):
        assert await watch.holding(lane="low", integration="orders") is None
    assert table.reads == 1
    await book.pause(Kind.INTEGRATION, "orders", by="ada", reason="r")
    clock.move(seconds=4)
    held = await watch.holding(lane="low", integration="orders")
    assert held is not None
    assert held.name == "orders"
    assert await watch.holding(lane="low", integration="parcels") is None
    assert await watch.holding(lane="low") is None
    assert await watch.of(Kind.INTEGRATION, "orders") is held


async def test_a_store_that_fails_is_not_taken_for_no_pause(
    table: CountingTable, clock: Clock, book: PauseBook
) -> None:
    """What can't be known isn't processed: the batch goes back, as with everything else that storage fails."""
    watch = PauseWatch(book, clock=clock.seconds)
    assert await watch.holding(lane="low") is None

    async def fail(*_: Any, **__: Any) -> None:
        raise OSError

    table.get = fail  # type: ignore[method-assign]
    clock.move(seconds=5)
    with pytest.raises(OSError):  # noqa: PT011
        await watch.holding(lane="low")


async def test_what_is_set_aside_goes_back_once_and_counts_nothing(
    table: CountingTable, book: PauseBook, clock: Clock
) -> None:
    """Days later; its first attempt has all its time, and a later one what it had left."""
    aside = SetAside(table, now=clock.now)
    await book.pause(Kind.LANE, "low", by="ada", reason="r")
    second = message("m2#2", attempt=2, firstAttemptAt=(START - timedelta(hours=1)).isoformat())
    await aside.put([message("m1"), second])
    await aside.put([message("m1")])  # a second delivery of it
    sent: list[SetAsideMessage] = []

    async def send(one: SetAsideMessage) -> None:
        sent.append(one)

    release = Release(book, aside, send, now=clock.now, clock=clock.seconds)
    clock.move(days=3)
    assert await release.run() == 0
    assert sum((await aside.counts()).values()) == 2
    await book.resume(Kind.LANE, "low", by="ada")
    assert await release.run() == 2
    assert await aside.counts() == {}
    back = {one.broker_id: one.properties for one in sent}
    accepted = message("m1").properties["firstAttemptAt"]
    again = {"attempt": 1, "firstAttemptAt": clock.now().isoformat(), "acceptedAt": accepted, "key": "k"}
    assert back["m1"] == again
    assert back["m2#2"]["attempt"] == 2
    assert back["m2#2"]["firstAttemptAt"] == (clock.now() - timedelta(hours=1)).isoformat()


async def test_an_instance_that_knew_late_strands_nothing(table: CountingTable, book: PauseBook, clock: Clock) -> None:
    """It sets a message aside after the end of the pause; the release looks again until nobody can."""
    aside = SetAside(table, now=clock.now)
    sent: list[SetAsideMessage] = []

    async def send(one: SetAsideMessage) -> None:
        sent.append(one)

    release = Release(book, aside, send, now=clock.now, clock=clock.seconds)
    await book.pause(Kind.INTEGRATION, "orders", by="ada", reason="r")
    await book.resume(Kind.INTEGRATION, "orders", by="ada")
    assert await release.run() == 0
    clock.move(seconds=40)
    await aside.put([message(integration="orders")])
    clock.move(seconds=30)
    assert await release.run() == 1
    reads = table.reads
    assert await release.run() == 0
    assert table.reads == reads + 1  # an idle stack's: nothing is looked through


async def test_what_another_pause_holds_stays(table: CountingTable, book: PauseBook, clock: Clock) -> None:
    """A message of a paused integration on a paused lane waits for both."""
    aside = SetAside(table, now=clock.now)
    await book.pause(Kind.LANE, "low", by="ada", reason="r")
    await book.pause(Kind.INTEGRATION, "orders", by="ada", reason="r")
    await aside.put([message("m1", integration="orders"), message("m2", integration="parcels"), message("m3")])
    sent: list[str] = []

    async def send(one: SetAsideMessage) -> None:
        sent.append(one.broker_id)

    release = Release(book, aside, send, now=clock.now, clock=clock.seconds)
    await book.resume(Kind.LANE, "low", by="ada")
    assert await release.run() == 2
    assert sorted(sent) == ["m2", "m3"]
    await book.resume(Kind.INTEGRATION, "orders", by="ada")
    assert await release.run() == 1


async def test_a_send_that_fails_keeps_every_message(table: CountingTable, book: PauseBook, clock: Clock) -> None:
    """The row goes after the lane took the message, never before."""
    aside = SetAside(table, now=clock.now)
    await book.pause(Kind.LANE, "low", by="ada", reason="r")
    await aside.put([message(f"m{number}") for number in range(5)])
    await book.resume(Kind.LANE, "low", by="ada")

    async def fail(_: SetAsideMessage) -> None:
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011
        await Release(book, aside, fail, now=clock.now, clock=clock.seconds).run()
    assert await aside.counts() == {("low", ""): 5}


async def test_one_that_cannot_be_sent_holds_up_no_other_and_has_none_sent_twice(
    table: CountingTable, book: PauseBook, clock: Clock
) -> None:
    """What the lane took is forgotten, what it refused stays and is tried again; the pause counts as unreleased."""
    aside = SetAside(table, now=clock.now)
    await book.pause(Kind.LANE, "low", by="ada", reason="r")
    await aside.put([message(f"m{number}") for number in range(200)])
    await book.resume(Kind.LANE, "low", by="ada")
    clock.move(minutes=5)
    sent: list[str] = []

    async def send(one: SetAsideMessage) -> None:
        if one.broker_id == "m7":
            raise OSError
        sent.append(one.broker_id)

    release = Release(book, aside, send, now=clock.now, clock=clock.seconds)
    for _ in range(2):
        with pytest.raises(OSError):  # noqa: PT011
            await release.run()
    assert sorted(sent) == sorted(f"m{number}" for number in range(200) if number != 7)
    assert await aside.counts() == {("low", ""): 1}
    assert (await book.state()).unreleased


@pytest.mark.parametrize("first", ["9999-12-31T23:59:59+00:00", "9999-12-31T23:59:59", "yesterday", ""])
async def test_whatever_a_sender_says_of_its_first_attempt_it_comes_back(
    first: str, table: CountingTable, clock: Clock
) -> None:
    """Another clock, or no time at all: the lane's own reader judges that."""
    aside = SetAside(table, now=clock.now)
    await aside.put([message(attempt=2, firstAttemptAt=first)])
    clock.move(days=3)
    sent: list[str] = []

    async def send(one: SetAsideMessage) -> None:
        sent.append(one.properties["firstAttemptAt"])

    assert await aside.give_back(lambda lane, integration: True, send) == (1, True)
    assert sent == [clock.now().isoformat() if first.startswith("9999") else first]


@pytest.mark.parametrize("note", ["", "x" * 32_700, "x" * 65_000, "ü" * 32_000])
async def test_properties_as_large_as_the_broker_takes_come_back_whole(
    note: str, table: CountingTable, clock: Clock
) -> None:
    """A row that the store refuses would fail the batch, over and over, until all its messages are dead letters."""
    aside = SetAside(table, now=clock.now)
    await aside.put([message(note=note), message("m2")])
    sent: dict[str, Any] = {}

    async def send(one: SetAsideMessage) -> None:
        sent[one.broker_id] = one.properties.get("note")

    assert await aside.give_back(lambda lane, integration: True, send) == (2, True)
    assert sent == {"m1": note, "m2": None}


async def test_a_long_release_goes_on_the_next_time(table: CountingTable, book: PauseBook, clock: Clock) -> None:
    aside = SetAside(table, now=clock.now)
    await book.pause(Kind.LANE, "low", by="ada", reason="r")
    await aside.put([message(f"m{number}") for number in range(400)])
    await book.resume(Kind.LANE, "low", by="ada")
    clock.move(minutes=5)
    sent: list[str] = []

    async def send(one: SetAsideMessage) -> None:
        sent.append(one.broker_id)
        clock.move(seconds=0.1)

    release = Release(book, aside, send, now=clock.now, budget=20, clock=clock.seconds)
    first = await release.run()
    assert 200 <= first < 400
    assert (await book.state()).unreleased
    assert first + await release.run() == 400
    assert len(set(sent)) == 400


async def test_large_messages_are_kept_whole_and_in_several_transactions(
    table: CountingTable, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of 64 at the largest size, on one partition."""
    monkeypatch.setattr("shared.pausing.set_aside.PARTITIONS", 1)
    aside = SetAside(table, now=clock.now)
    body = bytes(range(256)) * 768
    sent: list[SetAsideMessage] = []

    async def send(one: SetAsideMessage) -> None:
        sent.append(one)

    message_of = partial(
        SetAsideMessage, lane="high", integration="", broker_id="m", body=body, properties={"claim": "c"}, since=START
    )
    large = [message_of(sequence_number=number) for number in range(64)]
    await aside.put(large)
    assert [name async for name in aside.claims()] == ["c"] * 64
    assert await aside.give_back(lambda lane, integration: True, send) == (64, True)
    assert {one.body for one in sent} == {body}


def test_names_that_are_not_there_are_answered_with_those_that_are() -> None:
    assert known_name(Kind.LANE, "low", ["high", "low"]) == "low"
    with pytest.raises(UnknownName, match="no integration is called 'order': there are credit, orders"):
        known_name(Kind.INTEGRATION, "order", {"orders", "credit"})
    with pytest.raises(UnknownName, match="no partner is called 'carrier': there is none"):
        known_name(Kind.PARTNER, "carrier", ())
