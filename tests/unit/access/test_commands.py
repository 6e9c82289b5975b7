"""`dev.py token` and `dev.py vault` where no stack runs, and where they look for one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from local.access import token, vault
from local_azure.identity import RegistrationError

COMMANDS = pytest.mark.parametrize(
    ("main", "verbs"), [(token.main, []), (vault.main, ["list"])], ids=["token", "vault"]
)


@COMMANDS
def test_without_a_stack_the_command_says_how_to_start_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], main: Callable[[Sequence[str]], int], verbs: list[str]
) -> None:
    assert main(["--data-dir", str(tmp_path), *verbs]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"dev.py: No local stack runs in {tmp_path}: start one with `python3 dev.py run`.")


@COMMANDS
def test_they_look_where_the_stack_keeps_its_data(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    main: Callable[[Sequence[str]], int],
    verbs: list[str],
) -> None:
    asked: list[Path] = []

    def nothing_there(folder: Path) -> None:
        asked.append(folder)
        raise RegistrationError("nothing is there")

    monkeypatch.setitem(main.__globals__, "read_registration", nothing_there)
    assert main(verbs) == 2
    assert f"in {project / '.sluice'}:" in capsys.readouterr().err
    assert asked == [project / ".sluice" / "identity"]
