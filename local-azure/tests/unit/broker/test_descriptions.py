"""Descriptions of entities survive storage unchanged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local_azure.broker.entities import (
    ConsumerGroup,
    CorrelationFilter,
    EntityStatus,
    EventHubDescription,
    QueueDescription,
    RuleDescription,
    SqlAction,
    SqlFilter,
    SubscriptionDescription,
    TopicDescription,
)
from local_azure.broker.storage.descriptions import dump_description, load_description


@pytest.mark.parametrize(
    "description",
    [
        QueueDescription(name="q", lock_duration=timedelta(seconds=1.5), status=EntityStatus.SEND_DISABLED),
        QueueDescription(name="q", default_message_time_to_live=timedelta(days=14), forward_to="other"),
        TopicDescription(name="t", user_metadata="é"),
        SubscriptionDescription(
            topic_name="t",
            name="s",
            rules=(
                RuleDescription(
                    name="r",
                    filter=SqlFilter(expression="a = @p", parameters={"p": datetime(2026, 1, 2, tzinfo=UTC)}),
                    action=SqlAction(expression="SET a = 1"),
                ),
                RuleDescription(name="c", filter=CorrelationFilter(label="l", properties={"n": 1.5, "b": True})),
            ),
        ),
        SubscriptionDescription(topic_name="t", name="none", rules=()),
        EventHubDescription(name="h", partition_count=4, consumer_groups=(ConsumerGroup(name="g"),)),
    ],
)
def test_descriptions_survive_storage(description: Any) -> None:
    """What is read equals what was written, nested values included."""
    assert load_description(dump_description(description)) == description


def test_fields_of_other_versions_are_ignored() -> None:
    """A newer emulator's field does not keep an older one from starting."""
    text = dump_description(QueueDescription(name="q")).replace('{"kind"', '{"invented": 1, "kind"', 1)
    assert load_description(text) == QueueDescription(name="q")
