"""A warning of the real compiler ends a delivery before anything is changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from infra.delivery.compiling import complaints, main

WARNING = 'WARNING: /infra/main.bicep(12,7) : Warning no-unused-params: Parameter "x" is declared but never used.\n'
NEWS = 'WARNING: A new Bicep release is available: v0.50.1. Upgrade now by running "az bicep upgrade".\n'


class Compiler:
    """`az bicep` that says the same of everything, and keeps what it was asked."""

    def __init__(self, said: str = "", code: int = 0) -> None:
        self.said, self.code = said, code
        self.asked: list[Sequence[str]] = []

    def __call__(self, arguments: Sequence[str]) -> tuple[int, str]:
        """Its exit code and its error output."""
        self.asked.append(arguments)
        return self.code, self.said


@pytest.mark.parametrize(
    ("compiler", "told"),
    [
        (Compiler(), []),
        (Compiler(NEWS), []),
        (Compiler(NEWS + WARNING), [WARNING.removeprefix("WARNING: ").strip()]),
        (Compiler(WARNING.replace("Warning", "Error").replace("WARNING", "ERROR"), code=1), ["Error no-unused-params"]),
        (Compiler("ERROR: the network is away", code=3), ["ended with 3: ERROR: the network is away"]),
    ],
    ids=["nothing", "news", "warning", "error", "no answer"],
)
def test_warnings_count_as_errors(project: Path, compiler: Compiler, told: list[str]) -> None:
    """Each once, though every file that is compiled leads to it; news of the tool itself are none."""
    found = list(complaints(project / "infra", compiler))
    if told and "ended with" in told[0]:
        assert all(told[0] in line for line in found)
    else:
        assert len(found) == len(told)
        assert all(part in line for part, line in zip(told, found, strict=True))
    assert main(project / "infra", compiler) == (1 if told else 0)


def test_everything_is_compiled(project: Path) -> None:
    """The template, by its linter too, and the parameters of every stage."""
    compiler = Compiler()
    assert list(complaints(project / "infra", compiler)) == []
    asked = [(arguments[0], Path(arguments[2]).name) for arguments in compiler.asked]
    stages = sorted(file.name for file in (project / "infra" / "params").iterdir())
    assert asked == [
        ("build", "main.bicep"),
        ("lint", "main.bicep"),
        *(("build-params", name) for name in ["main.bicepparam", *stages]),
    ]
