"""Topics, subscriptions, rules, as documented on learn.microsoft.com ("Topic filters and actions")."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from azure.servicebus.management import (
    CorrelationRuleFilter,
    FalseRuleFilter,
    ServiceBusAdministrationClient,
    SqlRuleAction,
    SqlRuleFilter,
    TrueRuleFilter,
)

from foreign.driver import Driver
from foreign.spoken import RAW, SDKS, spoken_by

MakeTopic = Callable[..., str]
RED = {"id": "red", "body": "r", "subject": "fruit", "properties": {"colour": "red", "size": 3}}
BLUE = {"id": "blue", "body": "b", "properties": {"colour": "blue", "size": 5}}


def receive(
    client: Driver, handle: str, topic: str, subscription: str, count: int, **options: Any
) -> list[dict[str, Any]]:
    """`count` messages of a subscription, completed."""
    client.call("open", handle=handle, topic=topic, subscription=subscription, **options)
    found: list[dict[str, Any]] = []
    end = time.monotonic() + 10
    while len(found) < count and time.monotonic() < end:
        found += client.call("receive", handle=handle, max=count - len(found), wait=10_000)
    for each in found:
        client.call("settle", handle=handle, ref=each["ref"], how="complete")
    client.call("close", handle=handle)
    return found


def ids(messages: list[dict[str, Any]]) -> list[str]:
    return [each["id"] for each in messages]


def set_rule(
    admin: ServiceBusAdministrationClient, topic: str, subscription: str, rule: Any, action: Any = None
) -> None:
    """Make it the subscription's only rule."""
    admin.create_subscription(topic, subscription)
    admin.delete_rule(topic, subscription, "$Default")
    admin.create_rule(topic, subscription, "only", filter=rule, action=action)


@spoken_by(*SDKS, *RAW)
def test_each_subscription_has_a_copy_of_its_own(client: Driver, make_topic: MakeTopic, handle: str) -> None:
    topic = make_topic("one", "two")
    client.call("send", topic=topic, messages=[RED, BLUE])
    assert ids(receive(client, handle, topic, "one", 2)) == ["red", "blue"]
    assert ids(receive(client, handle, topic, "two", 2)) == ["red", "blue"]


@spoken_by(*SDKS, *RAW)
def test_filters_choose_and_actions_change(
    client: Driver, make_topic: MakeTopic, handle: str, admin: ServiceBusAdministrationClient
) -> None:
    topic = make_topic()
    set_rule(admin, topic, "sql", SqlRuleFilter("colour = 'red' AND size > 2"), SqlRuleAction("SET checked = 'yes'"))
    set_rule(admin, topic, "correlation", CorrelationRuleFilter(label="fruit"))
    set_rule(admin, topic, "all", TrueRuleFilter())
    set_rule(admin, topic, "none", FalseRuleFilter())
    client.call("send", topic=topic, messages=[RED, BLUE], batch=True)
    (changed,) = receive(client, handle, topic, "sql", 1)
    assert (changed["id"], changed["properties"]["checked"]) == ("red", "yes")
    assert ids(receive(client, handle, topic, "correlation", 1)) == ["red"]
    assert ids(receive(client, handle, topic, "all", 2)) == ["red", "blue"]
    for each in ("sql", "correlation", "all", "none"):
        assert admin.get_subscription_runtime_properties(topic, each).total_message_count == 0


@spoken_by(*SDKS, *RAW)
def test_a_subscription_has_dead_letters(client: Driver, make_topic: MakeTopic, handle: str) -> None:
    topic = make_topic("one")
    client.call("send", topic=topic, messages=[RED])
    client.call("open", handle=handle, topic=topic, subscription="one")
    (found,) = client.call("receive", handle=handle, max=1, wait=10_000)
    client.call("settle", handle=handle, ref=found["ref"], how="dead_letter", reason="r", description="d")
    client.call("close", handle=handle)
    (dead,) = receive(client, handle, topic, "one", 1, dead_letters=True)
    assert (dead["id"], dead["dead_letter_reason"], dead["dead_letter_description"]) == ("red", "r", "d")


@spoken_by("javascript", "java")
def test_rules_are_managed_over_amqp(client: Driver, make_topic: MakeTopic, handle: str) -> None:
    """Only these two libraries (and .NET's) have a rule manager."""
    topic = make_topic("one")
    where = {"topic": topic, "subscription": "one"}
    client.call("add_rule", **where, name="red", sql="colour = 'red'", action="SET checked = 'yes'")
    assert sorted(client.call("rules", **where)) == ["$Default", "red"]
    client.call("remove_rule", **where, name="$Default")
    assert client.call("rules", **where) == ["red"]
    client.call("send", topic=topic, messages=[RED, BLUE])
    (found,) = receive(client, handle, topic, "one", 1)
    assert found["properties"]["checked"] == "yes"


@spoken_by(*SDKS, *RAW)
def test_a_subscription_forwards(
    client: Driver,
    make_topic: MakeTopic,
    make_queue: Callable[..., str],
    handle: str,
    admin: ServiceBusAdministrationClient,
) -> None:
    queue, topic = make_queue(), make_topic()
    admin.create_subscription(topic, "moving", forward_to=queue)
    client.call("send", topic=topic, messages=[RED])
    client.call("open", handle=handle, queue=queue)
    assert ids(client.call("receive", handle=handle, max=1, wait=10_000)) == ["red"]
    client.call("close", handle=handle)


@spoken_by(*SDKS, *RAW)
def test_receive_and_delete_of_a_subscription_takes_no_more_than_was_asked_for(
    client: Driver, make_topic: MakeTopic, handle: str, admin: ServiceBusAdministrationClient
) -> None:
    topic = make_topic("one")
    client.call("send", topic=topic, messages=[{"id": str(each), "body": "x"} for each in range(20)], batch=True)
    client.call("open", handle=handle, topic=topic, subscription="one", mode="delete")
    found = client.call("receive", handle=handle, max=5, wait=10_000)
    client.call("close", handle=handle)
    assert 1 <= len(found) <= 5
    assert admin.get_subscription_runtime_properties(topic, "one").active_message_count == 20 - len(found)


@spoken_by(*SDKS, *RAW)
def test_each_rule_with_an_action_makes_a_copy(
    client: Driver, make_topic: MakeTopic, handle: str, admin: ServiceBusAdministrationClient
) -> None:
    """ "Topic filters and actions": rules without actions make one copy together, others one each."""
    topic = make_topic("one")
    admin.create_rule(topic, "one", "big", filter=SqlRuleFilter("size > 1"), action=SqlRuleAction("SET rule = 'big'"))
    admin.create_rule(
        topic, "one", "red", filter=SqlRuleFilter("colour = 'red'"), action=SqlRuleAction("SET rule = 'red'")
    )
    client.call("send", topic=topic, messages=[RED])
    found = receive(client, handle, topic, "one", 3)
    assert sorted(each["properties"].get("rule", "") for each in found) == ["", "big", "red"]
