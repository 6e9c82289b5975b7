"""Topics, subscriptions and rules through the official administration client."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.servicebus.aio.management import ServiceBusAdministrationClient as AsyncAdministrationClient
from azure.servicebus.management import (
    CorrelationRuleFilter,
    EntityStatus,
    FalseRuleFilter,
    ServiceBusAdministrationClient,
    SqlRuleAction,
    SqlRuleFilter,
    TrueRuleFilter,
)

from integration.broker_admin.certificate import Certificate


def test_a_topic_is_made_changed_listed_and_deleted(admin: ServiceBusAdministrationClient, name: str) -> None:
    topic = admin.create_topic(name, default_message_time_to_live=timedelta(hours=1), user_metadata="x")
    assert topic.default_message_time_to_live == timedelta(hours=1)
    topic.default_message_time_to_live = timedelta(hours=2)
    admin.update_topic(topic)
    assert admin.get_topic(name).default_message_time_to_live == timedelta(hours=2)
    assert name in [topic.name for topic in admin.list_topics()]
    assert name in [topic.name for topic in admin.list_topics_runtime_properties()]
    admin.delete_topic(name)
    with pytest.raises(ResourceNotFoundError):
        admin.get_topic(name)


def test_a_topic_counts_its_subscriptions(admin: ServiceBusAdministrationClient, name: str) -> None:
    admin.create_topic(name)
    for number in range(3):
        admin.create_subscription(name, f"s{number}")
    assert admin.get_topic_runtime_properties(name).subscription_count == 3
    assert [subscription.name for subscription in admin.list_subscriptions(name)] == ["s0", "s1", "s2"]
    assert len(list(admin.list_subscriptions_runtime_properties(name, max_page_size=2))) == 3
    admin.delete_subscription(name, "s1")
    assert admin.get_topic_runtime_properties(name).subscription_count == 2


def test_a_subscription_keeps_what_it_was_given(admin: ServiceBusAdministrationClient, name: str) -> None:
    admin.create_topic(name)
    admin.create_queue(f"{name}-target")
    admin.create_subscription(
        name,
        "s",
        lock_duration=timedelta(seconds=20),
        requires_session=False,
        max_delivery_count=2,
        dead_lettering_on_message_expiration=True,
        dead_lettering_on_filter_evaluation_exceptions=False,
        forward_to=f"{name}-target",
        user_metadata="mine",
    )
    subscription = admin.get_subscription(name, "S")
    assert subscription.name == "S"
    assert subscription.lock_duration == timedelta(seconds=20)
    assert subscription.max_delivery_count == 2
    assert subscription.dead_lettering_on_message_expiration
    assert not subscription.dead_lettering_on_filter_evaluation_exceptions
    assert subscription.forward_to is not None
    assert subscription.forward_to.endswith(f"/{name}-target")
    subscription.status = EntityStatus.RECEIVE_DISABLED
    admin.update_subscription(name, subscription)
    assert admin.get_subscription(name, "s").status == "ReceiveDisabled"
    assert admin.get_subscription_runtime_properties(name, "s").total_message_count == 0


def test_refusals_are_the_exceptions_of_the_sdk(admin: ServiceBusAdministrationClient, name: str) -> None:
    with pytest.raises(ResourceNotFoundError):
        admin.create_subscription(name, "s")
    admin.create_topic(name)
    admin.create_subscription(name, "s")
    with pytest.raises(ResourceExistsError):
        admin.create_topic(name)
    with pytest.raises(ResourceExistsError):
        admin.create_queue(name)
    with pytest.raises(ResourceExistsError):
        admin.create_subscription(name, "S")
    with pytest.raises(ResourceNotFoundError):
        admin.get_subscription(name, "other")
    with pytest.raises(ResourceNotFoundError):
        admin.delete_subscription(name, "other")
    with pytest.raises(ResourceNotFoundError):
        admin.get_rule(name, "s", "other")
    with pytest.raises(ResourceNotFoundError):
        admin.delete_rule(name, "s", "other")
    with pytest.raises(ResourceNotFoundError):
        list(admin.list_rules(name, "other"))
    admin.create_rule(name, "s", "r")
    with pytest.raises(ResourceExistsError):
        admin.create_rule(name, "s", "R")


def test_a_new_subscription_has_the_default_rule(admin: ServiceBusAdministrationClient, name: str) -> None:
    admin.create_topic(name)
    admin.create_subscription(name, "s")
    (rule,) = admin.list_rules(name, "s")
    assert rule.name == "$Default"
    assert isinstance(rule.filter, TrueRuleFilter)
    assert rule.action is None
    admin.delete_rule(name, "s", "$Default")
    assert list(admin.list_rules(name, "s")) == []


def test_every_filter_and_action_comes_back_as_it_went(admin: ServiceBusAdministrationClient, name: str) -> None:
    admin.create_topic(name)
    admin.create_subscription(name, "s")
    parameters: dict[str, Any] = {
        "@text": "x<&>é",
        "@int": 5,
        "@long": 2**40,
        "@real": 1.5,
        "@flag": True,
        "@time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "@span": timedelta(hours=1, seconds=1),
    }
    sql = SqlRuleFilter("a = @text AND b > @int", parameters=parameters)
    created = admin.create_rule(
        name, "s", "sql", filter=sql, action=SqlRuleAction("SET c = @int", parameters={"@int": 5})
    )
    assert created.name == "sql"
    admin.create_rule(
        name,
        "s",
        "correlation",
        filter=CorrelationRuleFilter(
            correlation_id="c",
            message_id="m",
            to="t",
            reply_to="r",
            label="l",
            session_id="s",
            reply_to_session_id="rs",
            content_type="ct",
            properties=parameters,
        ),
    )
    admin.create_rule(name, "s", "false", filter=FalseRuleFilter())
    found = {rule.name: rule for rule in admin.list_rules(name, "s")}
    assert set(found) == {"$Default", "sql", "correlation", "false"}
    assert isinstance(found["false"].filter, FalseRuleFilter)
    read = admin.get_rule(name, "s", "sql")
    assert isinstance(read.filter, SqlRuleFilter)
    assert read.filter.sql_expression == "a = @text AND b > @int"
    assert read.filter.parameters == parameters
    assert read.action is not None
    assert (read.action.sql_expression, read.action.parameters) == ("SET c = @int", {"@int": 5})
    correlation = found["correlation"].filter
    assert isinstance(correlation, CorrelationRuleFilter)
    assert correlation.properties == parameters
    assert (correlation.correlation_id, correlation.message_id, correlation.to) == ("c", "m", "t")
    assert (correlation.reply_to, correlation.label, correlation.session_id) == ("r", "l", "s")
    assert (correlation.reply_to_session_id, correlation.content_type) == ("rs", "ct")


def test_a_rule_can_be_changed(admin: ServiceBusAdministrationClient, name: str) -> None:
    admin.create_topic(name)
    admin.create_subscription(name, "s")
    rule = admin.create_rule(name, "s", "r", filter=SqlRuleFilter("a = 1"))
    rule.filter = CorrelationRuleFilter(label="new")
    rule.action = SqlRuleAction("SET b = 2")
    admin.update_rule(name, "s", rule)
    read = admin.get_rule(name, "s", "r")
    assert isinstance(read.filter, CorrelationRuleFilter)
    assert read.filter.label == "new"
    assert read.action is not None


@pytest.mark.parametrize(
    "rule",
    [
        {"filter": SqlRuleFilter("a =")},
        {"filter": SqlRuleFilter("sys.Nonsense = 1")},
        {"filter": SqlRuleFilter("a = @missing")},
        {"filter": CorrelationRuleFilter()},
        {"action": SqlRuleAction("DROP a")},
        {"action": SqlRuleAction("SET sys.SequenceNumber = 1")},
    ],
)
def test_a_wrong_rule_is_refused(admin: ServiceBusAdministrationClient, name: str, rule: dict[str, Any]) -> None:
    admin.create_topic(name)
    admin.create_subscription(name, "s")
    with pytest.raises(HttpResponseError) as caught:
        admin.create_rule(name, "s", "r", **rule)
    assert caught.value.status_code == 400
    assert len(list(admin.list_rules(name, "s"))) == 1


async def test_the_asynchronous_client_speaks_the_same(
    admin_connection_string: str, certificate: Certificate, name: str
) -> None:
    async with AsyncAdministrationClient.from_connection_string(
        admin_connection_string, connection_verify=str(certificate.certificate)
    ) as admin:
        await admin.create_topic(name)
        await admin.create_subscription(name, "s")
        await admin.create_rule(name, "s", "r", filter=SqlRuleFilter("a = 1"))
        assert [rule.name async for rule in admin.list_rules(name, "s")] == ["$Default", "r"]
        await admin.delete_rule(name, "s", "$Default")
        assert [rule.name async for rule in admin.list_rules(name, "s")] == ["r"]
        await admin.delete_subscription(name, "s")
        await admin.delete_topic(name)
