"""The developer's door says what it wants, in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import dev


@pytest.mark.parametrize("version", [(3, 10, 14), (3, 15, 0)])
def test_another_python_is_told_which_one_to_use(
    version: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "version_info", version)
        assert dev.main(["run"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"needs Python 3.11 to 3.14 and this is {'.'.join(map(str, version))}" in said


def test_an_unknown_command_is_told_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert dev.main(["nonsense"]) == 2
    assert f"nonsense is not a command: use one of {', '.join(dev.VERBS)}" in capsys.readouterr().err


def test_the_usage_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert dev.main(["--help"]) == 0
    usage = capsys.readouterr().out
    assert [name for name in dev.VERBS if f"\n  {name} " not in usage] == []


def test_the_emulator_gets_the_projects_entities_unless_told_otherwise() -> None:
    given = dev.emulator(["--port", "0"])
    names = [Path(part).name for part in given if part.endswith(".json")]
    assert names == ["servicebus.json", "eventhubs.json"]
    assert dev.emulator(["--config", "mine.json"]) == ["-m", "local_azure.broker", "--config", "mine.json"]
    assert dev.emulator(["--config=mine.json"]) == ["-m", "local_azure.broker", "--config=mine.json"]


@pytest.mark.parametrize("name", list(dev.VERBS))
def test_help_installs_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a command isn't installed its help says what is known without it, and leaves the folder as it was."""
    monkeypatch.setattr(dev, "PROJECT", tmp_path)
    for requirements in dev.TESTS:
        (tmp_path / requirements).parent.mkdir(exist_ok=True)
        (tmp_path / requirements).write_text("a==1\n")
    before = sorted(tmp_path.rglob("*"))
    assert dev.main([name, "--help"]) == 0
    assert f"usage: python3 dev.py {name}" in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before
