"""The XML of the management API: what goes out comes back, and nothing that comes in can break it."""

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_azure.broker.admin import atom
from local_azure.broker.admin.descriptions import created, queue_element, subscription_element, topic_element
from local_azure.broker.admin.errors import RequestError
from local_azure.broker.admin.rules import read_rule, rule_element
from local_azure.broker.administration import RuntimeCounts
from local_azure.broker.entities import (
    CorrelationFilter,
    EntityStatus,
    FalseFilter,
    QueueDescription,
    RuleDescription,
    SqlAction,
    SqlFilter,
    SubscriptionDescription,
    TopicDescription,
    TrueFilter,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COUNTS = RuntimeCounts(active=1, dead_letter=2, created_at=NOW, updated_at=NOW, accessed_at=NOW)

TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1, max_size=20
)
VALUES = st.dictionaries(
    TEXT,
    TEXT
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.integers(0, 2**42).map(lambda milliseconds: datetime.fromtimestamp(milliseconds / 1000, UTC))
    | st.timedeltas(timedelta(0), timedelta(days=1000)),
    max_size=4,
)
FILTERS = st.one_of(
    st.just(TrueFilter()),
    st.just(FalseFilter()),
    VALUES.map(lambda values: SqlFilter(expression="a < 'x & <y>' OR 1=1", parameters=values)),
    st.builds(CorrelationFilter, label=TEXT, message_id=st.none() | TEXT, properties=VALUES),
)
ACTIONS = st.none() | VALUES.map(lambda values: SqlAction(expression="SET a = 'é'", parameters=values))


def through_the_wire(element: Element) -> Element:
    """What a client reads, and what the API makes of the same document."""
    entry = atom.Entry("name", "http://localhost/name", element, NOW, NOW)
    return atom.content_of(atom.write_entry(entry))


@given(FILTERS, ACTIONS)
def test_every_rule_comes_back_as_it_went(rule_filter: Any, action: Any) -> None:
    rule = RuleDescription(name="r", filter=rule_filter, action=action)
    assert read_rule(through_the_wire(rule_element(rule, NOW)), "r") == rule


DURATIONS = st.timedeltas(timedelta(minutes=5), timedelta(days=5000))


@given(
    st.builds(
        QueueDescription,
        name=st.just("a/b"),
        lock_duration=st.timedeltas(timedelta(seconds=1), timedelta(minutes=5)),
        max_delivery_count=st.integers(1, 2000),
        default_message_time_to_live=DURATIONS,
        requires_duplicate_detection=st.booleans(),
        dead_lettering_on_message_expiration=st.booleans(),
        auto_delete_on_idle=DURATIONS,
        forward_dead_lettered_messages_to=st.none() | st.just("c/d"),
        status=st.sampled_from(EntityStatus),
        user_metadata=st.none() | TEXT.filter(lambda text: text == text.strip()),
    )
)
def test_every_queue_comes_back_as_it_went(queue: QueueDescription) -> None:
    element = through_the_wire(queue_element(queue, COUNTS, "localhost:5300"))
    assert created(QueueDescription, element, name="a/b") == queue


def test_topics_and_subscriptions_come_back_as_they_went() -> None:
    topic = TopicDescription(name="t", max_size_in_megabytes=5, support_ordering=False)
    assert created(TopicDescription, through_the_wire(topic_element(topic, COUNTS, "h")), name="t") == topic
    subscription = SubscriptionDescription(topic_name="t", name="s", requires_session=True, max_delivery_count=3)
    element = through_the_wire(subscription_element(subscription, COUNTS, "h"))
    assert created(SubscriptionDescription, element, topic_name="t", name="s") == subscription


@given(st.binary(max_size=200) | st.text("<>&;/ entrycontentQueueDescription=\"'!?x:", max_size=120).map(str.encode))
def test_any_body_is_a_description_or_a_bad_request(body: bytes) -> None:
    with contextlib.suppress(RequestError):
        assert atom.content_of(body).tag


@pytest.mark.parametrize("text", ["\x00", "\x1f", "\ufffe", "a\x0bb"])
def test_text_that_xml_cannot_hold_does_not_spoil_the_answer(text: str) -> None:
    queue = QueueDescription(name="q", user_metadata=text)
    element = through_the_wire(queue_element(queue, COUNTS, "h"))
    assert "\ufffd" in (created(QueueDescription, element, name="q").user_metadata or "")


def test_entities_of_xml_are_refused_in_any_disguise() -> None:
    bomb = '<!DOCTYPE a [<!ENTITY b "{}">]><entry><content>&b;</content></entry>'.format("x" * 1000)
    for body in (bomb.encode(), b"\xef\xbb\xbf" + bomb.encode(), bomb.encode("utf-16"), bomb.encode("utf-32")):
        with pytest.raises(RequestError) as caught:
            atom.content_of(body)
        assert caught.value.status == 400
