"""`python -m ops`: one verb, its own command line, and nothing of the others."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import dev
from ops.__main__ import VERBS, main


def test_every_verb_has_a_command_line_and_a_command_of_the_developers_door() -> None:
    for verb, (name, _) in VERBS.items():
        module, _, function = name.partition(":")
        assert callable(getattr(import_module(module), function))
        assert dev.VERBS[verb].command(["--x"])[:3] == ["-m", "ops", verb]


def test_an_unknown_verb_is_told_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nonsense"]) == 2
    assert f"nonsense is not a verb: use one of {', '.join(VERBS)}" in capsys.readouterr().err


def test_the_usage_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["--help"]) == 0
    usage = capsys.readouterr().out
    assert [verb for verb in VERBS if f"\n  {verb} " not in usage] == []


def test_a_verb_gets_its_arguments_and_loads_no_other(project: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "ops", "api-key", "shop", "--roles", "reader"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("key for shop")
    assert "ops.erasing" not in done.stderr
    assert "azure.servicebus" not in done.stderr


def test_the_stack_that_ran_last_is_meant_unless_settings_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dev, "PROJECT", tmp_path)
    kept = tmp_path / ".sluice" / "app-settings.json"
    command = dev.operate("erase")
    assert command(["17850"]) == ["-m", "ops", "erase", "17850"]
    kept.parent.mkdir()
    kept.write_text("{}")
    assert command(["17850"]) == ["-m", "ops", "erase", "--settings", str(kept), "17850"]
    assert command(["17850", "--settings=mine.json"]) == ["-m", "ops", "erase", "17850", "--settings=mine.json"]
