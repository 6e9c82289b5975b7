"""Before provisioning: put the parameters of the stage where azd looks for them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["choose"]

_INFRA = Path(__file__).resolve().parent.parent


def choose(infra: Path, environment: Mapping[str, str]) -> Path:
    """Write `main.bicepparam` from the parameters of `SLUICE_STAGE` (dev where it isn't set).

    Raises
    ------
    ValueError
        There is no such stage.
    """
    stage = environment.get("SLUICE_STAGE") or "dev"
    stages = sorted(file.stem for file in (infra / "params").glob("*.bicepparam"))
    if stage not in stages:
        raise ValueError(f"SLUICE_STAGE is {stage!r}: use one of {', '.join(stages)}")
    source = (infra / "params" / f"{stage}.bicepparam").read_text(encoding="utf-8")
    target = infra / "main.bicepparam"
    target.write_text(source.replace("using '../main.bicep'", "using 'main.bicep'"), encoding="utf-8")
    return target


if __name__ == "__main__":
    try:
        choose(_INFRA, os.environ)
    except ValueError as error:
        sys.exit(str(error))
