"""The administration clients of each language, over the connection string's own scheme."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from foreign.driver import Driver, Refused
from foreign.spoken import SDKS, spoken_by

_numbers = count(1)


@pytest.fixture
def name(language: str) -> str:
    """A name that no other test has."""
    return f"admin-{language}-{next(_numbers)}"


@spoken_by(*SDKS)
def test_a_queue_is_made_read_changed_listed_and_deleted(client: Driver, name: str) -> None:
    wanted = {"lock": "PT45S", "deliveries": 7, "idle": "PT10M", "partitioned": True}
    made = client.call("admin", action="create_queue", queue=name, rule="sender", **wanted)
    assert made == {"name": name, "rules": [["sender", "Send"]], **wanted}
    assert client.call("admin", action="get_queue", queue=name) == made
    changed = client.call("admin", action="update_queue", queue=name, lock="PT30S", deliveries=5)
    assert (changed["lock"], changed["deliveries"]) == ("PT30S", 5)
    assert name in client.call("admin", action="list_queues")
    with pytest.raises(Refused) as error:
        client.call("admin", action="create_queue", queue=name, lock="PT30S", deliveries=5)
    assert error.value.code == "exists"
    client.call("admin", action="delete_queue", queue=name)
    with pytest.raises(Refused) as error:
        client.call("admin", action="get_queue", queue=name)
    assert error.value.code == "not-found"


@spoken_by(*SDKS)
def test_topics_subscriptions_and_rules_are_made_listed_and_deleted(client: Driver, name: str) -> None:
    where = {"topic": name, "subscription": "one"}
    assert client.call("admin", action="create_topic", topic=name) == {"name": name}
    assert client.call("admin", action="create_subscription", **where) == {"name": "one"}
    client.call("admin", action="create_rule", **where, name="red", sql="colour = 'red'")
    assert client.call("admin", action="get_rule", **where, name="red") == {"sql": "colour = 'red'"}
    assert sorted(client.call("admin", action="list_rules", **where)) == ["$Default", "red"]
    client.call("admin", action="delete_rule", **where, name="$Default")
    assert client.call("admin", action="list_rules", **where) == ["red"]
    assert client.call("admin", action="list_subscriptions", topic=name) == ["one"]
    assert name in client.call("admin", action="list_topics")
    client.call("admin", action="delete_topic", topic=name)
    assert name not in client.call("admin", action="list_topics")


@spoken_by(*SDKS)
def test_a_configured_topic_reads_as_it_was_configured(client: Driver) -> None:
    """Times to live, forwarding, deliveries and the one filter, which has taken the place of the default."""
    where = {"topic": "configured", "subscription": "late"}
    assert client.call("admin", action="get_topic", topic="configured") == {"name": "configured", "life": "P2D"}
    found = client.call("admin", action="get_subscription", **where)
    assert found.pop("forward_to").endswith("forwarded-to")
    assert found == {"life": "P1D", "lock": "PT45S", "deliveries": 3}
    assert client.call("admin", action="list_rules", **where) == ["$Default"]
    assert client.call("admin", action="get_rule", **where, name="$Default") == {"sql": "colour = 'red'"}


@spoken_by(*SDKS)
def test_counts_tell_where_messages_are(client: Driver, make_queue: Callable[..., str], handle: str) -> None:
    queue = make_queue()
    client.call("send", queue=queue, messages=[{"id": str(each), "body": "x"} for each in range(3)])
    client.call("schedule", queue=queue, messages=[{"id": "s", "body": "x"}], at=4_000_000_000_000)
    client.call("open", handle=handle, queue=queue)
    (found,) = client.call("receive", handle=handle, max=1, wait=10_000)
    client.call("settle", handle=handle, ref=found["ref"], how="dead_letter")
    client.call("close", handle=handle)
    assert client.call("admin", action="count_queue", queue=queue) == {
        "active": 2,
        "dead_letters": 1,
        "scheduled": 1,
        "total": 4,
    }
