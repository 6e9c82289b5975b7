"""Event Hubs as documented on learn.microsoft.com ("Features and terminology in Azure Event Hubs")."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from foreign.driver import Driver, Refused
from foreign.spoken import SDKS, spoken_by

MakeHub = Callable[[int], str]


@pytest.fixture
def events(drivers: Callable[[str], Driver], client: Driver, broker: Any) -> Driver:
    """The driver, connected to Event Hubs too."""
    client.call("eh_connect", connection_string=broker.connection_string)
    return client


def send(client: Driver, hub: str, count: int, **where: str) -> None:
    client.call("eh_send", hub=hub, events=[{"body": str(number)} for number in range(count)], **where)


def read(client: Driver, handle: str, hub: str, position: dict[str, Any], count: int, wait: int = 10_000) -> list[str]:
    """The bodies that a new reader of partition 0 gets."""
    client.call("eh_open", handle=handle, hub=hub, partition="0", position=position)
    found = take(client, handle, count, wait)
    client.call("eh_close", handle=handle)
    return [each["body"] for each in found]


def take(client: Driver, handle: str, count: int, wait: int = 10_000) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    end = time.monotonic() + wait / 1_000
    while len(found) < count and time.monotonic() < end:
        found += client.call("eh_take", handle=handle, max=count - len(found), wait=wait)
    return found


@spoken_by(*SDKS, "rhea")
def test_events_keep_their_order_and_properties(events: Driver, make_hub: MakeHub, handle: str) -> None:
    hub = make_hub(1)
    sent = [{"body": str(number), "properties": {"number": number, "text": "ä"}} for number in range(3)]
    events.call("eh_send", hub=hub, events=sent, partition="0")
    events.call("eh_open", handle=handle, hub=hub, partition="0", position={"earliest": True})
    found = take(events, handle, 3)
    assert [(each["body"], each["properties"]) for each in found] == [
        (each["body"], each["properties"]) for each in sent
    ]
    assert [int(each["sequence"]) for each in found] == [0, 1, 2]
    events.call("eh_close", handle=handle)


@spoken_by(*SDKS)
def test_events_of_a_key_share_a_partition(events: Driver, make_hub: MakeHub, handle: str) -> None:
    hub = make_hub(4)
    assert sorted(events.call("eh_hub", hub=hub)["partitions"]) == ["0", "1", "2", "3"]
    for _ in range(3):
        send(events, hub, 2, partition_key="customer-7")
    last = {each: int(events.call("eh_partition", hub=hub, partition=each)["last"]) for each in "0123"}
    (partition,) = [each for each, number in last.items() if number == 5]
    assert sum(number >= 0 for number in last.values()) == 1
    events.call("eh_open", handle=handle, hub=hub, partition=partition, position={"earliest": True})
    assert {each["partition_key"] for each in take(events, handle, 6)} == {"customer-7"}
    events.call("eh_close", handle=handle)


@spoken_by("javascript", "java")
def test_the_client_and_the_hub_find_the_same_partition_for_a_key(
    events: Driver, make_hub: MakeHub, handle: str
) -> None:
    """Buffered producers choose the partition themselves, others leave it to the hub. Go has no buffered one."""
    hub = make_hub(4)
    keys = [f"customer-{number}" for number in range(40)]
    for key in keys:
        events.call("eh_send", hub=hub, events=[{"body": key}], partition_key=key)
    events.call("eh_send_buffered", hub=hub, keys=keys)
    where: dict[str, list[str]] = {key: [] for key in keys}
    for partition in "0123":
        count = int(events.call("eh_partition", hub=hub, partition=partition)["last"]) + 1
        events.call("eh_open", handle=handle, hub=hub, partition=partition, position={"earliest": True})
        for each in take(events, handle, count):
            where[each["body"]].append(partition)
        events.call("eh_close", handle=handle)
    assert {
        key: partitions for key, partitions in where.items() if len(partitions) != 2 or len(set(partitions)) != 1
    } == {}
    assert {partitions[0] for partitions in where.values()} == set("0123")


@spoken_by(*SDKS)
def test_a_partition_tells_what_it_holds(events: Driver, make_hub: MakeHub) -> None:
    hub = make_hub(1)
    before = events.call("eh_partition", hub=hub, partition="0")
    assert (before["last"], before["empty"]) == ("-1", True)
    send(events, hub, 3, partition="0")
    after = events.call("eh_partition", hub=hub, partition="0")
    assert (after["first"], after["last"], after["empty"]) == ("0", "2", False)


@spoken_by(*SDKS, "rhea")
def test_reading_begins_at_a_position(events: Driver, make_hub: MakeHub, handle: str) -> None:
    hub = make_hub(1)
    send(events, hub, 2, partition="0")
    time.sleep(0.05)
    middle = int(time.time() * 1_000)
    time.sleep(0.05)
    send(events, hub, 2, partition="0")
    assert read(events, handle, hub, {"earliest": True}, 4) == ["0", "1", "0", "1"]
    assert read(events, handle, hub, {"sequence": 1}, 2) == ["0", "1"]
    assert read(events, handle, hub, {"sequence": 1, "inclusive": True}, 3) == ["1", "0", "1"]
    assert read(events, handle, hub, {"time": middle}, 2) == ["0", "1"]
    events.call("eh_open", handle=handle, hub=hub, partition="0", position={"earliest": True})
    second = take(events, handle, 4)[1]["offset"]
    events.call("eh_close", handle=handle)
    assert read(events, handle, hub, {"offset": second}, 2) == ["0", "1"]


@spoken_by(*SDKS)
def test_the_latest_position_gives_only_what_comes_after(events: Driver, make_hub: MakeHub, handle: str) -> None:
    hub = make_hub(1)
    send(events, hub, 2, partition="0")
    events.call("eh_open", handle=handle, hub=hub, partition="0", position={"latest": True})
    assert events.call("eh_take", handle=handle, max=1, wait=700) == []
    events.call("eh_send", hub=hub, events=[{"body": "new"}], partition="0")
    assert [each["body"] for each in take(events, handle, 1)] == ["new"]
    events.call("eh_close", handle=handle)


@spoken_by(*SDKS, "rhea")
@pytest.mark.parametrize("position", [{"sequence": 100}, {"offset": "100000"}], ids=["sequence", "offset"])
def test_a_position_beyond_the_log_is_refused(
    events: Driver, make_hub: MakeHub, handle: str, position: dict[str, Any]
) -> None:
    """The service's words: "The supplied sequence number '100' is invalid. The last sequence number is '1'"."""
    hub = make_hub(1)
    send(events, hub, 2, partition="0")
    with pytest.raises(Refused, match=r"(?i)the supplied (sequence number|offset)"):
        read(events, handle, hub, position, 1)


@spoken_by(*SDKS)
def test_the_higher_owner_level_has_the_partition(events: Driver, make_hub: MakeHub, handle: str) -> None:
    hub = make_hub(1)
    send(events, hub, 1, partition="0")
    start = {"hub": hub, "partition": "0", "position": {"earliest": True}}
    events.call("eh_open", handle=f"{handle}-low", owner_level=1, **start)
    assert len(take(events, f"{handle}-low", 1)) == 1
    events.call("eh_open", handle=f"{handle}-high", owner_level=2, **start)
    assert len(take(events, f"{handle}-high", 1)) == 1
    with pytest.raises(Refused) as error:
        events.call("eh_take", handle=f"{handle}-low", max=1, wait=10_000)
    assert error.value.code == "stolen"
    for each in ("low", "high"):
        events.call("eh_close", handle=f"{handle}-{each}")


@spoken_by(*SDKS)
def test_a_lower_owner_level_is_told_who_has_the_partition(events: Driver, make_hub: MakeHub, handle: str) -> None:
    """In the service's words, as the tests of azeventhubs have them."""
    hub = make_hub(1)
    send(events, hub, 1, partition="0")
    start = {"hub": hub, "partition": "0", "position": {"earliest": True}}
    events.call("eh_open", handle=f"{handle}-high", owner_level=2, **start)
    assert len(take(events, f"{handle}-high", 1)) == 1
    events.call("eh_open", handle=f"{handle}-low", owner_level=1, **start)
    with pytest.raises(
        Refused, match=r"with a higher epoch '2' already exists.*with epoch 1 cannot be created"
    ) as error:
        events.call("eh_take", handle=f"{handle}-low", max=1, wait=10_000)
    assert error.value.code == "stolen"
    for each in ("low", "high"):
        events.call("eh_close", handle=f"{handle}-{each}")


@spoken_by(*SDKS)
def test_a_processor_resumes_after_its_checkpoints(events: Driver, make_hub: MakeHub, handle: str) -> None:
    hub = make_hub(4)
    for partition in "0123":
        send(events, hub, 3, partition=partition)
    first = events.call("eh_process", hub=hub, store=hub, count=12, wait=30_000)
    assert len(first["events"]) == 12
    assert first["checkpoints"] == dict.fromkeys("0123", "2")
    send(events, hub, 2, partition="3")
    again = events.call("eh_process", hub=hub, store=hub, count=2, wait=30_000)
    assert [(each["partition"], each["sequence"]) for each in again["events"]] == [("3", "3"), ("3", "4")]


@spoken_by(*SDKS)
def test_an_unknown_consumer_group_is_refused(events: Driver, make_hub: MakeHub, handle: str) -> None:
    hub = make_hub(1)
    start = {"hub": hub, "partition": "0", "position": {"earliest": True}}
    with pytest.raises(Refused) as error:  # noqa: PT012 - some clients attach when opened, others when they read
        events.call("eh_open", handle=handle, group="nobody", **start)
        events.call("eh_take", handle=handle, max=1, wait=10_000)
    assert error.value.code == "not-found"
    events.call("eh_close", handle=handle)


@spoken_by(*SDKS, "rhea")
def test_an_event_over_a_megabyte_is_refused(events: Driver, make_hub: MakeHub) -> None:
    hub = make_hub(1)
    with pytest.raises(Refused) as error:
        events.call("eh_send", hub=hub, events=[{"body": "x" * (1_024 * 1_024)}], partition="0")
    assert error.value.code == "size-exceeded"


@spoken_by(*SDKS)
def test_events_without_a_key_are_spread(events: Driver, make_hub: MakeHub) -> None:
    hub = make_hub(4)
    for _ in range(4):
        send(events, hub, 1)
    assert {events.call("eh_partition", hub=hub, partition=each)["last"] for each in "0123"} == {"0"}


@spoken_by(*SDKS)
def test_each_consumer_group_reads_all(events: Driver, make_hub: MakeHub, handle: str) -> None:
    hub = make_hub(1)
    send(events, hub, 2, partition="0")
    for group in ("$Default", "group"):
        start = {"hub": hub, "partition": "0", "position": {"earliest": True}, "group": group}
        events.call("eh_open", handle=handle, **start)
        assert [each["body"] for each in take(events, handle, 2)] == ["0", "1"]
        events.call("eh_close", handle=handle)


@spoken_by("javascript", "java")
def test_a_reader_is_told_what_the_partition_holds(events: Driver, make_hub: MakeHub, handle: str) -> None:
    """Runtime metrics; Go's library does not ask for them."""
    hub = make_hub(1)
    send(events, hub, 3, partition="0")
    events.call("eh_open", handle=handle, hub=hub, partition="0", position={"earliest": True}, track=True)
    assert {each["last"] for each in take(events, handle, 3)} == {"2"}
    events.call("eh_close", handle=handle)
