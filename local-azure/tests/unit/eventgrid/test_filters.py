"""Which events a subscription takes: every operator of the documentation, and its limits."""

from __future__ import annotations

from typing import Any

import pytest

from local_azure.eventgrid import EventGridError, Schema, Topic
from unit.eventgrid.given import cloud_event, grid_event, subscription_of

DATA = {"n": 5, "text": "Azure Event Grid", "yes": True, "nothing": None, "many": [1, 7], "words": ["Red", "Blue"]}


def taken(filters: dict[str, Any], event: dict[str, Any] | None = None) -> bool:
    """Whether a subscription with this filter takes an event."""
    return subscription_of(filters).filter.matches(event or cloud_event(subject="/Orders/1.TXT", data=DATA))


def condition(operator: str, key: str, *values: Any, value: Any = None, arrays: bool = True) -> dict[str, Any]:
    """A filter of one advanced condition."""
    one: dict[str, Any] = {"operatorType": operator, "key": key}
    if value is not None:
        one["value"] = value
    elif values:
        one["values"] = list(values)
    return {"enableAdvancedFilteringOnArrays": arrays, "advancedFilters": [one]}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (condition("NumberIn", "data.n", 4, 5), True),
        (condition("NumberIn", "data.n", 4), False),
        (condition("NumberIn", "data.text", 5), False),
        (condition("NumberNotIn", "data.n", 4), True),
        (condition("NumberNotIn", "data.many", 4, 7), False),
        (condition("NumberLessThan", "data.n", value=5), False),
        (condition("NumberLessThanOrEquals", "data.n", value=5), True),
        (condition("NumberGreaterThan", "data.n", value=5), False),
        (condition("NumberGreaterThanOrEquals", "data.n", value=5), True),
        (condition("NumberGreaterThan", "data.many", value=6), True),
        (condition("NumberGreaterThan", "data.many", value=6, arrays=False), False),
        (condition("NumberInRange", "data.n", [0, 4], [5, 6]), True),
        (condition("NumberNotInRange", "data.n", [0, 4], [5, 6]), False),
        (condition("BoolEquals", "data.yes", value=True), True),
        (condition("BoolEquals", "data.n", value=True), False),
        (condition("NumberIn", "data.yes", 1), False),
        (condition("StringContains", "data.text", "EVENT", "x"), True),
        (condition("StringNotContains", "data.text", "event"), False),
        (condition("StringNotContains", "data.text", "queue"), True),
        (condition("StringBeginsWith", "data.text", "azure"), True),
        (condition("StringNotBeginsWith", "data.text", "azure"), False),
        (condition("StringEndsWith", "data.text", "GRID"), True),
        (condition("StringNotEndsWith", "data.text", "grid"), False),
        (condition("StringIn", "data.words", "blue"), True),
        (condition("StringNotIn", "data.words", "blue"), False),
        (condition("IsNullOrUndefined", "data.nothing"), True),
        (condition("IsNullOrUndefined", "data.absent"), True),
        (condition("IsNotNull", "data.n"), True),
        (condition("IsNotNull", "data.nothing"), False),
        (condition("StringBeginsWith", "type", "order."), True),
    ],
)
def test_each_operator(filters: dict[str, Any], expected: bool) -> None:
    assert taken(filters) is expected


@pytest.mark.parametrize(
    ("operator", "given", "expected"),
    [
        ("NumberIn", {"values": [1]}, False),
        ("NumberNotIn", {"values": [1]}, True),
        ("NumberNotInRange", {"values": [[1, 2]]}, False),
        ("NumberLessThan", {"value": 1}, False),
        ("BoolEquals", {"value": False}, False),
        ("StringNotIn", {"values": ["a"]}, True),
        ("StringNotContains", {"values": ["a"]}, False),
        ("StringNotBeginsWith", {"values": ["a"]}, False),
        ("StringNotEndsWith", {"values": ["a"]}, False),
    ],
)
def test_a_key_that_is_not_there(operator: str, given: dict[str, Any], expected: bool) -> None:
    """The documentation has a list of the operators that it fits."""
    assert taken({"advancedFilters": [{"operatorType": operator, "key": "data.absent", **given}]}) is expected


def test_types_and_subjects() -> None:
    """Types and subjects in any case, unless the subject's matters; `All` is every type."""
    assert taken({"includedEventTypes": ["ORDER.accepted"]})
    assert taken({"includedEventTypes": ["All"]})
    assert not taken({"includedEventTypes": ["order.rejected"]})
    assert taken({"subjectBeginsWith": "/orders/", "subjectEndsWith": ".txt"})
    assert not taken({"subjectBeginsWith": "/orders/", "isSubjectCaseSensitive": True})
    assert taken({"subjectBeginsWith": "/Orders/", "isSubjectCaseSensitive": True})
    assert not taken({"subjectBeginsWith": "/Orders/"}, cloud_event())


def test_names_of_the_own_schema_are_found_in_any_case() -> None:
    """`Subject`, `ID`, `Data.total`; what is in the data is found as it is written."""
    topic = Topic(name="grid", schema=Schema.EVENT_GRID)
    for key, value in (("ID", "1"), ("Subject", "/orders"), ("eventtype", "order"), ("DataVersion", "1")):
        found = subscription_of(condition("StringBeginsWith", key, value), topic)
        assert found.filter.matches(grid_event())
    assert subscription_of(condition("NumberIn", "Data.total", 5), topic).filter.matches(grid_event())
    assert not subscription_of(condition("NumberIn", "data.Total", 5), topic).filter.matches(grid_event())


@pytest.mark.parametrize(
    "filters",
    [
        [],
        {"subject": "x"},
        {"includedEventTypes": "x"},
        {"subjectBeginsWith": 1},
        {"advancedFilters": [1]},
        condition("StringMatches", "data.n", "a"),
        condition("StringIn", "", "a"),
        {"advancedFilters": [{"operatorType": ["StringIn"], "key": "data.n", "values": ["a"]}]},
        condition("StringIn", "data.n", 1),
        condition("StringIn", "data.n"),
        condition("StringIn", "data.n", value="a"),
        condition("StringIn", "data.n", "x" * 513),
        condition("NumberIn", "data.n", True),
        condition("NumberInRange", "data.n", [2, 1]),
        condition("NumberInRange", "data.n", [1]),
        condition("NumberLessThan", "data.n", 1),
        condition("BoolEquals", "data.n", value="true"),
        condition("IsNotNull", "data.n", value=1),
        condition("NumberIn", "data.n", *range(26)),
        {"advancedFilters": [{"operatorType": "IsNotNull", "key": "data.n"}] * 26},
    ],
)
def test_what_the_service_refuses(filters: Any) -> None:
    with pytest.raises(EventGridError) as refused:
        subscription_of(filters)
    assert refused.value.status == 400


def test_the_limits_themselves_are_allowed() -> None:
    subscription_of(condition("NumberIn", "data.n", *range(25)))
    subscription_of({"advancedFilters": [{"operatorType": "IsNotNull", "key": "data.n"}] * 25})
    subscription_of(condition("StringIn", "data.n", "x" * 512))
