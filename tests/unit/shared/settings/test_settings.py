"""Settings: read once, every mistake named at once, no value ever told."""

from __future__ import annotations

from typing import Any

import pytest

from shared.environment import Connection, WrongSettings
from shared.settings import Settings

KEY = "not-a-secret-but-thirty-two-long!"
RIGHT = {
    "ServiceBus": "Endpoint=sb://localhost;UseDevelopmentEmulator=true",
    "EventHubs": "Endpoint=sb://localhost;UseDevelopmentEmulator=true",
    "State": "UseDevelopmentStorage=true",
    "Claims": "UseDevelopmentStorage=true",
    "SLUICE_OPERATION_KEY": KEY,
}


def load(**changed: str | None) -> Settings:
    """Settings of an environment that is right but for the changes; None takes a variable away."""
    variables = {**RIGHT, **changed}
    return Settings.load({name: value for name, value in variables.items() if value is not None})


def refused(**changed: str | None) -> str:
    """What an environment with these changes is told."""
    with pytest.raises(WrongSettings) as caught:
        load(**changed)
    return str(caught.value)


def test_connections_and_the_operation_key_are_all_that_is_needed() -> None:
    """Everything else has a default."""
    settings = load()
    assert (settings.state_buckets, settings.claim_threshold_bytes, settings.lane_high) == (64, 65_536, "lane-high")


def test_everything_missing_is_named_at_once_on_one_line() -> None:
    """A stranger mends an empty environment in one go."""
    with pytest.raises(WrongSettings) as caught:
        Settings.load({})
    message = str(caught.value)
    assert "\n" not in message
    for name in RIGHT:
        assert f"{name}: is missing" in message


def test_everything_wrong_is_named_at_once() -> None:
    """Beside what is missing."""
    message = refused(
        State=None,
        SLUICE_STATE_BUCKETS="many",
        SLUICE_CLAIM_THRESHOLD_BYTES="1",
        SLUICE_LANE_LOW="a queue",
        SLUICE_TELEMETRY="all",
        SLUICE_HTTP_STREAMS="perhaps",
    )
    for name in (
        "State: is missing",
        "SLUICE_STATE_BUCKETS",
        "SLUICE_CLAIM_THRESHOLD_BYTES",
        "SLUICE_LANE_LOW",
        "SLUICE_TELEMETRY",
        "SLUICE_HTTP_STREAMS",
    ):
        assert name in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLUICE_OPERATION_KEY", "hunter2hunter2"),
        ("ServiceBus", "hunter2 without any sign"),
        ("State", "hunter2"),
        ("SLUICE_STATE_BUCKETS", "hunter2"),
        ("SLUICE_LANE_HIGH", "hunter2 hunter2"),
        ("SLUICE_CLAIM_CONTAINER", "HUNTER2"),
        ("SLUICE_TELEMETRY", "hunter2"),
        ("ServiceBus__credential", "hunter2"),
    ],
)
def test_a_refusal_names_the_setting_and_never_its_value(name: str, value: str) -> None:
    """The line ends in logs."""
    message = refused(**{name: value})
    assert name in message
    assert "hunter2" not in message.lower()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLUICE_STATE_BUCKETS", "0"),
        ("SLUICE_STATE_BUCKETS", "4097"),
        ("SLUICE_STATE_BUCKETS", "1.5"),
        ("SLUICE_CLAIM_THRESHOLD_BYTES", "196609"),
        ("SLUICE_MAX_BODY_BYTES", "104857601"),
        ("SLUICE_HANDLER_TIMEOUT_SECONDS", "nan"),
        ("SLUICE_HANDLER_TIMEOUT_SECONDS", "inf"),
        ("SLUICE_HANDLER_TIMEOUT_SECONDS", "0"),
        ("SLUICE_RETRY_BASE_SECONDS", "-1"),
        ("SLUICE_RETRY_MAX_ATTEMPTS", "0"),
        ("SLUICE_SEND_TIMEOUT_SECONDS", "121"),
        ("SLUICE_EVENT_HUB", "-events"),
        ("SLUICE_EVENT_SOURCE", "s" * 257),
        ("SLUICE_CLAIM_CONTAINER", "c"),
        ("SLUICE_OPERATION_KEY", "k" * 31),
        ("SLUICE_PUBLIC_URL", "api.example.org"),
        ("SLUICE_PUBLIC_URL", "ftp://api.example.org"),
        ("SLUICE_PUBLIC_URL", "https://api.example.org/?a=b"),
        ("SLUICE_PUBLIC_URL", "https://user@api.example.org"),
        ("SLUICE_LOG_FORMAT", "xml"),
    ],
)
def test_each_bound_is_kept(name: str, value: str) -> None:
    """Just outside is outside."""
    assert name in refused(**{name: value})


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"SLUICE_RETRY_BASE_SECONDS": "10", "SLUICE_RETRY_CAP_SECONDS": "5"}, "is below"),
        ({"SLUICE_LANE_HIGH": "q", "SLUICE_LANE_LOW": "q"}, "four queues"),
        ({"SLUICE_TELEMETRY": "azure-monitor"}, "APPLICATIONINSIGHTS_CONNECTION_STRING"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changed: dict[str, Any], says: str) -> None:
    """Each alone would be fine."""
    assert says in refused(**changed)


def test_an_empty_variable_counts_as_absent() -> None:
    """Templates often leave empty ones behind."""
    assert load(SLUICE_STATE_BUCKETS="").state_buckets == 64
    assert "ServiceBus: is missing" in refused(ServiceBus="")


def test_a_connection_by_identity_needs_only_its_address() -> None:
    """As the platform's own identity-based connections."""
    settings = load(
        ServiceBus=None,
        ServiceBus__fullyQualifiedNamespace="sluice.servicebus.windows.net",
        ServiceBus__credential="managedidentity",
        ServiceBus__clientId="a-client",
    )
    assert settings.service_bus.address == "sluice.servicebus.windows.net"
    assert settings.service_bus.client_id == "a-client"


def test_two_ways_to_connect_are_one_too_many() -> None:
    """Which one would win is nobody's guess."""
    message = refused(ServiceBus__fullyQualifiedNamespace="sluice.servicebus.windows.net")
    assert "ServiceBus: has both" in message


@pytest.mark.parametrize(
    ("name", "part"),
    [("ServiceBus", "tableServiceUri"), ("State", "blobServiceUri"), ("Claims", "fullyQualifiedNamespace")],
)
def test_the_address_of_another_kind_of_service_is_refused(name: str, part: str) -> None:
    """It would fail on the first message instead."""
    message = refused(**{name: None, f"{name}__{part}": "https://example.com"})
    assert name in message
    assert f"not with __{part}" in message


def test_several_accounts_are_separated_by_commas() -> None:
    """State may be spread; blanks around a comma don't count."""
    assert load(State="A=1;B=2, A=3;B=4 ,").state.accounts == ("A=1;B=2", "A=3;B=4")
    assert Connection(table_service_uri="https://a, https://b").accounts == ("https://a", "https://b")


def test_secrets_do_not_show() -> None:
    """Neither in text nor in a traceback's repr."""
    settings = load()
    assert KEY not in repr(settings)
    assert "UseDevelopmentEmulator" not in repr(settings)
