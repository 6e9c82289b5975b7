"""The parameters of every stage in one file, which `azd` reads before any hook of ours has run."""

from __future__ import annotations

import re
from pathlib import Path

from local.bicep.errors import BicepError

__all__ = ["parameters_of_all_stages"]

_PARAM = re.compile(r"^param (\w+) = ", re.MULTILINE)
_COMMENT = re.compile(r"[ \t]+//.*$|^//.*\n", re.MULTILINE)


def parameters_of_all_stages(infra: Path) -> str:
    """`main.bicepparam`: what all stages say alike once, the rest by the stage that `SLUICE_STAGE` names.

    Raises
    ------
    BicepError
        A stage lacks a parameter that another one has.
    """
    files = sorted((infra / "params").glob("*.bicepparam"))
    stages = {file.stem: _expressions(file) for file in files}
    names = list(dict.fromkeys(name for given in stages.values() for name in given))
    for file in files:
        for name in names:
            if name not in stages[file.stem]:
                raise BicepError(file, 1, f"there is no value for {name}, which other stages give")
    alike = [name for name in names if len({given[name] for given in stages.values()}) == 1]
    apart = [name for name in names if name not in alike]
    lines = [
        "// Written by `dev.py declare` from the files in params: change those.",
        "using 'main.bicep'",
        "",
        f"// {', '.join(stages)}: `azd env set SLUICE_STAGE prod`. Another name ends the build.",
        "var stageName = readEnvironmentVariable('SLUICE_STAGE', 'dev')",
        "",
        "var stages = {",
    ]
    for stage, given in stages.items():
        lines += [f"  {stage}: {{", *(_indented(f"{name}: {given[name]}") for name in apart), "  }"]
    lines += ["}", "", *(f"param {name} = {stages[files[0].stem][name]}" for name in alike)]
    lines += [f"param {name} = stages[stageName].{name}" for name in apart]
    return "\n".join(lines) + "\n"


def _expressions(file: Path) -> dict[str, str]:
    """Name → its value as written, without comments. A parameter begins at the beginning of a line."""
    _, *parts = _PARAM.split(_COMMENT.sub("", file.read_text(encoding="utf-8")))
    return {name: value.strip() for name, value in zip(parts[::2], parts[1::2], strict=True)}


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
