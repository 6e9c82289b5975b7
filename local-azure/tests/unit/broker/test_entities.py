"""Descriptions: the service's names, defaults and bounds."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_azure.broker.entities import (
    FOREVER,
    ConsumerGroup,
    CorrelationFilter,
    EntityStatus,
    EventHubDescription,
    InvalidEntityError,
    QueueDescription,
    RuleDescription,
    SqlFilter,
    SubscriptionDescription,
    TopicDescription,
    TrueFilter,
    format_duration,
    parse_duration,
)


def test_a_queue_has_the_defaults_of_the_service() -> None:
    queue = QueueDescription(name="orders")
    assert queue.lock_duration == timedelta(minutes=1)
    assert queue.max_delivery_count == 10
    assert queue.default_message_time_to_live == FOREVER
    assert queue.duplicate_detection_history_time_window == timedelta(minutes=10)
    assert queue.status is EntityStatus.ACTIVE
    assert not queue.requires_session


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "-orders"),
        ("name", "orders/"),
        ("name", "a//b"),
        ("name", "with space"),
        ("name", "x" * 261),
        ("name", "naïve"),
        ("name", "orders\n"),
        ("name", 5),
        ("lock_duration", timedelta(0)),
        ("lock_duration", timedelta(minutes=5, microseconds=1)),
        ("lock_duration", 60),
        ("max_delivery_count", 0),
        ("max_delivery_count", 2001),
        ("max_delivery_count", True),
        ("max_delivery_count", 10.0),
        ("requires_session", 1),
        ("duplicate_detection_history_time_window", timedelta(seconds=4)),
        ("duplicate_detection_history_time_window", timedelta(days=8)),
        ("default_message_time_to_live", timedelta(0)),
        ("auto_delete_on_idle", timedelta(minutes=4)),
        ("max_message_size_in_kilobytes", 102_401),
        ("status", "Active"),
        ("user_metadata", "x" * 1025),
        ("forward_to", "ORDERS"),
        ("forward_dead_lettered_messages_to", "orders"),
        ("forward_to", "no spaces"),
    ],
)
def test_a_wrong_queue_names_field_and_value(field: str, value: object) -> None:
    values: dict[str, Any] = {"name": "orders", field: value}
    with pytest.raises(InvalidEntityError) as caught:
        QueueDescription(**values)
    assert caught.value.field == field
    assert caught.value.expected


def test_sessions_and_forwarding_exclude_each_other() -> None:
    with pytest.raises(InvalidEntityError, match="forward_to"):
        QueueDescription(name="a", requires_session=True, forward_to="b")


@pytest.mark.parametrize("name", ["a", "A1", "a/b", "lane-high", "x.y_z", "q~1"])
def test_the_service_takes_such_queue_names(name: str) -> None:
    assert QueueDescription(name=name).name == name
    assert TopicDescription(name=name).name == name


def test_a_subscription_knows_its_address() -> None:
    assert SubscriptionDescription(topic_name="t", name="s").path == "t/Subscriptions/s"
    with pytest.raises(InvalidEntityError, match="50"):
        SubscriptionDescription(topic_name="t", name="s" * 51)


@pytest.mark.parametrize("partitions", [0, 33, "2", True])
def test_a_hub_has_1_to_32_partitions(partitions: Any) -> None:
    with pytest.raises(InvalidEntityError, match="partition_count"):
        EventHubDescription(name="h", partition_count=partitions)


def test_a_hub_has_its_default_group_once() -> None:
    names = [g.name for g in EventHubDescription(name="h", consumer_groups=(ConsumerGroup(name="g"),)).consumer_groups]
    assert names == ["$Default", "g"]
    for name in ("$Default", "$default"):
        explicit = EventHubDescription(name="h", consumer_groups=(ConsumerGroup(name=name),))
        assert len(explicit.consumer_groups) == 1
    with pytest.raises(InvalidEntityError, match="consumer_groups"):
        EventHubDescription(name="h", consumer_groups=(ConsumerGroup(name="g"), ConsumerGroup(name="G")))


def test_a_rule_takes_everything_unless_told() -> None:
    rule = RuleDescription()
    assert (rule.name, rule.filter, rule.action) == ("$Default", TrueFilter(), None)


def test_filters_are_checked_and_keep_their_own_properties() -> None:
    given = {"color": "red"}
    kept = CorrelationFilter(properties=given)
    given["color"] = "blue"
    assert kept.properties == {"color": "red"}
    with pytest.raises(InvalidEntityError):
        CorrelationFilter()
    with pytest.raises(InvalidEntityError):
        SqlFilter(expression="")
    with pytest.raises(InvalidEntityError):
        SqlFilter(expression="x" * 1025)
    with pytest.raises(InvalidEntityError, match=r"properties\.x"):
        CorrelationFilter(properties={"x": [1]})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("PT1M", timedelta(minutes=1)),
        ("P14D", timedelta(days=14)),
        ("P1DT2H3M4.5S", timedelta(days=1, hours=2, minutes=3, seconds=4.5)),
        ("PT0.0000001S", timedelta(0)),
        ("P1Y2M", timedelta(days=425)),
        ("P10675199DT2H48M5.4775807S", FOREVER),
        ("P999999999Y", FOREVER),
        ("P10675199DT999999999H", FOREVER),
    ],
)
def test_durations_are_read_as_the_service_reads_them(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "P", "PT", "1M", "pt1m", "PT1", "P1W", "-PT1M", "P1H", "PT1M ", "PT1.S", "P١D"])
def test_other_text_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="ISO 8601"):
        parse_duration(text)


def test_forever_is_written_as_the_service_writes_it() -> None:
    assert format_duration(FOREVER) == "P10675199DT2H48M5.4775807S"
    assert format_duration(timedelta(0)) == "PT0S"
    assert format_duration(timedelta(hours=26, milliseconds=500)) == "P1DT2H0.5S"


@given(st.timedeltas(min_value=timedelta(0), max_value=FOREVER))
def test_every_duration_survives_writing_and_reading(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@given(st.text(alphabet="PTYMDHS0123456789.-", max_size=30))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        assert timedelta(0) <= parse_duration(text) <= FOREVER
    except ValueError:
        return
