"""What processes print is understood, and the app gets the settings it should."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest

from local.azurite import AzuriteEndpoints, parse_endpoints
from local.stack.services import app_settings, host_service, parse_emulator

READY = 'ready amqp=5672 admin=5300 ServiceBus="Endpoint=sb://localhost:5672;Key=K;UseDevelopmentEmulator=true;"\n'


def test_an_emulator_is_ready_when_it_says_where_it_is() -> None:
    assert parse_emulator("loading\n") is None
    found = parse_emulator("loading\n" + READY)
    assert found is not None
    assert (found.amqp, found.admin) == (5672, 5300)
    assert found.connection_string == "Endpoint=sb://localhost:5672;Key=K;UseDevelopmentEmulator=true;"


def test_azurite_is_ready_when_all_three_services_listen() -> None:
    lines = [
        f"Azurite {name} service is successfully listening at http://127.0.0.1:{port}\n"
        for name, port in (("Blob", 1), ("Queue", 2), ("Table", 3))
    ]
    assert parse_endpoints("".join(lines[:2])) is None
    assert parse_endpoints("".join(lines)) == AzuriteEndpoints(blob=1, queue=2, table=3)


def test_endpoints_name_the_development_account_explicitly() -> None:
    text = AzuriteEndpoints(blob=1, queue=2, table=3).connection_string
    assert "TableEndpoint=http://127.0.0.1:3/devstoreaccount1;" in text


def test_settings_come_from_the_sample_then_the_user_then_the_environment_then_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(name: str, values: dict[str, str]) -> None:
        (tmp_path / name).write_text(json.dumps({"Values": values}))

    write("local.settings.sample.json", {"A": "sample", "B": "sample", "C": "sample", "State": "sample"})
    write("local.settings.json", {"B": "user", "C": "user", "State": "user"})
    monkeypatch.setenv("C", "environment")
    monkeypatch.setenv("State", "environment")
    settings = app_settings(tmp_path, {"State": "stack"})
    assert settings == {
        "A": "sample",
        "B": "user",
        "C": "environment",
        "State": "stack",
        "SLUICE_OPERATION_KEY": "secret:operation-key",
    }


@pytest.mark.parametrize("text", ["{", "[]", '{"Values": []}', "{}"])
def test_a_broken_settings_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "local.settings.json").write_text(text)
    with pytest.raises(ValueError, match=r"local\.settings\.json is not a settings file"):
        app_settings(tmp_path, {})


@pytest.mark.parametrize(("settings", "log"), [({"SLUICE_LOG_FORMAT": "json"}, "json"), ({}, "text")])
async def test_the_host_writes_as_the_app_does_and_not_of_every_timer(
    tmp_path: Path, settings: dict[str, str], log: str
) -> None:
    """One form of lines in one log, and none every few seconds."""
    async with aiohttp.ClientSession() as probe:
        command = host_service("embedded", tmp_path, 0, 7071, settings, probe).command
    assert command[command.index("--log") + 1] == log
    assert "--quiet-timers" in command
