"""Which subscriptions a message reaches, and how it arrives: rules at work, through the official clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusReceivedMessage, ServiceBusSubQueue
from azure.servicebus.management import (
    CorrelationRuleFilter,
    FalseRuleFilter,
    ServiceBusAdministrationClient,
    SqlRuleAction,
    SqlRuleFilter,
)

RED = ServiceBusMessage(
    b"red",
    message_id="m-red",
    subject="Order placed",
    correlation_id="high",
    content_type="text/plain",
    to="warehouse",
    reply_to="office",
    application_properties={"color": "red", "quantity": 10, "price": 2.5, "urgent": True, "n": 7},
)
BLUE = ServiceBusMessage(b"blue", message_id="m-blue", application_properties={"color": "blue", "quantity": 3})
BARE = ServiceBusMessage(b"bare", message_id="m-bare")


def add_subscription(admin: ServiceBusAdministrationClient, topic: str, name: str, **rule: Any) -> None:
    """A subscription with one rule of its own instead of the default one."""
    admin.create_subscription(topic, name)
    admin.delete_rule(topic, name, "$Default")
    admin.create_rule(topic, name, "only", **rule)


def send(client: ServiceBusClient, topic: str, *messages: ServiceBusMessage) -> None:
    with client.get_topic_sender(topic) as sender:
        for message in messages:
            sender.send_messages(message)


def received(
    client: ServiceBusClient, topic: str, subscription: str, expected: int, **where: Any
) -> list[ServiceBusReceivedMessage]:
    """All messages that are there: waits for the expected ones, then looks once more for surplus."""
    messages: list[ServiceBusReceivedMessage] = []
    with client.get_subscription_receiver(topic, subscription, **where) as receiver:
        while len(messages) < expected:
            batch = receiver.receive_messages(max_message_count=20, max_wait_time=5)
            if not batch:
                break
            for message in batch:
                receiver.complete_message(message)
            messages += batch
        messages += receiver.peek_messages(max_message_count=20)
    return messages


SQL = {
    "sql-equal": ("color = 'red'", {b"red"}),
    "sql-number": ("quantity >= 3 AND quantity < 10.5", {b"red", b"blue"}),
    "sql-not": ("NOT color = 'red'", {b"blue"}),
    "sql-in": ("color IN ('blue', 'green')", {b"blue"}),
    "sql-like": ("sys.Label LIKE 'Order%'", {b"red"}),
    "sql-null": ("color IS NULL", {b"bare"}),
    "sql-exists": ("EXISTS(color)", {b"red", b"blue"}),
    "sql-boolean": ("urgent = TRUE", {b"red"}),
    "sql-system": ("sys.MessageId = 'm-bare' OR sys.CorrelationId = 'high'", {b"red", b"bare"}),
    "sql-to": ("sys.To = 'warehouse' AND sys.ReplyTo = 'office' AND sys.ContentType = 'text/plain'", {b"red"}),
    "sql-arithmetic": ("quantity * 2 + 4 = 10", {b"blue"}),
    "sql-all": ("1=1", {b"red", b"blue", b"bare"}),
    "sql-case": ("COLOR = 'red'", {b"red"}),
}


def test_sql_filters_take_what_they_describe(
    admin: ServiceBusAdministrationClient, client: ServiceBusClient, name: str
) -> None:
    """Every subscription forwards to one queue; an action's copy tells which rule took it."""
    admin.create_queue(f"{name}-taken")
    admin.create_topic(name)
    for rule, (expression, _) in SQL.items():
        admin.create_subscription(name, rule, forward_to=f"{name}-taken")
        admin.delete_rule(name, rule, "$Default")
        admin.create_rule(name, rule, rule, filter=SqlRuleFilter(expression), action=SqlRuleAction("SET taken = 1"))
    send(client, name, RED, BLUE, BARE)
    expected = {(rule, body) for rule, (_, bodies) in SQL.items() for body in bodies}
    taken: list[tuple[str, bytes]] = []
    with client.get_queue_receiver(f"{name}-taken") as receiver:
        while len(taken) < len(expected):
            batch = receiver.receive_messages(max_message_count=50, max_wait_time=5)
            if not batch:
                break
            taken += [_rule_and_body(message) for message in batch]
        assert receiver.peek_messages(max_message_count=1, sequence_number=len(taken) + 1) == []
    assert sorted(taken) == sorted(expected)


def _rule_and_body(message: ServiceBusReceivedMessage) -> tuple[str, bytes]:
    properties: Mapping[Any, Any] = message.application_properties or {}
    return properties[b"RuleName"].decode(), b"".join(message.body)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"label": "Order placed"}, 1),
        ({"correlation_id": "high", "to": "warehouse", "reply_to": "office", "content_type": "text/plain"}, 1),
        ({"message_id": "m-red", "properties": {"color": "red", "quantity": 10, "urgent": True}}, 1),
        ({"properties": {"quantity": "10"}}, 0),
        ({"label": "order placed"}, 0),
    ],
)
def test_correlation_filters_compare_for_equality(
    admin: ServiceBusAdministrationClient,
    client: ServiceBusClient,
    name: str,
    wanted: Mapping[str, Any],
    expected: int,
) -> None:
    admin.create_topic(name)
    add_subscription(admin, name, "s", filter=CorrelationRuleFilter(**wanted))
    send(client, name, RED, BLUE, BARE)
    assert len(received(client, name, "s", expected)) == expected


def test_false_takes_nothing_and_no_rule_takes_nothing(
    admin: ServiceBusAdministrationClient, client: ServiceBusClient, name: str
) -> None:
    admin.create_topic(name)
    add_subscription(admin, name, "never", filter=FalseRuleFilter())
    admin.create_subscription(name, "empty")
    admin.delete_rule(name, "empty", "$Default")
    admin.create_subscription(name, "all")
    send(client, name, RED)
    assert len(received(client, name, "all", 1)) == 1
    assert received(client, name, "never", 0) == []
    assert received(client, name, "empty", 0) == []


def test_an_action_changes_the_copy_and_names_its_rule(
    admin: ServiceBusAdministrationClient, client: ServiceBusClient, name: str
) -> None:
    """An SDK's int has 32 bits; what does not fit into them becomes a long."""
    admin.create_topic(name)
    action = "SET quantity = quantity / 2; REMOVE urgent; SET n = n * 1000000000; SET note = 'by ' + color"
    action += "; SET sys.Label = 'changed'"
    add_subscription(admin, name, "acting", filter=SqlRuleFilter("color = 'red'"), action=SqlRuleAction(action))
    admin.create_subscription(name, "plain")
    send(client, name, RED)
    (changed,) = received(client, name, "acting", 1)
    assert changed.application_properties == {
        b"color": b"red",
        b"quantity": 5,
        b"n": 7_000_000_000,
        b"price": 2.5,
        b"note": b"by red",
        b"RuleName": b"only",
    }
    assert changed.subject == "changed"
    assert changed.message_id == "m-red"
    assert b"".join(changed.body) == b"red"
    (plain,) = received(client, name, "plain", 1)
    assert plain.subject == "Order placed"
    assert plain.application_properties is not None
    assert plain.application_properties[b"quantity"] == 10


def test_rules_without_action_give_one_copy_and_each_action_one_more(
    admin: ServiceBusAdministrationClient, client: ServiceBusClient, name: str
) -> None:
    admin.create_topic(name)
    admin.create_subscription(name, "s")
    admin.create_rule(name, "s", "also", filter=SqlRuleFilter("color = 'red'"))
    admin.create_rule(name, "s", "one", action=SqlRuleAction("SET n = 1"))
    admin.create_rule(name, "s", "two", action=SqlRuleAction("SET n = 2"))
    send(client, name, RED)
    messages = received(client, name, "s", 3)
    assert len(messages) == 3
    names = [(message.application_properties or {}).get(b"RuleName") for message in messages]
    assert set(names) == {None, b"one", b"two"}


def test_a_changed_rule_counts_from_then_on(
    admin: ServiceBusAdministrationClient, client: ServiceBusClient, name: str
) -> None:
    admin.create_topic(name)
    add_subscription(admin, name, "s", filter=SqlRuleFilter("color = 'red'"))
    send(client, name, RED, BLUE)
    rule = admin.get_rule(name, "s", "only")
    rule.filter = SqlRuleFilter("color = 'blue'")
    admin.update_rule(name, "s", rule)
    send(client, name, RED, BLUE)
    assert [b"".join(message.body) for message in received(client, name, "s", 2)] == [b"red", b"blue"]


@pytest.mark.parametrize("keeps", [True, False])
def test_a_filter_that_fails_dead_letters_if_the_subscription_says_so(
    admin: ServiceBusAdministrationClient, client: ServiceBusClient, name: str, keeps: bool
) -> None:
    admin.create_topic(name)
    admin.create_subscription(name, "s", dead_lettering_on_filter_evaluation_exceptions=keeps)
    admin.delete_rule(name, "s", "$Default")
    admin.create_rule(name, "s", "fails", filter=SqlRuleFilter("10 / (quantity - 3) = 1"))
    send(client, name, BLUE)
    assert received(client, name, "s", 0) == []
    dead = received(client, name, "s", int(keeps), sub_queue=ServiceBusSubQueue.DEAD_LETTER)
    assert len(dead) == int(keeps)


def test_messages_in_one_batch_are_judged_one_by_one(
    admin: ServiceBusAdministrationClient, client: ServiceBusClient, name: str
) -> None:
    admin.create_topic(name)
    add_subscription(admin, name, "even", filter=SqlRuleFilter("n % 2 = 0"))
    with client.get_topic_sender(name) as sender:
        sender.send_messages([ServiceBusMessage(b"x", application_properties={"n": n}) for n in range(10)])
    assert len(received(client, name, "even", 5)) == 5


def test_subscriptions_of_one_topic_do_not_touch_each_other(
    admin: ServiceBusAdministrationClient, client: ServiceBusClient, name: str
) -> None:
    admin.create_topic(name)
    admin.create_queue(f"{name}-target")
    admin.create_subscription(name, "forwarding", forward_to=f"{name}-target")
    admin.create_subscription(name, "long")
    send(client, name, RED)
    with client.get_queue_receiver(f"{name}-target", max_wait_time=5) as receiver:
        (forwarded,) = receiver.receive_messages(max_wait_time=5)
        assert b"".join(forwarded.body) == b"red"
        receiver.complete_message(forwarded)
    (kept,) = received(client, name, "long", 1)
    assert kept.message_id == "m-red"


def test_a_subscription_made_anew_is_empty(
    admin: ServiceBusAdministrationClient, client: ServiceBusClient, name: str
) -> None:
    admin.create_topic(name)
    admin.create_subscription(name, "s")
    send(client, name, BARE)
    admin.delete_subscription(name, "s")
    admin.create_subscription(name, "s")
    assert received(client, name, "s", 0) == []
