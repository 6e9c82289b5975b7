"""host.json: defaults, limits, overrides, and what it says about mistakes."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local_azure.host.errors import SettingError
from local_azure.host.host_json import HostOptions, load_host_json
from local_azure.host.time_spans import format_time_span, parse_time_span


def read(tmp_path: Path, content: Any, **environment: str) -> HostOptions:
    path = tmp_path / "host.json"
    path.write_text(content if isinstance(content, str) else json.dumps({"version": "2.0", **content}))
    return load_host_json(path, environment)


def test_documented_defaults(tmp_path: Path) -> None:
    options = read(tmp_path, {})
    assert options.http.route_prefix == "api"
    assert options.service_bus.max_message_batch_size == 1000
    assert options.service_bus.prefetch_count == 0
    assert options.service_bus.max_auto_lock_renewal_duration == timedelta(minutes=5)
    assert options.event_hubs.max_event_batch_size == 100
    assert options.event_hubs.load_balancing_update_interval == timedelta(seconds=30)
    assert options.event_hubs.initial_offset.type == "fromStart"
    assert options.warnings == ()


def test_names_count_without_case_and_settings_override(tmp_path: Path) -> None:
    options = read(
        tmp_path,
        {"Extensions": {"ServiceBus": {"MAXMESSAGEBATCHSIZE": 10}, "http": {"routePrefix": ""}}},
        AzureFunctionsJobHost__extensions__serviceBus__prefetchCount="7",
        azurefunctionsjobhost__functionTimeout="00:00:05",
    )
    assert options.service_bus.max_message_batch_size == 10
    assert options.service_bus.prefetch_count == 7
    assert options.http.route_prefix == ""
    assert options.function_timeout == timedelta(seconds=5)


def test_unknown_keys_are_warned_of_by_their_full_name(tmp_path: Path) -> None:
    options = read(tmp_path, {"extensions": {"serviceBus": {"maxMessages": 1}}, "tracing": {}, "logging": {"x": 1}})
    assert options.warnings == (
        "host.json: tracing is not known here and has no effect",
        "host.json: extensions.serviceBus.maxmessages is not known here and has no effect",
    )


def test_no_time_limit(tmp_path: Path) -> None:
    assert read(tmp_path, {"functionTimeout": "-1"}).function_timeout is None


def test_initial_offset_from_a_time(tmp_path: Path) -> None:
    given = {"initialOffsetOptions": {"type": "fromEnqueuedTime", "enqueuedTimeUtc": "2026-01-02T03:04:05Z"}}
    options = read(tmp_path, {"extensions": {"eventHubs": given}})
    assert options.event_hubs.initial_offset.enqueued_time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not valid JSON"),
        ("[]", "must hold a JSON object"),
        ('{"version": "1.0"}', '"version": "2.0"'),
        ({"functionTimeout": "5 minutes"}, "functionTimeout is '5 minutes'"),
        ({"functions": "a"}, "functions is 'a'"),
        ({"extensions": {"serviceBus": {"maxMessageBatchSize": 0}}}, "serviceBus.maxMessageBatchSize is 0"),
        ({"extensions": {"serviceBus": {"maxMessageBatchSize": True}}}, "it must be a whole number"),
        ({"extensions": {"serviceBus": {"minMessageBatchSize": 5, "maxMessageBatchSize": 4}}}, "between 1 and 4"),
        ({"extensions": {"serviceBus": {"maxBatchWaitTime": "00:03:00"}}}, "at most"),
        ({"extensions": {"eventHubs": {"initialOffsetOptions": {"type": "x"}}}}, "one of fromStart"),
        ({"extensions": {"eventHubs": {"loadBalancingUpdateInterval": "00:05:00"}}}, "must exceed"),
        ({"extensions": []}, "must be an object"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        read(tmp_path, content)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="is missing"):
        load_host_json(tmp_path / "host.json", {})


@pytest.mark.parametrize(
    ("text", "seconds"), [("00:00:30", 30), ("1.02:03:04", 93784), ("00:00:00.25", 0.25), ("00:05", 300)]
)
def test_time_spans(text: str, seconds: float) -> None:
    span = parse_time_span(text)
    assert span.total_seconds() == seconds
    assert parse_time_span(format_time_span(span)) == span


@pytest.mark.parametrize("text", ["", "30", "24:00:00", "00:60:00", "00:00:61", "-00:00:01", "a:b:c"])
def test_refuses_other_time_spans(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time_span(text)
