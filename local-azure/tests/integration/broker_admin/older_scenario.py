"""Administers an emulator with whatever azure-servicebus the interpreter has; prints one line per finished step.

Arguments: connection string. The certificate to trust is in the environment (REQUESTS_CA_BUNDLE).
"""

import sys
from datetime import timedelta
from typing import Any

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.servicebus.management import (
    CorrelationRuleFilter,
    ServiceBusAdministrationClient,
    SqlRuleAction,
    SqlRuleFilter,
)


def main(connection_string: str) -> None:
    with ServiceBusAdministrationClient.from_connection_string(connection_string) as admin:
        administer_queues(admin)
        administer_topics(admin)
        be_refused(admin)


def administer_queues(admin: ServiceBusAdministrationClient) -> None:
    queue = admin.create_queue("older", lock_duration=timedelta(seconds=20), user_metadata="x")
    queue.max_delivery_count = 3
    admin.update_queue(queue)
    read = admin.get_queue("older")
    assert (read.max_delivery_count, read.lock_duration) == (3, timedelta(seconds=20))
    assert admin.get_queue_runtime_properties("older").total_message_count == 0
    assert "older" in [queue.name for queue in admin.list_queues(max_page_size=1)]
    print("queues")  # noqa: T201


def administer_topics(admin: ServiceBusAdministrationClient) -> None:
    admin.create_topic("older-topic")
    admin.create_subscription("older-topic", "s", forward_to="older")
    parameters: dict[str, Any] = {"@n": 1, "@text": "é"}
    filters: dict[str, Any] = {
        "sql": SqlRuleFilter("a = @n OR b = @text", parameters),
        "equal": CorrelationRuleFilter(label="x"),
    }
    for name, rule_filter in filters.items():
        admin.create_rule("older-topic", "s", name, filter=rule_filter, action=SqlRuleAction("SET c = 1"))
    rules = {rule.name: rule for rule in admin.list_rules("older-topic", "s")}
    assert set(rules) == {"$Default", "sql", "equal"}
    read = rules["sql"].filter
    assert isinstance(read, SqlRuleFilter)
    assert read.parameters == parameters
    assert admin.get_topic_runtime_properties("older-topic").subscription_count == 1
    admin.delete_subscription("older-topic", "s")
    admin.delete_topic("older-topic")
    print("topics")  # noqa: T201


def be_refused(admin: ServiceBusAdministrationClient) -> None:
    for expected, call in (
        (ResourceExistsError, lambda: admin.create_queue("older")),
        (ResourceNotFoundError, lambda: admin.get_queue("older-missing")),
        (ResourceNotFoundError, lambda: admin.delete_topic("older-missing")),
        (HttpResponseError, lambda: admin.create_queue("older-bad", max_delivery_count=-1)),
    ):
        try:
            call()
        except expected:
            continue
        raise AssertionError(f"{expected.__name__} was expected")
    admin.delete_queue("older")
    print("refusals")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
