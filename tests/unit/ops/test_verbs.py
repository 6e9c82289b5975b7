"""`python -m ops`: one verb, its own command line, and nothing of the others."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import dev
from ops.__main__ import VERBS, main
from ops.failures import cause_of


def test_every_verb_has_a_command_line_and_a_command_of_the_developers_door() -> None:
    for verb, (name, _) in VERBS.items():
        module, _, function = name.partition(":")
        assert callable(getattr(import_module(module), function))
        door = ["local.lake"] if verb == "lake" else ["ops", verb]  # it starts the stores of a stack that has ended
        assert dev.VERBS[verb].command(["--x"])[1 : 1 + len(door)] == door


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
    assert command(["17850", "--settings=/mine.json"]) == ["-m", "ops", "erase", "17850", "--settings=/mine.json"]
    assert command(["--data-dir", "/elsewhere"]) == ["-m", "ops", "erase", "--data-dir", "/elsewhere"]
    monkeypatch.chdir(tmp_path)
    assert command(["--data-dir", "mine"])[-1] == str(tmp_path / "mine")
    assert command(["--settings=mine.json"])[-1] == f"--settings={tmp_path / 'mine.json'}"


PROBING = """
import json, os, pathlib
AT_IMPORT = os.environ.get("SSL_CERT_FILE")
def main(arguments):
    pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps([AT_IMPORT, arguments]))
    return 0
"""


@pytest.mark.parametrize("given", [["--settings", "{}/app-settings.json"], ["--data-dir={}"], ["--data-dir", "{}"]])
def test_which_certificates_are_trusted_is_known_before_anything_is_imported(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some clients read it once, when they are imported: a user's module that does so must not break the verbs."""
    monkeypatch.setenv("SSL_CERT_FILE", "of the machine")
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"probing_{len(given)}_{given[0].count('{')}_{given[0].count('set')}"
    (tmp_path / f"{name}.py").write_text(PROBING)
    values = {"SSL_CERT_FILE": "of the vault"}
    (tmp_path / "app-settings.json").write_text(json.dumps({"Values": values}))
    monkeypatch.setitem(VERBS, "probe", (f"{name}:main", "say what was known"))
    words = [part.format(tmp_path) for part in given]
    assert main(["probe", "list", *words, "--json"]) == 0
    found, passed = json.loads((tmp_path / f"{name}.json").read_text())
    assert found == "of the vault"
    assert passed == ["--settings", f"{tmp_path}/app-settings.json", "list", "--json"]


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("api-key", "plan")])
def test_every_verb_says_in_one_sentence_that_no_stack_runs(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("State", "State__tableServiceUri"):
        monkeypatch.delenv(name, raising=False)
    for words, said in (
        (["--data-dir", str(tmp_path)], f"no local stack runs in {tmp_path}"),
        ([], "no local stack has run here"),
    ):
        assert main([verb, *words]) == 2
        told = capsys.readouterr().err
        assert said in told
        assert told.count("\n") == 1


def test_an_operator_is_told_the_cause_and_not_the_layers_around_it() -> None:
    def failing() -> None:
        try:
            raise OSError("certificate verify failed\nand more")
        except OSError as error:
            raise LookupError("a layer") from error

    with pytest.raises(LookupError) as caught:
        failing()
    assert cause_of(caught.value) == "OSError: certificate verify failed"
