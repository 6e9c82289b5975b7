"""App settings: environment over file, references, connections."""

import json
from pathlib import Path
from typing import Any

import pytest

from local_azure.host.errors import SettingError
from local_azure.host.invocation import thread_count
from local_azure.host.settings import AppSettings, load_settings


def write(folder: Path, content: Any) -> None:
    (folder / "local.settings.json").write_text(content if isinstance(content, str) else json.dumps(content))


def test_the_environment_wins_and_the_file_fills_it(tmp_path: Path) -> None:
    write(tmp_path, {"IsEncrypted": False, "Values": {"A": "file", "B": True, "C": 5}})
    environment = {"A": "environment"}
    settings = load_settings(tmp_path, environment)
    assert dict(settings) == {"A": "environment", "B": "true", "C": "5"} == environment


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not valid JSON"),
        ([], "must be an object"),
        ({"IsEncrypted": True, "Values": {}}, "encrypted"),
        ({"Values": {"A": {"B": 1}}}, "value of A must be text"),
    ],
)
def test_a_wrong_file_is_said_in_one_line(tmp_path: Path, content: Any, said: str) -> None:
    write(tmp_path, content)
    with pytest.raises(SettingError, match=said):
        load_settings(tmp_path, {})


def test_references_resolve_or_stop_the_start() -> None:
    settings = AppSettings({"LANE": "lane-high", "EMPTY": ""})
    assert settings.resolve("a-%LANE%-b", "x") == "a-lane-high-b"
    for text in ("%MISSING%", "%EMPTY%"):
        with pytest.raises(SettingError, match="does not resolve to a value"):
            settings.resolve(text, "function f")


def test_connections_are_found_in_every_form() -> None:
    settings = AppSettings(
        {"A": "Endpoint=x", "AzureWebJobsB": "y", "C__fullyQualifiedNamespace": "ns", "D__accountName": "acc"}
    )
    assert settings.connection("A", "f").connection_string == "Endpoint=x"
    assert settings.connection("B", "f").connection_string == "y"
    assert settings.connection("C", "f").fully_qualified_namespace == "ns"
    assert settings.connection("D", "f").service_uri == "https://acc.blob.core.windows.net"
    with pytest.raises(SettingError, match="the connection E is missing"):
        settings.connection("E", "f")


def test_secrets_stay_out_of_representations() -> None:
    settings = AppSettings({"A": "SharedAccessKey=hidden"})
    assert "hidden" not in repr(settings)
    assert "hidden" not in repr(settings.connection("A", "f"))


@pytest.mark.parametrize("text", ["0", "33", "x", "-1", "1.5"])
def test_thread_counts_outside_the_range_are_refused(text: str) -> None:
    with pytest.raises(SettingError, match="PYTHON_THREADPOOL_THREAD_COUNT"):
        thread_count({"PYTHON_THREADPOOL_THREAD_COUNT": text})
